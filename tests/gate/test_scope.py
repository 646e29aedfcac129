"""What a user wants, told from the means and examples of a contract."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy import Contract
from roadworthy.gate.scope import ScopePolicy, classify, compile_scope, learnt

DATA = Path(os.environ.get("ROADWORTHY_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
STRINGS = DATA / "blns.json"

DESK = ScopePolicy(
    capabilities=(
        (
            "billing",
            "The customer disputes an invoice or wants money back.",
            ("you charged me twice", "refund invoice 4711 please", "there is a mistake in my last bill"),
        ),
        (
            "password",
            "The customer cannot sign in and wants to get back in.",
            ("I forgot my password", "I'm locked out", "reset link never arrived"),
        ),
        (
            "routing",
            "The ticket belongs to another department.",
            ("where is my parcel", "I want to talk to your lawyers", "your driver damaged my fence"),
        ),
    )
)

LOST = ScopePolicy(
    capabilities=(
        (
            "locked_out",
            "The customer cannot sign in.",
            (
                "I forgot my password",
                "forgot the password again",
                "my password does not work",
                "I need a new password for my account",
                "how do I reset my password",
                "I'm locked out of my account",
                "my account is locked",
                "cannot get into my account",
            ),
        ),
        (
            "parcel",
            "The customer waits for a parcel.",
            (
                "where is my parcel",
                "my parcel has not arrived",
                "the parcel is late",
                "when will my parcel arrive",
                "can I track my parcel",
                "no sign of my parcel yet",
                "has my parcel been sent",
                "my order has not arrived",
            ),
        ),
    )
)
"""Enough examples to know what is far from them."""


def contract(*, examples: Sequence[str] = ()) -> Contract:
    listed = f"examples: {json.dumps(list(examples))}, " if examples else ""
    return Contract.loads(
        f"""
roadworthy: 1
agent: a
version: "1"
goal: g
owner: {{team: t, accountable: x}}
tools: {{ring: {{effect: read, args: {{n: integer}}, returns: string}}}}
capabilities: {{ringing: {{means: The bell is to ring., {listed}tools: [ring], autonomy: {{approver: x}}}}}}
"""
    )


@pytest.mark.parametrize(
    ("said", "capability"),
    [
        ("my password does not work any more", "password"),
        ("I can't log in", "password"),
        ("I was charged two times", "billing"),
        ("I'd like my money back for invoice 99", "billing"),
        ("REFUND!!!", "billing"),
        ("let me speak to a lawyer", "routing"),
        ("the parcel has not come", "routing"),
    ],
)
def test_other_words_for_what_the_examples_say_are_in_scope(said: str, capability: str) -> None:
    scope = classify(DESK, said)
    assert (scope.certainty, scope.capability) == ("in", capability)
    assert next(iter(scope.scores)) == capability
    assert scope.within[0] == capability


@pytest.mark.parametrize(
    "said",
    ["write me a poem about spring", "who won the cup final in 1974", "ist der Mond aus Käse", "qwrtz plmkj vbnxy"],
)
def test_what_no_example_comes_near_is_never_in_scope(said: str) -> None:
    scope = classify(DESK, said)
    assert scope.certainty != "in"
    assert scope.within == ()


@pytest.mark.parametrize("said", ["who sculpted the marble lions outside the museum", "write me a poem about spring"])
def test_what_is_far_from_all_is_out_and_names_no_capability(said: str) -> None:
    scope = classify(LOST, said)
    assert (scope.certainty, scope.capability, scope.within) == ("out", None, ())
    assert set(scope.scores) == {"locked_out", "parcel"}


def test_few_examples_send_nobody_away_who_could_be_meant() -> None:
    assert classify(DESK, "my package has not come").certainty == "uncertain"


@pytest.mark.parametrize(
    "said",
    [
        "",
        "   ",
        "yes",
        "Yes please.",
        "ok thank you",
        "4711",
        "ada@example.com",
        "hello!",
        "???",
        "no, 42.50",
        "C-000123",
    ],
)
def test_a_turn_that_asks_for_nothing_sends_nobody_away(said: str) -> None:
    scope = classify(DESK, said)
    assert (scope.certainty, scope.capability) == ("uncertain", None)


def test_a_request_is_found_among_greetings_and_stories() -> None:
    said = (
        "Good morning, my name is Ada Lovelace and I live in a small village near the coast. "
        "Last spring my grandmother gave me a lamp for the garden. You charged me twice for it! Best regards, Ada."
    )
    scope = classify(DESK, said)
    assert (scope.certainty, scope.capability) == ("in", "billing")


def test_a_turn_may_want_several_things() -> None:
    assert set(classify(DESK, "You charged me twice. And I forgot my password.").within) == {"billing", "password"}


def test_ids_amounts_and_addresses_change_nothing() -> None:
    plain = classify(DESK, "refund invoice 1 to ada@example.com")
    assert classify(DESK, "refund invoice 4711-XA-99/2 to bob@elsewhere.example.org") == plain


@pytest.mark.parametrize(
    "said", ["I FORGOT MY PASSWORD", "\uff29 forgot my \u200bpass\u200bword", "I forgot  my\tpassword"]
)
def test_case_width_and_hidden_characters_change_nothing(said: str) -> None:
    assert classify(DESK, said) == classify(DESK, "I forgot my password")


def test_one_capability_is_told_from_everything_else() -> None:
    policy = compile_scope(contract(examples=["ring the bell", "please let it ring three times", "sound the bell"]))
    assert policy is not None
    assert classify(policy, "can you ring the bell twice").certainty == "in"
    assert classify(policy, "which planet is the largest one").certainty != "in"


def test_a_contract_without_examples_has_no_scope() -> None:
    assert compile_scope(contract()) is None


def test_examples_without_a_single_word_are_no_ground() -> None:
    assert compile_scope(contract(examples=["???", "!!"])) is None


def test_the_order_of_capabilities_means_nothing() -> None:
    text = """
roadworthy: 1
agent: a
version: "1"
goal: g
owner: {{team: t, accountable: x}}
tools: {{ring: {{effect: read, args: {{n: integer}}, returns: string}}}}
capabilities:
{capabilities}
"""
    one = "  one: {means: The bell is to ring., examples: [ring the bell], tools: [ring], autonomy: {approver: x}}"
    two = "  two: {means: The lamp is to shine., examples: [light the lamp], tools: [ring], autonomy: {approver: x}}"
    this = compile_scope(Contract.loads(text.format(capabilities=f"{one}\n{two}")))
    that = compile_scope(Contract.loads(text.format(capabilities=f"{two}\n{one}")))
    assert this is not None
    assert this == that


def test_learning_is_the_same_every_time_and_done_once() -> None:
    first = learnt(DESK)
    assert learnt(DESK) is first
    again = learnt.__wrapped__(DESK)
    assert again.bounds == first.bounds
    assert again.separators.weights == first.separators.weights


def test_bounds_leave_room_for_asking() -> None:
    bounds = learnt(DESK).bounds
    assert bounds.possible <= bounds.sure


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_text_gets_an_answer(said: str) -> None:
    scope = classify(DESK, said)
    assert scope == classify(DESK, said)
    assert (scope.certainty == "in") == bool(scope.within)
    if scope.certainty == "out":
        assert scope.capability is None
    if scope.within:
        assert scope.capability == scope.within[0]
    assert list(scope.scores.values()) == sorted(scope.scores.values(), reverse=True)


def test_odd_text_gets_an_answer() -> None:
    for said in ("\ud800 lone", "\x00", "a" * 100_000, "a@" * 50_000, "refund. " * 20_000, "'" * 5_000, "\u202e" * 99):
        assert classify(DESK, said).certainty in ("in", "uncertain", "out")


@pytest.mark.real_data
def test_strings_that_break_programs_do_not_break_this_one() -> None:
    if not STRINGS.exists():
        pytest.skip(f"the strings are not at {STRINGS}; name their folder in ROADWORTHY_DATA")
    for said in json.loads(STRINGS.read_text(encoding="utf-8")):
        scope = classify(DESK, said)
        assert scope.certainty in ("in", "uncertain", "out")


def test_time_is_bounded_by_the_part_that_is_read() -> None:
    """A turn a hundred times as long as what is read takes no longer than one that is read in full, times ten."""

    def took(said: str) -> float:
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            classify(DESK, said)
            best = min(best, time.process_time() - start)
        return best

    line = "the lamp in my garden does not shine and you charged me twice for it. "
    assert took(line * 12_000) < 10 * took(line * 120)
