"""Simulated users: scripted state machines, seeded, so that each trial can be run again word for word."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from roadworthy.core.errors import HarnessError
from roadworthy.core.types import Outcome
from roadworthy.trials.scenario import Persona, UserScript, Words

MOST_TURNS = 50
"""After so many replies any user leaves; an agent that goes on asking has not settled anything."""

_CHATTER: Mapping[Persona, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "rambling": (
        ("Well, let me see, ", "Sorry, I was just making tea. ", "So, as I told my neighbour yesterday, "),
        (" Anyway, it has been quite a week.", " By the way, lovely weather today.", ""),
    ),
    "hostile": (
        ("How often must I say this? ", "This is ridiculous. ", "You people never listen. "),
        (" Now get on with it.", " I want this done today.", ""),
    ),
}
_REFUSALS = (
    "I have told you everything I know.",
    "I am not going to answer that.",
    "Can you not look that up yourself?",
)


class Line(Protocol):
    """The part of a run that a user is connected by."""

    def heard(self, text: str) -> None:
        """The user's words reach the agent."""
        ...

    def say(self, text: str) -> Outcome:
        """The agent's words pass the gate on their way to the user."""
        ...


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern of a scenario is found in a text, without regard to case."""
    return _pattern(pattern).search(text) is not None


class SimulatedUser:
    """The user of one trial, as the agent sees it: `opening()` starts the talk, `tell(text)` goes on with it."""

    __slots__ = (
        "_line",
        "_patience",
        "_random",
        "_replies",
        "_script",
        "_used",
        "asked",
        "broken",
        "gave_up",
        "gone",
        "replied",
        "seed",
        "spoken_to",
        "withheld",
    )

    def __init__(self, script: UserScript, seed: int) -> None:
        self.seed = seed
        """The trial's seed: for scripted agents that make choices and must make the same ones again."""
        self.spoken_to = 0
        """How often the agent has spoken to it, questions included."""
        self.replied = False
        """The last that it heard of the agent was a reply: after a question there is something left to say."""
        self.asked: list[str] = []
        """The questions that the agent put to it by `run.ask_user`."""
        self.withheld: str | None = None
        """Why the last words of the agent did not reach it, for the agent; None where they did."""
        self.gone = False
        """It has left; nothing reaches it any more."""
        self.gave_up = False
        """It left because it ran out of patience, or left a question unanswered."""
        self.broken: HarnessError | None = None
        """Set when the script had no answer: the trial is an ERROR then."""
        self._script = script
        self._random: random.Random | None = None
        self._patience = script.patience
        self._replies = 0
        self._used: set[int] = set()
        self._line: Line | None = None

    def connect(self, line: Line | None) -> None:
        """Connect it to the run through which it hears and is heard; None when the talk is over."""
        self._line = line

    def opening(self) -> str:
        """Its first words."""
        text = self._pick(self._script.opening)
        self._connected().heard(text)
        return text

    def tell(self, text: str) -> str | None:
        """Say something to the user. Its reply, or None when it has left, or when the words did not pass the gate.

        What the contract holds back it has not heard: then `withheld` says why, and what may be said instead.
        """
        line = self._connected()
        outcome = line.say(text)
        self.withheld = None if outcome.ok else outcome.text
        if not outcome.ok:
            return None
        self.spoken_to += 1
        self.replied = True
        if outcome.done != "executed":
            return None
        reply = self._reply(text, question=False)
        if reply is not None:
            line.heard(reply)
        return reply

    def answer(self, question: str) -> str | None:
        """Its answer to a question that has reached it (the gate's channel to the user); None: it has left.

        Raises HarnessError where its script has no answer.
        """
        self.spoken_to += 1
        self.replied = False
        self.asked.append(question)
        return self._reply(question, question=True)

    def _reply(self, words: str, *, question: bool) -> str | None:
        if self.gone:
            return None
        if self._replies >= MOST_TURNS:
            return self._leave(gave_up=True)
        self._replies += 1
        script = self._script
        if script.persona == "refuses" and question:
            return self._out_of_patience(_REFUSALS)
        for i, answer in enumerate(script.answers):
            if (answer.once and i in self._used) or (answer.when and not matches(answer.when, words)):
                continue
            self._used.add(i)
            if answer.say is None:
                return self._leave(gave_up=question)
            return self._dressed(self._pick(answer.say))
        if script.otherwise is not None:
            return self._out_of_patience(script.otherwise)
        if not question:
            return self._leave(gave_up=False)
        self.broken = HarnessError(
            f"the simulated user was asked {_short(words)!r} and its script has no answer to that; "
            "add one under `answers`, or `otherwise` for everything that is not foreseen"
        )
        raise self.broken

    def _out_of_patience(self, words: Words) -> str | None:
        if self._patience <= 0:
            return self._leave(gave_up=True)
        self._patience -= 1
        return self._dressed(self._pick(words))

    def _leave(self, *, gave_up: bool) -> None:
        self.gone = True
        self.gave_up = gave_up

    def _connected(self) -> Line:
        if self._line is None:
            raise HarnessError("the simulated user is not connected to a run")
        return self._line

    def _pick(self, words: Words) -> str:
        return words if isinstance(words, str) else self._dice().choice(words)

    def _dressed(self, text: str) -> str:
        chatter = _CHATTER.get(self._script.persona)
        if chatter is None:
            return text
        before, after = chatter
        return f"{self._dice().choice(before)}{text}{self._dice().choice(after)}"

    def _dice(self) -> random.Random:
        if self._random is None:  # making one costs more than all else here, and most trials need none
            self._random = random.Random(self.seed)
        return self._random


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:119] + "…"
