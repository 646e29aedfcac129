"""The contract as it is written: what an agent is for, may do and must achieve.

`Contract.load` reads YAML, `Contract(...)` in Python builds the same object. Types as written (`TypeSpec`) are resolved
into `shapes.Shape` once; the gate, the worlds and the adapters read only shapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from roadworthy.contract.shapes import Shapes
from roadworthy.core import canonical
from roadworthy.core.errors import Finding
from roadworthy.core.types import Level

if TYPE_CHECKING:
    from roadworthy.contract.people import People

_NAME = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_TYPE_KEYS: set[str] = set()
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: object) -> object:
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if found:
            return float(found[1]) * _SECONDS[found[2]]
        raise ValueError(f"{value!r} is no duration; write a number and a unit: 500ms, 3s, 10m, 4h or 7d")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no duration; write a number and a unit, such as 10s")
    if value == 0:
        return 0.0
    raise ValueError(f"{value!r} has no unit; write {value}s or {value}m")


def _with_unit(seconds: float) -> str:
    return f"{Decimal(repr(seconds)).normalize():f}s"


def _quoted_number(value: object) -> object:
    if isinstance(value, bool | int | float):
        raise ValueError(f'{value!r} must be quoted, so that no digit is lost on the way: "{value}"')
    if isinstance(value, str) and not re.fullmatch(r"-?\d+(\.\d+)?", value):
        raise ValueError(f'{value!r} is no decimal number; write digits and a point, such as "50.00"')
    return value


Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    PlainSerializer(_with_unit, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^({_DURATION.pattern})$"}),
]
"""A duration, written `500ms`, `3s`, `10m`, `4h` or `7d`; held in seconds."""

Number = Annotated[
    str, BeforeValidator(_quoted_number), WithJsonSchema({"type": "string", "pattern": r"^-?\d+(\.\d+)?$"})
]
"""A decimal number, written as a quoted string so that no digit is lost."""

Name = Annotated[str, Field(pattern=f"^{_NAME}$")]
"""Identifiers joined by points, such as `billing.refund`."""

Cel = Annotated[str, Field(min_length=1)]
"""A condition in CEL; it must be of type bool."""


class Part(BaseModel):
    """What all parts of a contract share: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def __copy__(self) -> Self:
        return _without_caches(super().__copy__())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return _without_caches(super().__deepcopy__(memo))


_P = TypeVar("_P", bound=Part)


def _without_caches(part: _P) -> _P:
    """A copy forgets what was computed from the old values, such as a digest: `model_copy(update=...)` changes them."""
    held = vars(part)
    for name in held.keys() - type(part).model_fields.keys():
        del held[name]
    return part


def _spell_out(value: object) -> object:
    """Turn the short forms of a type into the long one."""
    if isinstance(value, str):
        return {"type": value}
    if isinstance(value, Mapping):
        given = cast("Mapping[str, object]", value)
        words = given.get("type")
        if isinstance(words, list | tuple):  # YAML reads the last word of [string, null] as no value
            return {**given, "type": tuple("null" if w is None else w for w in cast("list[object]", words))}
        if "type" not in given and "enum" not in given and "const" not in given:
            if given and all(key in _TYPE_KEYS for key in given):
                raise ValueError(
                    "all keys here are keywords of types, and `type` is missing; write `type:` first, "
                    "or, for an object whose fields have these names, {type: object, properties: {...}}"
                )
            return {"type": "object", "properties": dict(given)}
    return cast("object", value)


class OriginNot(Part):
    """All origins but these."""

    not_: tuple[str, ...] = Field(alias="not")


class TrustWhen(Part):
    """Trust that depends on the item: a CEL condition over `item`."""

    when: Cel
    else_: Literal["trusted", "untrusted"] = Field(default="untrusted", alias="else")


class TypeSpec(Part):
    """A type as written: JSON Schema (2020-12, the part that can be judged before a call) and our own keys.

    The fields of an object are required unless they are `optional`; where `required` is given, it lists them instead.
    """

    type: str | tuple[str, ...] | None = None
    """A JSON type, `decimal`, the name of a type or of an entity; a list such as [string, null] for nullable."""
    description: str | None = None
    title: str | None = None
    enum: tuple[Any, ...] | None = None
    """All values that fit."""
    const: Any = None
    """The one value that fits."""
    default: Any = None
    """Used where the argument is left out; an argument with a default is optional."""
    examples: tuple[Any, ...] | None = None
    pattern: str | None = None
    """Must match in full."""
    format: Literal["email", "uri", "date", "date-time", "time", "uuid"] | None = None
    min_length: int | None = Field(default=None, alias="minLength", ge=0)
    max_length: int | None = Field(default=None, alias="maxLength", ge=0)
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = Field(default=None, alias="exclusiveMinimum")
    exclusive_maximum: float | None = Field(default=None, alias="exclusiveMaximum")
    multiple_of: float | None = Field(default=None, alias="multipleOf", gt=0)
    min: Number | None = None
    """The least decimal, quoted."""
    max: Number | None = None
    """The greatest decimal, quoted."""
    items: Spec | None = None
    """The type of each item; leave it out for anything."""
    min_items: int | None = Field(default=None, alias="minItems", ge=0)
    max_items: int | None = Field(default=None, alias="maxItems", ge=0)
    unique_items: bool | None = Field(default=None, alias="uniqueItems")
    properties: dict[str, Spec] | None = None
    """The fields of an object."""
    required: tuple[str, ...] | None = None
    """The fields that are always there; without it all that are not `optional`."""
    additional_properties: Spec | bool | None = Field(default=None, alias="additionalProperties")
    """The type of the values of a map; true or false as in JSON Schema."""
    nullable: bool | None = None
    """null fits, too."""
    optional: bool | None = None
    """It may be left out."""
    entity: str | None = None
    """The entity whose key this value is."""
    labels: tuple[str, ...] | None = None
    """Who may read it: names under `labels`."""
    trust: Literal["trusted", "untrusted"] | TrustWhen | None = None
    """`untrusted`: written by outsiders, as all below it; it may inform, it never instructs and vouches for nothing."""
    origin: tuple[str, ...] | OriginNot | None = None
    """Where the value must have been seen: user, trusted, contract, facts, derived …; or {not: [...]}."""
    destination: tuple[str, ...] | None = None
    """Who vouches for the address: names under `directories`, or the beginning of addresses."""
    else_: Literal["ask", "deny"] | None = Field(default=None, alias="else")
    """What happens to a destination that nobody vouches for."""
    unit: str | None = None
    """What a number counts, such as EUR."""
    of: Literal["subject", "anyone"] | None = None
    """`anyone`: the value need not belong to the subject of the run."""
    pick: Literal["user", "any"] | None = None
    """`any`: the agent may pick one of several candidates without words of the user that tell which."""
    wire: Literal["string", "number"] | None = None
    """How the tool wants a decimal; a string unless it says `number`."""
    as_: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(default=None, alias="as")
    """The name in conditions of a field that is no identifier."""


Spec = Annotated[TypeSpec, BeforeValidator(_spell_out)]
"""A type as written, with the short forms: `string`, `support.Customer`, `{field: type, ...}`."""


class Owner(Part):
    team: str
    accountable: str
    """The person or role that answers for this agent."""


class Subject(Part):
    entity: str
    """The entity that a run acts for."""
    established_by: tuple[str, ...] = ()
    """The look-ups that establish it, where the application does not know it."""


class Entity(Part):
    key: str
    """The field that holds its id."""
    pattern: str | None = None
    """What an id looks like; it must match in full."""


class SameAs(Part):
    from_: str = Field(alias="from")
    """An entity."""
    to: str
    """The entity that it is in another system."""
    by: str
    """The look-up that leads from one to the other."""


class Label(Part):
    readers: Literal["owner", "nobody"] | tuple[str, ...]
    """The owner of the data, nobody, or a list of roles."""


class Verify(Part):
    tool: str
    args: dict[str, str]


class Directory(Part):
    of: str | None = None
    """The entity that an entry belongs to."""
    from_: tuple[str, ...] = Field(alias="from")
    """The reads that fill it."""
    field: str
    """The field of their results that holds the destination."""
    verify: Verify | None = None
    """How the gate itself looks a value up."""


class Need(Part):
    call: str
    """The tool whose result must have been seen."""
    same: tuple[str, ...] = ()
    """The arguments that must be the same in both calls."""
    where: Cel | None = None
    """What must be true of it: CEL over `args` and `result`."""
    within: Seconds | None = None
    """How fresh it must be."""
    since: tuple[str, ...] = ()
    """The calls after which it must be seen again."""


class Confirm(Part):
    by: Literal["user"] = "user"
    read_out: tuple[str, ...]
    """The arguments that stood in the question that the user said yes to."""


class Idempotent(Part):
    key: tuple[str, ...]
    """The arguments that make two calls the same."""
    passed_as: str
    """The argument in which the gate passes the key; the model never sees it."""
    scope: Literal["run", "forever"] = "run"


class Lookup(Part):
    tool: str
    args: dict[str, str] | None = None
    done_when: Cel
    """CEL over `result`: true when the write in doubt has happened."""


class Undo(Part):
    tool: str
    """The tool that takes it back."""
    args: dict[str, str]
    """Where its arguments come from: args.X, result.X or before.X."""
    before: str | None = None
    """A read made before the write, for `before.X`."""


class Breaker(Part):
    failures: int = Field(ge=1)
    within: Seconds
    open_for: Seconds


class Tool(Part):
    effect: Literal["read", "compute", "write", "send"]
    """read | compute | write | send; writes and sends wait for the level."""
    args: dict[str, Spec] = Field(default_factory=dict)
    """Its arguments and their types."""
    returns: Spec | None = None
    """The type of its result; without it the result is untrusted and untyped."""
    name: str | None = None
    """What the model calls it, where that differs from the key."""
    description: str | None = None
    """What the model is told about it."""
    before_subject: bool = False
    """Open before the subject is known."""
    timeout: Seconds | None = None
    """How long a call may take."""
    retries: int = Field(default=0, ge=0, le=10)
    """For reads, and for writes whose tool honours the key."""
    concurrency: int | None = Field(default=None, ge=1)
    """The most calls at a time."""
    breaker: Breaker | None = None
    fails_when: Cel | None = None
    """CEL over `result`: true where the tool reports failure in its result."""
    needs: tuple[Need, ...] = ()
    """What must have been seen before."""
    confirm: Confirm | None = None
    """What the user must have said yes to."""
    idempotent: Idempotent | None = None
    lookup: Lookup | None = None
    """How a write in doubt is settled."""
    undo: Undo | None = None
    """How it is taken back."""
    only: Literal["undo"] | None = None
    """`undo`: only the gate calls it, to take something back."""

    @field_validator("args", mode="before")
    @classmethod
    def _spell_out_absence(cls, args: object) -> object:
        """`default: null` says that an argument may be left out: the digest and a written copy must say so, too."""
        if not isinstance(args, Mapping):
            return args
        given = cast("Mapping[str, object]", args)
        return {name: _may_be_absent(spec) for name, spec in given.items()}


def _may_be_absent(spec: object) -> object:
    if not isinstance(spec, Mapping):
        return spec
    keys = cast("Mapping[str, object]", spec)
    absent = "default" in keys and keys["default"] is None and "optional" not in keys and _TYPE_KEYS.issuperset(keys)
    return {**keys, "optional": True} if absent else keys


class Autonomy(Part):
    start: Level = "shadow"
    """The level on the first day."""
    ceiling: Level = "autonomous"
    """The highest level that it may ever reach."""
    approver: str | None = None
    """The role that answers when an action is held."""


class Evidence(Part):
    pass_rate: Number
    """The share of good runs that must be shown, quoted."""
    confidence: Number
    """How sure one must be of it, quoted."""


class Criterion(Part):
    """One criterion of success: exactly one of `check`, `signal` and `judge`."""

    id: str
    check: Cel | None = None
    """CEL over the run, judged when it ends."""
    signal: str | None = None
    """An outcome that is reported later."""
    judge: str | None = None
    """A rubric for a model, opt-in."""
    within: Seconds | None = None
    """How long to wait for the signal."""
    expect: bool | None = None
    """Whether the signal is to come."""

    @model_validator(mode="after")
    def _one_kind(self) -> Criterion:
        if sum(x is not None for x in (self.check, self.signal, self.judge)) != 1:
            raise ValueError("a success criterion has exactly one of check, signal and judge")
        return self


class Capability(Part):
    means: str
    """What the user wants, in one sentence."""
    examples: tuple[str, ...] = ()
    """What users say."""
    tools: tuple[str, ...] = ()
    """The tools that it opens, beside the common ones."""
    autonomy: Autonomy = Field(default_factory=Autonomy)
    evidence: Evidence | None = None
    """What must be shown before it may rise."""
    success: tuple[Criterion, ...] = ()
    """When it has succeeded."""


class ToolSet(Part):
    """All tools of one effect."""

    effect: Literal["read", "compute", "write", "send"]


class With(Part):
    """The latest result of a tool in this run whose arguments are the same as the action's."""

    call: str
    same: tuple[str, ...] = ()


class Ask(Part):
    role: str
    """Who answers; `user` is the user, through the authenticated chat."""
    approvals: int = Field(default=1, ge=1)
    """How many people must agree."""
    not_: tuple[str, ...] = Field(default=(), alias="not")
    """Who may not answer, such as the requester."""
    within: Seconds | None = None
    """How long an answer may take."""
    on_silence: Literal["deny"] = "deny"
    """What no answer means."""
    meanwhile: Literal["tell", "suspend"] = "tell"
    """`tell`: the chat goes on; `suspend`: the run waits."""


class Example(Part):
    """A case that a rule must catch or let pass; run when the contract is loaded."""

    args: dict[str, Any] = Field(default_factory=dict)
    """The arguments that the rule looks at."""
    given: dict[str, Any] = Field(default_factory=dict)
    """Results that `with` binds."""
    facts: dict[str, Any] = Field(default_factory=dict)
    heard: str = ""
    """The user's words."""
    count: dict[str, int] = Field(default_factory=dict)
    """Calls made before, by tool."""
    sum: dict[str, Number] = Field(default_factory=dict)
    """Sums before, by TOOL.ARGUMENT, quoted."""
    now: str | None = None
    """The time, quoted."""


class Examples(Part):
    caught: tuple[Example, ...] = ()
    """Calls that the rule must catch."""
    passed: tuple[Example, ...] = ()
    """Calls that it must let pass."""


class Rule(Part):
    id: str
    tools: tuple[str, ...] | ToolSet
    """A list of tools, or {effect: write}."""
    when: Cel | None = None
    """It fires where this is true; without it, always."""
    unless: Cel | None = None
    """It does not fire where this is true."""
    with_: dict[str, With] = Field(default_factory=dict, alias="with")
    """Earlier results, by the name that the condition uses."""
    then: Literal["deny", "clarify", "ask"]
    """deny | clarify (the user must say more) | ask (a person decides)."""
    ask: Ask | None = None
    """Who is asked; without it the capability's approver."""
    because: str
    """Why, for the people and the agent that it stops."""
    enforce: bool = True
    """false: only recorded, it stops nothing."""
    examples: Examples = Field(default_factory=Examples)
    """Cases, run when the contract is loaded."""


class FlowRule(Part):
    id: str
    label: str
    """Data that carries this label …"""
    into: tuple[str, ...]
    """… may not go into these tools, nor into `reply` …"""
    only_to: str | None = None
    """… except to the address that this directory holds for its owner."""
    then: Literal["deny", "ask"] = "deny"
    because: str


class Claim(Part):
    says: tuple[str, ...]
    """Words that may be told the user only when …"""
    needs: str
    """… this tool was called."""


class RunBudget(Part):
    tool_calls: int | None = Field(default=None, ge=0)
    writes: int | None = Field(default=None, ge=0)
    wall: Seconds | None = None
    """Time; waiting for a person does not count."""
    model_tokens: int | None = Field(default=None, ge=0)
    """What language models may read and write."""
    model_cost: Number | None = None
    """What they may cost, in the currency of the prices that the model endpoint is given."""


class SumOf(Part):
    tool: str
    arg: str


class CountOf(Part):
    tool: str | None = None
    effect: Literal["read", "compute", "write", "send"] | None = None


class DayBudget(Part):
    sum: SumOf | None = None
    count: CountOf | None = None
    max: Number | int
    per: Literal["agent", "subject", "principal", "run"] = "agent"


class Budgets(Part):
    run: RunBudget = Field(default_factory=RunBudget)
    """What one run may use."""
    day: tuple[DayBudget, ...] = ()
    """What may be used in a day."""


class PrincipalSpec(Part):
    authenticated_by: str | None = None
    capabilities: tuple[str, ...]
    """What it may run."""


class Escalate(Part):
    to: str
    """The role that takes over."""
    tool: str | None = None
    """The agent's own way to a person."""
    on: tuple[Literal["out_of_scope", "budget", "repeated_denial", "in_doubt", "diverged"], ...] = ()
    """When a run is handed over."""


class LedgerDown(Part):
    reads: Literal["allow", "deny"] = "deny"
    """Whether reads go on while nothing can be recorded."""
    writes: Literal["deny"] = "deny"


class Contract(Part):
    """What an agent is for, may do and must achieve. Frozen; equal meaning has an equal `digest`."""

    roadworthy: Literal[1]
    """The version of the file format."""
    agent: str
    """The name of the agent."""
    version: str
    """The version of this contract, quoted."""
    goal: str
    """What the agent is for, in one sentence."""
    owner: Owner
    """Who answers for it."""
    people: str | None = None
    """A file of roles, members and public keys."""
    signatures: dict[Level, tuple[str, ...]] = Field(default_factory=dict[Level, tuple[str, ...]])
    """Which roles must have signed before a level may be used."""
    subject: Subject | None = None
    """Whom a run acts for; set once, never changed."""
    zone: str = "UTC"
    """The time zone of `now`, `today` and of times without one."""
    facts: dict[str, Spec] = Field(default_factory=dict)
    """Values that the application vouches for."""
    entities: dict[Name, Entity] = Field(default_factory=dict)
    """What ids mean: an id means nothing without its system."""
    same_as: tuple[SameAs, ...] = ()
    """The bridges from an entity of one system to another."""
    labels: dict[str, Label] = Field(default_factory=dict)
    """Who may read what."""
    directories: dict[str, Directory] = Field(default_factory=dict)
    """Who vouches for a destination."""
    types: dict[str, Spec] = Field(default_factory=dict)
    """Types with a name."""
    tools: dict[Name, Tool]
    """All tools, with their effects and types."""
    common: tuple[str, ...] = ()
    """The tools that are open in every capability."""
    capabilities: dict[str, Capability]
    """The units of scope, evidence and autonomy."""
    rules: tuple[Rule, ...] = ()
    """What narrows the use of open tools: deny > clarify > ask > allow."""
    flow: tuple[FlowRule, ...] = ()
    """Where labelled data may go."""
    claims: tuple[Claim, ...] = ()
    """What may be told only when it was done."""
    budgets: Budgets = Field(default_factory=Budgets)
    """What may be used up."""
    principals: dict[str, PrincipalSpec] = Field(default_factory=dict)
    """Who may run this agent."""
    hosted_tools: Literal["refuse"] | tuple[str, ...] = "refuse"
    """Tools that run at the model's provider never pass the gate: refuse, or the accepted names."""
    escalate: Escalate | None = None
    """Who takes over."""
    ledger_down: LedgerDown = Field(default_factory=LedgerDown)
    """What goes on while nothing can be recorded."""
    _place: Callable[[Finding], Finding] | None = PrivateAttr(default=None)
    _members: People | None = PrivateAttr(default=None)

    def __eq__(self, other: object) -> bool:
        """Equal meaning; where it was read does not matter."""
        return self.digest == other.digest if isinstance(other, Contract) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def load(cls, path: str | Path) -> Contract:
        """The contract in a YAML file. Raises ContractError with every finding, each with line and cure."""
        from roadworthy.contract.load import load_file

        return load_file(Path(path))

    @classmethod
    def loads(cls, text: str, *, file: str = "<text>", folder: str | Path | None = None) -> Contract:
        """The contract in a YAML text; `file` is the name that findings carry.

        `folder`: where the file that it names under `people` is looked for. Without it the contract can be read and
        checked, and no gate takes it: its `members` are not known.
        """
        from roadworthy.contract.load import load_text

        return load_text(text, file=file, folder=None if folder is None else Path(folder))

    @property
    def members(self) -> People | None:
        """Who may decide, by the file that `people` names; None where it names none, or where that was not read."""
        return self._members if self.people is not None else None

    def with_people(self, people: People) -> Contract:
        """The same contract with these people, for one that is made in Python."""
        named = self.people or people.file or "people.yaml"
        changed = self.model_copy(update={"people": named})
        changed._members = people
        return changed

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the meaning, in hex: comments, order of keys and spelt-out defaults do not change it.

        It covers the people file, too.
        """
        meaning = self.model_dump(mode="python", by_alias=True)
        if self.members is not None:
            meaning["people"] = {"file": self.people, "digest": self.members.digest}
        return canonical.digest(meaning)

    @cached_property
    def tool_names(self) -> Mapping[str, str]:
        """From every name under which a model or framework may call a tool to the contract's name of it."""
        names: dict[str, str] = {}
        for key, tool in self.tools.items():
            names[key] = key
            names[key.replace(".", "_")] = key
            if tool.name is not None:
                names[tool.name] = key
        return names

    @cached_property
    def shapes(self) -> Shapes:
        """All types, resolved. Raises ContractError with every type that cannot be."""
        from roadworthy.contract.resolve import resolved

        return resolved(self)

    def located(self, finding: Finding) -> Finding:
        """A finding with the place in the file that this contract was read from; as it is where there is none."""
        return self._place(finding) if self._place is not None else finding

    def model_name(self, tool: str) -> str:
        """The name under which a model is offered a tool; OpenAI function names take no points."""
        return self.tools[tool].name or tool.replace(".", "_")


TypeSpec.model_rebuild()
_TYPE_KEYS.update(field.alias or name for name, field in TypeSpec.model_fields.items())
Contract.model_rebuild()
