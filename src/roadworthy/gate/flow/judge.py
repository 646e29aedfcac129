"""Where data may go: labelled values, destinations, links and claims, in calls and in what the user is told.

A label's readers hold wherever something leaves the run: in replies and questions to the user, in tools that send and
in tools with a `destination`. A flow rule that names a label and a sink says instead what holds there, and makes sinks
of writes and of escalations, too. What nobody may read leaves nowhere, whatever a rule says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from roadworthy.core.types import Reason, Ruling
from roadworthy.gate.flow import links
from roadworthy.gate.flow.claims import claimed, plain
from roadworthy.gate.flow.directories import CompiledDirectory, Look, leads_to
from roadworthy.gate.flow.labelled import (
    CompiledFlow,
    Destination,
    FlowPolicy,
    Labelled,
    Labels,
    Sink,
    at,
    is_destination,
    leaves_of,
    written,
)
from roadworthy.gate.flow.leaks import MOST_LOOKED, Leaks, Match, Pattern
from roadworthy.gate.policy import Policy, ToolPolicy
from roadworthy.gate.state import RunState

Spoken = Literal["reply", "ask_user", "escalate"]
"""What carries text out beside tools."""


MOST_LOOKS = 8
"""Look-ups that the gate makes by itself for one call: who writes to more strangers than that waits for a person."""


def judge_call(policy: Policy, state: RunState, tool: ToolPolicy, args: Mapping[str, Any]) -> list[Reason]:
    """What speaks against the data in a call, and against where it goes. The time depends on the call alone."""
    flow, run = policy.flow, state.flow
    sink = flow.sinks.get(tool.name) if flow is not None else None
    if flow is None or run is None or sink is None:
        return []
    reasons: list[Reason] = []
    addressees = _addressees(sink, args)
    for place, value in addressees:
        if not _vouched(place, value, state, run):
            reasons.append(_stranger(tool.name, place, value))
    leaks = run.leaks
    if leaks is not None and not leaks:
        leaks = None
    if leaks is None and not sink.links and not sink.claims:
        return reasons
    texts: list[str] = []
    free: list[str] = []
    leaves = leaves_of(args, ())
    for path, value in leaves:
        named = is_destination(sink, path)
        text = value if isinstance(value, str) else written(value)
        if not named:
            free.append(text)
        elif _is_address(sink, text, run):
            continue
        texts.append(text)
    if leaks is not None:
        to = [value for _, value in addressees]
        common = [s for path, v in leaves if path for s in leaks.common(path[-1], v)]
        _labels(policy, state, sink, leaks, "\n".join(texts), common, to, reasons)
    if sink.links:
        _links(flow, state, sink, free, reasons)
    if sink.claims and (not addressees or any(_is_subjects(p, v, state, run) for p, v in addressees)):
        _claims(state, run, sink, "\n".join(free), reasons)
    return reasons


def judge_text(policy: Policy, state: RunState, sink: Spoken, text: str) -> list[Reason]:
    """What speaks against telling the user, or staff, a text."""
    flow, run = policy.flow, state.flow
    found = flow.sinks.get(sink) if flow is not None else None
    if flow is None or run is None or found is None:
        return []
    reasons: list[Reason] = []
    if run.leaks:
        _labels(policy, state, found, run.leaks, text, (), (), reasons)
    if found.links:
        _links(flow, state, found, (text,), reasons)
    if found.claims:
        _claims(state, run, found, text, reasons)
    return reasons


def lookups(policy: Policy, state: RunState, tool: ToolPolicy, args: Mapping[str, Any]) -> list[Look]:
    """The look-ups that may find that a directory knows a destination after all, at most `MOST_LOOKS` for one call.

    None that was made already in this run.
    """
    flow, run = policy.flow, state.flow
    sink = flow.sinks.get(tool.name) if flow is not None else None
    if run is None or sink is None:
        return []
    found: list[Look] = []
    for place, value in _addressees(sink, args):
        if _vouched(place, value, state, run):
            continue
        for directory in place.directories:
            if directory.verify is not None and not run.entries.was_asked(directory, value):
                name, taken = directory.verify
                look = Look(directory=directory.name, tool=name, args=dict.fromkeys(taken, value))
                if look not in found:
                    found.append(look)
    return found[:MOST_LOOKS]


# Arguments -----------------------------------------------------------------------------------------------------------


def _addressees(sink: Sink, args: Mapping[str, Any]) -> list[tuple[Destination, str]]:
    found: list[tuple[Destination, str]] = []
    for place in sink.destinations:
        if len(place.path) == 1:  # by far the most
            value = args.get(place.path[0])
            if value is not None:
                found.append((place, str(value)))
        else:
            found += [(place, str(value)) for value in at(args, place.path)]
    return found


def _is_address(sink: Sink, text: str, run: Labelled) -> bool:
    """Whether a destination holds an address and nothing besides; where it goes is judged, it gives nothing away."""
    if "://" in text:
        return False
    if any(run.entries.owners(d, text) is not None for place in sink.destinations for d in place.directories):
        return True
    return run.leaks is None or run.leaks.whole(text)


# Destinations --------------------------------------------------------------------------------------------------------


def _vouched(place: Destination, value: str, state: RunState, run: Labelled) -> bool:
    if leads_to(place.prefixes, value):
        return True
    return any(run.entries.vouches(directory, value, state.own) for directory in place.directories)


def _stranger(tool: str, place: Destination, value: str) -> Reason:
    cure = (
        "Use a destination from there, or escalate to a person."
        if place.otherwise == "deny"
        else "A person must approve it; a destination from there needs nobody."
    )
    text = f"{'.'.join(place.path)} of {tool} is {_shown(value)}, which is not known to {place.named}. {cure}"
    return Reason(rule="destinations", code="stranger_destination", text=text, ruling=place.otherwise)


def _is_subjects(place: Destination, value: str, state: RunState, run: Labelled) -> bool:
    for directory in place.directories:
        owners = run.entries.owners(directory, value)
        if owners is not None and directory.personal and not owners.isdisjoint(state.own):
            return True
    return False


# Labels --------------------------------------------------------------------------------------------------------------

_Broken = tuple[str, CompiledFlow | None]
"""A label, and the flow rule that it breaks; None: the label's own readers."""


def _labels(
    policy: Policy,
    state: RunState,
    sink: Sink,
    leaks: Leaks,
    text: str,
    common: Sequence[Any],
    to: Sequence[str],
    reasons: list[Reason],
) -> None:
    if not sink.outward and not sink.rules:
        return
    looked = leaks.look(text)
    if leaks.full or len(text) > MOST_LOOKED or looked.unread:
        what = (
            "there is more labelled data in this run" if leaks.full
            else "the text is longer" if len(text) > MOST_LOOKED
            else "more of the text is encoded"
        )  # fmt: skip
        reasons.append(
            Reason(
                rule="flow",
                code="exfiltrated",
                text=f"{sink.name} cannot be judged: {what} than can be looked over. Write less, or escalate.",
                ruling="deny",
            )
        )
        return
    if not looked.readings and not looked.pieced and not common:
        return
    flow = cast("FlowPolicy", policy.flow)
    broken: dict[_Broken, list[str]] = {}
    judged: dict[Pattern, list[tuple[_Broken, str]]] = {}

    def judge(pattern: Pattern) -> list[tuple[_Broken, str]]:
        if pattern not in judged:
            sources = cast("list[Labels]", pattern.sources)
            judged[pattern] = _judge(flow, state, sink, sources, to, heard=pattern.heard)
        return judged[pattern]

    for _, matches in looked.readings:
        allowed = [match for match in matches if not judge(match.pattern)]
        for match in matches:
            if not _within(match, allowed):
                for what, origin in judge(match.pattern):
                    broken.setdefault(what, []).append(origin)
    for pattern in looked.pieced:
        for what, origin in judge(pattern):
            broken.setdefault(what, []).append(origin)
    if common:
        for what, origin in _judge(flow, state, sink, cast("Sequence[Labels]", common), to, heard=False):
            broken.setdefault(what, []).append(origin)
    for (label, rule), origins in broken.items():
        reasons.append(_exfiltrated(flow, state, sink, label, rule, list(dict.fromkeys(origins))))


def _within(match: Match, allowed: Sequence[Match]) -> bool:
    """Whether what was found is only a part of something that may be there."""
    size = match.end - match.start
    return any(a.start <= match.start and match.end <= a.end and a.end - a.start > size for a in allowed)


def _judge(
    flow: FlowPolicy, state: RunState, sink: Sink, sources: Sequence[Labels], to: Sequence[str], *, heard: bool
) -> list[tuple[_Broken, str]]:
    """What a value breaks by being in a sink, and where it is from; several may own the same value, and each may
    have it."""
    found: list[tuple[_Broken, str]] = []
    for label in dict.fromkeys(label for source in sources for label in source.labels):
        having = [source for source in sources if label in source.labels]
        verdicts = [_broken(flow, state, sink, label, source, to, heard=heard) for source in having]
        if not any(verdict is False for verdict in verdicts):
            origin = having[0].origin
            found.append(((label, cast("CompiledFlow | None", verdicts[0])), origin))
    return found


def _broken(
    flow: FlowPolicy, state: RunState, sink: Sink, label: str, source: Labels, to: Sequence[str], *, heard: bool
) -> CompiledFlow | Literal[False] | None:
    """The rule that is broken, None for the label's readers, False where all is well."""
    readers, rules = flow.readers[label], sink.rules.get(label, ())
    if readers == "nobody" and sink.outward:
        return next((rule for rule in rules if rule.then == "deny"), None)
    if heard and sink.to_user:
        return False
    for rule in rules:
        if not _keeps(flow, state, sink, rule, source, to):
            return rule
    if rules or not sink.outward:
        return False
    if readers == "owner":
        if sink.to_user:
            return False if _is_own(flow, state, source) else None
        own = bool(to) and all(_is_owners(flow, state, sink, source, value) for value in to)
        return False if own else None
    return None


def _keeps(
    flow: FlowPolicy, state: RunState, sink: Sink, rule: CompiledFlow, source: Labels, to: Sequence[str]
) -> bool:
    if sink.staff is not None:
        return any(sink.staff in flow.readers[label] for label in source.labels if _are_roles(flow, label))
    if rule.only_to is None:
        return False
    if sink.to_user:
        return rule.only_to.of is not None and _is_own(flow, state, source)
    return bool(to) and all(_is_entry(flow, state, rule.only_to, source, value) for value in to)


def _are_roles(flow: FlowPolicy, label: str) -> bool:
    return not isinstance(flow.readers[label], str)


def _is_own(flow: FlowPolicy, state: RunState, source: Labels) -> bool:
    """Whether data belongs to the user that the run speaks to."""
    if not source.owners:
        return state.subject is not None or flow.subject is None
    return source.owners <= state.own


def _is_entry(flow: FlowPolicy, state: RunState, directory: CompiledDirectory, source: Labels, value: str) -> bool:
    """Whether a destination is what a directory holds for the owner of data."""
    run = cast("Labelled", state.flow)
    owners = run.entries.owners(directory, value)
    if owners is None:
        return False
    if directory.of is None:
        return True
    if source.owners and source.owners <= owners:
        return True
    return flow.subject is not None and _is_own(flow, state, source) and not owners.isdisjoint(state.own)


def _is_owners(flow: FlowPolicy, state: RunState, sink: Sink, source: Labels, value: str) -> bool:
    """Whether a destination is its owner's by any of the directories that the call is held to."""
    directories = dict.fromkeys(d for place in sink.destinations for d in place.directories if d.of is not None)
    return any(_is_entry(flow, state, directory, source, value) for directory in directories)


def _exfiltrated(
    flow: FlowPolicy, state: RunState, sink: Sink, label: str, rule: CompiledFlow | None, origins: Sequence[str]
) -> Reason:
    what = ", ".join(origins[:3]) + (" and more" if len(origins) > 3 else "")
    readers = flow.readers[label]
    if rule is not None and not (readers == "nobody" and sink.outward):
        because = rule.because[:-1] if rule.because.endswith(".") else rule.because
        why = f"{because} (rule {rule.id})."
    elif readers == "nobody":
        why = "It never leaves."
    elif readers == "owner":
        why = "Only the person whom it belongs to may read it."
    else:
        why = f"Only {', '.join(sorted(readers))} may read it."
    if sink.to_user and readers == "owner" and state.subject is None and flow.subject is not None:
        why += " It is not known yet who the user is."
    cure = "Leave it out, however it is written."
    ruling: Ruling = rule.then if rule is not None else "deny"
    if ruling == "ask" and not sink.to_user:
        cure = "A person must approve it; without it nobody needs to."
    return Reason(
        rule=rule.id if rule is not None else "flow",
        code="exfiltrated",
        text=f"This {_NAMES.get(sink.name, f'call of {sink.name}')} holds {label} data ({what}). {why} {cure}",
        ruling=ruling,
    )


_NAMES = {"reply": "reply", "ask_user": "question to the user", "escalate": "hand-over"}


# Links ---------------------------------------------------------------------------------------------------------------


def _links(flow: FlowPolicy, state: RunState, sink: Sink, texts: Sequence[str], reasons: list[Reason]) -> None:
    strange: dict[str, str] = {}
    run = cast("Labelled", state.flow)
    for text in texts:
        found = links.links_in(text)
        if not found:
            continue
        loaded = run.leaks is not None and links.loads(text)
        for link in found:
            standing = _standing(flow, state, link)
            if standing == "stranger" and sink.to_user and _asked_for(state, link):
                continue
            if standing in ("stranger", "nowhere"):
                strange.setdefault(link, standing)
            elif run.leaks is not None and (standing == "near" or (standing == "declared" and loaded)):
                _carried(run.leaks, link, reasons)
    if not strange:
        return
    first = next(iter(strange))
    also = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
    whence = (
        "was read in text that outsiders can write"
        if "stranger" in strange.values()
        else "was given neither by the user nor by a tool that can be trusted"
    )
    ruling: Ruling = "deny" if sink.to_user else "ask"
    cure = (
        "Leave it out, or ask the user whether that site is meant."
        if sink.to_user
        else "Leave it out, or a person must approve it."
    )
    text = f"The link {_shown(first)}{also} {whence}. {cure}"
    reasons.append(Reason(rule="links", code="stranger_link", text=text, ruling=ruling))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _asked_for(state: RunState, written: str) -> bool:
    """Whether a link is verbatim from what was read, so that it can carry nothing out, and the user named its site."""
    link, run = links.read(written), cast("Labelled", state.flow)
    return link is not None and run.seen is not None and link.host in run.seen.named and run.seen.was_read(link)


def _carried(leaks: Leaks, link: str, reasons: list[Reason]) -> None:
    """A link that the agent has put together takes with it what stands in it, whoever reads the text around it."""
    looked = leaks.look(link)
    carried = [m.pattern for _, matches in looked.readings for m in matches]
    if carried:
        origins = dict.fromkeys(cast("Labels", source).origin for pattern in carried for source in pattern.sources)
        what = ", ".join(list(origins)[:3])
        text = f"A link of this text carries labelled data ({what}) to its host. Leave the data out of the link."
        reasons.append(Reason(rule="links", code="exfiltrated", text=text, ruling="deny"))


def _standing(flow: FlowPolicy, state: RunState, address: str) -> links.Standing | Literal["declared"]:
    link = links.read(address)
    if link is None:
        return "nowhere"
    run = cast("Labelled", state.flow)
    standing = run.seen.standing(link) if run.seen is not None else "nowhere"
    if standing == "known":
        return standing
    for prefix in flow.prefixes:
        if links.begins(link if link.scheme else replace(link, scheme=prefix.scheme), prefix):
            return "declared"
    if standing == "near" or not link.host:
        return standing
    given = links.SeenLinks()
    given.learn(flow.known_links, trusted=True)
    for _, value in leaves_of(state.facts, ()):
        if isinstance(value, str):
            given.learn(value, trusted=True)
    there = given.standing(link)
    return there if there in ("known", "near") else standing


# Claims --------------------------------------------------------------------------------------------------------------


def _claims(state: RunState, run: Labelled, sink: Sink, text: str, reasons: list[Reason]) -> None:
    said: str | None = None
    for claim in sink.claims:
        if run.done.get(claim.needs, 0) > 0:
            continue
        if claim.needs in run.simulated and all(state.levels[name] == "shadow" for name in state.capabilities):
            continue
        said = said if said is not None else plain(text)
        words = claimed(said, claim)
        if words is not None:
            shown = " ".join(words.split())
            text_of = (
                f'Do not tell the user "{shown}": {claim.needs} was not carried out in this run. Say that it has '
                f"not been done, or do it first."
            )
            reasons.append(Reason(rule="claims", code="untrue_claim", text=text_of, ruling="deny"))
