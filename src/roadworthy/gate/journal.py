"""What a run did before, for an agent that is driven again from its start.

Calls are found by tool, arguments and occurrence, never by the order in which they arrive: frameworks run calls side
by side. What was finished comes back as the model saw it, and nothing is executed a second time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roadworthy.core.canonical import dumps, loads
from roadworthy.core.types import Entry, Outcome

Key = tuple[str, bytes]


def key_of_call(tool: str, args: Mapping[str, Any]) -> Key:
    """What tells a call from others; the same for live arguments and for those that a ledger gives back."""
    return tool, dumps(loads(dumps(args)))


def key_of_handover(body: Mapping[str, Any]) -> bytes:
    """What tells a handover between agents from others."""
    return dumps([body["agent"], body.get("source"), body["how"], body["text"]])


@dataclass(slots=True)
class Past:
    """One call of an earlier drive."""

    action: str
    """The id of its action."""
    outcome: Outcome | None = None
    """What came of it; None where nobody knows, or where it waits for a person."""
    question: bool = False
    """It was put to a person."""
    begun: bool = False
    """Its intent was written: without an outcome it is in doubt."""
    within: bool = False
    """The tool is another agent, and the run was suspended in there: it is entered again."""


def past_outcome(body: Mapping[str, Any]) -> Outcome:
    """The outcome in an entry, as the model saw it."""
    text = str(body.get("text", ""))
    value = body.get("value", text if body["status"] == "ok" else None)
    return Outcome(status=body["status"], done=body["done"], value=value, text=text)


class Journal:
    """The earlier drives of one run; what is taken out is gone."""

    __slots__ = ("_answers", "_calls", "_handed", "_heard", "_returned", "_said", "_told", "_values", "_ways", "left")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._calls: dict[Key, deque[Past]] = {}
        self._said: dict[str, deque[Outcome]] = {}
        self._answers: dict[str, deque[str]] = {}
        self._heard: deque[str] = deque()
        self._values: dict[str, deque[Any]] = {}
        self._told: dict[int, list[str]] = {}
        self._handed: dict[bytes, deque[str]] = {}
        self._returned: set[str] = set()
        self._ways: dict[bytes, deque[bool]] = {}
        self.left = 0
        """Calls that were not taken yet."""
        pasts: dict[str, Past] = {}
        for entry in entries:
            self._read(entry, pasts)

    def _read(self, entry: Entry, pasts: dict[str, Past]) -> None:
        body, kind = entry.body, entry.kind
        if kind == "action":
            if "by" not in body:  # what the gate itself looked up, the agent will not ask for
                past = pasts[body["id"]] = Past(action=body["id"])
                self._calls.setdefault(key_of_call(body["tool"], body["args"]), deque()).append(past)
                self.left += 1
            return
        if kind == "said":
            status = body.get("status", "ok")
            outcome = Outcome(
                status=status, done=body["done"], value=body["text"], text=str(body.get("told", body["text"]))
            )
            self._said.setdefault(body["text"], deque()).append(outcome)
        elif kind == "heard":
            if "answers" in body:
                self._answers.setdefault(body["answers"], deque()).append(body["text"])
            else:
                self._heard.append(body["text"])
        elif kind == "handover" and "id" in body:
            self._handed.setdefault(key_of_handover(body), deque()).append(body["id"])
        elif kind == "handover" and "returned" in body:
            self._returned.add(body["returned"])
        elif kind in ("observation", "model_call") and "recall" in body:
            self._values.setdefault(body["recall"], deque()).append(body["value"])
        elif kind == "observation" and "told" in body and "at" in body:
            self._told.setdefault(body["at"], []).extend(body["told"])
        elif kind == "observation" and "path" in body:
            self._ways.setdefault(dumps(body["path"]), deque()).append(True)
        past = pasts.get((entry.cause or "").partition("~")[0])
        if past is None:
            return
        if kind == "verdict" and _only_waited(body):
            return
        if kind == "verdict" and body["ruling"] in ("deny", "clarify") and body.get("enforce", True):
            status = "denied" if body["ruling"] == "deny" else "clarify"
            told = body.get("told")
            if told is None:
                told = " ".join(dict.fromkeys(r["text"] for r in body.get("reasons", ()) if r["enforced"]))
            past.outcome = Outcome(status=status, done="blocked", text=told)
        elif kind == "verdict" and "question" in body:  # nobody could put it to the user there and then
            past.outcome = Outcome(status="clarify", done="blocked", value=body["question"], text=body["told"])
        elif kind == "question":
            past.question = True
        elif kind == "intent":
            past.begun, past.outcome = True, None
        elif kind == "outcome":
            past.outcome = past_outcome(body)
        elif kind == "observation" and "within" in body:
            past.within = True

    def take_call(self, tool: str, args: Mapping[str, Any]) -> Past | None:
        """The next call with this tool and these arguments that was not taken yet."""
        past = _taken(self._calls, key_of_call(tool, args))
        if past is not None:
            self.left -= 1
        return past

    def take_said(self, text: str) -> Outcome | None:
        """What came of saying this before."""
        return _taken(self._said, text)

    def look_said(self, text: str) -> Outcome | None:
        """The same, and it stays."""
        kept = self._said.get(text)
        return kept[0] if kept else None

    def take_answer(self, question: str) -> str | None:
        """What the user answered to this question before."""
        return _taken(self._answers, question)

    def take_heard(self, text: str) -> bool:
        """Whether these words of the user are those that the run heard next before."""
        if self._heard and self._heard[0] == text:
            self._heard.popleft()
            return True
        return False

    def take_handover(self, body: Mapping[str, Any]) -> str | None:
        """The id of what an agent handed to another one in the same way before."""
        return _taken(self._handed, key_of_handover(body))

    def take_returned(self, id: str) -> bool:
        """Whether this came back before."""
        return id in self._returned

    def take_way(self, path: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the agent went this way before."""
        return bool(_taken(self._ways, dumps(path)))

    def take_told(self, at: int) -> list[str]:
        """What the agent was told of held actions when it asked for the so-many-th time."""
        return self._told.pop(at, [])

    def take_value(self, name: str) -> tuple[bool, Any]:
        """Whether a value of this name was kept, and the value."""
        kept = self._values.get(name)
        return (True, kept.popleft()) if kept else (False, None)


def _only_waited(verdict: Mapping[str, Any]) -> bool:
    """Whether a call was denied for nothing but that the run had stopped for another one: it is judged when it goes on.

    Frameworks run calls side by side, and so a call may come when the one beside it has just stopped the run.
    """
    denials = [r for r in verdict.get("reasons", ()) if r["enforced"] and r["ruling"] == "deny"]
    return verdict["ruling"] == "deny" and bool(denials) and all(r["code"] == "run_held" for r in denials)


def _taken(table: dict[Any, deque[Any]], key: Any) -> Any:
    queue = table.get(key)
    return queue.popleft() if queue else None
