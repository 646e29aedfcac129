"""The report for an auditor or after an incident: what an agent did, and whether that can be believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from roadworthy.audit.account import Account
from roadworthy.audit.drawing import MOST as MOST_NODES
from roadworthy.audit.drawing import Drawing, described, draw
from roadworthy.audit.graph import drawings_of
from roadworthy.audit.redecide import Decision, Redecided
from roadworthy.audit.talk import kind_of, map_of, talk_of
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Entry
from roadworthy.pages.paper import Pages
from roadworthy.verify_ledger import Report as Check
from roadworthy.verify_ledger import told

MOST: Final = 20
"""Findings and differences that are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What deciding the runs again came to."""

    runs: int
    decisions: int
    same: int
    """Runs that came to the same bytes."""
    undecided: tuple[tuple[str, str], ...]
    """Runs that could not be decided again, and why; at most `MOST`."""
    undecided_count: int
    differing: tuple[tuple[str, Decision], ...]
    """Run and decision; at most `MOST`."""
    differing_count: int


def again_of(found: Iterable[Redecided]) -> Again:
    """Runs that were decided again, one by one, in figures."""
    runs = decisions = same = undecided_count = differing_count = 0
    undecided: list[tuple[str, str]] = []
    differing: list[tuple[str, Decision]] = []
    for one in found:
        runs += 1
        decisions += len(one.decisions)
        same += one.same
        if one.undecided is not None:
            undecided_count += 1
            undecided += [(one.run, one.why)] if len(undecided) < MOST else []
        differing_count += len(one.differing)
        differing += [(one.run, decision) for decision in one.differing[: MOST - len(differing)]]
    return Again(
        runs=runs,
        decisions=decisions,
        same=same,
        undecided=tuple(undecided),
        undecided_count=undecided_count,
        differing=tuple(differing),
        differing_count=differing_count,
    )


def render(
    account: Account, *, source: str, at: datetime, check: Check | None, again: Again | None, wrong: str | None = None
) -> str:
    """The whole page. `source`: the ledger, as commands name it. `wrong`: why the ledger could not be checked.

    Raises UsageError where Jinja2 is not installed.
    """
    return _pages().render(
        "report.html.j2",
        "contract.css",
        "report.css",
        "drawing.css",
        account=account,
        source=source,
        at=at,
        check=check,
        lines=_lines(check),
        again=again,
        wrong=wrong,
        talk=talk_of(account.of_the_run),
        drawn=_drawn(account.of_the_run),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A drawing on the page."""

    title: str
    svg: str | None
    """Safe as it is; None for one that is too large."""
    words: Sequence[str]


def _drawn(entries: Sequence[Entry]) -> Sequence[Drawn]:
    """The agents of a run, and the graphs that its framework told of."""
    try:
        agents = map_of(entries)
        drawings = [*([agents] if agents is not None else []), *drawings_of(entries)]
        return [_shown(drawing, f"drawn-{n}") for n, drawing in enumerate(drawings)]
    except (LookupError, TypeError, ValueError, AttributeError, UsageError) as error:
        # An entry that is not what a gate writes: the page must tell all else, and the check says what was changed.
        why = f"What this run says of its agents cannot be drawn ({type(error).__name__})."
        return [Drawn(title="Its agents", svg=None, words=[why])]


def _shown(drawing: Drawing, name: str) -> Drawn:
    svg = draw(drawing, name=name) if len(drawing.nodes) <= MOST_NODES else None
    return Drawn(title=drawing.title, svg=svg, words=described(drawing).split("\n"))


@cache
def _pages() -> Pages:
    filters = {
        "time": _time,
        "day": _day,
        "number": _number,
        "plural": _plural,
        "states": _states,
        "mark": _mark,
        "kind": kind_of,
    }
    return Pages("roadworthy.audit", filters=filters)


def _lines(check: Check | None) -> Sequence[tuple[str, str]]:
    """What the check of the ledger says: a word that tells its weight, and the line."""
    found: list[tuple[str, str]] = []
    for line in told(check) if check is not None else ():
        kind = line.split(maxsplit=1)[0]
        if kind in ("wrong", "note"):
            found.append((kind, line.partition("  ")[2].strip() if kind == "wrong" else line.partition(" ")[2].strip()))
        else:
            found.append(("exposed" if kind == "exposed:" else "said", line))
    return found


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _day(at: datetime) -> str:
    text = at.strftime("%Y-%m-%d %H:%M")
    return text.removesuffix(" 00:00")


def _number(count: int) -> str:
    return f"{count:,}"


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


_STATES: Final = {
    "executed": "done",
    "simulated": "only played through",
    "held": "waiting for a person",
    "answered": "answered, and nothing done yet",
    "blocked": "not done",
    "failed": "failed, nothing done",
    "in_doubt": "in doubt",
    "undone": "done and taken back",
}


def _states(word: str) -> str:
    return _STATES.get(word, word)


_MARKS: Final = {
    "executed": "good", "ok": "good", "allow": "good", "approve": "good", "held": "ask", "ask": "ask", "clarify": "ask",
    "answered": "ask", "edit": "ask", "answer": "ask", "in_doubt": "ask", "undone": "ask", "not_done": "ask",
    "take": "ask", "deny": "deny", "denied": "deny", "failed": "deny", "blocked": "deny", "left": "deny",
    "stop": "deny", "wrong": "deny",
}  # fmt: skip


def _mark(word: str) -> str:
    """How a word is coloured; it says the same without."""
    return _MARKS.get(word, "plain")
