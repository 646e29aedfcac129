"""Whose run something in LangGraph belongs to, and what the user says in a turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from roadworthy.adapters.replies import GATE
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run, current_run

RUN = "__roadworthy_run"
"""Where a run travels in `configurable`: keys that begin so are kept out of checkpoints and traces."""


def configurable(config: RunnableConfig | None) -> Mapping[str, Any]:
    """What an application passes along with an invocation."""
    return (config or {}).get("configurable") or {}


def config_here() -> RunnableConfig:
    """The config of the node or tool that runs now; empty outside a graph."""
    try:
        return get_config()
    except RuntimeError:
        return {}


def space(config: RunnableConfig | None) -> str:
    """Where in a nest of graphs something runs: `node:task`, joined by `|`; empty outside all graphs."""
    return configurable(config).get("checkpoint_ns") or ""


def carried(config: RunnableConfig | None) -> Run | None:
    """The run that travels with an invocation, or is bound."""
    run = configurable(config).get(RUN)
    return run if isinstance(run, Run) else current_run()


def opened(gate: Gate, config: RunnableConfig | None) -> Run | None:
    """The run of the thread, created or opened again; None where the config names no thread."""
    given = configurable(config)
    thread = given.get("thread_id")
    if thread is None:
        return None
    principals = gate.contract.principals
    principal = given.get("principal") or (next(iter(principals)) if len(principals) == 1 else None)
    capability = given.get("capability")
    if capability is None:
        spec = principals.get(principal) if principal is not None else None
        capability = spec.capabilities if spec is not None else tuple(gate.contract.capabilities)
    return gate.run(
        id=str(thread),
        principal=principal,
        subject=given.get("subject"),
        facts=given.get("facts"),
        capability=capability,
    )


def new_words(messages: Sequence[BaseMessage]) -> list[str]:
    """What the user says in this turn: the user messages at the end of the input, after any other message."""
    words: list[str] = []
    for message in reversed(messages):
        if not isinstance(message, HumanMessage):
            break
        if message.name != GATE:
            words.insert(0, str(message.text))
    return words
