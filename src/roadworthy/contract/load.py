"""Reading a contract: strict, and with everything that is wrong at once, each with its place and its cure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path as File

from roadworthy.contract.conditions import Conditions, compile_conditions, conditions_of
from roadworthy.contract.examples import run_examples
from roadworthy.contract.model import Contract
from roadworthy.contract.people import People
from roadworthy.contract.references import refer
from roadworthy.contract.resolve import resolve
from roadworthy.contract.shapes import Shapes
from roadworthy.contract.structure import build
from roadworthy.contract.written import Path, Written, read
from roadworthy.core.errors import ContractError, Finding, told_why


def load_file(path: File) -> Contract:
    """The contract in a YAML file. Raises ContractError with every finding."""
    contract, written = examine(_text(path), file=str(path), folder=path.parent)
    return _sound(contract, written)


def load_text(text: str, *, file: str = "<text>", folder: File | None = None) -> Contract:
    """The contract in a YAML text; `file` is the name that findings carry. Raises ContractError with every finding.

    `folder` is where its people file is looked for; without it that file is not read.
    """
    contract, written = examine(text, file=file, folder=folder)
    return _sound(contract, written)


def assure(contract: Contract) -> None:
    """Raises ContractError with all that does not hold together in a contract that was made or changed in Python.

    One that was read from a file has been through this already. A people file that was not read counts, too: nobody
    could be told from anybody.
    """
    findings = findings_of(contract)
    if contract.people is not None and contract.members is None:
        text = (
            "the people file was not read, so that nobody's answer could be believed; load the contract from its file, "
            "or use Contract.loads(text, folder=...) or contract.with_people(People.load(...))"
        )
        findings.append(Finding(text=text, path=("people",), code="people_not_read"))
    if findings:
        raise ContractError([contract.located(finding) for finding in findings])


def examine(text: str, *, file: str, folder: File | None = None) -> tuple[Contract | None, Written]:
    """What could be read of a contract, beside the text as data with all that is wrong with it. Never raises."""
    written = read(text, file=file)
    if not isinstance(written.data, dict):
        if not written.findings:
            cure = "a contract starts with `roadworthy: 1`" if written.data is None else "write `key: value` lines"
            written.findings.append(written.found((), f"there is no contract in this file; {cure}", code="yaml"))
        return None, written
    contract = build(written)
    if contract is not None:
        if folder is not None and contract.people is not None:
            contract = _peopled(contract, folder, written)
        findings = findings_of(contract, ghosts=written.ghosts(), holes=frozenset(written.holes))
        written.findings.extend(_placed(f, written=written) for f in findings)
    return contract, written


def _peopled(contract: Contract, folder: File, written: Written) -> Contract:
    """The contract with the people of its file; without them, and with findings, where that cannot be read."""
    named = File(contract.people or "")
    if named.is_absolute():
        text = f"{str(named)!r} holds on one machine only; name the file as seen from the folder of this contract"
        written.findings.append(written.found(("people",), text, code="file"))
        return contract
    try:
        people = People.load(folder / named)
    except ContractError as error:
        for finding in error.findings:
            unread = finding.code == "file"
            written.findings.append(written.found(("people",), finding.text, code="file") if unread else finding)
        return contract
    return contract.with_people(people)


def findings_of(
    contract: Contract, *, ghosts: frozenset[str] = frozenset(), holes: frozenset[Path] = frozenset()
) -> list[Finding]:
    """Everything that does not hold together in a contract, however it was made; empty where it is sound.

    `holes` are the parts that had to be left out, `ghosts` the names in them: what follows from these is not reported.
    """
    shapes, findings = resolve(contract, ghosts=ghosts)
    findings += refer(contract, shapes, ghosts=ghosts, torn=_torn(contract, holes, findings))
    shaped = not any(f.code in ("type", "unknown_name") and f.path[:1] != ("rules",) for f in findings)
    if shaped and not any(hole[0] in _TYPED for hole in holes if hole):
        conditions, broken = _compiled(contract, shapes)
        findings += [f for f in broken if not _touched(f.path, holes)]
        if not any(f.path[:1] == ("rules",) for f in findings):
            findings += [f for f in run_examples(contract, shapes, conditions) if not _touched(f.path, holes)]
    return findings


def _compiled(contract: Contract, shapes: Shapes) -> tuple[Conditions, Sequence[Finding]]:
    """What compiles, and what is wrong with the rest; where all compiles it is kept for the gate."""
    try:
        return conditions_of(contract), ()
    except ContractError:
        return compile_conditions(contract, shapes)


_TYPED = ("types", "entities", "labels", "tools", "facts", "zone")


def _torn(contract: Contract, holes: frozenset[Path], findings: list[Finding]) -> frozenset[str]:
    """The tools whose types are not what was written."""
    paths = [*holes, *(f.path for f in findings)]
    if any(path[:1] in (("types",), ("entities",)) for path in paths):
        return frozenset(contract.tools)
    return frozenset(str(path[1]) for path in paths if path[:1] == ("tools",) and len(path) > 1)


def _touched(path: Path, holes: frozenset[Path]) -> bool:
    return any(hole[:2] == path[:2] or (hole and hole[0] == path[0] and isinstance(path[1], int)) for hole in holes)


def _placed(finding: Finding, *, written: Written) -> Finding:
    placed = written.found(finding.path, finding.text, code=finding.code, severity=finding.severity)
    key = written.keys.get(placed.path)
    if key is None or finding.code != "no_effect":
        return placed
    return replace(placed, line=key.line, column=key.column)  # the key is what is wrong, whatever stands behind it


def _text(path: File) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        text = "there is no such file; check the path, or make one with `roadworthy init`"
    except IsADirectoryError:
        text = "this is a folder; name the contract file in it"
    except UnicodeDecodeError as error:
        text = f"byte {error.start} is no UTF-8; save the file as UTF-8"
    except OSError as error:
        text = f"the file cannot be read: {told_why(error)}"
    raise ContractError([Finding(text=text, file=str(path), code="file")])


def _sound(contract: Contract | None, written: Written) -> Contract:
    findings = [f for f in written.findings if f.severity == "error"]
    if contract is None or findings:
        raise ContractError(sorted(findings, key=lambda f: (f.file != written.file, f.line or 0, f.column or 0)))
    contract._place = partial(_placed, written=written)  # pyright: ignore[reportPrivateUsage]  # only the reader knows
    return contract
