"""`roadworthy ledger show`: the runs of a ledger, and the story of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, cast, get_args

import typer
from rich.text import Text

from roadworthy.cli.ledgers import Book, VaultChoice, reading
from roadworthy.cli.terminal import columns, err, json_line, out, shown
from roadworthy.core.canonical import dumps
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Entry, Kind, Realm
from roadworthy.ledger.agents import Branch, Stretch, layout_of, several_agents, told_of, tree_of
from roadworthy.ledger.between import between_agents
from roadworthy.ledger.rows import RunSummary
from roadworthy.ledger.store import Ledger
from roadworthy.ledger.withheld import mark_of, marked

_SHOWN_RUNS: Final = 50
_CUT: Final = 600
COLOURS: Final[Mapping[str, str]] = {
    "user": "cyan", "agent": "green", "deny": "bold red", "clarify": "yellow", "ask": "yellow", "failed": "red",
    "in_doubt": "bold magenta", "denied": "bold red", "withheld": "bold red", "stop": "bold red", "person": "magenta",
    "gate": "blue", "agents": "bold", "signal": "cyan", "undone": "magenta", "left": "bold red",
}  # fmt: skip


def command(
    ledger: Book,
    run: Annotated[str | None, typer.Argument(help="A run's id: tell its story. Without it: list the runs.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only entries of this kind, such as verdict or stop.")] = None,
    world: Annotated[str | None, typer.Option(help="test, shadow or production.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many runs (default: 50) or entries.")] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a run or an entry, uncut.")] = False,
) -> int:
    """List the runs of a ledger, or tell one run's story: what was said, tried, ruled and done.

    The ledger is only read; the agent may go on writing to it. Exit codes: 0 shown, 2 no such ledger or run.
    """
    wanted_kind = _one_of(kind, "kind", get_args(Kind))
    wanted_world = _one_of(world, "world", get_args(Realm))
    with reading(ledger, vault) as opened:
        if run is None and kind is None:
            _show_runs(opened, cast("Realm | None", wanted_world), limit, json=json)
            return 0
        if run is not None and next(opened.entries(run=run, limit=1), None) is None:
            raise UsageError(
                f"{opened.name} holds no run {run!r}: `roadworthy ledger show {opened.name}` lists the runs"
            )
        found = opened.entries(
            run=run, kind=cast("Kind | None", wanted_kind), world=cast("Realm | None", wanted_world), limit=limit
        )
        if json:
            for entry in found:
                json_line({**asdict(entry), "withheld": sorted(entry.withheld)})
        else:
            _tell(found, tree=run is not None and kind is None)
    return 0


def _one_of(given: str | None, what: str, known: Sequence[str]) -> str | None:
    if given is not None and given not in known:
        raise UsageError(f"there is no {what} {given!r}: it is one of {', '.join(known)}")
    return given


def _show_runs(ledger: Ledger, world: Realm | None, limit: int | None, *, json: bool) -> None:
    if json:
        for run in ledger.runs(world=world, limit=limit):
            json_line(asdict(run))
        return
    most = limit or _SHOWN_RUNS
    runs = list(ledger.runs(world=world, limit=most + 1))
    if not runs:
        err().print(f"{shown(ledger.name)} holds no runs{f' in world {world}' if world else ''}.")
        return
    header = ("run", "world", "status", "principal", "subject", "calls", "denied", "began (UTC)", "last entry")
    denied = {run.run: _denials(ledger, run) for run in runs[:most]}
    for line in columns(header, (_line(run, denied[run.run]) for run in runs[:most])):
        out().print(line)
    if len(runs) > most:
        err().print(f"The {most} latest runs are shown; --limit shows more.")


def _denials(ledger: Ledger, run: RunSummary) -> int:
    return sum(entry.body.get("ruling") == "deny" for entry in ledger.entries(run=run.run, kind="verdict"))


def _line(run: RunSummary, denied: int) -> Sequence[str]:
    calls = run.counts.get("action", 0)
    who = run.principal or run.agent or "-"
    began, last = (time.strftime("%Y-%m-%d %H:%M:%S") for time in (run.first, run.last))
    return run.run, run.world, run.status, who, run.subject or "-", str(calls), str(denied), began, last


def _tell(entries: Iterable[Entry], *, tree: bool) -> None:
    """Tell entries in their order; `tree`: they are of one run, whose agents are told apart where it has several."""
    telling = _Telling()
    if tree:
        entries = [marked(entry) for entry in entries]
        if several_agents(entries):
            telling.branch(tree_of(entries))
            telling.end()
            return
    for entry in entries:
        telling.entry(marked(entry))
    telling.end()


class _Telling:
    """Entries on their way to the terminal. Guides before a line say under which agent it stands."""

    def __init__(self) -> None:
        self.console = out()
        self.run: str | None = None
        self.day: str | None = None
        self.open: dict[str, str] = {}
        """The calls that were begun, and of which nothing says how they ended."""

    def entry(self, entry: Entry, guides: str = "") -> None:
        self._heading(entry)
        if entry.kind == "intent":
            self.open[_root(entry)] = str(entry.body.get("key", ""))
        elif entry.kind == "outcome":
            self.open.pop(_root(entry), None)
        mark = mark_of(entry)
        for who, text in _lines(entry):
            self._say(entry.at, guides, who, text if mark in text else f"{text} {mark}")

    def branch(self, branch: Branch, guides: str = "") -> None:
        """A line of work, with all that is within it."""
        corner = "\u250c"  # of the first agent; those that follow it branch off
        for item in branch.items:
            if isinstance(item, Entry):
                self.entry(item, guides)
                corner = "\u250c"
                continue
            self._agent(item, f"{guides}{corner} ")
            corner = "\u251c"
            for part in item.parts:
                if isinstance(part, Branch):
                    self.branch(part, f"{guides}\u2502 ")
                else:
                    self.entry(part, f"{guides}\u2502 ")
        if branch.returned is not None:
            self._line(branch.returned.at, f"{guides}\u2514 ", "", _back(branch.returned), "dim")
        elif branch.within is not None:
            self._line(None, f"{guides}\u2514 ", "", "nothing says that this came back", "dim")

    def end(self) -> None:
        for action in self.open:
            text = f"{_number(action)}nothing says how this ended: it may or may not have been done".strip()
            self._line(None, "", f"{'in_doubt':<8}  ", text, COLOURS["in_doubt"])

    def _heading(self, entry: Entry) -> None:
        if entry.run != self.run or self.day is None:
            self.run, self.day = entry.run, None
            text = f"run {self.run}" if self.run is not None else "the whole ledger"
            self.console.print(Text(shown(text, lines=False), "bold"))
        if self.day != (day := entry.at.strftime("%Y-%m-%d")):
            self.day = day
            self.console.print(Text(f"{day} (UTC), world {entry.world}", "dim"))

    def _agent(self, stretch: Stretch, guides: str) -> None:
        name = shown(stretch.agent or "an agent", lines=False)
        began = stretch.given if not stretch.goes_on else None
        first = began or next((part for part in stretch.parts if isinstance(part, Entry)), None)
        if first is not None:
            self._heading(first)
        told = _brief(told_of(began.body)) if began is not None else ""
        self._line(first.at if first is not None else None, guides, name, told, "bold")

    def _say(self, at: datetime, guides: str, who: str, text: str) -> None:
        self._line(at, guides, f"{who:<8}  ", text, COLOURS.get(who, ""))

    def _line(self, at: datetime | None, guides: str, who: str, text: str, style: str) -> None:
        first, *more = shown(text).split("\n")
        when = at.strftime("%H:%M:%S") if at is not None else " " * 8
        self.console.print(Text.assemble((when, "dim"), "  ", (guides, "dim"), (who, style), first))
        under = guides.translate(_UNDER)
        for line in more:
            self.console.print(Text.assemble(" " * 10, (under, "dim"), " " * 10, line))


_UNDER: Final = str.maketrans({"\u250c": "\u2502", "\u251c": "\u2502", "\u2514": " "})
"""What stands under the guides of a line that goes on."""


def _back(returned: Entry) -> str:
    text = str(returned.body.get("text") or "")
    return f"back{f': {_brief(text)}' if text else ''}"


def _root(entry: Entry) -> str:
    """The action that an entry follows from: another process may have ended what this one began."""
    return (entry.cause or "").partition("~")[0]


def _number(cause: str | None) -> str:
    """`#3 ` for the third action of a run, so that calls that ran side by side can be told apart."""
    tail = (cause or "").rpartition("#")
    return f"#{tail[2].split('.')[0]} " if tail[1] else ""


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else dumps(value).decode()
    return text if len(text) <= _CUT else f"{text[:_CUT]}… ({len(text):,} characters; --json shows all)"


def _lines(entry: Entry) -> Iterator[tuple[str, str]]:
    """What an entry says, as speaker and text. An entry of an unknown form is shown as it is."""
    told = _TELLERS.get(entry.kind)
    if told is None:
        yield entry.kind, _brief(entry.body)
    else:
        yield from told(entry)


def _run(entry: Entry) -> Iterator[tuple[str, str]]:
    body = dict(entry.body)
    if "status" in body:
        why = body.pop("why", None)
        yield "run", f"{body.pop('status')}{f': {_brief(why)}' if why else ''}"
    if "opened" in body:
        yield "run", f"capability {body.pop('opened')} is open"
    if "agent" in body:
        agent, version = body.pop("agent"), body.pop("version", "?")
        digest = str(body.pop("contract", ""))[:12]
        principal, subject = body.pop("principal", None), body.pop("subject", None)
        facts, levels = body.pop("facts", None), cast("Mapping[str, str]", body.pop("levels", None) or {})
        capabilities = cast("Sequence[str]", body.pop("capabilities", None) or ())
        yield "run", f"{agent}, contract version {version} ({digest})"
        subjects = f", for {subject}" if subject else ""
        yield "run", f"principal {principal or 'unknown'}{subjects}{f', facts {_brief(facts)}' if facts else ''}"
        for name in capabilities:
            yield "run", f"capability {name} is open{f', {levels[name]}' if name in levels else ''}"
        if body.pop("enforce", True) is False:
            yield "run", "NOT ENFORCED: verdicts are recorded, and every tool runs"
    if body:
        yield "run", _brief(body)


def _verdict(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    ruling = str(body.get("ruling", "?"))
    would = "" if body.get("enforce", True) else " (not enforced)"
    level = f" at level {body['level']}" if "level" in body else ""
    reasons = cast("Sequence[Mapping[str, Any]]", body.get("reasons") or ())
    told = [
        f"{reason.get('rule')}: {reason.get('text')}{'' if reason.get('enforced', True) else ' (would have)'}"
        for reason in reasons
    ]
    yield ruling, "\n".join([f"{_number(entry.cause)}the gate says {ruling}{level}{would}", *told])


def _outcome(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    status, done = str(body.get("status", "?")), body.get("done", "?")
    text, value = body.get("text"), body.get("value")
    result = _brief(text if text else value) if text or value is not None else ""
    yield status, f"{_number(entry.cause)}{done}{f': {result}' if result else ''}"


def _action(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    args = cast("Mapping[str, Any]", body.get("args") or {})
    listed = ", ".join(f"{name}={_brief(dumps(value).decode())}" for name, value in args.items())
    what = f"{_number(entry.cause)}{body.get('tool')}({listed})"
    if body.get("by"):
        of = f" for {_number(str(body['for'])).strip()}" if body.get("for") else ""
        yield "gate", f"{what}, {body['by']}{of}"
    else:
        yield "calls", what


def _stop(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    what = f"capability {body['capability']}" if body.get("capability") else "the whole agent"
    verb = "lets go again" if body.get("lifted") else "stops"
    yield "stop", f"{body.get('by')} {verb}: {what}, because {_brief(body.get('because'))}"


def _question(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    yield "ask", f"{_number(entry.cause)}{body.get('role') or 'a person'} must decide: {_brief(body.get('text', ''))}"


def _answer(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    yield "person", f"{_number(entry.cause)}{body.get('by')} says {body.get('ruling')}"


def _contract(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    yield "contract", f"{body.get('agent')}, version {body.get('version')}, digest {body.get('digest')}"


def _words(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    text = _brief(body.get("text", ""))
    if entry.kind == "heard":
        yield "user", text
        return
    reasons = cast("Sequence[Mapping[str, Any]]", body.get("reasons") or ())
    against = [f"{r.get('rule')}: {r.get('text')}" for r in reasons if r.get("ruling") != "allow"]
    if body.get("status") == "denied":
        yield "withheld", "\n".join([f"the user was not told: {text}", *against])
    elif body.get("done") == "simulated":
        yield "agent", f"in shadow, so the user was not told: {text}"
    else:
        yield "agent", "\n".join([text, *(f"{told} (would have been held back)" for told in against)])


def _handover(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    if between_agents(body):
        yield "agents", _back(entry) if "returned" in body else _brief(f"{body.get('agent')}{told_of(body)}")
        return
    yield "person", f"{body.get('to') or 'a person'} takes over: {_brief(body.get('reason', ''))}"


def _observation(entry: Entry) -> Iterator[tuple[str, str]]:
    layout = layout_of(entry.body)
    yield (layout[0], _brief(layout[1])) if layout is not None else (entry.kind, _brief(entry.body))


def _undo(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    if "action" in body:
        yield str(body.get("came")), f"{_number(str(body['action']))}{_brief(body.get('text', ''))}"
    else:
        yield "person", f"{body.get('by')} undoes the run: {_brief(body.get('because', ''))}"


def _signal(entry: Entry) -> Iterator[tuple[str, str]]:
    body = entry.body
    value = f": {_brief(body['value'])}" if "value" in body else ""
    by = f", reported by {body['by']}" if "by" in body else ""
    happened = f", happened {body['happened']}" if "happened" in body else ""
    yield "signal", f"{body.get('name')}{value}{by}{happened}"


def _nothing(entry: Entry) -> Iterator[tuple[str, str]]:
    del entry  # an intent is told by its outcome, or by the lack of one
    yield from ()


_TELLERS: Final[Mapping[str, Callable[[Entry], Iterator[tuple[str, str]]]]] = {
    "run": _run,
    "heard": _words,
    "said": _words,
    "action": _action,
    "verdict": _verdict,
    "intent": _nothing,
    "outcome": _outcome,
    "stop": _stop,
    "question": _question,
    "answer": _answer,
    "handover": _handover,
    "observation": _observation,
    "undo": _undo,
    "signal": _signal,
    "contract": _contract,
}
