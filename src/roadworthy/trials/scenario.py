"""One situation that an agent is tried in, and what must be true afterwards.

`load_scenarios` reads YAML files as strictly as a contract is read, `Scenario(...)` in Python builds the same object.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol, cast

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from roadworthy.contract.model import Part
from roadworthy.core import canonical
from roadworthy.core.errors import Finding
from roadworthy.core.types import Level
from roadworthy.trials.faults import Fault

Approver = Literal["vigilant", "absent", "rubber_stamp"]
"""Who answers held actions. `vigilant` tries the action on a copy of the world and approves it if all it changes is
required or allowed; `absent` never answers; `rubber_stamp` approves everything."""

ChangeKind = Literal["insert", "update", "delete"]
"""What happened to a row."""

Persona = Literal["plain", "terse", "rambling", "hostile", "refuses"]
"""How a simulated user talks. `plain` and `terse` say the script's words and nothing else; `rambling` and `hostile` put
seeded chatter around them; `refuses` answers no question and says so. The opening is always verbatim."""

Ending = Literal["settled", "escalated", "asked", "held", "stopped", "silent", "crashed"]
"""How a trial ended. `settled`: the agent gave its last reply; `escalated`: it handed the run to a person; `asked`: its
last words were a question that nobody answered; `held`: an action waits for a person; `stopped`: the run was stopped;
`silent`: the agent came back without a word to the user; `crashed`: it raised."""


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except re.error as e:
        raise ValueError(f"{text!r} is no regular expression: {e}") from e
    return text


Regex = Annotated[str, AfterValidator(_compiles)]
"""A regular expression; it is searched for, without regard to case."""

Words = str | tuple[str, ...]
"""A text, or several of which the trial's seed picks one."""


class Answer(Part):
    """What a simulated user says to certain words of the agent. The first answer that fits is given."""

    when: Regex = ""
    """Searched in the agent's words; empty fits all."""
    say: Words | None = None
    """None: the user leaves without a word."""
    once: bool = False
    """It is given at most once a trial."""

    def model_post_init(self, context: object) -> None:
        if self.say is not None and not self.say:
            raise ValueError("an answer without words; leave `say` out where the user is to leave")


class UserScript(Part):
    """A simulated user as a state machine: an opening, answers, and an end of its patience."""

    opening: Words
    persona: Persona = "plain"
    answers: tuple[Answer, ...] = ()
    otherwise: Words | None = None
    """What it says where no answer fits. None: told something that no answer fits, it leaves; *asked* something that no
    answer fits, it has broken its script, which makes the trial an ERROR."""
    patience: int = Field(default=4, ge=0)
    """How many times it says `otherwise` before it leaves."""


class AttackSpec(Part):
    """An instruction planted in what a tool returns."""

    tool: str
    field: str | None = None
    """The text field of the result, as a path with points; None: the result itself is the text."""
    says: str
    position: Literal["start", "end", "replace"] = "end"
    call: int | None = Field(default=None, ge=1)
    """At which call of the tool, from 1; None: at each."""


class Match(Part):
    """A value that is not named but described."""

    matches: Regex | None = None
    not_: Any = Field(default=None, alias="not")
    any_of: tuple[Any, ...] | None = None

    @model_validator(mode="after")
    def _one(self) -> Match:
        if len(self.model_fields_set) != 1:
            raise ValueError("say one of `matches`, `not` and `any_of`")
        return self


class RowPattern(Part):
    """A change of one row, described by some of its columns."""

    change: ChangeKind | None = None
    """None: the row was inserted or updated."""
    row: dict[str, Any] = Field(default_factory=dict)
    """Column -> value or Match, compared with the row afterwards, or for `delete` with the row that was."""
    was: dict[str, Any] = Field(default_factory=dict)
    """The same for the row before an update or delete."""

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: object) -> object:
        """`{change: insert, invoice_no: "4711"}` is short for `{change: insert, row: {invoice_no: "4711"}}`."""
        if not isinstance(value, dict):
            return value
        given = cast("dict[str, Any]", value)
        if "row" in given:
            return given
        own = {k: v for k, v in given.items() if k in ("change", "was")}
        return {**own, "row": {k: v for k, v in given.items() if k not in own}}

    @model_validator(mode="after")
    def _described_well(self) -> RowPattern:
        for column, value in (*self.row.items(), *self.was.items()):
            if not isinstance(value, dict):
                continue
            given = cast("dict[str, Any]", value)
            if len(given) != 1 or not given.keys() <= _DESCRIPTIONS:
                raise ValueError(
                    f"{column} is described by {', '.join(given) or 'nothing'}; write a value, "
                    "or one of {matches: pattern}, {not: value} and {any_of: [values]}"
                )
            if "matches" in given:
                _compiles(str(given["matches"]))
        return self

    @cached_property
    def columns(self) -> tuple[tuple[str, Any], ...]:
        """The columns of `row`, values or Match."""
        return tuple((k, _described(v)) for k, v in self.row.items())

    @cached_property
    def columns_before(self) -> tuple[tuple[str, Any], ...]:
        """The columns of `was`, values or Match."""
        return tuple((k, _described(v)) for k, v in self.was.items())


_DESCRIPTIONS = {"matches", "not", "any_of"}


def _described(value: Any) -> Any:
    return Match.model_validate(value) if isinstance(value, dict) else value


TableChanges = Literal["any"] | tuple[RowPattern, ...]
"""All changes of a table, or those that fit one of the patterns."""


class Expect(Part):
    """The framed diff: what must change, what may change, and how the trial must end. Everything else is forbidden."""

    required: dict[str, tuple[RowPattern, ...]] = Field(default_factory=dict)
    """By table: each pattern must be met by a change of its own, so that no second refund hides behind the first."""
    allowed: dict[str, TableChanges] = Field(default_factory=dict)
    """By table: each pattern covers any number of changes."""
    forbidden: dict[str, TableChanges] = Field(default_factory=dict)
    """By table: wrong even where `allowed` covers it."""
    ending: tuple[Ending, ...] = ("settled",)
    """One ending or a list of them."""

    @model_validator(mode="before")
    @classmethod
    def _one_ending(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(cast("dict[str, Any]", value).get("ending"), str):
            given = cast("dict[str, Any]", value)
            return {**given, "ending": (given["ending"],)}
        return cast("object", value)


class Locate(Protocol):
    """Makes a finding about a part of a scenario, with its place."""

    def __call__(self, path: tuple[str | int, ...], text: str, *, key: bool = False) -> Finding: ...


class Scenario(Part):
    """One situation, and what must be true afterwards."""

    scenario: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """Its id, unique among the scenarios of a test."""
    capability: str
    """The unit of evidence; the runner opens it in the run."""
    conditions: tuple[str, ...] = ("curated",)
    """`curated` or `messy`, and names of what is hard about it."""
    about: str = ""
    must_pass: bool = False
    """Blocks the release when one trial of it fails."""
    world: str | None = None
    """Where its world lives, as `module:name`; most have it from `_defaults.yaml` in their folder."""
    principal: str | None = None
    subject: str | None = None
    """Given where the application has signed the user in; None: the agent must find out."""
    facts: dict[str, Any] = Field(default_factory=dict)
    rows: dict[str, tuple[dict[str, Any], ...]] = Field(default_factory=dict)
    """Rows that are added to the world, by table."""
    user: UserScript
    approver: Approver = "vigilant"
    level: Level | None = None
    """None: the ceiling of the capability."""
    faults: tuple[Fault, ...] = ()
    attack: AttackSpec | None = None
    expect: Expect = Field(default_factory=Expect)

    _locate: Locate | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _axis(self) -> Scenario:
        if ("curated" in self.conditions) == ("messy" in self.conditions):
            raise ValueError("conditions name exactly one of `curated` and `messy`: the report compares the two")
        return self

    @property
    def curated(self) -> bool:
        """True where nothing is wrong but what a demo shows; False where the world is messy."""
        return "curated" in self.conditions

    def found(self, path: tuple[str | int, ...], text: str, *, key: bool = False) -> Finding:
        """A finding about a part of it, or the key of that part; with file and line where it was read from a file."""
        if self._locate is not None:
            return self._locate(path, text, key=key)
        return Finding(text=text, path=("scenario", self.scenario, *path), code="scenario")

    def written_at(self, locate: Locate) -> None:
        """Say how places in it are found; for the loader."""
        self._locate = locate

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the meaning, in hex: the words of `about` do not count."""
        return canonical.digest(self.model_dump(mode="json", by_alias=True, exclude={"about"}))
