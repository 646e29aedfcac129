"""A small desk behind the gate: its contract, its tools with a record of what they really did, and a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.clock import VirtualClock
from roadworthy.core.types import Action, Verdict
from roadworthy.gate.run import Run

HERE = Path(__file__).parent


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
