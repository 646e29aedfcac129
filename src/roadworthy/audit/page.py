"""A contract on one page, in plain words, for people who decide about an agent and write no code.

Each sentence is made from the contract's model and says what the gate does with it, no more. What is written in the
contract for machines only, such as a condition, stands there as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final, TypeAlias

from roadworthy.contract.diff import Change, Kind, differences, told
from roadworthy.contract.model import Ask, Capability, Contract, Criterion, Directory, Rule, Tool, ToolSet
from roadworthy.contract.shapes import Shape
from roadworthy.core.types import LEVELS, Level
from roadworthy.gate.signed import Signature, Standing
from roadworthy.pages.paper import Pages


class Code(str):
    """A name or a condition, as it stands in the contract."""

    __slots__ = ()


Words: TypeAlias = tuple[str, ...]
"""A sentence; the parts that are `Code` are names."""


def words(template: str, *parts: str | Sequence[str]) -> Words:
    """A sentence from a template with `{}` in it; a list of words goes in with all its parts."""
    found: list[str] = []
    for n, piece in enumerate(template.split("{}")):
        if n:
            part = parts[n - 1]
            found.extend((part,) if isinstance(part, str) else part)
        if piece:
            found.append(piece)
    return tuple(found)


def plain(sentence: Words) -> str:
    """A sentence as text."""
    return "".join(sentence)


_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def _span(seconds: float) -> str:
    """A duration in words: `4 hours`."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return f"{seconds:g} seconds"


def several(names: Iterable[str], *, last: str = "and") -> Words:
    """Names in a row: `a, b and c`."""
    names = list(names)
    found: list[str] = []
    for n, name in enumerate(names):
        if n:
            found.append(f" {last} " if n == len(names) - 1 else ", ")
        found.append(name)
    return tuple(found) or ("nothing",)


def codes(names: Iterable[str], *, last: str = "and") -> Words:
    return several(map(Code, names), last=last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Does:
    """What the agent may do for one purpose."""

    name: str
    means: str
    examples: tuple[str, ...]
    start: Level
    ceiling: Level
    now: Level | None
    """The level that a ledger says is in effect; None where none was asked."""
    level: Words
    """What the level comes to."""
    alone: tuple[Words, ...]
    asks: tuple[Words, ...]
    plays: tuple[Words, ...]
    """What is only played through."""
    rise: tuple[Words, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something with a name and what there is to say of it."""

    name: str
    about: str | None
    lines: tuple[Words, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """One rule."""

    id: str
    tools: Words
    when: Words
    then: Words
    """What follows, where there is more to say than `chip` does."""
    chip: str
    ruling: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """What a level needs before it may be used."""

    level: Level
    roles: tuple[str, ...]
    """With those of the levels below."""
    signed: tuple[Signature, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What changed since the version that was signed last."""

    version: str
    digest: str
    groups: tuple[tuple[Kind, str, tuple[Change, ...]], ...]
    wider: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page of one contract. Nothing in it is markup."""

    contract: Contract
    summary: tuple[Words, ...]
    does: tuple[Does, ...]
    never: tuple[Words, ...]
    rules: tuple[Ruled, ...]
    limits: tuple[Words, ...]
    data: tuple[Words, ...]
    tools: tuple[Told, ...]
    success: tuple[Told, ...]
    otherwise: tuple[Words, ...]
    """What happens when it cannot go on, and what stands around it."""
    people: tuple[tuple[str, tuple[str, ...]], ...]
    """Roles, and who holds them."""
    needed: tuple[Needed, ...]
    inherited: tuple[Signature, ...]
    since: Since | None
    asked: bool
    """Whether a ledger was looked at."""


def page_of(contract: Contract, *, standing: Standing | None = None, levels: Mapping[str, Level] | None = None) -> Page:
    """The page of a contract; `standing` and `levels` are what a ledger says of its signatures and levels."""
    return Page(
        contract=contract,
        summary=tuple(_summary(contract)),
        does=tuple(
            _does(contract, name, spec, (levels or {}).get(name)) for name, spec in contract.capabilities.items()
        ),
        never=tuple(_never(contract)),
        rules=tuple(_rules(contract)),
        limits=tuple(_limits(contract)),
        data=tuple(_data(contract)),
        tools=tuple(_tool(contract, name, tool) for name, tool in contract.tools.items()),
        success=tuple(_success(contract)),
        otherwise=tuple(_otherwise(contract)),
        people=_people(contract),
        needed=tuple(_needed(contract, standing)),
        inherited=() if standing is None else standing.inherited,
        since=None if standing is None else _since(contract, standing),
        asked=standing is not None,
    )


def render_html(page: Page, *, at: datetime | None = None) -> str:
    """The page as one HTML file. Raises UsageError where Jinja2 is not installed."""
    return _pages().render("contract.html.j2", "contract.css", page=page, law=page.contract, at=at)


@cache
def _pages() -> Pages:
    return Pages("roadworthy.audit", filters={"parts": _parts, "level": _LEVEL_NAMES.__getitem__})


def _parts(sentence: Words) -> list[tuple[bool, str]]:
    return [(isinstance(part, Code), str(part)) for part in sentence]


_LEVEL_NAMES: Final[Mapping[Level, str]] = {
    "shadow": "Shadow",
    "approval": "Approval",
    "autonomous": "Autonomous",
}
_ACTING: Final = ("write", "send")
_VERBS: Final[Mapping[str, str]] = {
    "read": "looks things up",
    "compute": "computes",
    "write": "changes something",
    "send": "sends something to somebody",
}


def _raiser(law: Contract) -> str:
    return f"{law.owner.accountable}, with a signature" if law.people is not None else "anybody"


def _whose(role: str | None) -> str:
    return "a person" if role is None else "the user" if role == "user" else role


# What it is -----------------------------------------------------------------------------------------------------------


def _summary(law: Contract) -> Iterator[Words]:
    yield words("{} answers for it ({}).", law.owner.accountable, law.owner.team)
    if law.people is None:
        yield words(
            "The contract names no people, so nobody's answer needs a signature, and anybody may raise a level."
        )
    if law.subject is None:
        yield words("A run acts for nobody in particular: the contract names no kind of customer.")
    else:
        who = words("Each run acts for one {}, and for no other once that is known.", Code(law.subject.entity))
        yield who
        if law.subject.established_by:
            ways = codes(law.subject.established_by, last="or")
            yield words("Who that is comes from {}, or from the application that has signed them in.", ways)
        else:
            yield words("Who that is can only be said by the application that has signed them in.")
        early = [name for name, tool in law.tools.items() if tool.before_subject and name in _open(law)]
        early += [name for name in law.subject.established_by if name not in early]
        if law.escalate is not None and law.escalate.tool is not None and law.escalate.tool not in early:
            early.append(law.escalate.tool)
        yield words("Until it is known, the agent can call {} and nothing else.", codes(early) if early else "no tool")
    if law.principals:
        for name, spec in law.principals.items():
            how = f", authenticated by {spec.authenticated_by}" if spec.authenticated_by else ""
            yield words("{} may run it{}, for {}.", Code(name), how, codes(spec.capabilities))
    else:
        yield words("Anybody may run it, for everything that it is for: the contract names no principals.")
    if any(spec.examples for spec in law.capabilities.values()):
        yield words("What it may do is opened by the application, or by what the user says, and never by the agent.")
    else:
        yield words("What it may do is opened by the application, and never by the agent.")
    if len(law.capabilities) > 1:
        yield words("A tool that is open for several purposes at once takes the strictest of their levels.")


# What it may do -------------------------------------------------------------------------------------------------------


def _call(law: Contract, name: str) -> Words:
    tool = law.tools[name]
    about = f": {tool.description.rstrip('.')}" if tool.description else ""
    return words("{} ({}){}", Code(name), _VERBS[tool.effect], about)


def _does(law: Contract, name: str, spec: Capability, now: Level | None) -> Does:
    level = now or spec.autonomy.start
    approver = _whose(spec.autonomy.approver)
    offered = [*dict.fromkeys((*spec.tools, *law.common))]
    calm = [tool for tool in offered if law.tools[tool].effect not in _ACTING]
    acting = [tool for tool in offered if law.tools[tool].effect in _ACTING]
    alone, asks, plays = [_call(law, tool) for tool in calm], list[Words](), list[Words]()
    for tool in acting:
        place = {"shadow": plays, "approval": asks, "autonomous": alone}[level]
        place.append(_call(law, tool))
    if level == "shadow":
        text = words("It looks things up for real. What would change or send something is only played through.")
    elif level == "approval":
        text = words("It looks things up alone. It changes and sends nothing before {} has agreed.", approver)
    else:
        text = words("It acts alone, within the rules and limits below.")
    rise: list[Words] = []
    higher = LEVELS[LEVELS.index(spec.autonomy.start) + 1 : LEVELS.index(spec.autonomy.ceiling) + 1]
    if higher:
        last = _LEVEL_NAMES[higher[-1]].lower()
        rise.append(words("It may be raised up to {}, by {}.", last, _raiser(law)))
        if spec.evidence is not None:
            sure = f"{spec.evidence.pass_rate} at a confidence of {spec.evidence.confidence}"
            shown = "Before that, trials should show a pass rate of at least {}; the gate itself does not look at them."
            rise.append(words(shown, sure))
    else:
        rise.append(words("It may not be raised any further without a change of this contract."))
    return Does(
        name=name,
        means=spec.means,
        examples=spec.examples,
        start=spec.autonomy.start,
        ceiling=spec.autonomy.ceiling,
        now=now,
        level=text,
        alone=tuple(alone),
        asks=tuple(asks),
        plays=tuple(plays),
        rise=tuple(rise),
    )


def _open(law: Contract) -> set[str]:
    found = {*law.common, *(tool for spec in law.capabilities.values() for tool in spec.tools)}
    if law.escalate is not None and law.escalate.tool is not None:
        found.add(law.escalate.tool)
    return found


def _never(law: Contract) -> Iterator[Words]:
    yield words("Call any tool that is not listed on this page, or with arguments other than those listed.")
    closed = [name for name in law.tools if name not in _open(law)]
    if closed:
        yield words("Call {} by itself: no purpose opens {}.", codes(closed), "it" if len(closed) == 1 else "them")
    if law.subject is not None:
        yield words("Act for a second {} in one run.", Code(law.subject.entity))
    for rule in law.rules:
        if rule.then == "deny" and rule.enforce:
            yield words("{} {}: {} (rule {}).", _about(rule), _when(rule, "when"), _end(rule.because), Code(rule.id))
    for name, label in law.labels.items():
        if label.readers == "nobody":
            yield words("Send or tell anybody data labelled {}.", Code(name))
    for flow in law.flow:
        if flow.then == "deny":
            only = words(" to anybody but {}", _entry(law, flow.only_to)) if flow.only_to else ()
            text = "Let data labelled {} into {}{}: {} (rule {})."
            yield words(text, Code(flow.label), _sinks(law, flow.into), only, _end(flow.because), Code(flow.id))
    for claim in law.claims:
        yield words("Tell the user {} before {} was done in that run.", _quoted(claim.says), Code(claim.needs))
    if law.hosted_tools == "refuse":
        yield words("Use tools that run at the model's provider: an agent that is offered one is refused.")


def _quoted(says: Sequence[str]) -> Words:
    return several([f"\u201c{text}\u201d" for text in says], last="or")


def _sinks(law: Contract, into: Sequence[str]) -> Words:
    staff = law.escalate.to if law.escalate is not None else law.owner.accountable
    handed = f"what staff is handed, where {staff} may not read it"
    named = {"reply": "what the user is told", "escalate": handed}
    return several([named.get(name, Code(name)) for name in into], last="or")


def _entry(law: Contract, directory: str) -> Words:
    """Whose address a directory vouches for."""
    if law.directories[directory].of is None:
        return words("whoever stands in {}", Code(directory))
    return words("its owner, as {} knows them", Code(directory))


def _end(text: str) -> str:
    return text[:-1] if text.endswith(".") else text


def _about(rule: Rule) -> Words:
    if isinstance(rule.tools, ToolSet):
        return words("{}", f"Any tool that {_VERBS[rule.tools.effect]}")
    return words("Call {}", codes(rule.tools, last="or"))


def _when(rule: Rule, first: str) -> Words:
    found: Words = ()
    if rule.when is not None:
        found = words("{} {}", first, _condition(rule.when))
    if rule.unless is not None:
        found = words("{}{} {}", found, f"{' ' if found else ''}unless", _condition(rule.unless))
    return found or words("at any time")


_SIMPLE = re.compile(r"(args|count)\.([A-Za-z_][\w.]*) *(==|!=|>=|<=|>|<) *(-?\d+(?:\.\d+)?|\"[^\"\\]*\")")
_COMPARED: Final[Mapping[str, str]] = {
    "==": "is",
    "!=": "is not",
    ">=": "is at least",
    "<=": "is at most",
    ">": "is more than",
    "<": "is less than",
}


def _condition(text: str) -> Words:
    """A condition in words where it is one comparison; else as it is written."""
    found = _SIMPLE.fullmatch(text.strip())
    if found is None:
        return (Code(text),)
    kind, name, sign, value = found.groups()
    if kind == "args":
        return words("{} {} {}", Code(name), _COMPARED[sign], value)
    return words("the number of calls of {} in the run {} {}", Code(name), _COMPARED[sign], value)


def _asked(ask: Ask | None) -> Words:
    if ask is None:
        return words("the approver of the purpose must agree")
    many = "must agree" if ask.approvals == 1 else f"must agree, {ask.approvals} people"
    found = words("{} {}", ask.role, many)
    if ask.not_:
        found = words(
            "{}, but not {}", found, several(["whoever asked for it" if n == "requester" else n for n in ask.not_])
        )
    if ask.within is not None:
        found = words("{}, within {}; no answer by then is a no", found, _span(ask.within))
    if ask.meanwhile == "suspend":
        found = words("{}; the run waits meanwhile, where it can", found)
    return found


_RULINGS: Final[Mapping[str, str]] = {
    "deny": "denied",
    "clarify": "the user must say more",
    "ask": "a person decides",
}


def _rules(law: Contract) -> Iterator[Ruled]:
    for rule in law.rules:
        user = rule.ask is not None and rule.ask.role == "user"
        then = _asked(rule.ask) if rule.then == "ask" and not user else ()
        chip = "the user must say yes" if user else _RULINGS[rule.then]
        if not rule.enforce:
            then = words("it stops nothing; noted is: {}", chip)
        when = _when(rule, "When")
        for name, look in rule.with_.items():
            same = words(" with the same {}", codes(look.same)) if look.same else ()
            text = "{}. {} is the latest result of {}{} in the run; while there is none, the call is denied"
            when = words(text, when, Code(name), Code(look.call), same)
        yield Ruled(
            id=rule.id,
            tools=_ruled_tools(rule),
            when=when,
            then=then,
            chip=chip if rule.enforce else "only recorded",
            ruling=rule.then if rule.enforce else "off",
            because=rule.because,
        )
    for flow in law.flow:
        only = words("to anybody but {}", _entry(law, flow.only_to)) if flow.only_to else words("at all")
        yield Ruled(
            id=flow.id,
            tools=_sinks(law, flow.into),
            when=words("When data labelled {} would go there {}", Code(flow.label), only),
            then=() if flow.then == "deny" else words("in replies it is held back"),
            chip=_RULINGS[flow.then],
            ruling=flow.then,
            because=flow.because,
        )


def _ruled_tools(rule: Rule) -> Words:
    if isinstance(rule.tools, ToolSet):
        return words("every tool that {}", _VERBS[rule.tools.effect])
    return codes(rule.tools)


# Limits ---------------------------------------------------------------------------------------------------------------

_PER: Final[Mapping[str, str]] = {
    "agent": "over all runs together",
    "subject": "for each one it acts for",
    "principal": "for each who runs it",
    "run": "in one run",
}


def _limits(law: Contract) -> Iterator[Words]:
    run = law.budgets.run
    if run.tool_calls is not None:
        yield words("At most {} calls of tools in one run.", str(run.tool_calls))
    if run.writes is not None:
        yield words("At most {} calls in one run that change or send something.", str(run.writes))
    if run.wall is not None:
        yield words("At most {} of working time in one run; waiting for people does not count.", _span(run.wall))
    if run.model_tokens is not None:
        yield words(
            "At most {} tokens of language models in one run, as far as they are reported.", f"{run.model_tokens:,}"
        )
    if run.model_cost is not None:
        yield words("Language models may cost at most {} in one run, as far as prices are known.", run.model_cost)
    for day in law.budgets.day:
        if day.sum is not None:
            unit = law.shapes.args[day.sum.tool][day.sum.arg].unit
            what = words("in the sum of {} over calls of {}", Code(day.sum.arg), Code(day.sum.tool))
            what = words("{} {}", unit, what) if unit is not None else what
        elif day.count is not None and day.count.tool is not None:
            what = words("calls of {}", Code(day.count.tool))
        elif day.count is not None and day.count.effect is not None:
            what = words("calls of tools of the kind \u201c{}\u201d", day.count.effect)
        else:
            what = words("calls")
        yield words("At most {} {} a day, {}.", str(day.max), what, _PER[day.per])
    if law.budgets.day:
        yield words("A day begins at midnight in {}.", law.zone)


# Data -----------------------------------------------------------------------------------------------------------------


def _data(law: Contract) -> Iterator[Words]:
    for name, label in law.labels.items():
        carried = sorted(
            {tool for tool, root in law.shapes.returns.items() if root for _, s in root.walk() if name in s.labels}
        )
        source = (
            words(" It comes from {}.", codes(carried)) if carried else words(" No result of a tool carries it yet.")
        )
        if label.readers == "owner":
            text = words(
                "In replies and in what is sent, data labelled {} goes to whom it belongs to, and to nobody else.",
                Code(name),
            )
        elif label.readers == "nobody":
            text = words(
                "Data labelled {} may inform the agent; it goes into no reply, no message and no address.", Code(name)
            )
        else:
            text = words(
                "Data labelled {} may be handed over to {}, and told nobody else.", Code(name), several(label.readers)
            )
        yield (*text, *source)
    if law.labels:
        yield words("A rule that names a label and a place says instead what holds there.")
        yield words("Labelled data is found in many ways of writing it, and not where it is told in other words.")
    for name, directory in law.directories.items():
        yield _directory(name, directory)
    for name, entity in law.entities.items():
        looks = words(", and looks like {}", Code(entity.pattern)) if entity.pattern else ()
        yield words("{} is known by its {}{}.", Code(name), Code(entity.key), looks)
    for bridge in law.same_as:
        text = "Whoever is a {} is found as a {} by {}, and by no other look-up."
        yield words(text, Code(bridge.from_), Code(bridge.to), Code(bridge.by))
    for name, shape in law.shapes.facts.items():
        optional = ", if it knows it" if shape.optional else ""
        yield words("The application vouches for the fact {}{}: {}.", Code(name), optional, _type(shape))


def _directory(name: str, directory: Directory) -> Words:
    whose = words("of each {}", Code(directory.of)) if directory.of else words("of anybody in it")
    text = "The directory {} holds the {} {}, as {} has told it."
    found = words(text, Code(name), Code(directory.field), whose, codes(directory.from_, last="or"))
    if directory.verify is not None:
        found = words(
            "{} The gate may look an address up by {} before it asks a person.", found, Code(directory.verify.tool)
        )
    return found


# Tools ----------------------------------------------------------------------------------------------------------------

_ORIGINS: Final[Mapping[str, str]] = {
    "user": "the user's words",
    "trusted": "a trusted result",
    "untrusted": "text of outsiders",
    "contract": "this contract",
    "facts": "what the application vouches for",
    "agent": "the agent's own words",
    "derived": "a sum or date worked out from good values",
    "simulated": "a result that was only played through",
}
_JSON: Final[Mapping[str, str]] = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "yes or no",
    "decimal": "an amount",
    "array": "a list",
    "object": "a record",
    "any": "anything",
}


def _type(shape: Shape) -> Words:
    """A type in words: what a value must be."""
    if shape.enum is not None and len(shape.enum) == 1:
        found = words("always {}", told(shape.enum[0]))
    elif shape.enum is not None:
        found = words("one of {}", several([str(value) for value in shape.enum], last="or"))
    elif shape.entity is not None:
        found = words("the key of a {}", Code(shape.entity))
    elif shape.format is not None:
        found = words(
            "{}", {"email": "an e-mail address", "uri": "a web address"}.get(shape.format, f"a {shape.format}")
        )
    else:
        found = words("{}", _JSON[shape.type])
    if shape.unit is not None:
        found = words("{} in {}", found, shape.unit)
    bounds = [
        (shape.minimum, "at least {}"),
        (shape.exclusive_minimum, "more than {}"),
        (shape.maximum, "at most {}"),
        (shape.exclusive_maximum, "less than {}"),
        (shape.multiple_of, "a multiple of {}"),
        (shape.min_length, "at least {} characters"),
        (shape.max_length, "at most {} characters"),
        (shape.min_items, "at least {} of them"),
        (shape.max_items, "at most {} of them"),
    ]
    said = [text.format(value) for value, text in bounds if value is not None]
    if shape.pattern is not None and shape.entity is None:
        found = words("{} that looks like {}", found, Code(shape.pattern))
    if shape.unique_items:
        said.append("nothing twice")
    if shape.nullable:
        said.append("or nothing")
    if said:
        found = words("{}, {}", found, ", ".join(said))
    if shape.items is not None:
        found = words("{} of: {}", found, _type(shape.items))
    if shape.fields:
        inner: Words = ()
        for n, (name, field_) in enumerate(shape.fields.items()):
            absent = " (may be absent)" if field_.optional else ""
            inner = words("{}{}{}, {}{}", inner, "; " if n else "", Code(name), _type(field_), absent)
        found = words("{} with {}", found, inner)
    if shape.extra is not None:
        more = "whose fields are each" if not shape.fields else "and any other fields, each"
        found = words("{} {} {}", found, more, _type(shape.extra))
    return found


def _argument(law: Contract, tool: str, name: str, shape: Shape) -> Iterator[Words]:
    given = " It may be left out." if shape.optional and shape.default is None else ""
    given = f" Left out, it is {told(shape.default)}." if shape.default is not None else given
    yield words("{} is {}.{}", Code(name), _type(shape), given)
    exempt = law.subject is not None and tool in law.subject.established_by
    acts = law.tools[tool].effect in _ACTING
    for path, inner in shape.walk((name,)):
        at = Code(".".join(path))
        if inner.origins is not None:
            whence = several([_ORIGINS[one] for one in inner.origins], last="or")
            yield words("{} must have been seen in {}.", at, whence)
        elif inner.entity is not None and not exempt:
            yield words("{} must be known from a good place: the user, a trusted result, the contract or a fact.", at)
        if inner.entity is not None and not inner.anyone and law.subject is not None and not exempt:
            yield words("{} must belong to the one for whom the run acts; any other is denied.", at)
        elif inner.anyone and law.subject is not None:
            yield words("{} may belong to anyone, and not only to the one for whom the run acts.", at)
        if inner.entity is not None and acts and not inner.pick_any and not exempt:
            yield words("Where there are several candidates, the user's words must tell which {} is meant.", at)
        if inner.destination is not None:
            vouchers = several([Code(place) for place in inner.destination], last="or")
            otherwise = "a person is asked" if inner.destination_else == "ask" else "it is denied"
            yield words("{} must be an address that {} vouches for; for any other {}.", at, vouchers, otherwise)


def _returned(shape: Shape | None) -> Iterator[Words]:
    if shape is None:
        yield words("The contract does not say what it returns, so nothing in it is trusted.")
        return
    yield words("It returns {}.", _type(shape))
    for path, inner in shape.walk(("result",)):
        at = Code(".".join(path))
        if inner.trust_when is not None:
            text = "{} is trusted where {}, and otherwise {}."
            yield words(text, at, Code(inner.trust_when), inner.trust or "untrusted")
        elif inner.trust == "untrusted":
            yield words("{} is written by outsiders: it may inform the agent, and it vouches for nothing.", at)
        if inner.labels:
            yield words("{} is labelled {}.", at, codes(inner.labels))


def _tool(law: Contract, name: str, tool: Tool) -> Told:
    lines: list[Words] = []
    for arg, shape in law.shapes.args[name].items():
        lines.extend(_argument(law, name, arg, shape))
    if not law.shapes.args[name]:
        lines.append(words("It takes no arguments."))
    lines.extend(_returned(law.shapes.returns[name]))
    if tool.name is not None:
        lines.append(words("The model knows it as {}.", Code(tool.name)))
    if tool.before_subject:
        lines.append(words("It is open before it is known for whom the run acts."))
    if tool.only == "undo":
        lines.append(words("Only the gate calls it, to take something back."))
    for need in tool.needs:
        lines.append(_need(need.call, need.same, need.where, need.within, need.since))
    if tool.confirm is not None:
        read = codes(tool.confirm.read_out)
        lines.append(words("The user must have said yes to a question that read out {}.", read))
    lines.extend(_carried(tool))
    if tool.undo is not None:
        before = words(", with what {} had read before", Code(tool.undo.before)) if tool.undo.before else ()
        lines.append(words("It can be taken back by {}{}.", Code(tool.undo.tool), before))
    elif tool.effect in _ACTING and tool.only is None:
        lines.append(words("The contract names no way to take it back."))
    return Told(name=name, about=tool.description, lines=tuple(lines), kind=_VERBS[tool.effect])


def _need(call: str, same: Sequence[str], where: str | None, within: float | None, since: Sequence[str]) -> Words:
    found = words("Before it, {} must have been called", Code(call))
    if same:
        found = words("{} with the same {}", found, codes(same))
    if within is not None:
        found = words("{}, no longer than {} ago", found, _span(within))
    if since:
        found = words("{}, and again after each {}", found, codes(since, last="or"))
    if where is not None:
        found = words("{}; and it must hold that {}", found, Code(where))
    return words("{}.", found)


def _carried(tool: Tool) -> Iterator[Words]:
    acts = tool.effect in _ACTING
    if tool.timeout is not None:
        late = "it is in doubt whether it was done" if acts else "it has failed"
        yield words("After {} without an answer {}.", _span(tool.timeout), late)
    if tool.retries:
        yield words("It is tried again up to {} times where that can help.", str(tool.retries))
    if tool.concurrency is not None:
        yield words("At most {} calls at a time at one gate.", str(tool.concurrency))
    if tool.breaker is not None:
        b = tool.breaker
        text = "After {} failures within {} it is not called for {}."
        yield words(text, str(b.failures), _span(b.within), _span(b.open_for))
    if tool.fails_when is not None:
        yield words("Its answer counts as a failure where {}.", Code(tool.fails_when))
    if tool.idempotent is not None:
        scope = "in one run" if tool.idempotent.scope == "run" else "for ever"
        text = "The same {} are one and the same call, {}: the tool is handed a key for it as {}, which no model sees."
        yield words(text, codes(tool.idempotent.key), scope, Code(tool.idempotent.passed_as))
    if tool.lookup is not None:
        text = "Where it is in doubt whether it was done, {} is asked; it was where {}."
        yield words(text, Code(tool.lookup.tool), Code(tool.lookup.done_when))


# The rest -------------------------------------------------------------------------------------------------------------


def _success(law: Contract) -> Iterator[Told]:
    for name, spec in law.capabilities.items():
        lines = [_criterion(criterion) for criterion in spec.success]
        yield Told(
            name=name, about=None, lines=tuple(lines) or (words("The contract does not say when it has succeeded."),)
        )


def _criterion(one: Criterion) -> Words:
    if one.check is not None:
        return words("{}: when the run ends, {}. Trials judge it.", Code(one.id), _condition(one.check))
    if one.judge is not None:
        return words("{}: \u201c{}\u201d For a model that judges, where somebody asks for it.", Code(one.id), one.judge)
    comes = "must come" if one.expect is not False else "must not come"
    within = f" within {_span(one.within)}" if one.within is not None else ""
    return words("{}: the outcome {}, reported later, {}{}.", Code(one.id), Code(one.signal or ""), comes, within)


_HANDED: Final[Mapping[str, str]] = {
    "out_of_scope": "the user wants something that it is not for",
    "budget": "a limit is reached",
    "repeated_denial": "the same call was denied three times",
    "in_doubt": "it is in doubt whether something was done",
    "diverged": "a run that was continued does something else than before",
}


def _otherwise(law: Contract) -> Iterator[Words]:
    if law.escalate is None:
        text = "The contract names nobody who takes over; {} answers for the agent."
        yield words(text, law.owner.accountable)
    else:
        on = law.escalate.on or ("repeated_denial",)
        cases = several([_HANDED[one] for one in on], last="or")
        yield words("{} takes over when {}.", law.escalate.to, cases)
        if law.escalate.tool is not None:
            text = "The agent may hand over at any time, by {}; no limit counts it."
            yield words(text, Code(law.escalate.tool))
    if law.ledger_down.reads == "allow":
        yield words("While nothing can be recorded, it may look things up, and changes and sends nothing.")
    else:
        yield words("While nothing can be recorded, no tool is called at all.")
    if law.hosted_tools != "refuse":
        text = "These tools run at the model's provider, where no rule on this page holds for them: {}."
        yield words(text, codes(law.hosted_tools))
    yield words("Times are those of {}.", law.zone)
    yield words("Anybody may stop it; it stops at its next action. Such a stop is lifted by {}.", _raiser(law))


def _people(law: Contract) -> tuple[tuple[str, tuple[str, ...]], ...]:
    members = law.members
    if members is None:
        return ()
    return tuple((role, members.holding(role)) for role in members.roles)


def _needed(law: Contract, standing: Standing | None) -> Iterator[Needed]:
    roles: list[str] = []
    for level in LEVELS:
        roles += [role for role in law.signatures.get(level, ()) if role not in roles]
        if not roles:
            continue
        found = () if standing is None else (*standing.own, *standing.inherited)
        rank = LEVELS.index(level)
        signed = tuple(s for s in found if s.role in roles and LEVELS.index(s.level) >= rank)
        missing = tuple(roles) if standing is None else standing.missing[level]
        yield Needed(level=level, roles=tuple(roles), signed=signed, missing=missing)


_GROUPS: Final[tuple[tuple[Kind, str], ...]] = (
    ("widens", "It allows more"),
    ("unclear", "It may allow more, and counts as more"),
    ("narrows", "It allows less"),
    ("neutral", "It allows the same"),
)


def _since(law: Contract, standing: Standing) -> Since | None:
    last = standing.last
    if last is None:
        return None
    changes = differences(last, law)
    groups: list[tuple[Kind, str, tuple[Change, ...]]] = []
    for kind, head in _GROUPS:
        of_kind = tuple(change for change in changes if change.kind == kind)
        if of_kind:
            groups.append((kind, head, of_kind))
    return Since(
        version=last.version,
        digest=last.digest,
        groups=tuple(groups),
        wider=any(c.kind in ("widens", "unclear") for c in changes),
    )
