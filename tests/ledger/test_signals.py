"""Outcomes that become known later: of which run, under which name, and written once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft, Realm
from roadworthy.ledger.erase import erase
from roadworthy.ledger.explain import explain, in_words
from roadworthy.ledger.store import Ledger

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
TERMS = {
    "capabilities": {
        "refunds": {"success": [{"id": "once", "check": "true"}, {"id": "stays", "signal": "ticket_reopened"}]},
        "mails": {"success": [{"id": "kept", "signal": "customer_stayed", "expect": True}]},
        "talk": {},
    }
}


@pytest.fixture
def ledger(shared: str) -> Iterator[Ledger]:
    with Ledger.open(shared) as opened:
        yield opened


Began = Callable[..., str]


@pytest.fixture
def began(ledger: Ledger) -> Began:
    """Writes how a run began; its contract is in the ledger where it has terms."""

    def begin(run: str = "r1", *, terms: Any = None, world: Realm = "production", **body: Any) -> str:
        drafts = [Draft(kind="run", world=world, run=run, body={"contract": "law", **body}, at=START)]
        if terms is not None:
            law = {"digest": "law", "contract": terms}
            drafts.insert(0, Draft(kind="contract", world=world, run=None, body=law, at=START))
        ledger.append(drafts)
        return run

    return begin


def signals(ledger: Ledger, run: str = "r1") -> list[dict[str, Any]]:
    return [dict(entry.body) for entry in ledger.entries(run=run, kind="signal")]


def test_what_is_reported_stands_behind_the_run(ledger: Ledger, began: Began) -> None:
    began()
    happened = datetime(2026, 1, 6, 10, tzinfo=UTC)
    entry = ledger.signal("r1", "parcel_came", value={"days": 3, "late": True}, by="warehouse", at=happened, id="w-17")
    assert [entry] == list(ledger.entries(run="r1", kind="signal"))
    assert (entry.run, entry.world, entry.kind) == ("r1", "production", "signal")
    assert entry.body == {
        "name": "parcel_came",
        "value": {"days": 3, "late": True},
        "by": "warehouse",
        "happened": "2026-01-06T10:00:00+00:00",
        "id": "w-17",
    }


def test_a_name_is_enough(ledger: Ledger, began: Began) -> None:
    assert ledger.signal(began(), "ticket_reopened").body == {"name": "ticket_reopened"}


@pytest.mark.parametrize("world", ["test", "shadow", "production"])
def test_it_stands_in_the_world_of_its_run(ledger: Ledger, began: Began, world: Realm) -> None:
    assert ledger.signal(began(world=world), "ticket_reopened").world == world


def test_money_and_rates_are_kept_to_the_digit(ledger: Ledger, began: Began) -> None:
    assert ledger.signal(began(), "rated", value=Decimal("4.50")).body["value"] == "4.50"


# which run, which name ------------------------------------------------------------------------------------------------


def test_an_unknown_run_is_refused_with_the_nearest(ledger: Ledger, began: Began) -> None:
    began("ticket-4711")
    with pytest.raises(UsageError, match=r"no run 'ticket-4712'.*do you mean 'ticket-4711'"):
        ledger.signal("ticket-4712", "ticket_reopened")
    with pytest.raises(UsageError, match="no run ''"):
        ledger.signal("", "ticket_reopened")
    assert ledger.size == 1


@pytest.mark.parametrize("name", ["ticket_reopened", "customer_stayed"])
def test_names_that_the_contract_waits_for_are_taken(ledger: Ledger, began: Began, name: str) -> None:
    assert ledger.signal(began(terms=TERMS), name).body["name"] == name


def test_a_name_that_it_does_not_wait_for_is_refused_with_the_nearest(ledger: Ledger, began: Began) -> None:
    began(terms=TERMS)
    with pytest.raises(UsageError, match="waits for no signal 'ticket_reopend'; do you mean 'ticket_reopened'"):
        ledger.signal("r1", "ticket_reopend")
    with pytest.raises(UsageError, match="it waits for customer_stayed, ticket_reopened"):
        ledger.signal("r1", "snow")
    assert signals(ledger) == []


def test_the_contract_that_a_run_was_last_opened_with_counts(ledger: Ledger, began: Began) -> None:
    began(terms=TERMS)
    law = {"digest": "newer", "contract": {"capabilities": {"refunds": {"success": [{"signal": "paid_back"}]}}}}
    ledger.append(
        [
            Draft(kind="contract", world="production", run=None, body=law, at=START),
            Draft(kind="run", world="production", run="r1", body={"contract": "newer", "reopened": True}, at=START),
        ]
    )
    assert ledger.signal("r1", "paid_back").body["name"] == "paid_back"
    with pytest.raises(UsageError, match="waits for no signal 'ticket_reopened'"):
        ledger.signal("r1", "ticket_reopened")


def test_where_the_contract_waits_for_none_any_word_is_taken(ledger: Ledger, began: Began) -> None:
    began(terms={"capabilities": {"talk": {"success": [{"id": "once", "check": "true"}]}}})
    assert ledger.signal("r1", "snow").body["name"] == "snow"


@pytest.mark.parametrize("name", ["", " ", "ticket reopened", "1st", "a\nb", "a" * 101, "grace@example.com"])
def test_what_is_no_word_is_refused(ledger: Ledger, began: Began, name: str) -> None:
    began()
    with pytest.raises(UsageError, match="no name of a signal"):
        ledger.signal("r1", name)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"by": ""}, "by=''"),
        ({"by": "x" * 201}, "by="),
        ({"id": " "}, "id=' '"),
        ({"at": datetime(2026, 1, 5)}, "says no time zone"),
        ({"at": datetime(2126, 1, 5, tzinfo=UTC)}, "still to come"),
        ({"value": object()}, "cannot be written"),
    ],
)
def test_what_cannot_be_meant_is_refused(ledger: Ledger, began: Began, given: dict[str, Any], told: str) -> None:
    began()
    with pytest.raises(UsageError, match=told):
        ledger.signal("r1", "ticket_reopened", **given)
    assert signals(ledger) == []


# once -----------------------------------------------------------------------------------------------------------------


def test_what_is_sent_twice_is_written_once(ledger: Ledger, began: Began) -> None:
    began()
    first = ledger.signal("r1", "rated", value=4.5, id="a")
    assert ledger.signal("r1", "rated", value=4.5, id="a") == first
    assert len(signals(ledger)) == 1
    ledger.signal("r1", "rated", value=4.5, id="b")
    ledger.signal("r1", "rated", value=4.5)
    ledger.signal("r1", "rated", value=4.5)
    assert len(signals(ledger)) == 4


def test_an_id_stands_for_one_report_of_one_run(ledger: Ledger, began: Began) -> None:
    began("r1")
    began("r2")
    ledger.signal("r1", "rated", value=4, id="a")
    ledger.signal("r2", "rated", value=1, id="a")
    with pytest.raises(UsageError, match="under the id 'a' another signal of run 'r1'"):
        ledger.signal("r1", "rated", value=1, id="a")
    assert [len(signals(ledger, run)) for run in ("r1", "r2")] == [1, 1]


def test_many_who_report_the_same_at_once_write_it_once(ledger: Ledger, began: Began) -> None:
    began()
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(ledger.signal, "r1", "rated", value=4, id="a") for _ in range(16)]
        assert len({one.result().seq for one in sent}) == 1
    assert len(signals(ledger)) == 1


# with a vault ---------------------------------------------------------------------------------------------------------


def test_what_it_says_is_sealed_for_the_run_and_still_written_once(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    path, vault = tmp_path / "book" / "runs.db", tmp_path / "keys" / "vault.db"
    vault.parent.mkdir(mode=0o700)
    with Ledger.open(path, vault=vault) as ledger:
        ledger.append([Draft(kind="run", world="production", run="r1", body={"subject": "C-1"}, at=START)])
        first = ledger.signal("r1", "complained", value="Grace Hopper waited", by="grace@example.com", id="mail-99")
        assert (
            ledger.signal("r1", "complained", value="Grace Hopper waited", by="grace@example.com", id="mail-99")
            == first
        )
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"complained" in stored
    for secret in (b"Hopper", b"grace@example.com", b"mail-99"):
        assert secret not in stored
    with Ledger.open(path, read_only=True) as ledger:
        (found,) = ledger.entries(run="r1", kind="signal")
        assert (dict(found.body), found.withheld) == ({"name": "complained"}, frozenset({"sealed"}))


@pytest.mark.parametrize("more", [{"value": "Grace again"}, {"by": "grace@example.com"}, {"id": "mail-100"}])
def test_of_a_run_that_was_erased_only_the_name_is_taken(tmp_path: Path, more: dict[str, Any]) -> None:
    (tmp_path / "book").mkdir()
    (tmp_path / "keys").mkdir(mode=0o700)
    with Ledger.open(tmp_path / "book" / "runs.db", vault=tmp_path / "keys" / "vault.db") as ledger:
        began = Draft(kind="run", world="production", run="r1", body={"subject": "C-1"}, at=START, subject="C-1")
        ledger.append([began])
        ledger.signal("r1", "complained", value="Grace Hopper waited")
        erase(ledger, subject="C-1", by="lead", because="She asked for it.", at=START)
        with pytest.raises(UsageError, match=r"was erased.*report the name 'complained' alone"):
            ledger.signal("r1", "complained", **more)
        ledger.signal("r1", "complained")
        assert signals(ledger) == [{"name": "complained"}, {"name": "complained"}]


# who reads it ---------------------------------------------------------------------------------------------------------


def test_an_action_is_explained_with_what_was_reported_after_it(ledger: Ledger, began: Began) -> None:
    began()
    ledger.signal("r1", "snow")
    body: dict[str, Any] = {
        "id": "r1#1",
        "tool": "refund",
        "args": {},
        "principal": "bot",
        "trace": f"{'a' * 32}-{'b' * 16}",
    }
    at = datetime.now(UTC) + timedelta(seconds=1)
    ledger.append([Draft(kind="action", world="production", run="r1", body=body, at=at, cause="r1#1")])
    ledger.signal("r1", "ticket_reopened", value="again", by="helpdesk")
    found = explain(ledger, "r1#1")
    assert [one["name"] for one in found.signals] == ["ticket_reopened"]
    assert found.trace == body["trace"]
    words = "\n".join(f"{label} {text}" for label, text in in_words(found))
    assert "later ticket_reopened: again, reported by helpdesk" in words
    assert f"span {'b' * 16} of trace {'a' * 32}" in words
