"""Verbs take a ledger wherever it lies, and every gate over it obeys, whatever process it lives in."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pytest
from tests.ledger.conftest import POSTGRES, schema

from roadworthy import Contract, Gate, Ledger
from roadworthy.cli.app import main
from roadworthy.ledger.migrate import migrate
from roadworthy.ledger.sqlite import APPLICATION_ID

Capture = pytest.CaptureFixture[str]

LAW = """
roadworthy: 1
agent: greeter
version: "1"
goal: Look people up.
owner: {team: IT, accountable: it-lead}
tools:
  find_user: {effect: read, args: {email: string}, returns: {user_id: string}}
capabilities:
  look_up:
    means: Somebody wants to know who somebody is.
    tools: [find_user]
    success: [{id: looked, check: count.find_user >= 1}]
"""


@pytest.fixture(params=["file", POSTGRES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A ledger with a run in it, on every engine in turn."""
    if request.param == "file":
        made = str(tmp_path / "runs.db")
        _write(made)
        yield made
    else:
        with schema() as made:
            _write(made)
            yield made


def _write(url: str) -> None:
    with Ledger.open(url) as ledger:
        run = Gate(Contract.loads(LAW), ledger).run(id="first", capability="look_up")
        run.call("find_user", {"email": "ada@example.com"}, _find)


def _find(email: str) -> dict[str, str]:
    return {"user_id": "u-1"}


def test_verbs_read_and_write_it(url: str, capsys: Capture) -> None:
    assert main(["ledger", "show", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "first"
    assert main(["ledger", "explain", url, "first#1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["action"].startswith("first#1")
    assert main(["stop", url, "--by", "lead", "--because", "odd", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seq"] > 1
    assert main(["ledger", "verify", url]) == 0


_GATES = """
import sys
from roadworthy import Contract, Gate, Ledger
with Ledger.open(sys.argv[1]) as ledger:
    run = Gate(Contract.loads(sys.argv[2]), ledger).run(id=sys.argv[3], capability="look_up")
    for line in sys.stdin:
        came = run.call("find_user", {"email": line.strip()}, lambda email: {"user_id": "u-1"})
        print(came.status, flush=True)
"""


def test_a_stop_reaches_the_next_action_of_every_process(url: str) -> None:
    gates = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _GATES, url, LAW, f"run-{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]

    def ask(mail: str) -> list[str]:
        for gate in gates:
            cast("IO[str]", gate.stdin).write(f"{mail}\n")
            cast("IO[str]", gate.stdin).flush()
        return [cast("IO[str]", gate.stdout).readline().strip() for gate in gates]

    try:
        assert ask("a@example.com") == ["ok"] * 3
        assert main(["stop", url, "--by", "lead", "--because", "odd answers"]) == 0
        assert ask("b@example.com") == ["denied"] * 3
        assert main(["stop", url, "--by", "lead", "--because", "mended", "--lift"]) == 0
        assert ask("c@example.com") == ["ok"] * 3
    finally:
        for gate in gates:
            gate.communicate(timeout=60)
    assert [gate.returncode for gate in gates] == [0] * 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ledger", "show", "mysql://u:geheim@host/db"], "cannot be kept in 'mysql'"),
        (["ledger", "show", "postgresql://u:geheim@127.0.0.1:1/db"], "cannot be opened"),
        (["stop", ":memory:", "--by", "a", "--because", "b"], "gone when the command ends"),
        (["stop", "nowhere.db", "--by", "a", "--because", "b"], "there is no ledger at nowhere.db"),
    ],
)
def test_a_ledger_that_cannot_be_is_named_without_its_password(words: list[str], says: str, capsys: Capture) -> None:
    assert main(words) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "geheim" not in told


@pytest.mark.postgres
def test_a_server_without_a_ledger_gets_none_from_a_stop(capsys: Capture) -> None:
    with schema() as url:
        assert main(["stop", url, "--by", "a", "--because", "b"]) == 2
        assert "there is no ledger at postgresql://" in capsys.readouterr().err


def test_a_verb_that_writes_brings_an_old_ledger_up_to_date(tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "old.db")
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, "sqlite", to=1, begin=lambda: connection.execute("BEGIN") and None)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute("INSERT INTO identity VALUES ('0123456789abcdef0123456789abcdef')")
    connection.execute("INSERT INTO entries VALUES (1, 0, 'production', 'r', 1, 'heard', NULL, CAST('{}' AS BLOB))")
    connection.close()
    assert main(["ledger", "show", path]) == 2
    assert "written by an earlier Roadworthy" in capsys.readouterr().err
    assert main(["stop", path, "--by", "lead", "--because", "odd"]) == 0
    assert main(["ledger", "show", path, "--json"]) == 0
