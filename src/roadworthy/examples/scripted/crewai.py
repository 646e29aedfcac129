"""A scripted model as a CrewAI model, and a way to run CrewAI without its calls home.

Import this module before `crewai` itself: CrewAI's telemetry decides once, when it is first imported, whether it will
send anything, and this module imports it with the telemetry off.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel

from roadworthy.examples.scripted.messages import Message, Respond, answer, plain_message, plain_tool

_OFF = {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}


class _Quiet:
    """Counts who wants quiet, because the process has only one environment."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.before: dict[str, str | None] = {}


_quiet = _Quiet()


@contextmanager
def quiet() -> Generator[None]:
    """No telemetry and no tracing while inside; afterwards the environment is what it was. Safe in several threads."""
    with _quiet.lock:
        if _quiet.depth == 0:
            _quiet.before = {name: os.environ.get(name) for name in _OFF}
            os.environ.update(_OFF)
        _quiet.depth += 1
    try:
        yield
    finally:
        with _quiet.lock:
            _quiet.depth -= 1
            if _quiet.depth == 0:
                for name, value in _quiet.before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value


with quiet():
    from crewai.events.event_listener import EventListener
    from crewai.llms.base_llm import BaseLLM

EventListener().formatter.verbose = False  # as `Crew(verbose=False)` does; without a crew it prints a box a run

_TASK = re.compile(
    r"\n?Current Task: (.*?)(?:\n\nThis is the expected criteria for your final answer: .*?)?"
    r"(?:\n\nThis is the context you're working with:\n(.*))?",
    re.DOTALL,
)
"""What CrewAI 1.x writes around the words of a task, and around what comes with it; `translations/en.json`."""


class ScriptedLLM(BaseLLM):
    """A CrewAI model that says what a script says."""

    respond: Respond

    def call(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> str | list[dict[str, Any]]:
        heard = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        said = answer(self.respond, [_unwrapped(plain_message(m)) for m in heard], [plain_tool(t) for t in tools or ()])
        return said.get("tool_calls") or said["content"] or ""

    async def acall(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> str | list[dict[str, Any]]:
        return self.call(messages, tools)

    def supports_function_calling(self) -> bool:
        return True

    def supports_stop_words(self) -> bool:
        return False

    def get_context_window_size(self) -> int:
        """Tokens. Large, because CrewAI puts results above a quarter of the default of 4,096 into files."""
        return 1_000_000

    def get_input_tokens_count(self, *args: Any, **kwargs: Any) -> int:
        """None of it matters to a script; the default would warn that it only estimates."""
        return 0


def _unwrapped(message: Message) -> Message:
    """A user message without what CrewAI writes around the words of a task and of what comes with it."""
    if message["role"] == "user":
        task = _TASK.fullmatch(message["content"])
        if task:
            return {**message, "content": f"{task[1]}\n\n{task[2]}" if task[2] else task[1]}
    return message


def model(respond: Respond) -> ScriptedLLM:
    """The script as a CrewAI model."""
    return ScriptedLLM(model="scripted", respond=respond)
