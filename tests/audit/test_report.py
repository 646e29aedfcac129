"""The report: what stands in it, what strangers' text can do to it, and what becomes of a ledger that is large."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.gate.office import Office, law
from tests.ledger.forging import rewrite

from roadworthy import Contract, Gate, Ledger
from roadworthy.audit.account import MOST, Latest, account
from roadworthy.audit.redecide import Redeciding
from roadworthy.audit.report import again_of, render
from roadworthy.audit.verify import verify
from roadworthy.cli.app import main
from roadworthy.core.clock import VirtualClock
from roadworthy.core.types import Draft
from roadworthy.ledger.vault import Vault

LAW = """
roadworthy: 1
agent: till
version: "1"
goal: Pay.
owner: {team: Care, accountable: lead}
types: {Money: {type: decimal, unit: EUR, min: "0.01"}}
tools:
  pay: {effect: write, args: {to: string, amount: Money}, returns: string}
capabilities:
  paying:
    means: Somebody is to be paid.
    tools: [pay]
    autonomy: {start: autonomous, ceiling: autonomous}
    success: [{id: one, check: count.pay <= 9}]
rules:
  - {id: large, tools: [pay], when: args.amount > 90.00, then: deny, because: Nobody pays that much.}
budgets:
  day:
    - {sum: {tool: pay, arg: amount}, per: agent, max: "100.00"}
"""
EVIL = "<script>alert(1)</script>\x1b[2J\u202eevil\u202c"


def pay(to: str, amount: str) -> str:
    return f"{amount} to {to}"


class Parsed(HTMLParser):
    """The text of a page, and all that it would run or load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self._hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._hidden += tag in ("style", "title")
        if tag in ("script", "img", "iframe", "link", "object", "embed") or any(n.startswith("on") for n in given):
            self.loads.append(tag)
        self.ids += [str(given["id"])] if "id" in given else []
        self.links += [str(given["href"])] if tag == "a" else []

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "title")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)

    @property
    def plain(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def page_of(ledger: Ledger, **chosen: object) -> str:
    told = account(ledger, **chosen)  # pyright: ignore[reportArgumentType]  # what each test chooses
    again = again_of(map(Redeciding(ledger).run, told.names))
    return render(told, source="runs.db", at=VirtualClock().now(), check=verify(ledger), again=again)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path, law("role: lead"))
    with made.open:
        yield made


def test_it_says_who_decided_what_and_what_they_saw(office: Office) -> None:
    run = office.run()
    run.heard("my money back")
    office.refund(run)
    office.answer("ada", because="I called the customer")
    run.heard("and?")
    office.gate.stop(because="enough", by="grace")
    office.note(run)
    assert isinstance(office.gate.ledger, Ledger)
    text = Parsed(page_of(office.gate.ledger)).plain
    assert "refund-bot, version 1" in text
    assert "lead is accountable, Care" in text
    assert re.search(r'They saw refund\(amount="250", no="7"\)', text)
    assert re.search(r"approve by ada, as lead, [-0-9: ]+ , signed: I called the customer", text)
    assert "the whole agent enough" in text
    assert "stop (deny): The agent was stopped: enough, by grace" in text
    assert "1 run came to the same, byte for byte" in text
    assert "Whole, and signed by nobody." in text


def test_nothing_that_strangers_write_runs_loads_or_misleads(office: Office) -> None:
    run = office.run("r" + EVIL)
    run.heard(EVIL)
    office.note(run, EVIL)
    run.call(EVIL, {EVIL: EVIL}, office.till.note)
    assert isinstance(office.gate.ledger, Ledger)
    for chosen in ({}, {"run": run.id}):
        page = page_of(office.gate.ledger, **chosen)
        parsed = Parsed(page)
        assert parsed.loads == []
        assert not set(page) & {"\x1b", "\u202e", "\u202c"}
        style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in page.replace("&#39;", "'")
        assert "default-src 'none'" in page.replace("&#39;", "'")
        assert {link.removeprefix("#") for link in parsed.links} <= set(parsed.ids)
        assert not re.search(r"https?://", page)


def test_a_time_is_chosen_and_what_lies_outside_does_not_count(tmp_path: Path) -> None:
    clock = VirtualClock()
    began = clock.now()
    with Ledger.open(tmp_path / "runs.db") as ledger:
        gate = Gate(Contract.loads(LAW), ledger, clock=clock)
        for n in range(4):
            gate.run(id=f"r{n}", capability="paying").call("pay", {"to": "eve", "amount": "30.00"}, pay)
            clock.advance(3600.0)
        day = timedelta(hours=1)
        told = account(ledger, since=began + day, until=began + 3 * day)
        assert (told.names, told.calls, told.states["executed"]) == (["r2", "r1"], 2, 2)
        assert [(b.about, str(b.taken), str(b.limit)) for b in told.budgets] == [("pay.amount, in all", "60", "100.00")]
        whole = account(ledger)
        assert (whole.calls, whole.states["executed"], whole.states["blocked"]) == (4, 3, 1)
        assert whole.rules == [("budgets", "deny", 1)]
        assert account(ledger, world="test").runs == 0


def test_of_many_the_latest_are_told_and_all_are_counted(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "runs.db") as ledger:
        gate = Gate(Contract.loads(LAW), ledger, clock=VirtualClock())
        for n in range(MOST // 2 + 10):
            run = gate.run(id=f"r{n}", capability="paying")
            for to in ("eve", "mallory"):
                run.call("pay", {"to": to, "amount": "95.00"}, pay)
        told = account(ledger)
        assert (told.stopped.count, len(told.stopped), told.stopped.left_out) == (MOST + 20, MOST, 20)
        assert "These are the latest 100 of 120 calls that were held back" in Parsed(page_of(ledger)).plain


def test_the_latest_stay() -> None:
    at = datetime(2026, 1, 1)
    kept = Latest[int](3)
    for n in (5, 1, 4, 2, 3):
        kept.add(at + timedelta(days=n), n, n)
    assert (list(kept), kept.count, kept.left_out) == ([3, 4, 5], 5, 2)


def test_what_is_erased_or_sealed_is_counted_and_named_so(tmp_path: Path) -> None:
    for name in ("keys", "runs"):
        (tmp_path / name).mkdir()
    file, vault = tmp_path / "runs" / "runs.db", Vault.open(tmp_path / "keys" / "vault.db")
    with Ledger.open(file, vault=vault) as ledger:
        run = Gate(Contract.loads(LAW), ledger).run(id="r", capability="paying")
        run.call("pay", {"to": "Ada Lovelace", "amount": "95.00"}, pay)
        assert "Ada Lovelace" in page_of(ledger)
        vault.erase(ledger.id, run="r")
        page = page_of(ledger)
        assert "Ada Lovelace" not in page
        assert "pay([erased])" in page
        assert "could not be decided again" in Parsed(page).plain
        told = account(ledger)
        assert (told.rulings["deny"], told.rules) == (1, [("large", "deny", 1)])
    with Ledger.open(file, read_only=True) as sealed:
        assert account(sealed).withheld


def test_the_command_writes_and_registers(office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    office.note(office.run())
    page, ledger = tmp_path / "out" / "page.html", str(office.path)
    assert main(["ledger", "report", ledger, "--html", str(page), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (entry,) = office.gate.ledger.entries(kind="export")
    assert (said["registered"], said["intact"], said["runs"]) == (entry.seq, True, 1)
    assert entry.body["sha256"] == hashlib.sha256(page.read_bytes()).hexdigest()
    assert (entry.body["what"], entry.body["path"], entry.body["runs"]) == ("report", str(page), ["r"])
    assert main(["ledger", "report", ledger, "--html", str(page), "--run", "r", "--no-register"]) == 0
    assert len(list(office.gate.ledger.entries(kind="export"))) == 1
    text = page.read_text(encoding="utf-8")
    assert "The run, entry by entry" in text
    assert ", contract version 1 (" in text
    assert not re.search(r"(&#34;|&quot;|\")levels", text), "the beginning of a run is told in words"


def test_a_ledger_that_was_changed_is_called_so(
    office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    office.note(office.run())
    office.open.close()
    rewrite(office.path, lambda head: {**head, "cause": "other"} if head["kind"] == "verdict" else None, mend=False)
    page = tmp_path / "page.html"
    assert main(["ledger", "report", str(office.path), "--html", str(page), "--no-register"]) == 1
    assert "NOT INTACT" in capsys.readouterr().out
    assert "Not intact." in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--run", "nobody"], "holds no run 'nobody'"),
        (["--run", "r", "--since", "2026-01-01"], "leave out --since"),
        (["--until", "never"], "is no day or time"),
    ],
)
def test_what_is_wrong_is_said(
    office: Office, tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    office.note(office.run())
    assert main(["ledger", "report", str(office.path), "--html", str(tmp_path / "x.html"), *words]) == 2
    assert says in capsys.readouterr().err


def test_undone_doubted_and_late_things_stand_in_it(office: Office) -> None:
    run = office.run()
    office.note(run)
    ledger = office.gate.ledger
    assert isinstance(ledger, Ledger)
    at = VirtualClock().now()
    lost = {"unrecorded_reads": 2, "why": "the ledger could not be written"}
    late = {"name": "ticket_reopened", "value": "T-4711", "by": "helpdesk"}
    ledger.append([Draft(kind="gap", world="production", run=run.id, body=lost, at=at)])
    ledger.append([Draft(kind="signal", world="production", run=run.id, body=late, at=at)])
    text = Parsed(page_of(ledger)).plain
    assert "2 reads are not in the ledger: the ledger could not be written" in text
    assert "ticket_reopened: T-4711" in text
