"""`roadworthy inbox` and `roadworthy worker`: people answer in one process, what they decided is done in another."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.cli.app import main
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft

Capture = pytest.CaptureFixture[str]

LAW = """\
roadworthy: 1
agent: refund-bot
version: "1"
goal: Give people their money back.
owner: {team: Care, accountable: care-lead}
people: people.yaml
types:
  Money: {type: decimal, unit: EUR, min: "0.01", max: "500.00"}
tools:
  find_invoice: {effect: read, args: {invoice_no: string}, returns: {invoice_no: string, total: Money}}
  refund: {effect: write, args: {invoice_no: string, amount: Money}, returns: {refund_no: string}}
  note: {effect: write, args: {text: string}, returns: string}
capabilities:
  refunds:
    means: Somebody wants money back.
    tools: [find_invoice, refund, note]
    autonomy: {start: autonomous, ceiling: autonomous, approver: care-lead}
    success: [{id: one, check: count.refund <= 1}]
rules:
  - id: signed
    tools: [refund]
    when: args.amount > 50.00
    then: ask
    ask: {role: care-lead, approvals: APPROVALS, within: 4h, meanwhile: MEANWHILE}
    because: Refunds above 50 EUR are signed.
principals:
  bot: {capabilities: [refunds]}
"""


class Place:
    """A project with its people, an agent in a process of its own, and a ledger in a folder of its own."""

    def __init__(self, folder: Path, capsys: Capture) -> None:
        self.folder = folder
        self.capsys = capsys
        self.ledger = folder / "data" / "runs.db"

    def law(self, *, approvals: int = 1, meanwhile: str = "tell") -> None:
        text = LAW.replace("APPROVALS", str(approvals)).replace("MEANWHILE", meanwhile)
        (self.folder / "contract.yaml").write_text(text)

    def begin(self, run: str, drive: str = "chat") -> str:
        """Begin a run, up to where it waits; how it stands."""
        return import_module("waiting").begin(run, drive)

    def begin_elsewhere(self, run: str, drive: str = "chat") -> str:
        """As `begin`, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "waiting.py", run, drive], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def inbox(self, *words: str) -> tuple[int, str]:
        """What a command of the inbox gives and says."""
        self.capsys.readouterr()
        code = main(["inbox", words[0], *words[1:], "--ledger", str(self.ledger)])
        said = self.capsys.readouterr()
        return code, said.out + said.err

    def asked(self) -> list[dict[str, Any]]:
        code, said = self.inbox("list", "--json")
        assert code == 0
        return [json.loads(line) for line in said.splitlines()]

    def question(self) -> str:
        (one,) = self.asked()
        return one["question"]

    def worker(self, *more: str) -> subprocess.Popen[str]:
        words = ["worker", "contract.yaml", "--ledger", str(self.ledger), "--tools", "waiting:TOOLS", *more]
        start = "import sys; from roadworthy.cli import main; sys.exit(main())"
        return subprocess.Popen(
            [sys.executable, "-c", start, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def work(self, *more: str) -> str:
        """Let a worker do what is there to do; what it says."""
        self.capsys.readouterr()
        words = ["worker", "contract.yaml", "--once", "--ledger", str(self.ledger), "--tools", "waiting:TOOLS", *more]
        code = main(words)
        said = self.capsys.readouterr()
        assert code == 0, said.out + said.err
        return said.out

    def work_elsewhere(self, *more: str, code: int = 0) -> str:
        """As `work`, in a process of its own."""
        process = self.worker("--once", *more)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, out + err
        return out

    @property
    def did(self) -> list[str]:
        """What the tools really did, in order."""
        file = self.folder / "did.txt"
        return file.read_text().splitlines() if file.exists() else []

    def wish(self, at: str) -> None:
        """Let the process that comes to a place die there."""
        (self.folder / f"die-{at}").touch()

    def status(self, run: str) -> str:
        with Ledger.open(self.ledger, read_only=True) as ledger:
            return next(r.status for r in ledger.runs() if r.run == run)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Iterator[Place]:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("waiting.py"), folder / "waiting.py")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.delitem(sys.modules, "waiting", raising=False)
    monkeypatch.setenv("ROADWORTHY_KEYS", str(tmp_path / "keys"))
    for name, role in (("ada", "care-lead"), ("grace", "care-lead"), ("joan", "audit")):
        assert main(["people", "add", name, "--role", role, "--new-role"]) == 0
    made = Place(folder, capsys)
    made.law()
    yield made
    sys.modules.pop("waiting", None)


def until(done: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Look until something is so; fails when it never becomes so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it never became so"
        time.sleep(0.02)


REFUND = "refund 4711 80"


# a conversation goes on meanwhile -------------------------------------------------------------------------------------


def test_what_waits_is_listed_shown_approved_and_carried(place: Place) -> None:
    assert place.begin_elsewhere("r1") == "held"
    assert place.did[0] == "find 4711"
    (asked,) = place.asked()
    assert (asked["tool"], asked["args"]) == ("refund", {"invoice_no": "4711", "amount": "80"})
    assert (asked["role"], asked["who"], asked["missing"], asked["run"]) == ("care-lead", ["ada", "grace"], 1, "r1")
    code, said = place.inbox("list")
    assert code == 0
    assert asked["question"] in said
    assert place.inbox("list", "--as", "joan") == (0, "Nothing waits for an answer.\n")
    code, said = place.inbox("show", asked["question"])
    assert code == 0
    for part in ("refund", "80", "Refunds above 50 EUR are signed", "care-lead: ada, grace", "after that it is denied"):
        assert part in said
    code, said = place.inbox("approve", asked["question"], "--as", "ada", "--because", "Right.")
    assert (code, "ada: approve refund." in said) == (0, True), said
    assert REFUND not in place.did
    assert "r1: ok" in place.work_elsewhere()
    assert place.did.count(REFUND) == 1
    assert place.asked() == []
    assert place.work() == ""
    assert place.did.count(REFUND) == 1
    assert place.inbox("deny", asked["question"], "--as", "grace")[0] == 2


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (
            ("deny", "--because", "It was paid back before."),
            "denied",
            "ada said no to refund (It was paid back before.)",
        ),
        (("answer", "--text", "Ask for the order first."), "denied", "ada answers: Ask for the order first."),
        (("take", "--because", "I know her."), "denied", "ada has taken over (I know her.)"),
    ],
)
def test_another_answer_than_yes_carries_nothing(place: Place, words: tuple[str, ...], status: str, told: str) -> None:
    place.begin("r1")
    code, said = place.inbox(words[0], place.question(), "--as", "ada", *words[1:])
    assert code == 0, said
    line = place.work("--json")
    assert f"{status}: " in line
    assert told in line
    assert REFUND not in place.did
    assert place.status("r1") == ("escalated" if words[0] == "take" else "open")


def test_two_people_must_agree(place: Place) -> None:
    place.law(approvals=2)
    place.begin("r1")
    question = place.question()
    code, said = place.inbox("approve", question, "--as", "ada")
    assert (code, "1 more person must agree" in said) == (0, True)
    code, said = place.inbox("approve", question, "--as", "ada")
    assert (code, "has answered this question already" in said) == (2, True)
    assert place.work() == ""
    assert place.asked()[0]["said_yes"] == ["ada"]
    assert place.inbox("approve", question, "--as", "grace")[0] == 0
    place.work()
    assert place.did.count(REFUND) == 1


def test_an_edited_action_is_carried_as_it_was_edited(place: Place) -> None:
    place.begin("r1")
    question = place.question()
    for words, why in (
        (("--set", "amount=0.001"), "do not fit"),
        (("--set", "amuont=40"), "did you mean amount?"),
        (("--set", "amount"), "write --set ARGUMENT=VALUE"),
        (("--set", "invoice_no="), "do not fit"),
    ):
        code, said = place.inbox("edit", question, "--as", "ada", *words)
        assert (code, why in said) == (2, True), said
    code, said = place.inbox("edit", question, "--as", "ada", "--set", "amount=40.00")
    assert code == 0, said
    place.work()
    assert [line for line in place.did if line.startswith("refund")] == ["refund 4711 40"]


def test_a_run_names_its_question_where_it_has_one(place: Place) -> None:
    place.begin("r1")
    code, said = place.inbox("approve", "r1", "--as", "ada", "--json")
    assert (code, json.loads(said)["question"].startswith("r1#")) == (0, True), said
    place.begin("r2")
    with Ledger.open(place.ledger) as ledger:
        gate = Gate(Contract.load("contract.yaml"), ledger)
        run = gate.run(id="r2", principal="bot")
        refund = import_module("waiting").refund
        assert run.call("refund", {"invoice_no": "4712", "amount": "60"}, refund).status == "held"
    code, said = place.inbox("approve", "r2", "--as", "ada")
    assert (code, "several questions wait in run 'r2'" in said) == (2, True), said


def test_one_person_s_edit_is_not_the_agreement_of_two(place: Place) -> None:
    place.law(approvals=2)
    place.begin("r1")
    code, said = place.inbox("edit", place.question(), "--as", "ada", "--set", "amount=90.00")
    assert (code, "Several people must agree" in said) == (2, True)
    place.work()
    assert not [line for line in place.did if line.startswith("refund")]


def test_answers_that_do_not_count_say_why_and_carry_nothing(place: Place, tmp_path: Path) -> None:
    place.begin("r1")
    question = place.question()
    for words, why in (
        (("approve", question, "--as", "joan"), "does not hold the role care-lead"),
        (("approve", question, "--as", "bot"), "runs the agent"),
        (("approve", question, "--as", "eve"), "there is no key"),
        (("approve", "r1#99.abcdef", "--as", "ada"), "there is no question"),
        (("approve", "nonsense", "--as", "ada"), "there is no question"),
        (("answer", question, "--as", "ada", "--text", " "), "has words"),
        (("approve", question, "--as", "ada", "--keys", str(tmp_path / "none")), "there is no key"),
        (("approve", question, "--as", "ada", "--keys", "keys"), "do not belong into the project"),
    ):
        for name in ("bot", "eve"):
            if name in words and not (tmp_path / "keys" / f"{name}.pem").exists() and name == "bot":
                assert main(["people", "key", name]) == 0
        code, said = place.inbox(*words)
        assert (code, why in said) == (2, True), said
    assert len(place.asked()) == 1
    place.work()
    assert REFUND not in place.did


def test_an_approval_that_somebody_wrote_into_the_ledger_carries_nothing(place: Place) -> None:
    place.begin("r1")
    place.begin("r2")
    mine, other = place.asked()
    assert place.inbox("approve", mine["question"], "--as", "ada")[0] == 0
    with Ledger.open(place.ledger) as ledger:
        (signed,) = ledger.entries(kind="answer")
        (question,) = (e for e in ledger.entries(run="r2", kind="question"))
        as_other = {**signed.body, "question": other["question"], "run": "r2", "nonce": question.body["nonce"]}
        for body in (as_other, {k: v for k, v in as_other.items() if k != "signature"}, signed.body):
            draft = Draft(kind="answer", world="production", run="r2", body=body, at=signed.at, cause=signed.cause)
            ledger.append([draft])
    place.work()
    assert place.did.count(REFUND) == 1
    assert [one["run"] for one in place.asked()] == ["r2"]


def test_a_question_that_somebody_changed_in_the_ledger_approves_nothing_else(place: Place) -> None:
    """The signed digest is that of the action: under another nonce, or another action, nobody has said yes."""
    place.begin("r1")
    assert place.inbox("approve", place.question(), "--as", "ada")[0] == 0
    with Ledger.open(place.ledger, read_only=True) as ledger:
        entries = list(ledger.entries())
    forged = place.folder / "data" / "forged.db"
    with Ledger.open(forged) as copy:
        for entry in entries:
            body = dict(entry.body)
            if entry.kind == "action" and body["tool"] == "refund":
                body["args"] = {"invoice_no": "4711", "amount": "499.00"}
            copy.append(
                [Draft(kind=entry.kind, world=entry.world, run=entry.run, body=body, at=entry.at, cause=entry.cause)]
            )
    place.ledger = forged
    place.work()
    assert not [line for line in place.did if line.startswith("refund")]
    assert len(place.asked()) == 1


def test_an_answer_that_comes_too_late_is_none(place: Place) -> None:
    law = place.folder / "contract.yaml"
    law.write_text(law.read_text().replace("within: 4h", "within: 1500ms"))
    place.begin("r1")
    with Ledger.open(place.ledger, read_only=True) as ledger:
        (asked,) = ledger.entries(kind="question")
    until(lambda: place.inbox("list")[1] == "Nothing waits for an answer.\n")
    code, said = place.inbox("approve", asked.body["question"], "--as", "ada")
    assert (code, "expired" in said) == (2, True), said
    assert "Nobody answered in time" in place.work()
    assert REFUND not in place.did


def test_several_workers_carry_an_action_once(place: Place) -> None:
    place.begin("r1")
    assert place.inbox("approve", place.question(), "--as", "ada")[0] == 0
    workers = [place.worker("--once") for _ in range(3)]
    for process in workers:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    assert place.did.count(REFUND) == 1


@pytest.mark.parametrize("at", ["before-refund", "after-refund"])
def test_a_worker_that_is_killed_carries_nothing_twice(place: Place, at: str) -> None:
    place.begin("r1")
    assert place.inbox("approve", place.question(), "--as", "ada")[0] == 0
    place.wish(at)
    place.work_elsewhere(code=-signal.SIGKILL)
    before = place.did.count(REFUND)
    assert before == (0 if at == "before-refund" else 1)
    place.work()
    assert place.did.count(REFUND) == before
    with Ledger.open(place.ledger, read_only=True) as ledger:
        intents = [e for e in ledger.entries(run="r1", kind="intent") if "approved" in e.body]
    assert len(intents) == 1


def test_a_worker_waits_for_answers_until_it_is_told_to_end(place: Place) -> None:
    place.begin("r1")
    process = place.worker("--every", "0.05")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "Waiting for answers.\n"
        assert place.inbox("approve", place.question(), "--as", "grace")[0] == 0
        assert process.stdout.readline().startswith("r1: ok")
        assert place.did.count(REFUND) == 1
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        process.kill()
        process.wait()


# a job stops, and is driven on ----------------------------------------------------------------------------------------

JOB = ("--agent", "waiting:job")
ALL = ["find 4711", REFUND, "note ok: {'refund_no': 'R-4711'}"]


@pytest.fixture
def job(place: Place) -> Place:
    place.law(meanwhile="suspend")
    assert place.begin_elsewhere("r1", "job") == "suspended"
    assert place.did == ["find 4711"]
    return place


def test_a_job_is_driven_on_in_another_process(job: Place) -> None:
    assert job.work(*JOB) == ""
    assert job.inbox("approve", job.question(), "--as", "ada")[0] == 0
    assert "r1: driven on; it is closed" in job.work(*JOB)
    assert job.did == ALL
    assert job.status("r1") == "closed"
    assert job.work(*JOB) == ""
    assert job.did == ALL


def test_a_denied_job_goes_on_with_the_denial(job: Place) -> None:
    assert job.inbox("deny", job.question(), "--as", "ada", "--because", "Paid before.")[0] == 0
    assert "driven on" in job.work(*JOB)
    assert job.did == ["find 4711", "note denied: ada said no to refund (Paid before.)."]


def test_a_worker_without_the_agent_carries_and_leaves_the_rest_to_one_that_has_it(job: Place) -> None:
    assert job.inbox("approve", job.question(), "--as", "ada")[0] == 0
    assert "r1: ok" in job.work()
    assert job.did == ALL[:2]
    assert "driven on" in job.work(*JOB)
    assert job.did == ALL


def test_several_workers_drive_a_job_on_once(job: Place) -> None:
    assert job.inbox("approve", job.question(), "--as", "ada")[0] == 0
    workers = [job.worker("--once", *JOB) for _ in range(3)]
    for process in workers:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    assert job.did == ALL
    assert job.status("r1") == "closed"


@pytest.mark.parametrize(
    ("at", "did"),
    [
        ("before-refund", ALL[:1]),
        ("after-refund", ALL[:2]),
        ("after-note", ALL),
    ],
)
def test_a_job_whose_worker_is_killed_does_nothing_twice(job: Place, at: str, did: list[str]) -> None:
    assert job.inbox("approve", job.question(), "--as", "ada")[0] == 0
    job.wish(at)
    job.work_elsewhere(*JOB, code=-signal.SIGKILL)
    assert job.did == did
    until(lambda: bool(job.work(*JOB, "--lease", "1")))
    assert job.did == did  # what was begun and has no end is in doubt, and a person's
    assert job.status("r1") == "escalated"


def test_an_agent_that_fails_hands_the_run_to_a_person(job: Place) -> None:
    assert job.inbox("approve", job.question(), "--as", "ada")[0] == 0
    said = job.work("--agent", "waiting:failing")
    assert "RuntimeError: the model's answer was no JSON" in said
    assert job.status("r1") == "escalated"
    assert job.work(*JOB) == ""
    assert job.did == ALL[:2]


# what is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--tools", "waiting:NAMES"), "give a module, or a mapping"),
        (("--tools", "waiting:none"), "waiting has no 'none'"),
        (("--tools", "json:decoder"), "there are no tools of refund-bot among these"),
        (("--agent", "waiting:NAMES"), "drives no run"),
        (("--agent", "waiting:begin"), "cannot be called as agent(run)"),
        (("--ledger", "none.db"), "there is no ledger at none.db"),
    ],
)
def test_a_worker_says_what_it_cannot_start_with(
    place: Place, capsys: Capture, words: tuple[str, ...], why: str
) -> None:
    place.begin("r1")
    given = ["--ledger", str(place.ledger), *words]
    assert main(["worker", "contract.yaml", "--once", *given]) == 2
    assert why in capsys.readouterr().err


def test_the_inbox_wants_a_ledger(place: Place, capsys: Capture) -> None:
    assert main(["inbox", "list", "--ledger", "none.db"]) == 2
    assert "there is no ledger at none.db" in capsys.readouterr().err
    assert not (place.folder / "none.db").exists()


def test_without_people_a_name_is_enough(place: Place) -> None:
    law = place.folder / "contract.yaml"
    law.write_text(law.read_text().replace("people: people.yaml\n", ""))
    place.begin("r1")
    with Ledger.open(place.ledger) as ledger:
        gate = Gate(Contract.load(law), ledger)
        with pytest.raises(UsageError, match="amount"):
            gate.answer(place.question(), by="anybody", ruling="edit", args={"invoice_no": "4711", "amount": "lots"})
    assert place.inbox("approve", place.question(), "--as", "bot")[0] == 2
    assert place.inbox("approve", place.question(), "--as", "anybody")[0] == 0
    place.work()
    assert place.did.count(REFUND) == 1
    assert Contract.load(law).members is None
