"""Changed copies of the reference contract, and the place at which a finding about the change must stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadworthy.contract.load import load_text
from roadworthy.core.errors import ContractError, Finding

REFERENCE_FILE = Path(__file__).with_name("reference.yaml")
REFERENCE = REFERENCE_FILE.read_text(encoding="utf-8")
MARK = "‸"
"""Stands in a replacement right before the character at which the finding must point."""


def edited(*changes: tuple[str, str]) -> str:
    """The reference contract with the first occurrence of each text replaced."""
    text = REFERENCE
    for old, new in changes:
        assert old in text, f"the reference contract has no {old!r}"
        text = text.replace(old, new, 1)
    return text


def place_of_mark(text: str) -> tuple[str, int, int]:
    """The text without its mark, and the mark's line and column, counted from 1."""
    before, found, after = text.partition(MARK)
    assert found, "no mark says where the finding must stand"
    return before + after, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def findings_in(text: str) -> tuple[Finding, ...]:
    """Everything that is wrong with a contract that cannot be loaded."""
    with pytest.raises(ContractError) as caught:
        load_text(text, file="contract.yaml")
    return caught.value.findings
