"""One conversation with a model: a run's, or one that belongs to no run."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from roadworthy.adapters.model.asked import Asked
from roadworthy.adapters.model.labelled import Labelled, Value
from roadworthy.adapters.model.prices import Price, used_by
from roadworthy.adapters.model.pseudonyms import Bound
from roadworthy.adapters.model.serving import Response, refused
from roadworthy.gate.chat_spans import ChatSpan, chat_span
from roadworthy.gate.models import Used
from roadworthy.gate.run import Run

LateRun = Callable[[], Run | None]
"""Finds a run that others begin; None while it is not there."""


class Conversation:
    """What is known of it, and what it may still use. Safe to share between threads."""

    def __init__(self, run: Run | LateRun | None, trial: int, prices: Mapping[str, Price]) -> None:
        self._late = None if run is None or isinstance(run, Run) else run
        self.run = run if isinstance(run, Run) else None
        self.trial = trial
        self.name = secrets.token_hex(4)
        self._secret = secrets.token_urlsafe(24)
        self._prices = prices
        self._asked: Counter[str] = Counter()
        self.bound: Bound = {}
        """What names of the cassette stand for in this conversation."""
        self._learnt = 0
        self._tools: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def token(self) -> str:
        """What its URL holds, and nobody else has."""
        return f"{self.name}.{self._secret}"

    def opens(self, secret: str) -> bool:
        """Whether this is the second half of the token; it takes as long for a wrong one."""
        return secrets.compare_digest(secret.encode("utf-8", "surrogateescape"), self._secret.encode())

    def without_run(self) -> Response | None:
        """Why nothing is asked before the run has begun; None where it has. Raises LedgerError."""
        if self.run is None and self._late is not None:
            self.run = self._late()
            if self.run is None:
                return refused(403, "run", "the run is not in the ledger yet: open it before you ask the model for it")
        return None

    def begin(self, asked: Asked) -> int:
        """How often the same was asked before; from now on, once more."""
        with self._lock:
            nth = self._asked[asked.key]
            self._asked[asked.key] += 1
        return nth

    def give_back(self, asked: Asked) -> None:
        """Nobody got an answer: who asks again gets that same one."""
        with self._lock:
            self._asked[asked.key] -= 1

    def span(self, asked: Asked, trace: str | None) -> ChatSpan | None:
        """What tells of the request outside of the ledger; None where nobody listens."""
        if self.run is None:
            return chat_span(None, asked.model, trace=trace)
        return self.run.model_span(asked.model, trace)

    def refusal(self, asked: Asked) -> Response | None:
        """Why the model may not be asked; None where it may. Raises LedgerError."""
        if self.run is None:
            return None
        used_up = self.run.models_used_up()
        if used_up is not None:
            return refused(403, "budget", f"{used_up} Stop here, and escalate to a person.")
        if self._counts_cost and asked.model not in self._prices:
            return refused(
                403,
                "price",
                f"the contract limits what models cost, and the endpoint knows no price of {asked.model!r}: give it "
                "with prices=, or --prices",
            )
        return None

    def before(self, asked: Asked) -> tuple[int, Mapping[str, Any]] | None:
        """Status and answer of an earlier drive of the run; each comes once."""
        kept = None if self.run is None else self.run.model_answer(asked.key)
        return None if kept is None else (int(kept["status"]), kept["answer"])

    def used(self, asked: Asked, answer: Mapping[str, Any]) -> Used | None:
        """What an answer used; None where it does not say."""
        return used_by(answer, self._prices.get(asked.model))

    def keep(self, asked: Asked, status: int, answer: Mapping[str, Any]) -> None:
        """Note an answer in the run, before anybody acts on it. Raises LedgerError, and Unmetered."""
        if self.run is None:
            return
        used = self.used(asked, answer)
        if used is None and status == 200 and self._counts:
            raise Unmetered
        self.run.model_answered(asked.key, {"status": status, "answer": answer}, used or Used())

    def spent(self, asked: Asked, answer: Mapping[str, Any]) -> None:
        """Count what an answer used that nobody waited for. Raises LedgerError."""
        used = self.used(asked, answer)
        if self.run is not None and used is not None:
            self.run.spent_on(used)

    def learnt(self, labelled: Labelled) -> Iterator[Value]:
        """Labelled values that the run's calls have brought since this was last asked. Raises LedgerError."""
        if self.run is None:
            return
        for entry in self.run.gate.ledger.entries(run=self.run.id, after=self._learnt):
            self._learnt = entry.seq
            if entry.kind == "action":
                self._tools[entry.body["id"]] = entry.body["tool"]
            elif entry.kind == "outcome" and entry.body["status"] == "ok":
                tool = self._tools.get((entry.cause or "").partition("~")[0], "")
                yield from labelled.in_result(tool, entry.body.get("value", entry.body.get("text")))

    @property
    def _counts(self) -> bool:
        budget = self.run.gate.policy.budgets if self.run is not None and self.run.gate.enforce else None
        return budget is not None and (budget.model_tokens is not None or budget.model_cost is not None)

    @property
    def _counts_cost(self) -> bool:
        budget = self.run.gate.policy.budgets if self.run is not None and self.run.gate.enforce else None
        return budget is not None and budget.model_cost is not None


class Unmetered(Exception):
    """An answer does not say what it used, and the run's budget rests on that."""
