"""What an agent tells its user passes the gate before the user sees it, in every framework alike.

A reply that the contract holds back goes back to the model, with what to say instead, at most `SECOND_CHANCES` times in
a turn. Then the user is told, truly, that a person will look at it, and the run is handed over.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from roadworthy.core.errors import HarnessError, Suspended
from roadworthy.core.types import Outcome
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

logger = logging.getLogger("roadworthy.adapters")

SECOND_CHANCES = 2
"""How often in a turn a reply that was held back goes back to the model."""
HANDED_OVER = "I cannot answer this myself. A person will look at it and get back to you."
"""What the user is told when the model finds no words that may be said, and a person was told of it."""
NOT_NOW = "This does not work right now. Please try again later."
"""What the user is told when not even that can be recorded, or nobody could be told."""
GATE = "roadworthy"
"""Who speaks to the model where the gate does: what has this name was said by no user."""

T = TypeVar("T")


def holds_replies(gate: Gate) -> bool:
    """Whether the contract says anything of what the user may be told, so that it must be judged before it is seen."""
    flow = gate.policy.flow
    sink = flow.sinks.get("reply") if gate.enforce and flow is not None else None
    return sink is not None and bool(sink.outward or sink.rules or sink.links or sink.claims)


def notice(text: str) -> str:
    """What the gate says to the model, where frameworks only have a user to say it."""
    return f"(A notice of the gate; the user did not write it and does not see it.) {text}"


def news_of(run: Run) -> str | None:
    """What became of held actions meanwhile, for the model at the beginning of a turn. Each is told once."""
    told = run.news()
    return notice(" ".join(told)) if told else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of words that an agent had for its user."""

    text: str
    """What the user is told; empty when the model has to find other words first."""
    back: str | None = None
    """For the model: that the user was not told, why, and what to say instead. None: nothing more is to be done."""
    outcome: Outcome
    """What the gate said of the text."""


def settle_reply(run: Run, text: str, *, deliver: bool) -> Reply:
    """Judge a reply. `deliver`: it is also said; else whoever has bound the run says it.

    Where the gate or its ledger breaks, the user is told nothing but that it does not work. Raises HarnessError in test
    worlds and Suspended in suspendable runs, nothing else.
    """
    return _drive(_settle(run, text, deliver=deliver))


async def asettle_reply(run: Run, text: str, *, deliver: bool) -> Reply:
    """`settle_reply` for async code."""
    return await _adrive(_settle(run, text, deliver=deliver))


def settle_last(run: Run, text: str, *, deliver: bool) -> Reply:
    """`settle_reply` where nobody can ask the model again: what is held back is so for good."""
    return _drive(_settle(run, text, deliver=deliver, chances=0))


async def asettle_last(run: Run, text: str, *, deliver: bool) -> Reply:
    """`settle_last` for async code."""
    return await _adrive(_settle(run, text, deliver=deliver, chances=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A method of the run that waits, in both of its forms."""

    blocking: Callable[[str], Outcome]
    waiting: Callable[[str], Awaitable[Outcome]]
    text: str


_Steps = Generator[_Call, Outcome, Reply]


def _drive(steps: _Steps) -> Reply:
    try:
        call = next(steps)
        while True:
            try:
                outcome = call.blocking(call.text)
            except Exception as error:
                call = steps.throw(error)
            else:
                call = steps.send(outcome)
    except StopIteration as stop:
        return stop.value


async def _adrive(steps: _Steps) -> Reply:
    try:
        call = next(steps)
        while True:
            try:
                outcome = await call.waiting(call.text)
            except Exception as error:
                call = steps.throw(error)
            else:
                call = steps.send(outcome)
    except StopIteration as stop:
        return stop.value


def _settle(run: Run, text: str, *, deliver: bool, chances: int = SECOND_CHANCES) -> _Steps:
    try:
        found = run.may_say(text)
        if found.ok and not deliver:
            return Reply(text=text, outcome=found)
        # What is held back is said, too: so it stands in the ledger as held back.
        said = yield _Call(blocking=run.say, waiting=run.asay, text=text)
        if said.ok:
            return Reply(text=text, outcome=said)
        if said.text != found.text:
            return Reply(text=NOT_NOW, outcome=said)  # it could not be recorded, and nobody would count the chances
        if run.state.withheld <= chances:
            return Reply(text="", back=notice(f"{found.text} Answer the user in other words."), outcome=found)
        if run.status not in _OVER:
            yield _Call(
                blocking=run.escalate,
                waiting=run.aescalate,
                text="The agent had nothing to say to the user that may be said.",
            )
        if run.status in _OVER:
            told = run.may_say(HANDED_OVER)
            if told.ok and deliver:
                told = yield _Call(blocking=run.say, waiting=run.asay, text=HANDED_OVER)
            if told.ok:
                return Reply(text=HANDED_OVER, outcome=found)
    except (HarnessError, Suspended):
        raise
    except Exception as error:  # the gate or its ledger broke: nobody may take that for a yes
        logger.error("the gate failed at a reply of run %s", run.id, exc_info=error)
        found = Outcome(status="denied", done="blocked", text=f"The gate failed ({type(error).__name__}).")
    return Reply(text=NOT_NOW, outcome=found)


_OVER = ("escalated", "stopped")
"""A person has the run."""


class Sentences(Generic[T]):
    """Lets a text that comes in pieces through, a sentence at a time, as long as all of it so far may be said."""

    _END = re.compile(r"[.!?\u3002\uff01\uff1f\u2026]+[\"'\u201d\u2019)\]]*\s+|\n+|[\u3002\uff01\uff1f]")

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self._allowed = allowed
        self._waiting: deque[tuple[T, int]] = deque()
        """Pieces that were not let through yet, and where in the text each of them ends."""
        self._whole = 0
        """Up to where the text has been judged."""
        self.text = ""
        """All of it so far."""
        self.passed = ""
        """What was let through."""
        self.stopped = False
        """It says something that may not be said: no more of it gets through."""

    def add(self, piece: T, text: str) -> Sequence[T]:
        """The pieces that may go on now."""
        if self.stopped:
            return ()
        self.text += text
        self._waiting.append((piece, len(self.text)))
        ends = [found.end() for found in self._END.finditer(self.text, max(0, self._whole - 4))]
        if ends and ends[-1] > self._whole:
            self._judge(ends[-1])
        return self._through(self._whole)

    def end(self) -> Sequence[T]:
        """The pieces that may go on when nothing more comes."""
        if not self.stopped and len(self.text) > self._whole:
            self._judge(len(self.text))
        return () if self.stopped else self._through(len(self.text))

    def _judge(self, up_to: int) -> None:
        self.stopped = not self._allowed(self.text[:up_to])
        if self.stopped:
            self._waiting.clear()
        else:
            self._whole = up_to

    def _through(self, up_to: int) -> Sequence[T]:
        passed: list[T] = []
        while self._waiting and self._waiting[0][1] <= up_to:
            piece, end = self._waiting.popleft()
            passed.append(piece)
            self.passed = self.text[:end]
        return passed


def allowed_by(run: Run) -> Callable[[str], bool]:
    """Whether a text may be said, as far as it has come. What cannot be judged may not."""

    def allowed(text: str) -> bool:
        try:
            return run.may_say(text).ok
        except HarnessError:
            raise
        except Exception as error:
            logger.error("the gate failed at a reply of run %s", run.id, exc_info=error)
            return False

    return allowed
