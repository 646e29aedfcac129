"""A simulated user says what its script says, in order, and no more than its patience allows."""

from __future__ import annotations

import pytest

from roadworthy.core.errors import HarnessError
from roadworthy.core.types import Outcome
from roadworthy.trials.scenario import Answer, UserScript
from roadworthy.trials.users import MOST_TURNS, SimulatedUser


class Line:
    def __init__(self, done: str = "executed") -> None:
        self.heard_words: list[str] = []
        self.said: list[str] = []
        self.done = done

    def heard(self, text: str) -> None:
        self.heard_words.append(text)

    def say(self, text: str) -> Outcome:
        self.said.append(text)
        return Outcome(status="ok", done="simulated" if self.done == "simulated" else "executed", value=text)


def user(script: UserScript, *, seed: int = 1, line: Line | None = None) -> SimulatedUser:
    made = SimulatedUser(script, seed)
    made.connect(line or Line())
    return made


def test_answers_go_by_what_was_asked() -> None:
    script = UserScript(
        opening="Hello",
        answers=(
            Answer(when="number", say="4711", once=True),
            Answer(when="NUMBER|name", say="Ada"),
            Answer(when="bye"),
        ),
    )
    line = Line()
    talker = user(script, line=line)
    assert talker.opening() == "Hello"
    assert talker.answer("Which number?") == "4711"
    assert talker.tell("Which number, again?") == "Ada"
    assert talker.tell("Goodbye then") is None
    assert talker.gone
    assert not talker.gave_up
    assert talker.answer("Hello?") is None
    assert line.heard_words == ["Hello", "Ada"]


def test_it_does_not_hear_what_was_held_back() -> None:
    class HoldingBack(Line):
        def say(self, text: str) -> Outcome:
            if "refunded" in text:
                return Outcome(status="denied", done="blocked", text="Say something else.")
            return super().say(text)

    talker = user(UserScript(opening="Hello", otherwise="Fine"), line=HoldingBack())
    assert talker.tell("It was refunded.") is None
    assert (talker.withheld, talker.spoken_to, talker.replied) == ("Say something else.", 0, False)
    assert talker.tell("I could not do it.") == "Fine"
    assert (talker.withheld, talker.spoken_to, talker.replied) == (None, 1, True)


def test_patience_ends() -> None:
    talker = user(UserScript(opening="Hello", otherwise="No idea", patience=2))
    assert [talker.answer("What?") for _ in range(4)] == ["No idea", "No idea", None, None]
    assert talker.gave_up


def test_an_endless_talk_is_ended() -> None:
    talker = user(UserScript(opening="Hello", answers=(Answer(say="yes"),)))
    assert [talker.tell("again?") for _ in range(MOST_TURNS + 1)][-2:] == ["yes", None]
    assert talker.gave_up


def test_a_question_beyond_the_script_breaks_it() -> None:
    talker = user(UserScript(opening="Hello"))
    assert talker.tell("Here you are.") is None
    talker = user(UserScript(opening="Hello"))
    with pytest.raises(HarnessError, match="no answer"):
        talker.answer("What is your shoe size?")
    assert talker.broken is not None


def test_words_that_do_not_pass_the_gate_get_no_reply() -> None:
    talker = user(UserScript(opening="Hello", otherwise="Yes"), line=Line(done="simulated"))
    assert talker.tell("I am only a shadow") is None
    assert not talker.gone


def test_equal_seeds_talk_alike_and_others_do_not() -> None:
    script = UserScript(opening=("a", "b", "c", "d"), persona="rambling", otherwise=("e", "f", "g"), patience=9)

    def talk(seed: int) -> list[str | None]:
        talker = user(script, seed=seed)
        return [talker.opening(), *(talker.tell("?") for _ in range(4))]

    assert talk(7) == talk(7)
    assert len({tuple(talk(seed)) for seed in range(10)}) > 5


def test_one_who_refuses_answers_no_question() -> None:
    talker = user(UserScript(opening="Hello", persona="refuses", answers=(Answer(say="4711"),), patience=1))
    first = talker.answer("Which number?")
    assert first is not None
    assert first != "4711"
    assert talker.answer("Which number?") is None
