"""What grades a trial. All of it is deterministic; each scorer has a version, and every score carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from roadworthy.contract.conditions import ConditionError, Conditions
from roadworthy.contract.model import Contract
from roadworthy.core.errors import HarnessError
from roadworthy.gate.state import RunState
from roadworthy.trials.results import GradedChange, Score
from roadworthy.trials.scenario import Ending, Expect, Match, RowPattern, TableChanges
from roadworthy.trials.users import matches
from roadworthy.trials.world import Change, Row

DIFF = "diff@1"
SUCCESS = "success@1"
ENDING = "ending@1"
SCORERS = (DIFF, SUCCESS, ENDING)
"""All scorers, with their versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """The changes of a world, graded."""

    changes: tuple[GradedChange, ...]
    missing: tuple[str, ...]
    """Required changes that did not happen, in words."""

    @property
    def forbidden(self) -> list[Change]:
        """The changes that the scenario does not allow."""
        return [c.change for c in self.changes if c.grade == "forbidden"]


def grade(expect: Expect, changes: Sequence[Change]) -> Diff:
    """Which changes were required, allowed or forbidden, and what is missing."""
    required = [(table, pattern) for table, patterns in expect.required.items() for pattern in patterns]
    taken = _assign(required, changes)
    graded: list[GradedChange] = []
    for i, change in enumerate(changes):
        if _covers(expect.forbidden.get(change.table), change):
            graded.append(GradedChange(change=change, grade="forbidden"))
        elif i in taken:
            graded.append(GradedChange(change=change, grade="required"))
        elif _covers(expect.allowed.get(change.table), change):
            graded.append(GradedChange(change=change, grade="allowed"))
        else:
            graded.append(GradedChange(change=change, grade="forbidden"))
    met = set(taken.values())
    missing = tuple(_in_words(*required[r]) for r in range(len(required)) if r not in met)
    return Diff(changes=tuple(graded), missing=missing)


def _assign(required: Sequence[tuple[str, RowPattern]], changes: Sequence[Change]) -> dict[int, int]:
    """Give each required pattern a change of its own, as many as can be: change -> pattern."""
    taken: dict[int, int] = {}

    def place(r: int, tried: set[int]) -> bool:
        table, pattern = required[r]
        for i, change in enumerate(changes):
            if i in tried or change.table != table or not _fits(pattern, change):
                continue
            tried.add(i)
            if i not in taken or place(taken[i], tried):
                taken[i] = r
                return True
        return False

    for r in range(len(required)):
        place(r, set())
    return taken


def _covers(expected: TableChanges | None, change: Change) -> bool:
    if expected is None:
        return False
    return expected == "any" or any(_fits(pattern, change) for pattern in expected)


def _fits(pattern: RowPattern, change: Change) -> bool:
    if pattern.change is None:
        if change.change == "delete":
            return False
    elif pattern.change != change.change:
        return False
    return _row_fits(pattern.columns, change.row) and (
        not pattern.columns_before or (change.before is not None and _row_fits(pattern.columns_before, change.before))
    )


def _row_fits(columns: Iterable[tuple[str, Any]], row: Row) -> bool:
    return all(name in row and _equal(expected, row[name]) for name, expected in columns)


def _equal(expected: Any, actual: Any) -> bool:
    """Equal in meaning: numbers as exact decimals, so that "42.00", 42.0 and 42 are one amount; ids stay text."""
    if isinstance(expected, Match):
        if "matches" in expected.model_fields_set:
            return isinstance(actual, str) and matches(expected.matches or "", actual)
        if expected.any_of is not None:
            return any(_equal(one, actual) for one in expected.any_of)
        return not _equal(expected.not_, actual)
    if expected is None or actual is None:
        return expected is actual
    if expected == actual:
        return True
    if isinstance(expected, bool) or isinstance(actual, bool):
        return str(int(expected) if isinstance(expected, bool) else expected) == str(
            int(actual) if isinstance(actual, bool) else actual
        )
    if isinstance(expected, str) and isinstance(actual, str) and "." not in expected and "." not in actual:
        return False  # two texts without a point are ids: "04711" is not "4711"
    wanted, found = _decimal(expected), _decimal(actual)
    return wanted is not None and found is not None and wanted == found


def _decimal(value: Any) -> Decimal | None:
    if not isinstance(value, (str, int, float, Decimal)):
        return None
    try:
        found = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _in_words(table: str, pattern: RowPattern) -> str:
    cells = ", ".join(f"{k}={_value(v)}" for k, v in pattern.columns)
    return f"{pattern.change or 'change'} of {table}" + (f" ({cells})" if cells else "")


def _value(value: Any) -> str:
    if not isinstance(value, Match):
        return repr(value)
    if value.any_of is not None:
        return f"one of {list(value.any_of)!r}"
    return f"/{value.matches}/" if value.matches is not None else f"not {value.not_!r}"


def score_diff(expect: Expect, changes: Sequence[Change]) -> tuple[Score, Diff]:
    """The framed diff: everything required, nothing forbidden. The reasons name tables, not values."""
    if not changes and not expect.required:
        return _CLEAN, _NOTHING
    diff = grade(expect, changes)
    if not diff.missing and all(g.grade != "forbidden" for g in diff.changes):
        return _CLEAN, diff
    why = [f"missing: {text.split(' (')[0]}" for text in diff.missing]
    why += [f"forbidden: {c.change} of {c.table}" for c in diff.forbidden]
    return Score(scorer=DIFF, ok=False, why=tuple(dict.fromkeys(why))), diff


_CLEAN = Score(scorer=DIFF, ok=True)
_NOTHING = Diff(changes=(), missing=())


def score_ending(expect: Expect, ending: Ending) -> Score:
    """Whether the trial ended as it should."""
    if ending in expect.ending:
        return Score(scorer=ENDING, ok=True)
    return Score(scorer=ENDING, ok=False, why=(f"ended {ending}, not {' or '.join(expect.ending)}",))


def score_success(
    contract: Contract,
    conditions: Conditions,
    capability: str,
    state: RunState,
    *,
    now: Any,
    calls: Callable[[], Mapping[str, Sequence[Any]]],
) -> Score:
    """The `check` criteria of the contract's capability. A check that cannot be judged makes the trial an ERROR.

    `signal` and `judge` criteria are not applicable in a trial. Raises HarnessError.
    """
    why: list[str] = []
    for criterion in contract.capabilities[capability].success:
        condition = conditions.success.get((capability, criterion.id))
        if condition is None:
            continue
        binding = conditions.bind_success(
            counts=state.counts,
            sums=state.sums,
            calls=calls() if "calls" in condition.roots else {},
            facts=state.facts,
            heard=state.words,
            now=now,
        )
        try:
            holds = condition.holds(binding)
        except ConditionError as e:
            raise HarnessError(
                f"success check {capability}.{criterion.id} ({condition.text}) cannot be judged: {e}"
            ) from e
        if not holds:
            why.append(f"check {criterion.id} is false: {condition.text}")
    return Score(scorer=SUCCESS, ok=not why, why=tuple(why))
