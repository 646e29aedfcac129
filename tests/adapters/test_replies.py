"""How a reply is judged and held back, whatever the framework."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import CAREFUL, CONTRACT, HONEST, REFUND, UNTRUE, BrokenLedger, Shop, within
from hypothesis import given
from hypothesis import strategies as st

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.replies import (
    HANDED_OVER,
    NOT_NOW,
    Sentences,
    asettle_last,
    asettle_reply,
    holds_replies,
    settle_last,
    settle_reply,
)
from roadworthy.core.errors import LedgerError


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger.open(":memory:") as ledger:
        yield ledger


@pytest.fixture
def gate(ledger: Ledger) -> Gate:
    return Gate(Contract.loads(CAREFUL), ledger)


def said(ledger: Ledger) -> list[tuple[str, str]]:
    return [(e.body["text"], e.body.get("status", "ok")) for e in ledger.entries(run="r", kind="said")]


LABELS = """
types: {Internal: {type: string, labels: [internal]}}
labels: {internal: {readers: nobody}}
"""
FLOW = "flow: [{id: x, label: internal, into: [reply], because: It stays here.}]\n"
CLAIMS = "claims: [{says: [refunded], needs: shop.refund}]\n"


@pytest.mark.parametrize(
    ("more", "labelled", "holds"),
    [("", False, False), (CLAIMS, False, True), (LABELS, True, True), (LABELS + FLOW, True, True)],
)
def test_replies_are_held_back_only_where_the_contract_says_anything_of_them(
    ledger: Ledger, more: str, labelled: bool, holds: bool
) -> None:
    contract = (
        CONTRACT.replace("returns: {order_no: string,", "returns: {order_no: Internal,") if labelled else CONTRACT
    )
    assert holds_replies(Gate(Contract.loads(contract + more), ledger)) is holds
    assert not holds_replies(Gate(Contract.loads(contract + more), ledger, enforce=False))


class TestSettling:
    def test_what_may_be_told_is_told_once_where_it_is_delivered(self, gate: Gate, ledger: Ledger) -> None:
        run = gate.run(id="r", capability="refunds")
        assert settle_reply(run, HONEST, deliver=False).text == HONEST
        assert said(ledger) == []
        assert settle_reply(run, HONEST, deliver=True).text == HONEST
        assert said(ledger) == [(HONEST, "ok")]

    @pytest.mark.parametrize("deliver", [False, True])
    def test_two_more_chances_and_then_a_person(self, gate: Gate, ledger: Ledger, deliver: bool) -> None:
        run = gate.run(id="r", capability="refunds")
        for _ in range(2):
            reply = settle_reply(run, UNTRUE, deliver=deliver)
            assert (reply.text, reply.back is not None) == ("", True)
        last = settle_reply(run, UNTRUE, deliver=deliver)
        assert (last.text, last.back, run.status) == (HANDED_OVER, None, "escalated")
        assert said(ledger)[:3] == [(UNTRUE, "denied")] * 3
        assert said(ledger)[3:] == ([(HANDED_OVER, "ok")] if deliver else [])

    def test_async_is_the_same(self, gate: Gate, ledger: Ledger) -> None:
        run = gate.run(id="r", capability="refunds")
        assert within(20, asettle_reply(run, UNTRUE, deliver=True)).back is not None
        assert within(20, asettle_last(run, UNTRUE, deliver=True)).text == HANDED_OVER
        assert said(ledger) == [(UNTRUE, "denied"), (UNTRUE, "denied"), (HANDED_OVER, "ok")]

    def test_the_users_next_words_bring_new_chances(self, gate: Gate) -> None:
        run = gate.run(id="r", capability="refunds")
        for _ in range(3):
            for _ in range(2):
                assert settle_reply(run, UNTRUE, deliver=False).back is not None
            run.heard("Well?")
        assert run.status == "open"

    def test_chances_are_counted_across_processes(self, gate: Gate, ledger: Ledger) -> None:
        run = gate.run(id="r", capability="refunds")
        settle_reply(run, UNTRUE, deliver=False)
        settle_reply(run, UNTRUE, deliver=False)
        del run  # nothing is left of it but its entries
        run = Gate(Contract.loads(CAREFUL), ledger).run(id="r")
        assert settle_reply(run, UNTRUE, deliver=False).text == HANDED_OVER

    def test_where_nobody_can_try_again_a_person_looks_at_it_at_once(self, gate: Gate) -> None:
        run = gate.run(id="r", capability="refunds")
        assert settle_last(run, HONEST, deliver=True).text == HONEST
        assert settle_last(run, UNTRUE, deliver=True).text == HANDED_OVER
        assert run.status == "escalated"

    def test_what_was_done_may_be_told(self, gate: Gate, ledger: Ledger) -> None:
        run = gate.run(id="r", capability="refunds")
        name, args = REFUND
        assert isinstance(args, dict)
        run.call(name, args, Shop().functions()["shop_refund"])
        assert settle_reply(run, UNTRUE, deliver=True).text == UNTRUE

    @pytest.mark.parametrize("error", [ZeroDivisionError("boom"), LedgerError("the disk is full")])
    @pytest.mark.parametrize("deliver", [False, True])
    def test_what_cannot_be_recorded_is_not_told_and_not_tried_for_ever(
        self, ledger: Ledger, error: Exception, deliver: bool
    ) -> None:
        run = Gate(Contract.loads(CAREFUL), BrokenLedger(ledger, "said", error)).run(id="r", capability="refunds")
        reply = settle_reply(run, UNTRUE, deliver=deliver)
        assert (reply.text, reply.back) == (NOT_NOW, None)
        assert settle_reply(run, HONEST, deliver=True).text == NOT_NOW

    def test_that_a_person_looks_at_it_is_told_only_when_one_was_told(self, ledger: Ledger) -> None:
        run = Gate(Contract.loads(CAREFUL), BrokenLedger(ledger, "handover", LedgerError("full"))).run(
            id="r", capability="refunds"
        )
        assert settle_last(run, UNTRUE, deliver=False).text == NOT_NOW

    def test_in_shadow_nothing_is_told(self, ledger: Ledger) -> None:
        gate = Gate(Contract.loads(CAREFUL.replace("start: autonomous", "start: shadow")), ledger)
        reply = settle_reply(gate.run(id="r", capability="refunds"), HONEST, deliver=True)
        assert (reply.text, reply.outcome.done) == (HONEST, "simulated")


PIECES = st.lists(st.text(st.sampled_from("ab!. \n?\u3002"), max_size=6), max_size=12)


class TestSentences:
    def test_a_sentence_goes_on_when_it_is_whole(self) -> None:
        judged: list[str] = []

        def allowed(text: str) -> bool:
            judged.append(text)
            return True

        sentences = Sentences[str](allowed)
        went = [list(sentences.add(piece, piece)) for piece in ("Hel", "lo.", " It is 4", ".50. So", " it is")]
        assert went == [[], [], ["Hel", "lo."], [" It is 4"], []]
        assert list(sentences.end()) == [".50. So", " it is"]
        assert judged == ["Hello. ", "Hello. It is 4.50. ", "Hello. It is 4.50. So it is"]

    def test_nothing_goes_on_after_what_may_not_be_said(self) -> None:
        sentences = Sentences[str](lambda text: "bad" not in text)
        went = [*sentences.add("Good. ", "Good. "), *sentences.add("b", "b"), *sentences.add("ad. ", "ad. ")]
        assert went == ["Good. "]
        assert (sentences.stopped, sentences.passed) == (True, "Good. ")
        assert [*sentences.add("Good. ", "Good. "), *sentences.end()] == []

    def test_pieces_without_text_keep_their_place(self) -> None:
        sentences = Sentences[str](lambda text: True)
        assert list(sentences.add("call", "")) == ["call"]
        assert list(sentences.add("Hi", "Hi")) == []
        assert list(sentences.add("call", "")) == []
        assert list(sentences.add("!\n", "!\n")) == ["Hi", "call", "!\n"]

    @given(PIECES)
    def test_all_goes_on_in_order_and_nothing_unjudged(self, pieces: list[str]) -> None:
        judged = {""}
        sentences = Sentences[tuple[int, str]](lambda text: judged.add(text) is None)
        went: list[tuple[int, str]] = []
        for number, piece in enumerate(pieces):
            went += sentences.add((number, piece), piece)
            text = "".join(part for _, part in went)
            assert any(known.startswith(text) for known in judged)
        went += sentences.end()
        assert went == list(enumerate(pieces))
        assert sentences.passed in judged
        assert sentences.passed == "".join(pieces)

    @given(PIECES)
    def test_what_may_not_be_said_never_goes_on(self, pieces: list[str]) -> None:
        sentences = Sentences[str](lambda text: "ab" not in text)
        went = "".join(part for piece in pieces for part in sentences.add(piece, piece))
        went += "".join(sentences.end())
        assert "ab" not in went
        assert "".join(pieces).startswith(went)
