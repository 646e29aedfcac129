"""`roadworthy check`: find what is wrong or dangerous in a contract."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.terminal import json_line, out, shown
from roadworthy.cli.tools import find_tools
from roadworthy.contract.against import against as compare
from roadworthy.contract.check import check
from roadworthy.contract.model import Contract
from roadworthy.core.errors import Finding


def command(
    contract: Annotated[Path, typer.Argument(help="The contract file.")],
    against: Annotated[
        str | None, typer.Option(help="module or module:name of the agent's tools: do code and contract still agree?")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a finding, and one of summary.")] = False,
) -> int:
    """Find what is wrong or dangerous in a contract.

    Exit codes: 0 nothing to act on, 1 warnings, 2 the contract or the tools cannot be loaded. Notes do not count.
    """
    law = Contract.load(contract)
    findings = check(law)
    if against is not None:
        findings += compare(law, find_tools(against))
    warnings = sum(f.severity != "note" for f in findings)
    if json:
        for finding in findings:
            json_line(asdict(finding))
        summary = {"warnings": warnings, "notes": len(findings) - warnings, "digest": law.digest}
        json_line({"summary": {"contract": str(contract), "agent": law.agent, "version": law.version, **summary}})
    else:
        _print(law, findings, warnings)
    return 1 if warnings else 0


def _print(law: Contract, findings: list[Finding], warnings: int) -> None:
    console = out()
    for severity in ("warning", "note"):
        for finding in findings:
            if finding.severity == severity:
                console.print(shown(f"{severity}: {finding}", lines=False))
    tools, capabilities, rules = len(law.tools), len(law.capabilities), len(law.rules)
    console.print(
        shown(
            f"{law.agent} version {law.version}: {_number(tools, 'tool')}, "
            f"{_number(capabilities, 'capability', 'capabilities')}, {_number(rules, 'rule')}; "
            f"{_number(warnings, 'warning')}, {_number(len(findings) - warnings, 'note')}.",
            lines=False,
        )
    )


def _number(count: int, one: str, more: str | None = None) -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"
