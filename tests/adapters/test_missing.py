"""A framework that is not installed is named, with the command that installs it."""

from __future__ import annotations

import importlib
import sys

import pytest

from roadworthy.core.errors import UsageError

ADAPTERS = [
    ("langgraph", "langgraph", "langgraph"),
    ("autogen", "autogen_agentchat", "autogen"),
    ("crewai", "crewai", "crewai"),
    ("openai_agents", "agents", "openai-agents"),
    ("pydantic_ai", "pydantic_ai", "pydantic-ai"),
    ("agent_framework", "agent_framework", "agent-framework"),
    ("mcp.proxy", "mcp", "mcp"),
]


@pytest.mark.parametrize(("adapter", "library", "extra"), ADAPTERS)
def test_an_adapter_names_the_extra_that_it_needs(
    adapter: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"roadworthy.adapters.{adapter}", raising=False)
    with pytest.raises(UsageError, match=rf"pip install 'roadworthy\[{extra}\]'"):
        importlib.import_module(f"roadworthy.adapters.{adapter}")
