"""Why one action was allowed, held or denied, and what came of it: everything that a ledger knows, in one place.

Entries only are read, those of the action's run and of its contract. Nothing is judged anew, and no signature is
verified here: what a gate has believed shows in what it then did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final, Protocol, TypeAlias, cast

from roadworthy.core.canonical import dumps
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Entry, Kind, Realm
from roadworthy.ledger.agents import agents_of, several_agents, told_of, tree_of
from roadworthy.ledger.rows import RunSummary
from roadworthy.ledger.withheld import marked

Fields: TypeAlias = Mapping[str, Any]
"""What an entry says, with `at` beside it."""

CUT: Final = 600
"""So many characters of one value are told in words."""


Inherits: TypeAlias = Callable[[Fields, Fields], bool]
"""Whether the contract in the body of one `contract` entry only narrows that in another, older one."""


class Reader(Protocol):
    """What is asked of a ledger."""

    def entries(self, *, run: str | None = None, kind: Kind | None = None) -> Iterator[Entry]: ...
    def controls(self, after: int = 0) -> Sequence[Entry]: ...
    def runs(self) -> Iterator[RunSummary]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One action with all that led to it and followed from it. The order of lists is that of the ledger."""

    action: str
    run: str
    at: datetime
    world: Realm
    tool: str
    args: Fields
    call_id: str | None
    """The model's id of the call, where there was one."""
    by: str | None
    """Why the gate itself made the call: `verify`, `before`, `lookup`, `undo`; None: the agent did."""
    serves: str | None
    """The action for which the gate made it."""
    state: str
    """How it stands: the status of its last outcome, `undone`, or before there is one `denied`, `clarify`, `held`,
    `running`: begun, and nothing says how it ended."""
    who: Fields
    """`agent` (the contract's), `principal`, `subject`, `requester`, `capability`, `owner`; where the application has
    several agents, `asked_by` (the name of the one that asked) and `through` (how each came to its work, in words, from
    that one up to the first)."""
    law: Fields
    """The contract that it was judged by: `version`, `digest`, `approver` (the role that its capability asks), `people`
    (who holds each role), `asks` (roles that must sign, by level) and `signatures` (those that stood there then, each
    with `by`, `role`, `level`, `at`, and `version` where it is that of another one which this one only narrows)."""
    heard: str | None
    """What the user had said last before it."""
    verdicts: tuple[Fields, ...]
    """Each time that it was judged: `ruling`, `level`, `enforced`, `reasons`, `origins`."""
    rules: tuple[Fields, ...]
    """The contract's rules that were among the reasons, as it writes them."""
    questions: tuple[Fields, ...]
    """What was put to people and what they saw, each with its `answers`."""
    calls: tuple[Fields, ...]
    """What the gate itself called for it: `by`, `action`, `tool`, `args`, `status`, `text`."""
    carried: tuple[Fields, ...]
    """Each time that it was begun: `key`, `before`, `reserved`, `approved`; `args` where a person had changed them."""
    outcomes: tuple[Fields, ...]
    """What it came to: `status`, `done`, `value`, `text` (what the model was told), `settled_by`, `decided`."""
    drift: tuple[Fields, ...]
    """In what the tool's answer was not what it was or should be."""
    undone: tuple[Fields, ...]
    """Who took it back or tried to: `came`, `by`, `because`, `with` (the action that did it), `text`."""
    handed_over: tuple[Fields, ...]
    """Where a person took over because of it."""
    signals: tuple[Fields, ...]
    """What was reported of its run later: `name`, `value`, `by`, `happened`."""
    trace: str | None
    """The span that told of it through OpenTelemetry, `TRACE-SPAN`, where somebody listened."""


# Finding it -----------------------------------------------------------------------------------------------------------


def _parts(action: str) -> tuple[str, str]:
    """The run of an action's id, and what stands behind it; ids of questions and of causes lead to their action."""
    run, _, tail = action.rpartition("#")
    return run, tail.partition("~")[0].partition("/")[0]


def _number(id: str) -> str:
    return id.rpartition("#")[2].partition(".")[0]


def find(ledger: Reader, action: str) -> tuple[str, list[Entry]]:
    """The id of an action and the entries of its run. `RUN#3` is enough where a run has one third action.

    Raises UsageError, which names the nearest, for an id that leads nowhere.
    """
    run, tail = _parts(action)
    entries = [marked(entry) for entry in ledger.entries(run=run)] if run else []
    if not entries:
        raise UsageError(_no_such_run(ledger, action, run))
    ids = [str(entry.body.get("id")) for entry in entries if entry.kind == "action"]
    wanted = f"{run}#{tail}"
    if wanted in ids:
        return wanted, entries
    alike = [id for id in ids if "." not in tail and _number(id) == tail]
    if len(alike) == 1:
        return alike[0], entries
    if alike:
        raise UsageError(f"several processes have made an action {action}: name one of {', '.join(alike)}")
    if not ids:
        raise UsageError(f"run {run!r} has no actions: the agent called no tool in it")
    near = get_close_matches(wanted, ids, n=1)
    cure = f"do you mean {near[0]}?" if near else f"it has {_some(ids)}"
    raise UsageError(f"run {run!r} has no action {action!r}; {cure}")


def _no_such_run(ledger: Reader, action: str, run: str) -> str:
    known = [summary.run for summary in ledger.runs()]
    if action in known:
        ids = [str(entry.body.get("id")) for entry in ledger.entries(run=action, kind="action")]
        return f"{action!r} is a run, and not an action; {f'it has {_some(ids)}' if ids else 'it has no actions'}"
    near = get_close_matches(run or action, known, n=1)
    cure = f"do you mean run {near[0]!r}?" if near else "`roadworthy ledger show` lists the runs"
    if not run:
        return f"{action!r} is no action; ids look like RUN#1, and {cure}"
    return f"there is no run {run!r}, and so no action {action!r}; {cure}"


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids) if len(ids) <= 5 else f"{ids[0]} to {ids[-1]}, {len(ids)} in all"


# Gathering ------------------------------------------------------------------------------------------------------------


def _root(cause: str | None) -> str:
    return (cause or "").partition("~")[0]


def _of(entry: Entry) -> dict[str, Any]:
    # Why parts are missing is said only where some are, so that nobody need look for it elsewhere.
    withheld = {"withheld": sorted(entry.withheld)} if entry.withheld else {}
    return {"at": entry.at, **entry.body, **withheld}


@dataclass(slots=True)
class _Found:
    """What the entries of one run say of one action."""

    id: str
    action: Entry | None = None
    run: dict[str, Any] = field(default_factory=dict[str, Any])
    """What was known of the run when the action came; later words win."""
    heard: str | None = None
    by_kind: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    calls: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    asked: list[Entry] = field(default_factory=list[Entry])
    answers: list[Entry] = field(default_factory=list[Entry])
    approved: str | None = None
    """The action whose approval this one used, where it is another one."""

    def take(self, entry: Entry) -> None:
        kind, body = entry.kind, entry.body
        if kind == "run" and self.action is None:
            self.run.update({key: value for key, value in body.items() if value is not None})
        elif kind == "heard" and self.action is None:
            self.heard = str(body.get("text", ""))
        elif kind == "action" and body.get("id") == self.id:
            self.action = entry
        elif kind == "action" and body.get("for") == self.id:
            made = {key: body.get(key) for key in ("by", "tool", "args")}
            self.calls[str(body.get("id"))] = {
                "at": entry.at, "action": body.get("id"), **made, "status": None, "text": None,
            }  # fmt: skip
        elif kind == "question":
            self.asked.append(entry)
        elif kind == "answer":
            self.answers.append(entry)
        elif kind == "undo" and body.get("action") == self.id:
            self.by_kind.setdefault(kind, []).append(entry)
        elif _root(entry.cause) == self.id:
            self.by_kind.setdefault(kind, []).append(entry)
            if kind == "intent" and body.get("approved") not in (None, self.id):
                self.approved = str(body["approved"])
        elif kind == "outcome" and _root(entry.cause) in self.calls:
            self.calls[_root(entry.cause)].update(status=body.get("status"), text=body.get("text"))

    def all(self, kind: str) -> tuple[dict[str, Any], ...]:
        return tuple(_of(entry) for entry in self.by_kind.get(kind, ()) if entry.kind == kind)

    def questions(self) -> tuple[dict[str, Any], ...]:
        found: list[dict[str, Any]] = []
        for entry in self.asked:
            # Questions of trials and of earlier ledgers name no action; their cause does.
            of = str(entry.body.get("action", _root(entry.cause)))
            if of not in (self.id, self.approved):
                continue
            id = entry.body.get("question", of)
            answers = [_of(a) for a in self.answers if a.body.get("question") == id]
            found.append({**_of(entry), "question": id, "answers": answers})
        return tuple(found)


def explain(ledger: Reader, action: str, *, inherits: Inherits | None = None) -> Explanation:
    """All that a ledger knows of an action. Raises UsageError for an id that leads nowhere.

    `inherits` tells which versions of a contract hand their signatures on; without it only its own are told.
    """
    id, entries = find(ledger, action)
    found = _Found(id=id)
    for entry in entries:
        found.take(entry)
    at = cast("Entry", found.action)
    body = at.body
    law, terms = _law(ledger, found.run, at, inherits)
    verdicts = tuple(_verdict(verdict) for verdict in found.all("verdict"))
    named = {str(reason.get("rule")) for verdict in verdicts for reason in verdict["reasons"]}
    outcomes, undone = found.all("outcome"), found.all("undo")
    return Explanation(
        action=id,
        run=str(at.run),
        at=at.at,
        world=at.world,
        tool=str(body.get("tool")),
        args=cast("Fields", body.get("args") or {}),
        call_id=body.get("call_id"),
        by=body.get("by"),
        serves=body.get("for"),
        state=_state(found, verdicts, outcomes, undone),
        who={
            "agent": found.run.get("agent") or law.get("agent"),
            "principal": body.get("principal"),
            "subject": body.get("subject"),
            "requester": found.run.get("requester"),
            "capability": body.get("capability"),
            "owner": law.pop("owner", None),
            **_asked_by(entries, id, body),
        },
        law=law,
        heard=found.heard,
        verdicts=verdicts,
        rules=tuple(rule for rule in _rules(terms) if rule.get("id") in named),
        questions=found.questions(),
        calls=tuple(found.calls.values()),
        carried=found.all("intent"),
        outcomes=outcomes,
        drift=found.all("drift"),
        undone=undone,
        handed_over=found.all("handover"),
        signals=tuple(_of(entry) for entry in entries if entry.kind == "signal" and entry.seq > at.seq),
        trace=body.get("trace"),
    )


def _asked_by(entries: Sequence[Entry], action: str, body: Fields) -> dict[str, Any]:
    """Which agent of the application asked; nothing where it has but one that nobody has named."""
    if not several_agents(entries):
        return {"asked_by": body["agent"]} if "agent" in body else {}
    chain = agents_of(tree_of(entries), action)
    named = [f"{one.agent or 'an agent'}{told_of(one.given.body) if one.given is not None else ''}" for one in chain]
    return {"asked_by": chain[0].agent if chain else body.get("agent"), "through": named}


def _state(found: _Found, verdicts: Sequence[Fields], outcomes: Sequence[Fields], undone: Sequence[Fields]) -> str:
    if any(one.get("came") == "undone" for one in undone):
        return "undone"
    if outcomes:
        return str(outcomes[-1].get("status"))
    if found.by_kind.get("intent"):
        return "running"
    if not verdicts:
        return "running"
    ruling = str(verdicts[-1]["ruling"])
    return {"deny": "denied", "ask": "held"}.get(ruling, ruling)


def _verdict(body: Fields) -> dict[str, Any]:
    return {
        "at": body["at"],
        "ruling": body.get("ruling"),
        "level": body.get("level"),
        "enforced": body.get("enforce", True),
        "reasons": body.get("reasons") or [],
        "origins": body.get("origins") or {},
    }


def _law(ledger: Reader, run: Fields, action: Entry, inherits: Inherits | None) -> tuple[dict[str, Any], Fields]:
    """The contract of a run, in short and as it was written down; what the ledger does not hold is left out."""
    digest = str(run.get("contract", ""))
    law: dict[str, Any] = {"agent": run.get("agent"), "version": run.get("version"), "digest": digest or None}
    held: dict[str, Fields] = {}
    for entry in ledger.entries(kind="contract"):
        held.setdefault(str(entry.body.get("digest")), entry.body)
    own = held.get(digest, {})
    terms = cast("Fields", own.get("contract") or {})
    if own:
        law |= {"agent": own.get("agent"), "owner": own.get("owner")}
    law["approver"] = _approver(terms, action.body.get("capability"))
    law["people"] = _holders(own)
    law["asks"] = terms.get("signatures") or {}
    handed_on: dict[str, bool] = {}
    law["signatures"] = signed = list[dict[str, Any]]()
    for entry in ledger.controls():
        of = str(entry.body.get("contract"))
        if entry.kind != "signature" or entry.seq > action.seq:
            continue
        one = {"at": entry.at, **{key: entry.body.get(key) for key in ("by", "role", "level")}}
        if of == digest:
            signed.append(one)
        elif inherits is not None and own and of in held and held[of].get("agent") == own.get("agent"):
            if of not in handed_on:
                handed_on[of] = inherits(own, held[of])
            if handed_on[of]:
                signed.append({**one, "version": held[of].get("version")})
    return law, terms


def _approver(terms: Fields, capability: object) -> str | None:
    spec = cast("Mapping[str, Fields]", terms.get("capabilities") or {}).get(str(capability)) or {}
    found = cast("Fields", spec.get("autonomy") or {}).get("approver")
    return found if isinstance(found, str) else None


def _holders(body: Fields) -> dict[str, list[str]]:
    """Who holds each role, by the people that were written down with a contract."""
    people = cast("Fields", body.get("people") or {})
    found: dict[str, list[str]] = {str(role): [] for role in cast("Sequence[Any]", people.get("roles") or ())}
    for name, member in cast("Mapping[str, Fields]", people.get("members") or {}).items():
        for role in cast("Sequence[Any]", member.get("roles") or ()):
            found.setdefault(str(role), []).append(name)
    return found


def _rules(terms: Fields) -> Iterator[Fields]:
    for key in ("rules", "flow"):
        for rule in cast("Sequence[Any]", terms.get(key) or ()):
            if isinstance(rule, Mapping):
                yield cast("Fields", rule)


# In words -------------------------------------------------------------------------------------------------------------

Line: TypeAlias = tuple[str, str]
"""What a line is about, in a word, and the line. Both hold strangers' text as it is: whoever shows it escapes it."""


def in_words(explanation: Explanation) -> list[Line]:
    """An explanation for people, in the order in which they ask: what, who, by which law, why, and what came of it."""
    return [*_what(explanation), *_who(explanation), *_why(explanation), *_people(explanation), *_came(explanation)]


def _written(value: Any) -> str:
    text = dumps(value).decode()
    return text if len(text) <= CUT else f"{text[:CUT]}… ({len(text):,} characters; --json shows all)"


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else dumps(value).decode()
    return text if len(text) <= CUT else f"{text[:CUT]}… ({len(text):,} characters; --json shows all)"


def _call(tool: Any, args: object) -> str:
    given: Fields = cast("Fields", args) if isinstance(args, Mapping) else {}
    return f"{tool}({', '.join(f'{name}={_written(value)}' for name, value in given.items())})"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


_STATES: Mapping[str, str] = {
    "ok": "done",
    "undone": "done, and taken back",
    "denied": "not done: denied",
    "clarify": "not done: the user must say more first",
    "held": "held: a person must decide",
    "failed": "failed: nothing was done",
    "in_doubt": "in doubt: it may or may not have been done",
    "running": "begun, and nothing says how it ended: it runs, or it is in doubt",
    "allow": "allowed, and never begun",
}

_BECAUSE_OF: Mapping[str, str] = {
    "verify": "the gate itself looked up a value for",
    "before": "the gate itself read what an undo would restore, for",
    "lookup": "the gate itself looked up whether it was done, for",
    "undo": "the gate itself took back",
}


def _what(e: Explanation) -> Iterator[Line]:
    yield "action", _call(e.tool, e.args)
    yield "", f"{e.action}, {_time(e.at)} UTC, world {e.world}"
    if e.by is not None:
        yield "", f"{_BECAUSE_OF.get(e.by, f'the gate itself called it ({e.by}), for')} {e.serves or 'the run'}"
    if e.trace is not None:
        yield "", f"span {e.trace.partition('-')[2]} of trace {e.trace.partition('-')[0]}"
    simulated = any(one.get("done") == "simulated" for one in e.outcomes[-1:])
    yield "state", "simulated: nothing was changed" if simulated else _STATES.get(e.state, e.state)


def _who(e: Explanation) -> Iterator[Line]:
    who, law = e.who, e.law
    subject = f"for {who['subject']}" if who.get("subject") else "for nobody known"
    asked = f", wanted by {who['requester']}" if who.get("requester") else ""
    if who.get("through") or who.get("asked_by"):
        first, *others = who.get("through") or (who["asked_by"],)
        yield "agent", _cut(first)
        for other in others:
            yield "", f"under {_cut(other)}"
    yield "who", f"{who.get('agent') or 'an agent'}, run by {who.get('principal')}, {subject}{asked}"
    owner = who.get("owner")
    if isinstance(owner, Mapping):
        named = cast("Fields", owner)
        yield "owner", f"{named.get('accountable')}, {named.get('team')}"
    digest = str(law.get("digest") or "")
    yield "contract", f"version {law.get('version') or '?'}, digest {digest[:12] or 'not known'}"
    asks, signed = cast("Fields", law["asks"]), cast("Sequence[Fields]", law["signatures"])
    people = cast("Mapping[str, Sequence[str]]", law.get("people") or {})
    if law.get("approver"):
        role = str(law["approver"])
        held = f" ({', '.join(people[role])})" if people.get(role) else ""
        yield "approver", f"{role}{held} decides what {who.get('capability')} must ask"
    for one in signed:
        of = f", for version {one['version']}, which this one only narrows" if "version" in one else ""
        yield "signed", f"for {one.get('level')} by {one.get('by')}, as {one.get('role')}{of}"
    if asks and not signed:
        yield "signed", "by nobody; a version that only narrows a signed one inherits its signatures"
    elif not asks:
        yield "signed", "no signatures are asked for"


def _why(e: Explanation) -> Iterator[Line]:
    if e.heard is not None and e.by is None:
        yield "user", f"had said: {_cut(e.heard)}"
    for verdict in e.verdicts:
        under = f"capability {e.who['capability']}" if e.who.get("capability") else "no capability"
        watched = "" if verdict["enforced"] else "; NOT ENFORCED: this was recorded, and the tool ran"
        yield str(verdict["ruling"]), f"{under}, level {verdict['level']}{watched}"
        reasons = cast("Sequence[Fields]", verdict["reasons"])
        if not reasons:
            yield "", "nothing spoke against it"
        for reason in reasons:
            would = "" if reason.get("enforced", True) else " (would have; not enforced)"
            head = f"{reason.get('ruling')} by {reason.get('rule')} ({reason.get('code')}){would}"
            yield "", f"{head}: {_cut(reason.get('text', ''))}"
        for name, places in cast("Mapping[str, Sequence[str]]", verdict["origins"]).items():
            yield "seen", f"{name}: {', '.join(places) if places else 'nowhere'}"
    for rule in e.rules:
        when = f"when {rule['when']}" if rule.get("when") else "whenever its tool is called"
        yield "rule", f"{rule.get('id')}, as the contract writes it: {when}; because {rule.get('because')}"


def _people(e: Explanation) -> Iterator[Line]:
    for question in e.questions:
        role = question.get("role") or "a person"
        more = f", {question['approvals']} people" if question.get("approvals", 1) != 1 else ""
        until = f", until {question['expires']}" if question.get("expires") else ""
        yield "asked", f"{role}{more}{until} ({question['question']}): {_cut(question.get('text', ''))}"
        if "tool" in question:
            yield "", f"they saw {_call(question['tool'], question.get('args'))}"
        for name, places in cast("Mapping[str, Sequence[str]]", question.get("origins") or {}).items():
            yield "", f"{name} was seen: {', '.join(places) if places else 'nowhere'}"
        answers = cast("Sequence[Fields]", question["answers"])
        for answer in answers:
            yield "answer", _answered(answer)
        if not answers:
            yield "answer", "none stands in the ledger"


def _answered(answer: Fields) -> str:
    role = f", as {answer['role']}" if answer.get("role") else ""
    signed = ", signed" if answer.get("signature") else ", not signed"
    if answer.get("withheld"):
        signed = f", signature {answer.get('signature')}" if str(answer.get("signature"))[:1] == "[" else signed
    because = f": {_cut(answer['because'])}" if answer.get("because") else ""
    changed = f"; to {_written(answer['args'])}" if answer.get("args") is not None else ""
    words = f"; in words: {_cut(answer['text'])}" if answer.get("text") else ""
    return f"{answer.get('ruling')}, by {answer.get('by')}{role}{signed}{because}{changed}{words}"


def _came(e: Explanation) -> Iterator[Line]:
    for call in e.calls:
        if call["by"] != "undo":
            came = f"{call['status']}: {_cut(call['text'])}" if call["status"] else "nothing says how it ended"
            yield "gate", f"{call['by']}: {_call(call['tool'], call['args'])}, {came}"
    for begun in e.carried:
        key = f" with key {begun['key']}" if begun.get("key") not in (None, e.action) else ""
        after = f", as approved under {begun['approved']}" if begun.get("approved") else ""
        changed = f", changed by a person to {_written(begun['args'])}" if "args" in begun else ""
        yield "begun", f"{_time(begun['at'])} UTC{key}{after}{changed}"
        if "before" in begun:
            yield "", f"before it there was {_written(begun['before'])}"
    for outcome in e.outcomes:
        by = f", settled by {outcome['settled_by']}" if outcome.get("settled_by") else ""
        yield str(outcome.get("status")), f"{outcome.get('done')}{by}, {_time(outcome['at'])} UTC"
        if outcome.get("value") is not None:
            yield "returned", _cut(outcome["value"])
        if outcome.get("text"):
            yield "told", _cut(outcome["text"])
    for drift in e.drift:
        yield "drift", _cut(drift.get("text") or {key: value for key, value in drift.items() if key != "at"})
    back = {str(call["action"]): call for call in e.calls if call["by"] == "undo"}
    for undone in e.undone:
        asked = f", for {undone.get('by')}" if undone.get("came") != "undone" else ""
        yield str(undone.get("came")), f"{_time(undone['at'])} UTC{asked}: {_cut(undone.get('text', ''))}"
    for call in back.values():
        came = f"{call['status']}: {_cut(call['text'])}" if call["status"] else "nothing says how it ended"
        yield "undo", f"{call['action']}: {_call(call['tool'], call['args'])}, {came}"
    for handover in e.handed_over:
        yield "person", f"{handover.get('to') or 'a person'} takes over: {_cut(handover.get('reason', ''))}"
    for signal in e.signals:
        value = f": {_cut(signal['value'])}" if signal.get("value") is not None else ""
        by = f", reported by {signal['by']}" if signal.get("by") else ""
        yield "later", f"{signal.get('name')}{value}{by}, {signal.get('happened') or _time(signal['at']) + ' UTC'}"
