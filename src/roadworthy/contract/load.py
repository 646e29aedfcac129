"""Reading a contract: strict, and with everything that is wrong at once, each with its place and its cure."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from roadworthy.contract.model import Contract
from roadworthy.contract.references import refer
from roadworthy.contract.resolve import resolve
from roadworthy.contract.structure import build
from roadworthy.contract.written import Written, read
from roadworthy.core.errors import ContractError, Finding


def load_file(path: Path) -> Contract:
    """The contract in a YAML file. Raises ContractError with every finding."""
    contract, written = examine(_text(path), file=str(path))
    return _sound(contract, written)


def load_text(text: str, *, file: str = "<text>") -> Contract:
    """The contract in a YAML text; `file` is the name that findings carry. Raises ContractError with every finding."""
    contract, written = examine(text, file=file)
    return _sound(contract, written)


def examine(text: str, *, file: str) -> tuple[Contract | None, Written]:
    """What could be read of a contract, beside the text as data with all that is wrong with it. Never raises."""
    written = read(text, file=file)
    if not isinstance(written.data, dict):
        if not written.findings:
            cure = "a contract starts with `roadworthy: 1`" if written.data is None else "write `key: value` lines"
            written.findings.append(written.found((), f"there is no contract in this file; {cure}", code="yaml"))
        return None, written
    contract = build(written)
    if contract is not None:
        ghosts = written.ghosts()
        shapes, findings = resolve(contract, ghosts=ghosts)
        findings += refer(contract, shapes, ghosts=ghosts)
        written.findings.extend(_placed(f, written=written) for f in findings)
    return contract, written


def _placed(finding: Finding, *, written: Written) -> Finding:
    return written.found(finding.path, finding.text, code=finding.code, severity=finding.severity)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        text = "there is no such file; check the path, or make one with `roadworthy init`"
    except IsADirectoryError:
        text = "this is a folder; name the contract file in it"
    except UnicodeDecodeError as error:
        text = f"byte {error.start} is no UTF-8; save the file as UTF-8"
    except OSError as error:
        text = f"the file cannot be read: {error.strerror or error}"
    raise ContractError([Finding(text=text, file=str(path), code="file")])


def _sound(contract: Contract | None, written: Written) -> Contract:
    findings = [f for f in written.findings if f.severity == "error"]
    if contract is None or findings:
        raise ContractError(sorted(findings, key=lambda f: (f.line or 0, f.column or 0)))
    contract._place = partial(_placed, written=written)  # pyright: ignore[reportPrivateUsage]  # only the reader knows
    return contract
