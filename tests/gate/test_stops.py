"""Anybody may stop an agent; where people are named, only a signed word of whoever is accountable lets it go again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.cli.app import main
from roadworthy.contract.keys import SigningKey, seal
from roadworthy.contract.people import Member, People
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft
from roadworthy.gate.stops import lift_body

LAW = """
roadworthy: 1
agent: bell
version: "1"
goal: g
owner: {team: t, accountable: lead}
people: people.yaml
tools: {ring: {effect: read, args: {}, returns: string}}
capabilities: {c: {means: m, tools: [ring], autonomy: {start: autonomous, approver: lead}}}
"""
LEAD, GUEST = SigningKey.new(), SigningKey.new()
PEOPLE = People(
    people=1,
    roles=("lead", "guest"),
    members={
        "joan": Member(roles=("lead",), keys=(LEAD.public,)),
        "eve": Member(roles=("guest",), keys=(GUEST.public,)),
    },
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    members = "\n".join(
        f"  {name}: {{roles: [{', '.join(m.roles)}], keys: ['{m.keys[0]}']}}" for name, m in PEOPLE.members.items()
    )
    (tmp_path / "people.yaml").write_text(f"people: 1\nroles: [lead, guest]\nmembers:\n{members}\n")
    (tmp_path / "contract.yaml").write_text(LAW)
    return tmp_path


@pytest.fixture
def gate(place: Path) -> Iterator[Gate]:
    with Ledger.open(place / "runs.db") as ledger:
        yield Gate(Contract.load(place / "contract.yaml"), ledger, tools={"ring": ring})


def ring() -> str:
    return "ding"


def rings(gate: Gate, run: str) -> str:
    return gate.run(id=run, capability="c").call("ring", {}).status


def lift(gate: Gate, key: SigningKey, by: str, **other: Any) -> dict[str, Any]:
    body = lift_body(ledger=gate.ledger.id, capability=None, because="all is well", by=by)
    return seal(key, "stop", {**body, **other})


def write(gate: Gate, body: dict[str, Any]) -> None:
    now = VirtualClock().now()
    gate.ledger.append([Draft(kind="stop", world="production", run=None, body=body, at=now)])


def test_anybody_stops_and_whoever_is_accountable_lets_go(gate: Gate) -> None:
    assert rings(gate, "r") == "ok"
    gate.stop(because="smoke", by="anybody")
    assert rings(gate, "r") == "denied"
    with pytest.raises(UsageError, match="not taken back"):
        gate.lift(because="all is well", by="joan")
    signed = lift(gate, LEAD, "joan")
    gate.lift(because="all is well", by="joan", nonce=signed["nonce"], signature=signed["signature"])
    assert rings(gate, "r") == "ok"
    assert rings(gate, "new") == "ok"


def test_forged_lifts_change_nothing(gate: Gate) -> None:
    gate.stop(because="smoke", by="anybody")
    good = lift(gate, LEAD, "joan")
    write(gate, {"capability": None, "because": "x", "by": "joan", "lifted": True})
    write(gate, {**good, "signature": lift(gate, GUEST, "joan")["signature"]})
    write(gate, lift(gate, GUEST, "eve"))
    write(gate, lift(gate, LEAD, "joan", ledger="another"))
    write(gate, {**good, "because": "something else"})
    assert rings(gate, "r") == "denied"
    write(gate, good)
    assert rings(gate, "r") == "ok"
    gate.stop(because="smoke again", by="anybody")
    write(gate, good)
    assert rings(gate, "r") == "denied", "a signed word counts once"


def test_from_the_command_line(place: Path, gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> None:
    keys = tmp_path_factory.mktemp("keys")
    LEAD.save(keys / "joan.pem")
    assert rings(gate, "r") == "ok"
    ledger = str(place / "runs.db")
    assert main(["stop", ledger, "--by", "anybody", "--because", "smoke"]) == 0
    assert rings(gate, "r") == "denied"
    lifting = ["stop", ledger, "--by", "joan", "--because", "all is well", "--lift"]
    assert main(lifting) == 2
    assert rings(gate, "r") == "denied"
    assert main([*lifting, "--keys", str(keys)]) == 0
    assert rings(gate, "r") == "ok"
