"""An office whose refunds wait for people: its law, its keys, its till, and other processes over the same ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.ledger.forging import falsify

from roadworthy import Contract, Gate, Ledger
from roadworthy.contract.keys import SigningKey
from roadworthy.contract.people import Member, People
from roadworthy.core.clock import Clock, VirtualClock
from roadworthy.core.types import Draft, Outcome
from roadworthy.gate.gate import Asked
from roadworthy.gate.people.answers import Answered, Answering, Question, signed_answer
from roadworthy.gate.run import Run

KEYS = {name: SigningKey.new() for name in ("ada", "grace", "joan", "bot")}
PEOPLE = People(
    people=1,
    roles=("lead", "audit"),
    members={
        "ada": Member(roles=("lead",), keys=(KEYS["ada"].public,)),
        "grace": Member(roles=("lead",), keys=(KEYS["grace"].public,)),
        "joan": Member(roles=("audit",), keys=(KEYS["joan"].public,)),
        "bot": Member(roles=("lead",), keys=(KEYS["bot"].public,)),
    },
)

LAW = """
roadworthy: 1
agent: refund-bot
version: "1"
goal: Give people their money back.
owner: {team: Care, accountable: lead}
people: people.yaml
types:
  Money: {type: decimal, unit: EUR, min: "0.01", max: "900.00"}
tools:
  find:
    effect: read
    args: {no: string}
    returns: {no: string, total: Money, remark: {type: string, trust: untrusted}}
  refund:
    effect: write
    args: {no: string, amount: Money, to: {type: string, optional: true, origin: [user, trusted]}}
    returns: string
  note: {effect: write, args: {text: string}, returns: string}
capabilities:
  refunds:
    means: Somebody wants money back.
    tools: [find, refund, note]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one, check: count.refund <= 1}]
rules:
  - {id: large, tools: [refund], when: args.amount > 100.00, then: ask, ask: {ASK}, because: Large refunds are signed.}
RULES
principals: {bot: {capabilities: [refunds]}}
ESCALATE
"""


def law(ask: str = "role: lead", *rules: str, escalate: str = "", people: bool = True) -> Contract:
    """The office's contract, with a way to ask for large refunds and with more rules."""
    text = LAW.replace("ASK", ask).replace("RULES", "\n".join(f"  - {{{rule}}}" for rule in rules))
    text = text.replace("ESCALATE", f"escalate: {{{escalate}}}" if escalate else "")
    if not people:
        return Contract.loads(text.replace("people: people.yaml\n", ""))
    return Contract.loads(text).with_people(PEOPLE)


class Till:
    """What is really done."""

    def __init__(self) -> None:
        self.paid: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.remark = "none"

    def find(self, no: str) -> dict[str, str]:
        return {"no": no, "total": "250.00", "remark": self.remark}

    def refund(self, no: str, amount: str, to: str = "") -> str:
        self.paid.append((no, amount))
        return f"paid {amount}"

    def note(self, text: str) -> str:
        self.notes.append(text)
        return "noted"

    @property
    def tools(self) -> dict[str, Callable[..., Any]]:
        return {"find": self.find, "refund": self.refund, "note": self.note}


class Office:
    """Gates over one ledger file. `elsewhere` is a gate that shares nothing with the others but that file."""

    def __init__(self, folder: Path, contract: Contract, clock: Clock | None = None) -> None:
        self.path = folder / "runs.db"
        self.contract = contract
        self.clock = clock or VirtualClock()
        self.till = Till()
        self.open = ExitStack()
        self.gate = self.elsewhere()

    def elsewhere(self, contract: Contract | None = None, **kwargs: Any) -> Gate:
        """A gate as another process has it."""
        ledger = self.open.enter_context(Ledger.open(self.path))
        return Gate(contract or self.contract, ledger, tools=self.till.tools, clock=self.clock, **kwargs)

    def run(self, id: str = "r", *, gate: Gate | None = None, **kwargs: Any) -> Run:
        return (gate or self.gate).run(id=id, principal="bot", capability="refunds", **kwargs)

    def refund(self, run: Run, amount: str = "250.00", no: str = "7", **more: str) -> Outcome:
        return run.call("refund", {"no": no, "amount": amount, **more}, self.till.refund)

    def note(self, run: Run, text: str = "hello") -> Outcome:
        return run.call("note", {"text": text}, self.till.note)

    def asked(self, gate: Gate | None = None) -> Asked:
        """The only question that waits."""
        (one,) = (gate or self.gate).questions()
        return one

    def answer(
        self,
        by: str,
        ruling: Answering = "approve",
        *,
        to: Asked | None = None,
        gate: Gate | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Answered:
        """A person's signed answer, given in a process of its own unless told."""
        gate = gate or self.elsewhere()
        asked = to or self.asked(gate)
        body = signed_answer(asked.question, KEYS[key or by], by=by, ruling=ruling, **more)
        return gate.answer(asked.id, by=by, ruling=ruling, signature=body["signature"], **more)

    def slip_in(self, question: Question, by: str, *, key: str | None = None, **changes: Any) -> None:
        """An answer that somebody writes straight into the ledger."""
        body = signed_answer(question, KEYS[key or by], by=by, ruling=changes.pop("ruling", "approve"))
        at = changes.pop("at", self.clock.now())
        draft = Draft(
            kind="answer",
            world="production",
            run=question.run,
            body={**body, **changes},
            at=at,
            cause=question.id,
        )
        self.gate.ledger.append([draft])

    def falsify(self, kind: str, change: Callable[[dict[str, Any]], Mapping[str, Any]], *, run: str = "r") -> None:
        """Change entries in the file itself, as somebody does who may write to it and has nobody's key."""
        falsify(self.path, kind, run, change)
