"""`roadworthy inbox`: what waits for a person, and the person's answer to it."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from roadworthy.cli.ledgers import GateBook, VaultChoice, appending, its_folder
from roadworthy.cli.signing import KEYS_ENV, KEYS_HELP, find_key
from roadworthy.cli.terminal import columns, err, json_line, out, shown
from roadworthy.contract.keys import project_of
from roadworthy.contract.model import Contract
from roadworthy.contract.names import did_you_mean
from roadworthy.core import canonical
from roadworthy.core.errors import Unreadable, UsageError
from roadworthy.core.types import Reason
from roadworthy.gate.decide import normalise
from roadworthy.gate.gate import Asked, Gate
from roadworthy.gate.people.answers import Answered, Answering, answer_payload, standing
from roadworthy.gate.policy import ToolPolicy

app = typer.Typer(add_completion=False)

Law = Annotated[Path, typer.Option("--contract", help="The contract that the agent runs under.")]
Id = Annotated[str, typer.Argument(help="The question, as `inbox list` names it; or a run in which one waits.")]
Person = Annotated[str, typer.Option("--as", help="Who answers: you.")]
Keys = Annotated[Path | None, typer.Option("--keys", envvar=KEYS_ENV, help=KEYS_HELP)]
Why = Annotated[str, typer.Option("--because", help="Why; the agent is told so.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask once more.")]
Json = Annotated[bool, typer.Option("--json", help="A line of JSON, and nothing else.")]

_CONTRACT: Final = Path("contract.yaml")


@app.callback()
def group() -> None:
    """See what waits for a person, and answer it."""


@app.command("list")
def show_all(
    ledger: GateBook,
    contract: Law = _CONTRACT,
    person: Annotated[str | None, typer.Option("--as", help="Only what this person may answer.")] = None,
    vault: VaultChoice = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a question.")] = False,
) -> int:
    """List the questions that wait for an answer, the oldest first.

    Exit codes: 0 listed, 2 broken input.
    """
    with _gate(contract, ledger, vault) as gate:
        people = gate.contract.members
        asked = [
            one
            for one in gate.questions(unreadable=_pass_over)
            if person is None or people is None or people.holds(person, one.question.role or "")
        ]
        if json:
            for one in asked:
                json_line(_told(gate, one))
            return 0
        if not asked:
            out().print("Nothing waits for an answer.")
            return 0
        rows = [
            (
                one.id,
                one.question.role or "-",
                one.tool,
                _time(one.at),
                _time(one.question.expires) if one.question.expires else "-",
                str(_standing(gate, one).missing),
            )
            for one in asked
        ]
        for line in columns(("question", "role", "tool", "since (UTC)", "until (UTC)", "missing"), rows):
            out().print(line)
    return 0


def _pass_over(error: Unreadable) -> None:
    err().print(shown(f"Passed over: {error}", lines=False))


@app.command()
def show(
    question: Id, ledger: GateBook, contract: Law = _CONTRACT, vault: VaultChoice = None, json: Json = False
) -> int:
    """Show one question: the action, why it waits, where its values came from, and who may answer.

    Exit codes: 0 shown, 2 there is no such question.
    """
    with _gate(contract, ledger, vault) as gate:
        asked = _find(gate, question)
        if json:
            json_line(_told(gate, asked))
        else:
            _print(gate, asked)
    return 0


@app.command()
def approve(
    question: Id,
    person: Person,
    ledger: GateBook,
    contract: Law = _CONTRACT,
    because: Why = "",
    keys: Keys = None,
    yes: Yes = False,
    vault: VaultChoice = None,
    json: Json = False,
) -> int:
    """Say yes: the action is judged once more, and carried.

    Exit codes: 0 answered, 1 you said no when asked once more, 2 the answer does not count, and why.
    """
    return _answer(question, "approve", person, ledger, vault, contract, because, keys, yes=yes, json=json)


@app.command()
def deny(
    question: Id,
    person: Person,
    ledger: GateBook,
    contract: Law = _CONTRACT,
    because: Why = "",
    keys: Keys = None,
    yes: Yes = False,
    vault: VaultChoice = None,
    json: Json = False,
) -> int:
    """Say no: the action is not done, and the agent is told why.

    Exit codes: 0 answered, 1 you said no when asked once more, 2 the answer does not count, and why.
    """
    return _answer(question, "deny", person, ledger, vault, contract, because, keys, yes=yes, json=json)


@app.command()
def edit(
    question: Id,
    person: Person,
    ledger: GateBook,
    to: Annotated[list[str], typer.Option("--set", help="ARGUMENT=VALUE; may be repeated. Without a value: left out.")],
    contract: Law = _CONTRACT,
    because: Why = "",
    keys: Keys = None,
    yes: Yes = False,
    vault: VaultChoice = None,
    json: Json = False,
) -> int:
    """Say yes to other arguments: the changed action is judged from the beginning.

    Exit codes: 0 answered, 1 you said no when asked once more, 2 the answer does not count, and why.
    """
    return _answer(question, "edit", person, ledger, vault, contract, because, keys, to=to, yes=yes, json=json)


@app.command()
def answer(
    question: Id,
    person: Person,
    ledger: GateBook,
    text: Annotated[str, typer.Option("--text", help="What the agent is told.")],
    contract: Law = _CONTRACT,
    keys: Keys = None,
    yes: Yes = False,
    vault: VaultChoice = None,
    json: Json = False,
) -> int:
    """Answer in words: the action is not done, and the agent is told what you say.

    Exit codes: 0 answered, 1 you said no when asked once more, 2 the answer does not count, and why.
    """
    return _answer(question, "answer", person, ledger, vault, contract, "", keys, text=text, yes=yes, json=json)


@app.command()
def take(
    question: Id,
    person: Person,
    ledger: GateBook,
    contract: Law = _CONTRACT,
    because: Why = "",
    keys: Keys = None,
    yes: Yes = False,
    vault: VaultChoice = None,
    json: Json = False,
) -> int:
    """Take over: the action is not done, and the run is yours from here on.

    Exit codes: 0 answered, 1 you said no when asked once more, 2 the answer does not count, and why.
    """
    return _answer(question, "take", person, ledger, vault, contract, because, keys, yes=yes, json=json)


# How it is done ------------------------------------------------------------------------------------------------------


@contextmanager
def _gate(contract: Path, ledger: str, vault: str | None) -> Generator[Gate]:
    law = Contract.load(contract)
    with appending(ledger, vault) as opened:
        yield Gate(law, opened)


def _find(gate: Gate, named: str) -> Asked:
    """The question of this id, or the only one that waits in the run of this id. Raises UsageError."""
    unreadable: list[Unreadable] = []
    of_run = [one for one in gate.questions(unreadable=unreadable.append) if one.run == named]
    for error in unreadable:
        if error.run == named:
            raise error
    if len(of_run) > 1:
        raise UsageError(f"several questions wait in run {named!r}: name one of {', '.join(one.id for one in of_run)}")
    return of_run[0] if of_run else gate.question(named)


def _answer(
    question: str,
    ruling: Answering,
    person: str,
    ledger: str,
    vault: str | None,
    contract: Path,
    because: str,
    keys: Path | None,
    *,
    to: list[str] | None = None,
    text: str | None = None,
    yes: bool,
    json: bool,
) -> int:
    with _gate(contract, ledger, vault) as gate:
        asked = _find(gate, question)
        args = _changed(gate.policy.tools[asked.tool], asked.args, to) if to is not None else None
        if not yes and not json and sys.stdin.isatty():
            _print(gate, asked)
            for name, value in (args or {}).items():
                if asked.args.get(name) != value:
                    out().print(shown(f"changed:  {name} = {_value(value)}", lines=False))
            if not typer.confirm(f"{ruling} this as {person}?"):
                return 1
        signature: str | None = None
        if gate.contract.members is not None:
            folders = {"the project": project_of(contract), **its_folder(ledger)}
            payload = answer_payload(asked.question, by=person, ruling=ruling, because=because, args=args, text=text)
            signature = find_key(person, keys, folders).sign("answer", payload)
        found = gate.answer(
            asked.id, by=person, ruling=ruling, because=because, args=args, text=text, signature=signature
        )
    if json:
        told = {"question": asked.id, "by": person, "ruling": ruling}
        json_line({**told, "decided": found.ruling, "missing": found.missing, "args": args})
    elif found.ruling is None:
        more = "1 more person" if found.missing == 1 else f"{found.missing} more people"
        out().print(shown(f"{person}: {ruling} {asked.tool}. {more} must agree."))
    else:
        then = "It is carried at the run's next turn, or by `roadworthy worker`." if ruling in _CARRIED else ""
        out().print(shown(f"{person}: {ruling} {asked.tool}. {then}".rstrip()))
    return 0


_CARRIED: Final = ("approve", "edit")


def _changed(tool: ToolPolicy, before: Mapping[str, Any], to: list[str]) -> dict[str, Any]:
    """The arguments with some of them changed, in the contract's types. Raises UsageError."""
    args = dict(before)
    for pair in to:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{pair!r} changes nothing; write --set ARGUMENT=VALUE")
        shape = tool.arg_shapes.get(name)
        if shape is None:
            raise UsageError(f"{tool.name} has no argument {name!r}; {did_you_mean(name, tool.arg_shapes)}")
        if not value:
            args.pop(name, None)
        elif shape.type in ("string", "decimal"):
            args[name] = value
        else:
            try:
                args[name] = orjson.loads(value)
            except orjson.JSONDecodeError:
                args[name] = value
    typed = normalise(tool, args)
    if isinstance(typed, Reason):
        raise UsageError(f"these arguments do not fit: {typed.text}")
    return typed


def _standing(gate: Gate, asked: Asked) -> Answered:
    """What the answers so far amount to."""
    return standing(gate.contract.members, asked.question, asked.answers, now=gate.clock.now())


def _told(gate: Gate, asked: Asked) -> dict[str, Any]:
    question, found = asked.question, _standing(gate, asked)
    return {
        "question": asked.id,
        "run": asked.run,
        "role": question.role,
        "who": _who(gate, asked),
        "approvals": question.approvals,
        "missing": found.missing,
        "said_yes": found.by if found.ruling is None else (),
        "decided": found.ruling,
        "not": question.excluded,
        "since": asked.at,
        "until": question.expires,
        "principal": question.principal,
        "subject": asked.subject,
        "capability": asked.capability,
        "tool": asked.tool,
        "args": canonical.loads(canonical.dumps(asked.args)),
        "origins": asked.origins,
        "because": asked.text,
        "suspended": asked.suspended,
        "digest": question.digest,
    }


def _who(gate: Gate, asked: Asked) -> list[str] | None:
    people = gate.contract.members
    return None if people is None else list(people.holding(asked.question.role or ""))


def _print(gate: Gate, asked: Asked) -> None:
    found, question = _standing(gate, asked), asked.question
    who = _who(gate, asked)
    lines = [
        ("question", asked.id),
        ("run", f"{asked.run}, run by {question.principal}, for {asked.subject or 'nobody known'}"),
        ("action", asked.tool),
        *(
            (
                f"  {name}",
                _value(value) + (f"   (seen: {', '.join(asked.origins[name])})" if asked.origins.get(name) else ""),
            )
            for name, value in asked.args.items()
        ),
        ("why", asked.text),
        ("who", f"{question.role or 'nobody'}" + ("" if who is None else f": {', '.join(who) or 'nobody'}")),
        ("since", f"{_time(asked.at)} UTC"),
    ]
    if question.excluded:
        lines.append(("not", ", ".join(question.excluded)))
    if question.expires is not None:
        lines.append(("until", f"{_time(question.expires)} UTC; after that it is denied"))
    if found.ruling is not None:
        lines.append(("decided", f"{found.ruling}, by {', '.join(found.by) or 'nobody in time'}"))
    elif question.approvals > 1:
        lines.append(("agreed", f"{', '.join(found.by) or 'nobody'}; {found.missing} more must agree"))
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        out().print(shown(f"{name:<{width}}  {text}", lines=False))


def _value(value: Any) -> str:
    return value if isinstance(value, str) else canonical.dumps(value).decode().strip('"')


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")
