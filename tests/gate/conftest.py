"""A small desk behind the gate: its contract, its tools with a record of what they really did, and a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.audit.redecide import Redeciding
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Action, Verdict
from roadworthy.gate.run import Run

HERE = Path(__file__).parent
MOST_RUNS = 25
"""Runs of one ledger that are decided again; some tests open thousands that are all alike."""
FORGING = (
    "test_nobody_hides_from_whoever_signs",
    "test_a_signature_under_false_origins",
    "test_nobody_widens_what_a_yes_covers",
    "test_a_yes_to_less_than_all_grounds",
    "test_a_forged_question",
    "test_an_entry_that_nobody_can_read",
)
"""Tests that write what no gate would: of their runs nothing is to be expected."""
UNLIKE = (
    "test_a_later_turn_that_is_hard_to_place",  # these put something else in the place of what judges
    "test_a_reply_that_nobody_could_judge",
    "test_what_the_agent_is_not_for_goes_to_a_person",
    "test_hostile_values_are_denied_or_carried",  # some are larger once they are typed than a call may be
    "test_reads_go_on_while_the_ledger_is_down",  # what was read meanwhile is nowhere
)
"""Tests whose decisions rest on what stands in no ledger."""


@pytest.fixture(autouse=True)
def decided_again(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test of this folder does: each run of its ledgers, decided again, comes to the same bytes."""
    opened: dict[int, tuple[Ledger, list[Contract]]] = {}
    begin = Gate.__init__

    def noted(self: Gate, contract: Contract, ledger: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, contract, ledger, *args, **kwargs)
        if isinstance(ledger, Ledger):
            opened.setdefault(id(ledger), (ledger, []))[1].append(contract)

    monkeypatch.setattr(Gate, "__init__", noted)
    yield
    monkeypatch.undo()
    if request.node.name.startswith((*FORGING, *UNLIKE)):
        return
    for ledger, contracts in opened.values():
        _decide_again(ledger, contracts)


def _decide_again(ledger: Ledger, contracts: list[Contract]) -> None:
    with ExitStack() as stack:
        try:
            if Path(ledger.name).exists():
                ledger = stack.enter_context(Ledger.open(ledger.name, read_only=True))
            runs = [summary.run for summary in ledger.runs()][:MOST_RUNS]
        except LedgerError:
            return  # the test has closed a ledger in memory, or broken its file
        deciding = Redeciding(ledger, also=contracts)
        for again in map(deciding.run, runs):
            if again.undecided not in ("no_beginning", "erased", "sealed"):
                assert again.same, (again.run, again.undecided, again.why, again.differing)


def always(answer: bool | None) -> Callable[[Action, Verdict], bool | None]:
    """An approver who always gives the same answer."""

    def approver(_action: Action, _verdict: Verdict) -> bool | None:
        return answer

    return approver


@dataclass
class Desk:
    """The tools of the desk. `did` is what they were really called with."""

    did: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    answers: dict[str, Any] = field(default_factory=dict[str, Any])

    def __getitem__(self, name: str) -> Callable[..., Any]:
        def tool(**args: Any) -> Any:
            self.did.append((name, args))
            answer = self.answers.get(name)
            if isinstance(answer, BaseException):
                raise answer
            if callable(answer):
                return answer(**args)
            return answer

        return tool

    def names(self) -> list[str]:
        return [name for name, _ in self.did]

    def changes(self) -> list[str]:
        return [name for name in self.names() if name in ("refund", "mail", "wipe", "hand_over")]


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract.load(HERE / "desk.yaml")


@pytest.fixture
def desk() -> Desk:
    return Desk(
        answers={
            "find_customer": {"contact_id": "C-001", "email": "ada@example.com"},
            "find_account": {"account_no": "1234"},
            "search_accounts": [{"account_no": "1234"}, {"account_no": "5678"}],
            "get_invoice": {"invoice_no": "7", "status": "paid", "total": "80.00"},
            "refund": {"refund_no": "R1"},
            "mail": "sent",
            "status_page": "all is well",
            "hand_over": "ok",
        }
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "runs.db") as opened:
        yield opened


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


class Calls:
    """A run with the desk's tools at hand: `calls("refund", amount="1.00")`."""

    def __init__(self, run: Run, desk: Desk) -> None:
        self.run = run
        self.desk = desk

    def __call__(self, tool: str, **args: Any) -> Any:
        return self.run.call(tool, args, self.desk[self.run.gate.contract.tool_names.get(tool, tool)])

    def ready(self) -> Calls:
        """The subject is known, its account and its invoice were read."""
        assert self("find_customer", email="ada@example.com").ok
        assert self("find_account", contact_id="C-001").ok
        assert self("get_invoice", account_no="1234", invoice_no="7").ok
        return self

    def refund(self, amount: Any = "42.00") -> Any:
        return self("refund", account_no="1234", invoice_no="7", amount=amount)


@pytest.fixture
def tested(contract: Contract, ledger: Ledger, desk: Desk, clock: VirtualClock) -> Callable[..., Calls]:
    """Opens a run in a test world, autonomous unless told."""

    def open_run(
        *, principal: str = "bot", capability: str = "money_back", id: str = "r1", ask_user: Any = None, **gate: Any
    ) -> Calls:
        tools = {name: desk[name] for name in contract.tools if name != "wipe"}
        made = Gate(contract, ledger, world="test", tools=tools, clock=clock, **gate)
        return Calls(made.run(id=id, principal=principal, capability=capability, ask_user=ask_user), desk)

    return open_run


@pytest.fixture
def real(contract: Contract, ledger: Ledger, desk: Desk) -> Callable[..., Calls]:
    """Opens a run in production, at the contract's start levels."""

    def open_run(
        *, capability: str = "money_back", id: str | None = None, gate: Gate | None = None, **kwargs: Any
    ) -> Calls:
        made = gate or Gate(contract, ledger, **kwargs)
        return Calls(made.run(id=id, principal="bot", capability=capability), desk)

    return open_run
