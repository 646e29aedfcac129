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
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PrivateAttr, model_validator

from roadworthy.contract.shapes import Shapes
from roadworthy.core import canonical
from roadworthy.core.errors import Finding
from roadworthy.core.types import Level

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


Seconds = Annotated[float, BeforeValidator(_seconds), PlainSerializer(_with_unit, return_type=str)]
"""A duration, written `500ms`, `3s`, `10m`, `4h` or `7d`; held in seconds."""

Number = Annotated[str, BeforeValidator(_quoted_number)]
"""A decimal number, written as a quoted string so that no digit is lost."""

Name = Annotated[str, Field(pattern=f"^{_NAME}$")]
"""Identifiers joined by points, such as `billing.refund`."""

Cel = Annotated[str, Field(min_length=1)]
"""A condition in CEL; it must be of type bool."""


class Part(BaseModel):
    """What all parts of a contract share: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


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
    const: Any = None
    default: Any = None
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
    min_items: int | None = Field(default=None, alias="minItems", ge=0)
    max_items: int | None = Field(default=None, alias="maxItems", ge=0)
    unique_items: bool | None = Field(default=None, alias="uniqueItems")
    properties: dict[str, Spec] | None = None
    required: tuple[str, ...] | None = None
    additional_properties: Spec | bool | None = Field(default=None, alias="additionalProperties")
    """The type of the values of a map; true or false as in JSON Schema."""
    nullable: bool | None = None
    optional: bool | None = None
    entity: str | None = None
    """The entity whose key this value is."""
    labels: tuple[str, ...] | None = None
    trust: Literal["trusted", "untrusted"] | TrustWhen | None = None
    origin: tuple[str, ...] | OriginNot | None = None
    destination: tuple[str, ...] | None = None
    else_: Literal["ask", "deny"] | None = Field(default=None, alias="else")
    unit: str | None = None
    of: Literal["subject", "anyone"] | None = None
    """`anyone`: the value need not belong to the subject of the run."""
    pick: Literal["user", "any"] | None = None
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
    established_by: tuple[str, ...] = ()


class Entity(Part):
    key: str
    """The field that holds its id."""
    pattern: str | None = None
    """What an id looks like; it must match in full."""


class SameAs(Part):
    from_: str = Field(alias="from")
    to: str
    by: str
    """The look-up that leads from one to the other."""


class Label(Part):
    readers: Literal["owner", "nobody"] | tuple[str, ...]


class Verify(Part):
    tool: str
    args: dict[str, str]


class Directory(Part):
    of: str | None = None
    from_: tuple[str, ...] = Field(alias="from")
    field: str
    verify: Verify | None = None


class Need(Part):
    call: str
    same: tuple[str, ...] = ()
    where: Cel | None = None
    within: Seconds | None = None
    since: tuple[str, ...] = ()


class Confirm(Part):
    by: Literal["user"] = "user"
    read_out: tuple[str, ...]


class Idempotent(Part):
    key: tuple[str, ...]
    passed_as: str
    scope: Literal["run", "forever"] = "run"


class Lookup(Part):
    tool: str
    args: dict[str, str] | None = None
    done_when: Cel


class Undo(Part):
    tool: str
    args: dict[str, str]
    before: str | None = None


class Breaker(Part):
    failures: int = Field(ge=1)
    within: Seconds
    open_for: Seconds


class Tool(Part):
    effect: Literal["read", "compute", "write", "send"]
    args: dict[str, Spec] = Field(default_factory=dict)
    returns: Spec | None = None
    name: str | None = None
    """What the model calls it, where that differs from the key."""
    description: str | None = None
    before_subject: bool = False
    timeout: Seconds | None = None
    retries: int = Field(default=0, ge=0, le=10)
    concurrency: int | None = Field(default=None, ge=1)
    breaker: Breaker | None = None
    fails_when: Cel | None = None
    needs: tuple[Need, ...] = ()
    confirm: Confirm | None = None
    idempotent: Idempotent | None = None
    lookup: Lookup | None = None
    undo: Undo | None = None
    only: Literal["undo"] | None = None


class Autonomy(Part):
    start: Level = "shadow"
    ceiling: Level = "autonomous"
    approver: str | None = None


class Evidence(Part):
    pass_rate: Number
    confidence: Number


class Criterion(Part):
    """One criterion of success: exactly one of `check`, `signal` and `judge`."""

    id: str
    check: Cel | None = None
    signal: str | None = None
    judge: str | None = None
    within: Seconds | None = None
    expect: bool | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Criterion:
        if sum(x is not None for x in (self.check, self.signal, self.judge)) != 1:
            raise ValueError("a success criterion has exactly one of check, signal and judge")
        return self


class Capability(Part):
    means: str
    examples: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    autonomy: Autonomy = Field(default_factory=Autonomy)
    evidence: Evidence | None = None
    success: tuple[Criterion, ...] = ()


class ToolSet(Part):
    """All tools of one effect."""

    effect: Literal["read", "compute", "write", "send"]


class With(Part):
    """The latest result of a tool in this run whose arguments are the same as the action's."""

    call: str
    same: tuple[str, ...] = ()


class Ask(Part):
    role: str
    approvals: int = Field(default=1, ge=1)
    not_: tuple[str, ...] = Field(default=(), alias="not")
    within: Seconds | None = None
    on_silence: Literal["deny"] = "deny"
    meanwhile: Literal["tell", "suspend"] = "tell"


class Example(Part):
    """A case that a rule must catch or let pass; run when the contract is loaded."""

    args: dict[str, Any] = Field(default_factory=dict)
    given: dict[str, Any] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    heard: str = ""
    count: dict[str, int] = Field(default_factory=dict)
    sum: dict[str, Number] = Field(default_factory=dict)
    now: str | None = None


class Examples(Part):
    caught: tuple[Example, ...] = ()
    passed: tuple[Example, ...] = ()


class Rule(Part):
    id: str
    tools: tuple[str, ...] | ToolSet
    when: Cel | None = None
    unless: Cel | None = None
    with_: dict[str, With] = Field(default_factory=dict, alias="with")
    then: Literal["deny", "clarify", "ask"]
    ask: Ask | None = None
    because: str
    enforce: bool = True
    examples: Examples = Field(default_factory=Examples)


class FlowRule(Part):
    id: str
    label: str
    into: tuple[str, ...]
    only_to: str | None = None
    then: Literal["deny", "ask"] = "deny"
    because: str


class Claim(Part):
    says: tuple[str, ...]
    needs: str


class RunBudget(Part):
    tool_calls: int | None = Field(default=None, ge=0)
    writes: int | None = Field(default=None, ge=0)
    wall: Seconds | None = None
    model_tokens: int | None = Field(default=None, ge=0)


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
    day: tuple[DayBudget, ...] = ()


class PrincipalSpec(Part):
    authenticated_by: str | None = None
    capabilities: tuple[str, ...]


class Escalate(Part):
    to: str
    tool: str | None = None
    on: tuple[Literal["out_of_scope", "budget", "repeated_denial", "in_doubt", "diverged"], ...] = ()


class LedgerDown(Part):
    reads: Literal["allow", "deny"] = "deny"
    writes: Literal["deny"] = "deny"


class Contract(Part):
    """What an agent is for, may do and must achieve. Frozen; equal meaning has an equal `digest`."""

    roadworthy: Literal[1]
    """The version of the file format."""
    agent: str
    version: str
    goal: str
    owner: Owner
    people: str | None = None
    signatures: dict[Level, tuple[str, ...]] = Field(default_factory=dict[Level, tuple[str, ...]])
    subject: Subject | None = None
    zone: str = "UTC"
    facts: dict[str, Spec] = Field(default_factory=dict)
    entities: dict[Name, Entity] = Field(default_factory=dict)
    same_as: tuple[SameAs, ...] = ()
    labels: dict[str, Label] = Field(default_factory=dict)
    directories: dict[str, Directory] = Field(default_factory=dict)
    types: dict[str, Spec] = Field(default_factory=dict)
    tools: dict[Name, Tool]
    common: tuple[str, ...] = ()
    capabilities: dict[str, Capability]
    rules: tuple[Rule, ...] = ()
    flow: tuple[FlowRule, ...] = ()
    claims: tuple[Claim, ...] = ()
    budgets: Budgets = Field(default_factory=Budgets)
    principals: dict[str, PrincipalSpec] = Field(default_factory=dict)
    hosted_tools: Literal["refuse"] | tuple[str, ...] = "refuse"
    escalate: Escalate | None = None
    ledger_down: LedgerDown = Field(default_factory=LedgerDown)
    _place: Callable[[Finding], Finding] | None = PrivateAttr(default=None)

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
    def loads(cls, text: str, *, file: str = "<text>") -> Contract:
        """The contract in a YAML text; `file` is the name that findings carry."""
        from roadworthy.contract.load import load_text

        return load_text(text, file=file)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the meaning, in hex: comments, order of keys and spelt-out defaults do not change it."""
        return canonical.digest(self.model_dump(mode="python", by_alias=True))

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
