"""Erasing: after it no byte of a person's data is found anywhere, nothing is done on a guess, and all proofs hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.cli.app import main
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import LedgerError, Unreadable, UsageError
from roadworthy.core.types import Draft, Entry
from roadworthy.gate.run import Run
from roadworthy.ledger.erase import erase, plan
from roadworthy.ledger.explain import explain, in_words
from roadworthy.ledger.vault import Vault
from roadworthy.ledger.verify import verify

from .conftest import POSTGRES, raw, schema

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)

LAW = """
roadworthy: 1
agent: desk
version: "1"
goal: Help the customer.
owner: {team: Care, accountable: lead}
subject: {entity: Customer, established_by: [find]}
entities:
  Customer: {key: cust, pattern: "C-[0-9]{3}"}
  Account: {key: account}
same_as:
  - {from: Customer, to: Account, by: account_of}
tools:
  find: {effect: read, args: {email: string}, returns: {cust: Customer, name: string}}
  account_of: {effect: read, args: {cust: Customer}, returns: {account: Account}}
  search:
    effect: read
    before_subject: true
    args: {name: string}
    returns: {total: integer, found: {type: array, items: {cust: Customer, name: string, town: {type: string, nullable: true}}}}
  owners:
    effect: read
    args: {street: string}
    returns: {type: array, items: {account: Account, name: string}}
  history: {effect: read, args: {cust: Customer}, returns: string}
  refund: {effect: write, args: {amount: {type: decimal}, note: string}, returns: string}
common: [find, account_of, search, owners, history]
capabilities:
  refunds:
    means: Somebody wants money back.
    tools: [refund]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one, check: count.refund <= 1}]
rules:
  - {id: large, tools: [refund], when: args.amount > 100.00, then: ask, ask: {role: lead}, because: Large refunds wait.}
"""  # noqa: E501  (a type in one line)

ADA = [
    "Ada-Lovelace",
    "ada@example",
    "C-101",
    "Ockham-Park",
    "her-own-words",
    "spelt-it-out",
    "A-777",
    "because-of-ada",
]
"""Strings that stand in what is written about Ada, and nowhere else."""
BOB = ["Bob-Hopkins", "C-202", "Tower-Road", "bobs-own-words"]


@dataclass
class Desk:
    """A desk over a ledger with a vault."""

    ledger: Ledger
    gate: Gate
    vault: Path
    folder: Path
    url: str


PEOPLE = [
    {"cust": "C-101", "name": "Ada-Lovelace", "town": "Ockham-Park"},
    {"cust": "C-202", "name": "Bob-Hopkins", "town": "Tower-Road"},
]


def tools() -> dict[str, Callable[..., Any]]:
    def find(email: str) -> Any:
        return {k: v for k, v in PEOPLE[0 if "ada" in email else 1].items() if k != "town"}

    def search(name: str) -> Any:
        return {"total": 2, "found": PEOPLE}

    def account_of(cust: str) -> Any:
        return {"account": {"C-101": "A-777", "C-202": "A-888"}[cust]}

    def owners(street: str) -> Any:
        return [{"account": "A-777", "name": "Ada-Lovelace"}]

    def history(cust: str) -> str:
        return f"all about {cust}"

    def refund(amount: str, note: str) -> str:
        return f"paid {amount} for {note}"

    found = (find, account_of, search, owners, history, refund)
    return {fn.__name__: fn for fn in found}


@pytest.fixture(params=["file", POSTGRES])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "vault").mkdir()
    vault = tmp_path / "vault" / "vault.db"

    def opened(url: str) -> Iterator[Desk]:
        with Ledger.open(url, vault=vault) as ledger:
            gate = Gate(Contract.loads(LAW), ledger, tools=tools(), clock=VirtualClock(NOW))
            yield Desk(ledger, gate, vault, tmp_path, url)

    if request.param == "postgres":
        with schema() as url:
            yield from opened(url)
    else:
        yield from opened(str(tmp_path / "ledger" / "runs.db"))


def adas_run(desk: Desk, id: str = "run-1") -> Run:
    """A run that finds out that it acts for Ada, with words from before it knew."""
    run = desk.gate.run(id=id, capability="refunds", suspendable=True)
    run.heard("her-own-words: I am Ada-Lovelace, ada@example")
    assert run.call("find", {"email": "ada@example"}).ok
    assert run.subject == "C-101"
    run.call("account_of", {"cust": "C-101"})
    run.call("spelt-it-out", {"why": "Ada-Lovelace"})  # no tool of the contract: the model's word
    run.call("refund", {"amount": "40.00", "note": "Ockham-Park"})
    run.say("Done, Ada-Lovelace.")
    return run


def bobs_run(desk: Desk, id: str = "run-2") -> Run:
    """A run for Bob, in which a search has found Ada, too."""
    run = desk.gate.run(id=id, subject="C-202", capability="refunds", suspendable=True)
    run.heard("bobs-own-words: Bob-Hopkins")
    run.call("refund", {"amount": "7.00", "note": "Tower-Road"})
    return run


def everything(desk: Desk) -> bytes:
    """All bytes of the ledger and the vault: every file with its log, shared memory and free pages; every row."""
    found = b"\0".join(path.read_bytes() for path in sorted(desk.folder.rglob("*")) if path.is_file())
    if desk.url.startswith("postgresql://"):
        with raw(desk.url) as connection:
            tables = connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
            ).fetchall()
            for (table,) in tables:
                for row in connection.execute(f'SELECT * FROM "{table}"').fetchall():
                    found += b"\0".join(bytes(v) if isinstance(v, bytes) else str(v).encode() for v in row)
    return found


def found_in(desk: Desk, words: list[str]) -> list[str]:
    held = everything(desk)
    return [word for word in words if word.encode() in held]


def texts(entries: Iterator[Entry]) -> str:
    return json.dumps([dict(entry.body) for entry in entries], default=str)


# -- the bytes --------------------------------------------------------------------------------------------------------


def test_nothing_private_stands_in_plain_anywhere_and_all_of_it_is_read_with_the_vault(desk: Desk) -> None:
    adas_run(desk)
    bobs_run(desk)
    assert found_in(desk, [*ADA, *BOB]) == []
    read = texts(desk.ledger.entries())
    assert [word for word in [*ADA[:-1], *BOB] if word not in read] == []
    assert all(not entry.withheld for entry in desk.ledger.entries())


def test_after_an_erasure_her_keys_are_found_nowhere_and_everything_verifies(desk: Desk) -> None:
    adas_run(desk)
    bobs_run(desk)
    with raw(str(desk.vault)) as connection:
        before = {bytes(key) for (key,) in connection.execute("SELECT key FROM slots").fetchall()}
    size = desk.ledger.size
    done = erase(desk.ledger, subject="C-101", by="kim", because="request 12", at=NOW)
    with raw(str(desk.vault)) as connection:
        after = {bytes(key) for (key,) in connection.execute("SELECT key FROM slots").fetchall()}
    assert len(done.slots) == len(before - after) == 2
    held = everything(desk)
    assert [key.hex() for key in before - after if key in held] == []
    assert all(key in held for key in after)
    assert done.runs == ("run-1",)
    assert done.plain == ()
    assert found_in(desk, [*ADA, *BOB]) == []

    (entry,) = desk.ledger.entries(kind="erasure")
    assert entry.seq == done.seq == size + 1
    assert set(entry.body["slots"]) == set(done.slots)
    assert (entry.body["by"], entry.body["because"], entry.run) == ("kim", "request 12", None)
    assert entry.body["entries"] == done.entries > 0
    assert "C-101" not in json.dumps(dict(entry.body))
    assert verify(desk.ledger).intact

    gone = texts(desk.ledger.entries(run="run-1"))
    assert [word for word in ADA if word in gone] == []
    assert {w for e in desk.ledger.entries(run="run-1") for w in e.withheld} == {"erased"}
    still = texts(desk.ledger.entries(run="run-2"))
    assert [word for word in BOB if word not in still] == []


def test_another_process_and_a_ledger_without_its_vault_read_no_more_of_it(desk: Desk) -> None:
    adas_run(desk)
    with Ledger.open(desk.url, read_only=True, vault=desk.vault) as other:
        erase(desk.ledger, subject="C-101", by="kim", because="request 12", at=NOW)
        assert {w for e in other.entries(run="run-1") for w in e.withheld} == {"erased"}
    with Ledger.open(desk.url, read_only=True) as blind:
        assert {w for e in blind.entries(run="run-1") for w in e.withheld} == {"sealed"}


# -- whose data -------------------------------------------------------------------------------------------------------


def test_what_a_search_finds_of_others_is_erased_with_them(desk: Desk) -> None:
    run = bobs_run(desk)
    run.call("search", {"name": "a"})
    (_, search) = desk.ledger.entries(run="run-2", kind="outcome")
    assert search.body["value"] == {"total": 2, "found": PEOPLE}
    assert "Ada-Lovelace" in search.body["text"]
    assert erase(desk.ledger, subject="C-101", by="kim", because="request 12", at=NOW).runs == ("run-2",)
    (_, search) = desk.ledger.entries(run="run-2", kind="outcome")
    assert search.withheld == {"erased"}
    assert search.body["value"] == {"total": 2, "found": [None, PEOPLE[1]]}
    assert search.body["text"] is None
    read = texts(desk.ledger.entries(run="run-2", kind="outcome"))
    assert "Ada" not in read
    assert "Ockham" not in read


def test_what_was_asked_about_others_is_theirs_where_the_answer_names_nobody(desk: Desk) -> None:
    gate = Gate(Contract.loads(LAW), desk.ledger, enforce=False, tools=tools(), clock=VirtualClock(NOW))
    run = gate.run(id="run-3", subject="C-202", capability="refunds")
    run.call("history", {"cust": "C-101"}, tools()["history"])
    run.call("history", {"cust": "C-202"}, tools()["history"])
    erase(desk.ledger, subject="C-101", by="kim", because="request 12", at=NOW)
    hers, his = desk.ledger.entries(run="run-3", kind="outcome")
    assert hers.body["text"] is None
    assert his.body["text"] == "all about C-202"


def test_what_belongs_to_two_goes_with_the_first_of_them(desk: Desk) -> None:
    bobs_run(desk).call("search", {"name": "a"})
    erase(desk.ledger, subject="C-202", by="kim", because="request 13", at=NOW)
    (_, search) = desk.ledger.entries(run="run-2", kind="outcome")
    assert "text" not in search.body or search.body["text"] is None
    assert "Bob-Hopkins" not in json.dumps(dict(search.body))


def test_somebody_whom_another_system_knows_is_erased_by_that_name(desk: Desk) -> None:
    bobs_run(desk).call("owners", {"street": "x"})
    before = texts(desk.ledger.entries(run="run-2", kind="outcome"))
    assert "Ada-Lovelace" in before
    erase(desk.ledger, subject="Account:A-777", by="kim", because="request 14", at=NOW)
    assert "Ada-Lovelace" not in texts(desk.ledger.entries(run="run-2", kind="outcome"))


def test_a_run_whose_subject_was_never_known_is_erased_by_its_id(desk: Desk) -> None:
    run = desk.gate.run(id="run-9", capability="refunds")
    run.heard("her-own-words")
    bobs_run(desk)
    done = erase(desk.ledger, run="run-9", by="kim", because="request 15", at=NOW)
    assert done.runs == ("run-9",)
    assert "her-own-words" not in texts(desk.ledger.entries(run="run-9"))
    assert all(not entry.withheld for entry in desk.ledger.entries(run="run-2"))


# -- what then is not done --------------------------------------------------------------------------------------------


def waiting(desk: Desk) -> None:
    """Ada's run and Bob's both wait for a person."""
    adas_run(desk).call("refund", {"amount": "400.00", "note": "Ockham-Park"})
    bobs_run(desk).call("refund", {"amount": "300.00", "note": "Tower-Road"})


def refusals(gate: Gate) -> dict[str, Unreadable]:
    found: dict[str, Unreadable] = {}
    tries: dict[str, Callable[[], Any]] = {
        "run": lambda: gate.run(id="run-1"),
        "resume": lambda: gate.resume("run-1"),
        "settle": lambda: gate.settle("run-1"),
        "undoable": lambda: gate.undoable("run-1"),
        "undo": lambda: gate.undo("run-1", by="kim", because="x"),
        "question": lambda: gate.question("run-1#5"),
        "answer": lambda: gate.answer("run-1#5", by="kim", ruling="approve"),
    }
    for name, attempt in tries.items():
        with pytest.raises(Unreadable) as caught:
            attempt()
        found[name] = caught.value
    return found


def test_an_erased_run_is_not_gone_on_with_on_a_guess(tmp_path: Path) -> None:
    with file_desk(tmp_path) as desk:
        waiting(desk)
        erase(desk.ledger, subject="C-101", by="kim", because="request 12", at=NOW)
        size = desk.ledger.size
    with Ledger.open(tmp_path / "ledger" / "runs.db", vault=tmp_path / "vault" / "vault.db") as ledger:
        gate = Gate(Contract.loads(LAW), ledger, tools=tools(), clock=VirtualClock(NOW))
        for name, error in refusals(gate).items():
            assert (name, error.why, error.run, error.code) == (name, "erased", "run-1", "RW-303")
            assert "Begin another run" in error.text
        passed: list[Unreadable] = []
        (asked,) = gate.questions(unreadable=passed.append)
        assert asked.run == "run-2"
        assert [error.run for error in passed] == ["run-1"]
        assert ledger.size == size


@contextmanager
def file_desk(tmp_path: Path) -> Generator[Desk]:
    """A desk that others may open again."""
    (tmp_path / "ledger").mkdir()
    (tmp_path / "vault").mkdir()
    url, vault = tmp_path / "ledger" / "runs.db", tmp_path / "vault" / "vault.db"
    with Ledger.open(url, vault=vault) as ledger:
        gate = Gate(Contract.loads(LAW), ledger, tools=tools(), clock=VirtualClock(NOW))
        yield Desk(ledger, gate, vault, tmp_path, str(url))


def test_a_sealed_run_asks_for_the_vault(tmp_path: Path) -> None:
    with file_desk(tmp_path) as desk:
        waiting(desk)
    with Ledger.open(tmp_path / "ledger" / "runs.db", read_only=True) as blind:
        gate = Gate(Contract.loads(LAW), blind, tools=tools(), clock=VirtualClock(NOW))
        for name, error in refusals(gate).items():
            assert (name, error.why) == (name, "sealed")
            assert "--vault" in error.text
        assert gate.questions(unreadable=lambda error: None) == []


def test_a_run_in_which_an_entry_makes_no_sense_keeps_no_other_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with file_desk(tmp_path) as desk:
        waiting(desk)
        broken = Draft(kind="heard", world="production", run="run-1", body={"words": "no text"}, at=NOW)
        desk.ledger.append([broken])
    with Ledger.open(tmp_path / "ledger" / "runs.db", vault=tmp_path / "vault" / "vault.db") as ledger:
        gate = Gate(Contract.loads(LAW), ledger, tools=tools(), clock=VirtualClock(NOW))
        with caplog.at_level("WARNING", logger="roadworthy.gate"):
            assert [asked.run for asked in gate.questions()] == ["run-2"]
        assert "run-1 are passed over" in caplog.text
        with pytest.raises(Unreadable, match="ledger verify") as caught:
            gate.run(id="run-1")
        assert caught.value.why is None


# -- asking for it ----------------------------------------------------------------------------------------------------


def test_an_erasure_does_not_name_whom_it_forgets(desk: Desk) -> None:
    adas_run(desk)
    for by, because, said in (
        ("kim", "C-101 asked", "stays in plain"),
        ("kim", "as c-101.", "stays in plain"),
        ("", "x", "must not be empty"),
        ("kim", " ", "must not be empty"),
    ):
        with pytest.raises(UsageError, match=said):
            erase(desk.ledger, subject="C-101", by=by, because=because, at=NOW)
    erase(desk.ledger, subject="C-101", by="kim", because="request C-1012", at=NOW)
    with pytest.raises(UsageError, match="erased before"):
        erase(desk.ledger, subject="C-101", by="kim", because="again", at=NOW)
    with pytest.raises(UsageError, match="no key of 'C-999'"):
        erase(desk.ledger, subject="C-999", by="kim", because="x", at=NOW)
    assert len(list(desk.ledger.entries(kind="erasure"))) == 1


def test_without_the_vault_nothing_can_be_erased() -> None:
    with Ledger.open(":memory:") as ledger, pytest.raises(UsageError, match="give it, by --vault"):
        erase(ledger, subject="C-101", by="kim", because="x", at=NOW)


def test_an_erasure_that_the_vault_could_not_make_is_made_when_it_is_asked_for_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    adas_run(desk)

    def broken(*_: Any, **__: Any) -> Any:
        raise LedgerError("the disk failed")

    with monkeypatch.context() as patched:
        patched.setattr(Vault, "erase", broken)
        with pytest.raises(LedgerError, match="the disk failed"):
            erase(desk.ledger, subject="C-101", by="kim", because="request 12", at=NOW)
    assert "her-own-words" in texts(desk.ledger.entries(run="run-1"))
    erase(desk.ledger, subject="C-101", by="kim", because="request 12", at=NOW)
    assert "her-own-words" not in texts(desk.ledger.entries(run="run-1"))
    assert verify(desk.ledger).intact


def test_files_that_may_hold_it_are_listed(desk: Desk) -> None:
    def export(path: str, **more: Any) -> Draft:
        body = {"path": path, "sha256": "0a", "what": "report", **more}
        return Draft(kind="export", world="production", run=None, body=body, at=NOW)

    archive = {"form": "parquet", "file": "entries-2026-02.parquet", "sha256": "0b"}  # sealed, as the ledger is
    desk.ledger.append([export("before.html")])
    adas_run(desk)
    bobs_run(desk)
    desk.ledger.append([Draft(kind="export", world="production", run=None, body=archive, at=NOW)])
    desk.ledger.append([export("all.html"), export("hers.html", runs=["run-1"]), export("his.html", runs=["run-2"])])
    done = erase(desk.ledger, subject="C-101", by="kim", because="request 12", at=NOW)
    assert [one.path for one in done.derived] == ["all.html", "hers.html"]


def test_where_entries_were_pruned_any_file_may_hold_what_they_held(desk: Desk) -> None:
    body = {"path": "hers.html", "sha256": "0a", "what": "report", "runs": ["run-1"]}
    adas_run(desk)
    filler = [Draft(kind="heard", world="test", run=f"filler-{n}", body={}, at=NOW) for n in range(300)]
    desk.ledger.append(filler)
    desk.ledger.append([Draft(kind="export", world="production", run=None, body=body, at=NOW)])
    desk.ledger.give_up([group.first for group in desk.ledger.groups() if group.run == "run-1"])
    done = erase(desk.ledger, subject="C-101", by="kim", because="request 12", at=NOW)
    assert done.entries == 0
    assert [one.path for one in done.derived] == ["hers.html"]


def test_ids_that_hold_the_subjects_key_are_named(desk: Desk) -> None:
    adas_run(desk, id="chat of C-101")
    bobs_run(desk, id="chat of C-1012")
    found = plan(desk.ledger, subject="C-101")
    assert [desk_entry.run for desk_entry in desk.ledger.entries() if desk_entry.seq in found.plain] == [
        "chat of C-101"
    ] * len(found.plain)
    assert found.plain


# -- the command line -------------------------------------------------------------------------------------------------


@dataclass
class Done:
    """What a command came to."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    with file_desk(tmp_path) as desk:
        waiting(desk)
    ledger, vault = str(tmp_path / "ledger" / "runs.db"), str(tmp_path / "vault" / "vault.db")
    (tmp_path / "contract.yaml").write_text(LAW)

    def call(*words: str, vaulted: bool = True) -> Done:
        args = [word.format(L=ledger, C=str(tmp_path / "contract.yaml")) for word in words]
        capsys.readouterr()
        code = main([*args, *(["--vault", vault] if vaulted else [])])
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return call


def test_erasing_from_the_command_line(shell: Callable[..., Done]) -> None:
    why = ("--by", "kim", "--because", "request 12", "--yes")
    tried = shell("ledger", "erase", "{L}", "C-101", *why, "--dry-run", "--json")
    assert tried.exit_code == 0
    assert json.loads(tried.stdout)["erased"] is False
    for unasked in ((), ("--json",)):
        alone = shell("ledger", "erase", "{L}", "C-101", *why[:-1], *unasked)
        assert alone.exit_code == 2
        assert "--yes" in alone.stderr
    done = shell("ledger", "erase", "{L}", "C-101", *why)
    assert done.exit_code == 0, done.stderr
    assert "Erased: 2 keys." in done.stdout
    assert "of 1 run cannot be read any more" in done.stdout
    assert "Copies of the vault from before hold the keys" in done.stderr
    again = shell("ledger", "erase", "{L}", "C-101", *why)
    assert again.exit_code == 2
    assert "erased before" in again.stderr
    assert shell("ledger", "erase", "{L}", *why).exit_code == 2
    assert shell("ledger", "verify", "{L}").exit_code == 0


@pytest.mark.parametrize(("vaulted", "mark"), [(True, "[erased]"), (False, "[sealed]")])
def test_show_and_explain_mark_what_they_cannot_read(shell: Callable[..., Done], vaulted: bool, mark: str) -> None:
    shell("ledger", "erase", "{L}", "C-101", "--by", "kim", "--because", "request 12", "--yes")
    told = shell("ledger", "show", "{L}", "run-1", vaulted=vaulted)
    assert told.exit_code == 0, told.stderr
    assert f"user      {mark}" in told.stdout
    assert "None" not in told.stdout
    assert [word for word in ADA if word in told.stdout] == []
    lines = shell("ledger", "show", "{L}", "run-1", "--json", vaulted=vaulted).stdout.splitlines()
    assert {tuple(json.loads(line)["withheld"]) for line in lines} == {(), (mark[1:-1],)}
    assert shell("ledger", "show", "{L}", vaulted=vaulted).exit_code == 0
    for action in ("run-1#1", "run-1#3", "run-1#4", "run-1#5"):
        why = shell("ledger", "explain", "{L}", action, vaulted=vaulted)
        assert why.exit_code == 0, why.stderr
        assert mark in why.stdout
        assert "None" not in why.stdout
        assert "not signed" not in why.stdout
        assert [word for word in ADA if word in why.stdout] == []
        assert shell("ledger", "explain", "{L}", action, "--json", vaulted=vaulted).exit_code == 0


def test_the_inbox_shows_what_can_be_read_and_says_what_not(shell: Callable[..., Done]) -> None:
    shell("ledger", "erase", "{L}", "C-101", "--by", "kim", "--because", "request 12", "--yes")
    listed = shell("inbox", "list", "--ledger", "{L}", "--contract", "{C}")
    assert listed.exit_code == 0, listed.stderr
    assert "run-2#" in listed.stdout
    assert "Passed over:" in listed.stderr
    assert "run-1" in listed.stderr
    one = shell("inbox", "show", "run-1", "--ledger", "{L}", "--contract", "{C}")
    assert one.exit_code == 2
    assert "RW-303" in one.stderr


def test_an_explanation_of_a_part_that_was_erased_shows_the_rest(desk: Desk) -> None:
    bobs_run(desk).call("search", {"name": "a"})
    erase(desk.ledger, subject="C-101", by="kim", because="request 12", at=NOW)
    lines = in_words(explain(desk.ledger, "run-2#2"))
    assert any("Bob-Hopkins" in text for _, text in lines)
    assert any("[erased]" in text for _, text in lines)


def test_what_comes_back_with_an_old_vault_is_erased_again(tmp_path: Path, shell: Callable[..., Done]) -> None:
    vault = tmp_path / "vault" / "vault.db"
    old = vault.read_bytes()
    why = ("--by", "kim", "--because", "request 12", "--yes")
    assert "Nothing that was erased has come back" in shell("ledger", "erase", "{L}", "--again", *why).stdout
    shell("ledger", "erase", "{L}", "C-101", *why)
    vault.write_bytes(old)
    assert "her-own-words" in shell("ledger", "show", "{L}", "run-1").stdout
    tried = shell("ledger", "erase", "{L}", "--again", *why, "--dry-run")
    assert "are there again: 2" in tried.stdout
    done = shell("ledger", "erase", "{L}", "--again", *why)
    assert done.exit_code == 0, done.stderr
    assert "Erased: 2 keys" in done.stdout
    assert "her-own-words" not in shell("ledger", "show", "{L}", "run-1").stdout
    assert "Bob-Hopkins" in shell("ledger", "show", "{L}", "run-2").stdout
    assert "Nothing that was erased has come back" in shell("ledger", "erase", "{L}", "--again", *why).stdout
    assert shell("ledger", "verify", "{L}").exit_code == 0


@pytest.mark.parametrize("kind", ["question", "run"])
def test_bytes_that_are_damaged_in_one_run_keep_no_other_waiting(tmp_path: Path, kind: str) -> None:
    with file_desk(tmp_path) as desk:
        waiting(desk)
        (bad,) = [group for group in desk.ledger.groups() if group.run == "run-1" and kind in group.kinds.split(",")][
            :1
        ]
    assert bad.sealed is not None
    flipped = bad.sealed[:-1] + bytes([bad.sealed[-1] ^ 1])
    with raw(str(tmp_path / "ledger" / "runs.db")) as connection:
        connection.execute("UPDATE groups SET sealed = ? WHERE first = ?", (flipped, bad.first))
    with Ledger.open(tmp_path / "ledger" / "runs.db", vault=tmp_path / "vault" / "vault.db") as ledger:
        gate = Gate(Contract.loads(LAW), ledger, tools=tools(), clock=VirtualClock(NOW))
        passed: list[Unreadable] = []
        assert [asked.run for asked in gate.questions(unreadable=passed.append)] == ["run-2"]
        assert {(error.run, error.why) for error in passed} == {("run-1", None)}
        with pytest.raises(Unreadable, match="ledger verify"):
            gate.run(id="run-1")
        assert not verify(ledger).intact
