"""Whether people have done what the ledger says of them, by the keys and the rules of the contracts that it holds.

Every answer, every undo, every level, every stop that was taken back and every signature under a contract is held
against the contract that it was given under, with the functions by which a gate judges it. What counts for nothing is
reported: a gate passes it over, and somebody has written it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from roadworthy.audit.laws import Laws
from roadworthy.contract.model import Contract
from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Entry
from roadworthy.gate.levels import Levels, compile_levels, signature_fault
from roadworthy.gate.people.answers import check_answer, standing
from roadworthy.gate.policy import policy_of
from roadworthy.gate.replay import Replay
from roadworthy.gate.state import RunState
from roadworthy.gate.stops import Stops
from roadworthy.gate.undo import undo_fault
from roadworthy.ledger.store import Ledger
from roadworthy.verify_ledger import Findings

UNREADABLE: Final = (LedgerError, LookupError, TypeError, ValueError, AttributeError)
"""What reading a ledger may raise in whose columns anything may stand."""

_OF_RUNS: Final = ("answer", "undo")


def check_acts(ledger: Ledger, findings: Findings) -> None:
    """Add what people are said to have done, and have not. Entries of trials are passed over: nobody signs there."""
    try:
        laws = Laws(ledger)
        _contracts(laws, findings)
        _controls(ledger, laws, findings)
        runs = {
            entry.run: None
            for kind in _OF_RUNS
            for entry in ledger.entries(kind=kind)
            if entry.run is not None and entry.world != "test"
        }
    except UNREADABLE as broken:
        findings.add("act", f"what people have signed cannot be checked: {broken}")
        return
    pruned = next(ledger.entries(kind="prune", limit=1), None) is not None
    for run in runs:
        try:
            _Run(ledger, laws, findings, run).check()
        except UNREADABLE as broken:
            text = f"what people have signed in run {run} cannot be checked: {broken}"
            findings.add("act", text, severity="note" if pruned else "error")


def _count_for_nothing(findings: Findings, entry: Entry, why: str) -> None:
    findings.add("act", f"entry {entry.seq} ({entry.kind}) counts for nothing: {why}", entry.seq)


def _contracts(laws: Laws, findings: Findings) -> None:
    before: dict[str, Contract] = {}
    for entry in laws.written:
        contract = laws.of(str(entry.body.get("digest")))
        if contract is None:
            _count_for_nothing(findings, entry, "it holds another contract than the one that its digest is of")
            continue
        earlier = before.get(contract.agent)
        if earlier is not None and earlier.members != contract.members:
            text = f"from entry {entry.seq} on a contract of {contract.agent} names other people or keys"
            findings.note("people", text, entry.seq)
        before[contract.agent] = contract


# Levels, stops, signatures --------------------------------------------------------------------------------------------


def _controls(ledger: Ledger, laws: Laws, findings: Findings) -> None:
    contracts = [c for c in (laws.of(str(e.body.get("digest"))) for e in laws.written) if c is not None]
    levels = [(contract, Levels(compile_levels(contract), ledger.id)) for contract in contracts]
    stops = [(contract, Stops(contract, ledger.id)) for contract in contracts]
    for entry in ledger.controls():
        if entry.world != "production":
            continue
        body, why = entry.body, None
        if entry.kind == "signature":
            contract = laws.of(str(body.get("contract")))
            if contract is None:
                why = "the contract that it is about does not stand in the ledger"
            else:
                why = signature_fault(compile_levels(contract), body)
        elif entry.kind == "level":
            asked = _strictest([c for c in contracts if c.agent == body.get("agent")], body.get("capability"))
            faults = [standing.fault(body) for contract, standing in levels if contract in asked]
            why = faults[-1] if faults and None not in faults else None
            for _, standing in levels:
                standing.feed([entry])
        elif entry.kind == "stop":
            if body.get("lifted"):
                for agent in dict.fromkeys(contract.agent for contract in contracts):
                    asked = _strictest([c for c in contracts if c.agent == agent], body.get("capability"))
                    faults = [standing.fault(body) for contract, standing in stops if contract in asked]
                    why = why or (faults[-1] if faults and None not in faults else None)
            for _, standing in stops:
                standing.feed(body)
        if why is not None:
            _count_for_nothing(findings, entry, why)


def _strictest(contracts: Sequence[Contract], capability: object) -> list[Contract]:
    """Those that have a capability; once one of them names people, those alone that do.

    A contract without people that anybody appends later is thus no way around them.
    """
    having = [c for c in contracts if capability is None or capability in c.capabilities]
    return [c for c in having if c.members is not None] or having


# Answers and undos ----------------------------------------------------------------------------------------------------


class _Run:
    """One run, gone through again for what people have said in it."""

    def __init__(self, ledger: Ledger, laws: Laws, findings: Findings, run: str) -> None:
        self._ledger = ledger
        self._laws = laws
        self._findings = findings
        self._run = run

    def check(self) -> None:
        entries = list(self._ledger.entries(run=self._run))
        said = [entry for entry in entries if _is_said(entry)]
        withheld = {why for entry in entries for why in entry.withheld}
        if withheld:
            why = "erased" if "erased" in withheld else "encrypted, and the vault was not given"
            self._findings.note(
                "act",
                f"what people have signed in run {self._run} was not checked: entries of it are {why}",
                said[0].seq,
            )
            return
        for digest, mine in _under(entries, said):
            contract = self._laws.of(digest)
            if contract is None:
                self._findings.note(
                    "act", f"the contract of run {self._run} is not in the ledger, so that nothing tells who may answer"
                )
            elif contract.members is not None:
                self._judge(contract, entries, mine)

    def _judge(self, contract: Contract, entries: Sequence[Entry], mine: Sequence[Entry]) -> None:
        policy = policy_of(contract)
        began = next((e for e in entries if e.kind == "run" and "principal" in e.body), None)
        if began is None:
            _count_for_nothing(self._findings, mine[0], f"nothing tells how run {self._run} began")
            return
        state = RunState(
            policy, principal=began.body["principal"], started=began.at, levels=began.body.get("levels", {})
        )
        replay = Replay(state, self._ledger.id)
        judged = {entry.seq for entry in mine}
        for entry in entries:
            if entry.seq in judged:
                why = self._answer(replay, entry) if entry.kind == "answer" else None
                if entry.kind == "undo":
                    why = undo_fault(policy, entry.body, principal=state.principal)
                if why is not None:
                    _count_for_nothing(self._findings, entry, why)
            replay.feed([entry])

    def _answer(self, replay: Replay, entry: Entry) -> str | None:
        state, asked = replay.state, str(entry.body.get("question"))
        for pending in state.pending.values():
            question = pending.questions.get(asked)
            if question is not None:
                people, now = state.policy.people, max(entry.at, replay.latest)
                before = standing(people, question, pending.answers.get(asked, ()), now=now)
                return check_answer(people, question, entry.body, now=now, earlier=before.counted)
        return f"no question {asked!r} was put to people in run {entry.run}"


def _is_said(entry: Entry) -> bool:
    """Whether an entry is a word of a person; what then came of an undo is none."""
    if entry.kind == "undo":
        return "nonce" in entry.body or "actions" in entry.body or "came" not in entry.body
    return entry.kind == "answer"


def _under(entries: Sequence[Entry], said: Sequence[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """What people have said in a run, by the contract that it was under then."""
    found: dict[str, list[Entry]] = {}
    law, wanted = "", {entry.seq for entry in said}
    for entry in entries:
        if entry.kind == "run" and "contract" in entry.body:
            law = str(entry.body["contract"])
        if entry.seq in wanted:
            found.setdefault(law, []).append(entry)
    yield from found.items()
