"""`roadworthy ledger signal`, and what `ledger show` then tells."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roadworthy.cli.app import main
from roadworthy.core.types import Draft
from roadworthy.ledger.store import Ledger

Capture = pytest.CaptureFixture[str]
START = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture
def book(tmp_path: Path) -> str:
    path = tmp_path / "runs.db"
    with Ledger.open(path) as ledger:
        ledger.append([Draft(kind="run", world="production", run="r1", body={"agent": "desk"}, at=START)])
    return str(path)


def body(book: str) -> dict[str, Any]:
    with Ledger.open(book, read_only=True) as ledger:
        (found,) = ledger.entries(run="r1", kind="signal")
        return dict(found.body)


def test_it_is_written_and_shown(book: str, capsys: Capture) -> None:
    told = ["--value", "the parcel\x1b[2J never came", "--by", "helpdesk", "--at", "2026-01-06T10:00:00+01:00"]
    assert main(["ledger", "signal", book, "r1", "ticket_reopened", *told]) == 0
    assert "Noted of run r1: ticket_reopened (entry 2)." in capsys.readouterr().out
    assert main(["ledger", "show", book, "r1"]) == 0
    shown = capsys.readouterr().out
    assert "ticket_reopened: the parcel" in shown
    assert "reported by helpdesk, happened 2026-01-06T09:00:00+00:00" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("true", True),
        ("3", 3),
        ("4.50", "4.50"),
        ('{"stars": 4.5}', {"stars": "4.5"}),
        ("NaN", "NaN"),
        ("late again", "late again"),
        ("[" * 20_000, "[" * 20_000),
    ],
)
def test_a_value_is_json_or_else_text(book: str, given: str, kept: Any) -> None:
    assert main(["ledger", "signal", book, "r1", "rated", "--value", given]) == 0
    assert body(book)["value"] == kept


def test_what_is_sent_twice_is_said_to_be(book: str, capsys: Capture) -> None:
    for _ in range(2):
        assert main(["ledger", "signal", book, "r1", "rated", "--id", "a"]) == 0
    assert "before (entry 2)" in capsys.readouterr().out
    assert body(book) == {"name": "rated", "id": "a"}


def test_programs_get_the_entry(book: str, capsys: Capture) -> None:
    assert main(["ledger", "signal", book, "r1", "rated", "--value", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["seq"], found["kind"], found["body"]) == (2, "signal", {"name": "rated", "value": 4})


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["r2", "rated"], "there is no run 'r2'"),
        (["r1", "no word"], "no name of a signal"),
        (["r1", "rated", "--at", "yesterday"], "is no time"),
        (["r1", "rated", "--at", "2026-01-06T10:00:00"], "says no time zone"),
    ],
)
def test_broken_input_is_refused(book: str, capsys: Capture, args: list[str], told: str) -> None:
    assert main(["ledger", "signal", book, *args]) == 2
    assert told in capsys.readouterr().err


def test_no_ledger_is_made(tmp_path: Path) -> None:
    assert main(["ledger", "signal", str(tmp_path / "none.db"), "r1", "rated"]) == 2
    assert not list(tmp_path.iterdir())
