"""The law of a witness: whatever is sent to it, what it signs is one history that never goes back."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from roadworthy.core.clock import VirtualClock
from roadworthy.ledger.checkpoint import Note, Signature
from roadworthy.ledger.merkle import consistency
from roadworthy.ledger.witness import Witness
from roadworthy.ledger.witness_memory import place_of

from ..ledger.logs import Log, request

MOST = 40


class Signing(RuleBasedStateMachine):
    """A keeper who holds the log's key grows the log, forks it, and sends whatever there is."""

    logs = Bundle("logs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.root = Log()
        self.clock = VirtualClock()
        self.forks = 0
        self.signed: list[tuple[list[bytes], int]] = []
        self.witness = self.opened()

    def opened(self) -> Witness:
        return Witness(Path(self.folder.name), [self.root.key.vkey], clock=self.clock)

    def teardown(self) -> None:
        self.witness.close()
        self.folder.cleanup()

    @property
    def size(self) -> int:
        return len(self.signed[-1][0]) if self.signed else 0

    @initialize(target=logs)
    def begin(self) -> Log:
        return self.root

    @rule(target=logs, log=logs, size=st.integers(0, MOST), keep=st.integers(0, MOST))
    def write(self, log: Log, keep: int, size: int) -> Log:
        """Go on from some place of a log; where it had gone on otherwise, this is a fork of it."""
        self.forks += 1
        return log.grow(min(keep, len(log.leaves))).grow(size, f"{self.forks} ")

    @rule(log=logs, guess=st.sampled_from([0, 0, 0, -1, 1, 2]), size=st.integers(0, MOST))
    def send(self, log: Log, guess: int, size: int) -> None:
        size = min(size, len(log.leaves))
        old = max(0, self.size + guess)
        proof = consistency(old, size, log.node) if old <= size else []
        answer = self.witness.add_checkpoint(request(old, proof, log.note(size)))
        leaves = log.leaves[:size]
        before = self.signed[-1][0] if self.signed else []
        honest = old == len(before) <= size and leaves[:old] == before
        # What continues the one history is signed, and nothing else is.
        assert (answer.status == 200) is honest
        if answer.status == 200:
            (found,) = Note(text=log.text(size), signatures=(Signature.parse(answer.body),)).checked(
                [self.witness.memory.key] if self.witness.memory.key else []
            )
            assert found.at is not None
            self.signed.append((leaves, found.at))
        else:
            assert answer.status in (400, 409, 422)

    @rule(seconds=st.integers(0, 1000))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def restart(self) -> None:
        """The machine comes up again with another clock."""
        self.witness.close()
        self.clock = VirtualClock()
        self.witness = self.opened()

    @invariant()
    def one_history(self) -> None:
        for (before, then), (after, now) in zip(self.signed, self.signed[1:], strict=False):
            assert after[: len(before)] == before
            assert now >= then

    @invariant()
    def nothing_is_forgotten(self) -> None:
        shown = self.witness.latest(place_of(self.root.key.name))
        if self.signed:
            last = Log(key=self.root.key, leaves=self.signed[-1][0])
            assert Note.parse(shown.body).text == last.text()
        else:
            assert shown.status == 404


TestSigning = Signing.TestCase
TestSigning.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
