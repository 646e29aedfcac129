"""What changed between two versions of a contract: what allows more, what allows less, and what nobody can tell.

Every difference counts as widening until somebody has thought about it: each part is compared field by field, and a
field without a comparison of its own is `unclear`. Whether a version only narrows another one is decided from this list
alone (`contract.narrow`), so what people read before they sign is what the gate goes by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias, cast

from roadworthy.contract.model import (
    Ask,
    Autonomy,
    Budgets,
    Capability,
    Contract,
    Criterion,
    DayBudget,
    Escalate,
    Evidence,
    FlowRule,
    LedgerDown,
    Owner,
    Part,
    PrincipalSpec,
    Rule,
    ToolSet,
)
from roadworthy.contract.people import Member, People
from roadworthy.core import canonical
from roadworthy.core.errors import Finding
from roadworthy.core.types import LEVELS, STRICTNESS, Level

Kind = Literal["widens", "unclear", "narrows", "neutral"]
"""widens: something more is allowed, or somebody else decides. unclear: it may be more or less, so it counts as more.
narrows: something less is allowed. neutral: what is allowed stays the same."""

WIDENING: frozenset[Kind] = frozenset({"widens", "unclear"})

Path: TypeAlias = tuple[str | int, ...]
Compare: TypeAlias = "Callable[[Any, Any, Path], Iterator[Change]]"

_LONG = 90
"""So many characters of a value are told."""
_ACTING = ("write", "send")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference, in words."""

    kind: Kind
    path: Path
    """Where it stands: in the new contract, or in the old one where that thing is `gone`."""
    text: str
    gone: bool = False


def differences(old: Contract, new: Contract) -> list[Change]:
    """All that changed from `old` to `new`, in the order in which contracts are written; empty for equal meanings."""
    if old.digest == new.digest:
        return []
    found = list(_contract(old, new))
    if not found:
        told = _orderless(_data(old)) == _orderless(_data(new))
        text = "only the order of names differs" if told else "something differs that is not understood here"
        found.append(Change(kind="neutral" if told else "unclear", path=(), text=text))
    return found


def place_of(change: Change, old: Contract, new: Contract) -> Finding:
    """A change as a finding with file, line and column, as far as its contract was read from a file."""
    finding = Finding(text=change.text, path=change.path, code=change.kind, severity="note")
    return (old if change.gone else new).located(finding)


# What all comparisons are made of -------------------------------------------------------------------------------------


def _data(value: Any) -> Any:
    if isinstance(value, Part):
        return value.model_dump(mode="python", by_alias=True)
    if isinstance(value, Mapping):
        return {str(k): _data(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_data(v) for v in cast("Sequence[Any]", value)]
    return value


def same(old: Any, new: Any) -> bool:
    """Whether two parts mean the same. 1 and true, which Python takes for equal, do not."""
    return canonical.dumps(_data(old)) == canonical.dumps(_data(new))


def _orderless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _orderless(v) for k, v in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return sorted((_orderless(v) for v in cast("Sequence[Any]", value)), key=canonical.dumps)
    return value


def told(value: Any) -> str:
    """A value as a change tells it: short, and without what was left out of the contract."""
    if value is None:
        return "nothing"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Part):
        value = value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    elif not isinstance(value, str):
        value = _data(value)
    text = value if isinstance(value, str) else canonical.dumps(value).decode()
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def seconds(value: float | None) -> str:
    """A duration as a change tells it."""
    if value is None:
        return "no limit"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if value >= size and value % size == 0:
            return f"{int(value // size)}{unit}"
    return f"{value:g}s"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return ", ".join(sorted(names))


def unclear(old: Any, new: Any, path: Path) -> Iterator[Change]:
    """A difference that nobody has thought about."""
    where = ".".join(map(str, path))
    yield Change(kind="unclear", path=path, text=f"{where} was {told(old)} and is {told(new)}")


def wording(what: str) -> Compare:
    """A difference that people and models read, and no decision."""

    def compare(old: Any, new: Any, path: Path) -> Iterator[Change]:
        del old
        yield Change(kind="neutral", path=path, text=f"{what} is worded otherwise: {told(new)}")

    return compare


def limit(what: str, *, show: Callable[[Any], str] = lambda v: "no limit" if v is None else str(v)) -> Compare:
    """An upper limit; no limit is the widest."""

    def compare(old: Any, new: Any, path: Path) -> Iterator[Change]:
        lower = new is not None and (old is None or Decimal(str(new)) < Decimal(str(old)))
        change = f"{what}: {show(new)} instead of {show(old)}"
        yield Change(kind="narrows" if lower else "widens", path=path, text=change)

    return compare


def fields(old: Part, new: Part, path: Path, by: Mapping[str, Compare]) -> Iterator[Change]:
    """Compare all fields of two parts of one type, each by its own comparison, the others by `unclear`."""
    for name, spec in type(new).model_fields.items():
        was, now = getattr(old, name), getattr(new, name)
        if not same(was, now):
            yield from by.get(name, unclear)(was, now, (*path, spec.alias or name))


def complete(compare: Compare) -> Compare:
    """A comparison that knows all there is to know: where it finds nothing, only the way of writing differs."""

    def wrapped(old: Any, new: Any, path: Path) -> Iterator[Change]:
        found = list(compare(old, new, path))
        where = ".".join(map(str, path))
        yield from found or [Change(kind="neutral", path=path, text=f"{where} is written otherwise")]

    return wrapped


def nothing(old: Any, new: Any, path: Path) -> Iterator[Change]:
    """A field that is compared with others together, elsewhere."""
    del old, new, path
    yield from ()


def each(what: str) -> Compare:
    """Things with names, of which none may change without being unclear."""

    def compare(old: Any, new: Any, path: Path) -> Iterator[Change]:
        was, now = cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", new)
        for name in was:
            if name not in now:
                text = f"{what} {name} is gone"
                yield Change(kind="unclear", path=(*path, name), text=text, gone=True)
        for name, value in now.items():
            if name not in was:
                yield Change(kind="unclear", path=(*path, name), text=f"{what} {name} is new: {told(value)}")
            elif not same(was[name], value):
                text = f"{what} {name} was {told(was[name])} and is {told(value)}"
                yield Change(kind="unclear", path=(*path, name), text=text)

    return compare


# The whole ------------------------------------------------------------------------------------------------------------


def _contract(old: Contract, new: Contract) -> Iterator[Change]:
    from roadworthy.contract.diff_tools import tools_changed, types_changed

    def together(compare: Callable[[Contract, Contract], Iterator[Change]]) -> Compare:
        return lambda _old, _new, _path: compare(old, new)

    by: dict[str, Compare] = {
        "version": _version,
        "goal": wording("the goal"),
        "owner": _owner,
        "people": nothing,
        "signatures": complete(_signatures),
        "facts": each("the fact"),
        "entities": each("the entity"),
        "same_as": complete(_same_as),
        "labels": each("the label"),
        "directories": each("the directory"),
        "types": types_changed,
        "tools": nothing,
        "common": nothing,
        "capabilities": together(_capabilities),
        "rules": together(_rules),
        "flow": together(_flow),
        "claims": together(_claims),
        "budgets": _budgets,
        "principals": together(_principals),
        "hosted_tools": complete(_hosted),
        "escalate": _escalate,
        "ledger_down": _ledger_down,
    }
    yield from fields(old, new, (), by)
    yield from _people(old, new)
    # A type that changed shows at the tools that use it, however these are written.
    yield from tools_changed(old, new)
    yield from _open(old, new)


def _version(old: str, new: str, path: Path) -> Iterator[Change]:
    yield Change(kind="neutral", path=path, text=f"version {new} instead of {old}")


def _owner(old: Owner, new: Owner, path: Path) -> Iterator[Change]:
    def accountable(was: str, now: str, at: Path) -> Iterator[Change]:
        text = f"{now} answers for the agent, and raises its levels, instead of {was}"
        yield Change(kind="widens", path=at, text=text)

    yield from fields(old, new, path, {"accountable": accountable})


def _needed(signatures: Mapping[Level, Sequence[str]]) -> dict[Level, frozenset[str]]:
    needed: dict[Level, frozenset[str]] = {}
    roles: frozenset[str] = frozenset()
    for level in LEVELS:
        roles |= frozenset(signatures.get(level, ()))
        needed[level] = roles
    return needed


def _signatures(old: Mapping[Level, Sequence[str]], new: Mapping[Level, Sequence[str]], path: Path) -> Iterator[Change]:
    was, now = _needed(old), _needed(new)
    for level in LEVELS:
        at = (*path, level)
        if was[level] - now[level]:
            text = f"{level} no longer needs the signature of {listed(was[level] - now[level])}"
            yield Change(kind="widens", path=at, text=text, gone=level not in new)
        if now[level] - was[level]:
            text = f"{level} needs the signature of {listed(now[level] - was[level])} as well"
            yield Change(kind="narrows", path=at, text=text)


def _same_as(old: Sequence[Part], new: Sequence[Part], path: Path) -> Iterator[Change]:
    was, now = ({canonical.dumps(_data(b)): b for b in bridges} for bridges in (old, new))
    for key, bridge in was.items():
        if key not in now:
            text = f"the bridge {told(bridge)} is gone; its entity may be reached by other look-ups now"
            yield Change(kind="unclear", path=path, text=text, gone=True)
    for key, bridge in now.items():
        if key not in was:
            yield Change(kind="widens", path=path, text=f"there is one more bridge: {told(bridge)}")


def _ledger_down(old: LedgerDown, new: LedgerDown, path: Path) -> Iterator[Change]:
    def reads(was: str, now: str, at: Path) -> Iterator[Change]:
        del was
        kind: Kind = "narrows" if now == "deny" else "widens"
        text = f"while nothing can be recorded, reads {'stop' if now == 'deny' else 'go on'}"
        yield Change(kind=kind, path=at, text=text)

    yield from fields(old, new, path, {"reads": reads})


def _hosted(old: str | Sequence[str], new: str | Sequence[str], path: Path) -> Iterator[Change]:
    was, now = (set[str]() if isinstance(names, str) else set(names) for names in (old, new))
    if now - was:
        text = f"{listed(now - was)} may run at the model's provider, past the gate"
        yield Change(kind="widens", path=path, text=text)
    if was - now:
        text = f"{listed(was - now)} may no longer run at the model's provider"
        yield Change(kind="narrows", path=path, text=text)


def _escalate(old: Escalate | None, new: Escalate | None, path: Path) -> Iterator[Change]:
    if old is None or new is None:
        yield from unclear(old, new, path)
        return

    def on(was: Sequence[str], now: Sequence[str], at: Path) -> Iterator[Change]:
        before, after = set(was) or {"repeated_denial"}, set(now) or {"repeated_denial"}
        if before - after:
            text = f"a run is no longer handed over on {listed(before - after)}"
            yield Change(kind="widens", path=at, text=text)
        if after - before:
            yield Change(kind="narrows", path=at, text=f"a run is also handed over on {listed(after - before)}")

    yield from fields(old, new, path, {"on": complete(on)})


def _people(old: Contract, new: Contract) -> Iterator[Change]:
    path: Path = ("people",)
    if old.people != new.people:
        if old.people is None:
            text = f"people are named in {new.people}: answers and raised levels must be signed"
            yield Change(kind="unclear", path=path, text=text)
        elif new.people is None:
            text = "no people are named any more: answers need no signature"
            yield Change(kind="widens", path=path, text=text, gone=True)
        else:
            text = f"the people file is {new.people} instead of {old.people}"
            yield Change(kind="unclear", path=path, text=text)
    if old.people is None or new.people is None:
        return
    if old.members is None or new.members is None:
        if (old.members is None) != (new.members is None):
            text = "the people of one version could not be read, so nobody can tell who may decide now"
            yield Change(kind="unclear", path=path, text=text)
        return
    if old.members.digest != new.members.digest:
        yield from _members(old.members, new.members, path)


def _members(old: People, new: People, path: Path) -> Iterator[Change]:
    for name in old.members:
        if name not in new.members:
            # Whoever is no member can decide nothing.
            yield Change(kind="narrows", path=path, text=f"{name} may decide nothing any more")
    for name, member in new.members.items():
        was = old.members.get(name, Member(roles=()))
        if name not in old.members:
            text = f"{name} is new among the people, as {listed(member.roles)}"
            yield Change(kind="widens", path=path, text=text)
            continue
        if set(member.roles) - set(was.roles):
            text = f"{name} may decide as {listed(set(member.roles) - set(was.roles))} as well"
            yield Change(kind="widens", path=path, text=text)
        if set(was.roles) - set(member.roles):
            # A role may also keep its holder from answering (`not`).
            text = f"{name} no longer holds {listed(set(was.roles) - set(member.roles))}"
            yield Change(kind="unclear", path=path, text=text)
        if set(member.keys) - set(was.keys):
            yield Change(kind="widens", path=path, text=f"{name} may sign with another key")
        if set(was.keys) - set(member.keys):
            yield Change(kind="narrows", path=path, text=f"a key of {name} counts no more")
    if set(old.roles) != set(new.roles):
        text = f"the roles are {listed(new.roles)}, and were {listed(old.roles)}"
        yield Change(kind="neutral", path=path, text=text)


# What is open ---------------------------------------------------------------------------------------------------------


def _places(contract: Contract, tool: str) -> set[str | None]:
    """Where a tool is open: in capabilities, or (None) in all of them."""
    found: set[str | None] = {name for name, spec in contract.capabilities.items() if tool in spec.tools}
    return found | {None} if tool in contract.common else found


def _open(old: Contract, new: Contract) -> Iterator[Change]:
    """What is closed must be closed everywhere: where one of several places is left, its level alone counts."""
    for tool in new.tools:
        if tool not in old.tools:
            continue  # it is new altogether, which says it all
        was, now = _places(old, tool), _places(new, tool)
        for place in sorted(now - was, key=str):
            path: Path = ("common",) if place is None else ("capabilities", place, "tools")
            where = "in every capability" if place is None else f"in {place}"
            yield Change(kind="widens", path=path, text=f"{tool} is open {where}")
        closed = was - now
        if not closed:
            continue
        where = listed("all capabilities" if place is None else place for place in closed)
        first = min(closed, key=str)
        path = ("common",) if first is None else ("capabilities", first, "tools")
        gone = first is not None and first not in new.capabilities
        if now:
            left = listed("all capabilities" if place is None else place for place in now)
            text = f"{tool} is closed in {where} and stays open in {left}"
            alike = None not in was and _indifferent(old, tool, [name for name in was if name is not None])
            if not alike:
                text += ", whose level and approver count alone where both are open"
            yield Change(kind="narrows" if alike else "unclear", path=path, text=text, gone=gone)
        else:
            yield Change(kind="narrows", path=path, text=f"{tool} is closed in {where}", gone=gone)


def _may_ask(contract: Contract, tool: str) -> bool:
    """Whether people may be asked about a call: then it matters which capability's approver they are asked for."""
    spec = contract.tools[tool]
    looked_at = any(
        s.origins is not None or s.entity is not None or s.destination is not None
        for root in contract.shapes.args[tool].values()
        for _, s in root.walk()
    )
    ruled = any(rule.then == "ask" and rule.ask is None and tool in _covered(contract, rule) for rule in contract.rules)
    return spec.effect in _ACTING or looked_at or ruled or any(tool in rule.into for rule in contract.flow)


def _indifferent(contract: Contract, tool: str, capabilities: Iterable[str]) -> bool:
    """Whether it is all one under how many of some capabilities a tool is called.

    A tool of several open capabilities takes the lowest of their levels, and the approver of the first that was opened;
    a common one those of all that are open.
    """
    approvers = {contract.capabilities[name].autonomy.approver for name in capabilities}
    return contract.tools[tool].effect not in _ACTING and (len(approvers) < 2 or not _may_ask(contract, tool))


def _apart(contract: Contract, lost: set[str], kept: set[str]) -> bool:
    """Whether without some capabilities the others are no freer, and ask nobody else."""
    shared = {tool for name in lost for tool in contract.capabilities[name].tools}
    shared &= {tool for name in kept for tool in contract.capabilities[name].tools}
    return not kept or all(_indifferent(contract, tool, lost | kept) for tool in shared | set(contract.common))


def _capabilities(old: Contract, new: Contract) -> Iterator[Change]:
    path: Path = ("capabilities",)
    for name in old.capabilities:
        if name not in new.capabilities:
            # With one choice less, a user's words may be taken for another capability.
            spoken = any(spec.examples for spec in old.capabilities.values())
            safe = not spoken and _apart(old, {name}, set(old.capabilities) - {name})
            why = "" if safe else "; what it was about may fall under another one now"
            kind: Kind = "narrows" if safe else "unclear"
            yield Change(kind=kind, path=(*path, name), text=f"the capability {name} is gone{why}", gone=True)
    for name, spec in new.capabilities.items():
        was = old.capabilities.get(name)
        at = (*path, name)
        if was is None:
            yield Change(kind="widens", path=at, text=f"the capability {name} is new: {told(spec.means)}")
        else:
            yield from _capability(was, spec, at, name)


def _capability(old: Capability, new: Capability, path: Path, name: str) -> Iterator[Change]:
    def level(what: str) -> Compare:
        def compare(was: Level, now: Level, at: Path) -> Iterator[Change]:
            kind: Kind = "narrows" if LEVELS.index(now) < LEVELS.index(was) else "widens"
            yield Change(kind=kind, path=at, text=f"{name} {what} {now} instead of {was}")

        return compare

    def approver(was: str | None, now: str | None, at: Path) -> Iterator[Change]:
        text = f"{now or 'any person'} decides what {name} must ask, instead of {was or 'any person'}"
        yield Change(kind="unclear", path=at, text=text)

    def autonomy(was: Autonomy, now: Autonomy, at: Path) -> Iterator[Change]:
        by: dict[str, Compare] = {
            "start": level("starts in"),
            "ceiling": level("may rise to"),
            "approver": approver,
        }
        yield from fields(was, now, at, by)

    def evidence(was: Evidence | None, now: Evidence | None, at: Path) -> Iterator[Change]:
        if was is None or now is None:
            text = f"{name} must show {told(now)} before it may rise, and had to show {told(was)}"
            yield Change(kind="narrows" if was is None else "widens", path=at, text=text, gone=now is None)
            return

        def share(what: str) -> Compare:
            def compare(before: str, after: str, place: Path) -> Iterator[Change]:
                kind: Kind = "narrows" if Decimal(after) >= Decimal(before) else "widens"
                yield Change(kind=kind, path=place, text=f"{name} must show {what} {after} instead of {before}")

            return compare

        yield from fields(was, now, at, {"pass_rate": share("a pass rate of"), "confidence": share("a confidence of")})

    def success(was: Sequence[Criterion], now: Sequence[Criterion], at: Path) -> Iterator[Change]:
        before, after = {c.id: c for c in was}, {c.id: c for c in now}
        for id in before:
            if id not in after:
                yield Change(kind="widens", path=at, text=f"{name} succeeds without {id}", gone=True)
        for n, criterion in enumerate(now):
            if criterion.id not in before:
                text = f"{name} succeeds only with {criterion.id} as well"
                yield Change(kind="narrows", path=(*at, n), text=text)
            elif not same(before[criterion.id], criterion):
                text = f"{criterion.id}, by which {name} succeeds, was {told(before[criterion.id])}"
                yield Change(kind="unclear", path=(*at, n), text=f"{text} and is {told(criterion)}")

    def meaning(what: str) -> Compare:
        def compare(was: Any, now: Any, at: Path) -> Iterator[Change]:
            del was
            text = f"{what} {name} changed, so that other words open it: {told(now)}"
            yield Change(kind="unclear", path=at, text=text)

        return compare

    by: dict[str, Compare] = {
        "means": meaning("the meaning of"),
        "examples": meaning("the examples of"),
        "tools": nothing,
        "autonomy": autonomy,
        "evidence": evidence,
        "success": complete(success),
    }
    yield from fields(old, new, path, by)


def _principals(old: Contract, new: Contract) -> Iterator[Change]:
    path: Path = ("principals",)
    was, now = old.principals, new.principals
    every = set(old.capabilities)
    if was and not now:
        yield Change(kind="widens", path=path, text="anybody may run the agent, for everything", gone=True)
        return
    for name in was:
        if name not in now:
            yield Change(kind="narrows", path=(*path, name), text=f"{name} may not run the agent any more", gone=True)
    if not was and now:
        yield Change(kind="narrows", path=path, text=f"only {listed(now)} may run the agent, and nobody else")
    for name, spec in now.items():
        at = (*path, name)
        if was and name not in was:
            text = f"{name} may run the agent for {listed(spec.capabilities)}"
            yield Change(kind="widens", path=at, text=text)
            continue
        before = was[name] if was else PrincipalSpec(
            authenticated_by=spec.authenticated_by, capabilities=tuple(sorted(every | set(spec.capabilities)))
        )  # fmt: skip
        yield from fields(before, spec, at, {"capabilities": complete(_may(old, name))})


def _may(contract: Contract, name: str) -> Compare:
    def compare(old: Sequence[str], new: Sequence[str], path: Path) -> Iterator[Change]:
        was, now = set(old), set(new)
        if now - was:
            text = f"{name} may run the agent for {listed(now - was)} as well"
            yield Change(kind="widens", path=path, text=text)
        if was - now:
            safe = _apart(contract, (was - now) & set(contract.capabilities), was & now & set(contract.capabilities))
            why = "" if safe else "; the rest of what a run does is then held to fewer levels"
            text = f"{name} may not run the agent for {listed(was - now)} any more{why}"
            yield Change(kind="narrows" if safe else "unclear", path=path, text=text)

    return compare


# Rules ----------------------------------------------------------------------------------------------------------------


def _covered(contract: Contract, rule: Rule) -> set[str]:
    if isinstance(rule.tools, ToolSet):
        return {name for name, tool in contract.tools.items() if tool.effect == rule.tools.effect}
    return set(rule.tools)


def _safe(rule: Rule) -> bool:
    """Whether a rule that comes on top can only make the gate stricter.

    Roles that rules name are asked in place of the capability's approver, so a rule that names one may let somebody
    decide who could not before.
    """
    return rule.then != "ask" or rule.ask is None


_DOES: Mapping[str, str] = {"deny": "denies", "clarify": "makes the agent ask back", "ask": "asks a person"}
_DID: Mapping[str, str] = {"deny": "denied", "clarify": "made the agent ask back", "ask": "asked a person"}


def _rules(old: Contract, new: Contract) -> Iterator[Change]:
    path: Path = ("rules",)
    was, now = {rule.id: (n, rule) for n, rule in enumerate(old.rules)}, {rule.id: rule for rule in new.rules}
    for id, (n, rule) in was.items():
        if id in now:
            continue
        held = _covered(old, rule) & set(new.tools)
        if not rule.enforce:
            kind: Kind = "neutral"
            text = f"the rule {id}, which stopped nothing, is gone"
        elif not held:
            kind, text = "neutral", f"the rule {id} is gone with the tools that it was about"
        else:
            kind, text = "widens", f"the rule {id} is gone: {told(rule.because)}"
        yield Change(kind=kind, path=(*path, n), text=text, gone=True)
    for n, rule in enumerate(new.rules):
        at = (*path, n)
        if rule.id in was:
            yield from _rule(old, new, was[rule.id][1], rule, at)
        elif not rule.enforce:
            yield Change(kind="neutral", path=at, text=f"the rule {rule.id} is new, and only recorded")
        else:
            does, who = _DOES[rule.then], f" ({rule.ask.role})" if rule.ask is not None else ""
            text = f"the rule {rule.id} is new and {does}{who}: {told(rule.because)}"
            yield Change(kind="narrows" if _safe(rule) else "unclear", path=at, text=text)


def _rule(old: Contract, new: Contract, was: Rule, now: Rule, path: Path) -> Iterator[Change]:
    id = now.id
    if not was.enforce and not now.enforce:
        if not same(was, now):
            yield Change(kind="neutral", path=path, text=f"the rule {id}, which stops nothing, is written otherwise")
        return
    if was.enforce != now.enforce:
        at = (*path, "enforce")
        if was.enforce:
            yield Change(kind="widens", path=at, text=f"the rule {id} is only recorded and stops nothing any more")
        else:
            kind: Kind = "narrows" if _safe(now) else "unclear"
            yield Change(kind=kind, path=at, text=f"the rule {id} is enforced and {_DOES[now.then]}")
        return

    def tools(_was: object, _now: object, at: Path) -> Iterator[Change]:
        before, after = _covered(old, was) & set(new.tools), _covered(new, now)
        if before - after:
            yield Change(kind="widens", path=at, text=f"the rule {id} says nothing about {listed(before - after)}")
        if (after - before) & set(old.tools):
            kind: Kind = "narrows" if _safe(now) else "unclear"
            text = f"the rule {id} holds for {listed((after - before) & set(old.tools))}, too"
            yield Change(kind=kind, path=at, text=text)
        if before == after:
            yield Change(kind="neutral", path=at, text=f"the rule {id} names the same tools otherwise")

    def condition(what: str) -> Compare:
        def compare(before: str | None, after: str | None, at: Path) -> Iterator[Change]:
            # A condition that breaks denies. Only a rule that denies anyway loses nothing with it.
            always = after is None and now.then == "deny"
            text = f"the rule {id} holds {what} {told(after)}, and held {what} {told(before)}"
            if always:
                text = f"the rule {id} no longer depends on `{what} {told(before)}`"
            yield Change(kind="narrows" if always else "unclear", path=at, text=text, gone=after is None)

        return compare

    def then(before: str, after: str, at: Path) -> Iterator[Change]:
        stricter = STRICTNESS[now.then] > STRICTNESS[was.then]
        text = f"the rule {id} {_DOES[after]} where it {_DID[before]}"
        yield Change(kind="narrows" if stricter else "widens", path=at, text=text)

    def ask(before: Ask | None, after: Ask | None, at: Path) -> Iterator[Change]:
        if now.then != "ask":
            return  # nobody is asked any more, which `then` tells
        if before is None or after is None:
            yield from unclear(before, after, at)
            return

        def fewer(names: Sequence[str], more: Sequence[str], place: Path) -> Iterator[Change]:
            if set(names) - set(more):
                text = f"{listed(set(names) - set(more))} may answer what {id} asks"
                yield Change(kind="widens", path=place, text=text)
            if set(more) - set(names):
                text = f"{listed(set(more) - set(names))} may not answer what {id} asks"
                yield Change(kind="narrows", path=place, text=text)

        def approvals(few: int, many: int, place: Path) -> Iterator[Change]:
            kind: Kind = "narrows" if many > few else "widens"
            yield Change(kind=kind, path=place, text=f"{id} needs {many} approvals instead of {few}")

        by: dict[str, Compare] = {
            "approvals": approvals,
            "not_": complete(fewer),
            "within": limit(f"time to answer what {id} asks", show=seconds),
        }
        yield from fields(before, after, at, by)

    by: dict[str, Compare] = {
        "because": wording(f"the reason of the rule {id}"),
        "examples": _examples(id),
        "tools": tools,
        "when": condition("when"),
        "unless": condition("unless"),
        "then": then,
        "ask": ask,
    }
    yield from fields(was, now, path, by)


def _examples(id: str) -> Compare:
    def compare(old: Any, new: Any, path: Path) -> Iterator[Change]:
        del old, new
        yield Change(kind="neutral", path=path, text=f"the rule {id} has other examples")

    return compare


# Flow and claims ------------------------------------------------------------------------------------------------------


def _ruled(contract: Contract, label: str, sink: str) -> bool:
    """Whether a rule says what holds of a label there; else its readers do."""
    return any(rule.label == label and sink in rule.into for rule in contract.flow)


def _stricter_in(contract: Contract, rule: FlowRule, sinks: Iterable[str]) -> bool:
    """Whether a rule that is added for sinks can only hold back more than the contract did before.

    Where a rule speaks about a sink, the readers of the label do not: a first rule that lets something through may let
    through what its readers did not. Of several rules the first that is broken says what happens.
    """
    return rule.then == "deny" and (
        rule.only_to is None or all(_ruled(contract, rule.label, sink) for sink in sinks)
    )  # fmt: skip


def _flow(old: Contract, new: Contract) -> Iterator[Change]:
    path: Path = ("flow",)
    was, now = {rule.id: (n, rule) for n, rule in enumerate(old.flow)}, {rule.id: rule for rule in new.flow}
    for id, (n, rule) in was.items():
        if id not in now:
            text = f"the rule {id} about {rule.label} data is gone: {told(rule.because)}"
            yield Change(kind="widens", path=(*path, n), text=text, gone=True)
    for n, rule in enumerate(new.flow):
        at = (*path, n)
        if rule.id in was:
            yield from _flow_rule(old, new, was[rule.id][1], rule, at)
            continue
        only = f" except to {rule.only_to}" if rule.only_to is not None else ""
        text = f"the rule {rule.id} is new: {rule.label} data may not go into {listed(rule.into)}{only}"
        yield Change(kind="narrows" if _stricter_in(old, rule, rule.into) else "unclear", path=at, text=text)
    kept = [id for id in was if id in now]
    if kept != [rule.id for rule in new.flow if rule.id in was] and any(r.then == "ask" for r in new.flow):
        text = "the rules about labelled data stand in another order, and the first that is broken counts"
        yield Change(kind="unclear", path=path, text=text)


def _flow_rule(old: Contract, new: Contract, was: FlowRule, now: FlowRule, path: Path) -> Iterator[Change]:
    id = now.id

    def into(before: Sequence[str], after: Sequence[str], at: Path) -> Iterator[Change]:
        lost = {sink for sink in set(before) - set(after) if sink not in old.tools or sink in new.tools}
        more = set(after) - set(before)
        if lost:
            text = f"the rule {id} says nothing about {listed(lost)} any more"
            yield Change(kind="unclear", path=at, text=text)
        if more:
            kind: Kind = "narrows" if _stricter_in(old, now, more) else "unclear"
            yield Change(kind=kind, path=at, text=f"the rule {id} holds for {listed(more)}, too")

    def only_to(before: str | None, after: str | None, at: Path) -> Iterator[Change]:
        strict = after is None and now.then == "deny"
        text = f"{now.label} data may go to {after or 'nobody'} instead of {before or 'nobody'} (rule {id})"
        yield Change(kind="narrows" if strict else "unclear", path=at, text=text, gone=after is None)

    def then(before: str, after: str, at: Path) -> Iterator[Change]:
        del before
        kind: Kind = "narrows" if after == "deny" else "widens"
        yield Change(kind=kind, path=at, text=f"the rule {id} {_DOES[after]} instead")

    by: dict[str, Compare] = {
        "because": wording(f"the reason of the rule {id}"),
        "into": complete(into),
        "only_to": only_to,
        "then": then,
    }
    yield from fields(was, now, path, by)


def _claims(old: Contract, new: Contract) -> Iterator[Change]:
    path: Path = ("claims",)
    was = {(says, claim.needs) for claim in old.claims for says in claim.says}
    now = {(says, claim.needs) for claim in new.claims for says in claim.says}
    for says, needs in sorted(was - now):
        text = f"the user may be told {says!r} without {needs}"
        yield Change(kind="widens", path=path, text=text, gone=not new.claims)
    for n, claim in enumerate(new.claims):
        more = [says for says in claim.says if (says, claim.needs) not in was]
        if more:
            text = f"the user may be told {', '.join(map(repr, more))} only after {claim.needs}"
            yield Change(kind="narrows", path=(*path, n), text=text)
    if was == now:
        yield Change(kind="neutral", path=path, text="the claims are written otherwise")


# Budgets --------------------------------------------------------------------------------------------------------------


def _budgets(old: Budgets, new: Budgets, path: Path) -> Iterator[Change]:
    def run(was: Part, now: Part, at: Path) -> Iterator[Change]:
        by: dict[str, Compare] = {
            "tool_calls": limit("calls in a run"),
            "writes": limit("writes in a run"),
            "wall": limit("time of a run", show=seconds),
            "model_tokens": limit("tokens of a run"),
            "model_cost": limit("cost of models in a run"),
        }
        yield from fields(was, now, at, by)

    yield from fields(old, new, path, {"run": run, "day": complete(_day)})


def counted(budget: DayBudget) -> str:
    """What a budget of the day counts, in words."""
    if budget.sum is not None:
        what = f"the sum of {budget.sum.arg} in {budget.sum.tool}"
    elif budget.count is not None and budget.count.tool is not None:
        what = f"calls of {budget.count.tool}"
    elif budget.count is not None and budget.count.effect is not None:
        what = f"calls that {budget.count.effect}"
    else:
        what = "calls"
    whole = {"agent": "in all", "subject": "for one subject", "principal": "for one principal", "run": "in one run"}
    return f"{what} a day, {whole[budget.per]}"


def _day(old: Sequence[DayBudget], new: Sequence[DayBudget], path: Path) -> Iterator[Change]:
    def least(budgets: Sequence[DayBudget]) -> dict[bytes, tuple[int, Decimal, str]]:
        """By all but the limit of a budget, the lowest of its limits: each of them holds."""
        found: dict[bytes, tuple[int, Decimal, str]] = {}
        for n, budget in enumerate(budgets):
            most = Decimal(str(budget.max))
            key = canonical.dumps(_data(budget.model_copy(update={"max": 0})))
            if key not in found or most < found[key][1]:
                found[key] = (n, most, counted(budget))
        return found

    was, now = least(old), least(new)
    for key, (n, most, what) in was.items():
        if key not in now:
            text = f"{what}: no limit instead of {most}"
            yield Change(kind="widens", path=(*path, n), text=text, gone=True)
    for key, (n, most, what) in now.items():
        if key not in was:
            yield Change(kind="narrows", path=(*path, n), text=f"{what}: {most} instead of no limit")
        elif most != was[key][1]:
            kind: Kind = "narrows" if most < was[key][1] else "widens"
            yield Change(kind=kind, path=(*path, n), text=f"{what}: {most} instead of {was[key][1]}")
