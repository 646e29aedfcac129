"""`roadworthy init` over what people have built: tools, toolkits, agents, teams, graphs and servers, guarded or not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract
from roadworthy.cli.app import main
from roadworthy.contract.reach import Reached, reach
from roadworthy.examples.scripted.crewai import model as crew_model  # first: it imports CrewAI without its calls home

import agents as oa  # isort: skip
import agent_framework as af  # isort: skip
import crewai  # isort: skip
from agents.mcp import MCPServerStdio
from autogen_agentchat.agents import AssistantAgent, SocietyOfMindAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_agentchat.tools import AgentTool
from autogen_core.tools import FunctionTool, StaticStreamWorkbench, StaticWorkbench
from autogen_ext.models.replay import ReplayChatCompletionClient
from crewai.tools import tool as crew_tool
from langchain_core.tools import tool as lc_tool
from langgraph.prebuilt import ToolNode
from mcp.server.fastmcp import FastMCP
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import Tool as PydanticTool
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import CombinedToolset, FunctionToolset

from roadworthy.examples.scripted.agent_framework import ScriptedChatClient
from roadworthy.examples.scripted.langgraph import ScriptedChatModel

# Their types are partly unknown.
create_agent: Any = import_module("langchain.agents").create_agent
graphs: Any = import_module("langgraph.graph")
mcp_tools: Any = import_module("autogen_ext.tools.mcp")

SERVER = Path(__file__).parent / "mcp_servers" / "desk.py"


def get_order(order_no: str, full: bool = False) -> dict[str, str]:
    """Find an order."""
    return {"order_no": order_no, "full": str(full)}


def refund(order_no: str, amount: float) -> str:
    """Pay back."""
    return f"{order_no}: {amount}"


def says(messages: Any, tools: Any) -> Any:
    return {"role": "assistant", "content": "done"}


# LangGraph


def graph_of_graphs() -> Any:
    inner = create_agent(ScriptedChatModel(respond=says), [lc_tool(get_order)], name="inner")
    builder = graphs.StateGraph(graphs.MessagesState)
    builder.add_node("inner", inner)
    builder.add_node("tools", ToolNode([lc_tool(refund)]))
    builder.set_entry_point("inner")
    builder.add_edge("inner", "tools")
    return builder.compile()


# AutoGen


def assistant(name: str, *tools: Any, **more: Any) -> AssistantAgent:
    info: Any = {"function_calling": True, "vision": False, "json_output": False, "structured_output": False}
    info["family"] = "unknown"
    client = ReplayChatCompletionClient(["done"], model_info=info)
    return AssistantAgent(name, model_client=client, tools=list(tools) or None, **more)


def ag(function: Callable[..., Any]) -> FunctionTool:
    return FunctionTool(function, description=function.__doc__ or "")


def society() -> Any:
    inner = RoundRobinGroupChat([assistant("a", get_order), assistant("b", refund)])
    client = ReplayChatCompletionClient(["done"])
    return SocietyOfMindAgent("society", team=inner, model_client=client)


# CrewAI


def crew() -> Any:
    @crew_tool("Get Order")
    def find(order_no: str, full: bool = False) -> dict[str, str]:
        """Find an order."""
        return {"order_no": order_no, "full": str(full)}

    @crew_tool("refund")
    def pay(order_no: str, amount: float) -> str:
        """Pay back."""
        return f"{order_no}: {amount}"

    worker = crewai.Agent(role="r", goal="g", backstory="b", llm=crew_model(says), tools=[find])
    task = crewai.Task(description="d", expected_output="e", agent=worker, tools=[pay])
    return crewai.Crew(agents=[worker], tasks=[task])


# OpenAI Agents


def strict_off(function: Callable[..., Any]) -> oa.FunctionTool:
    """As it is, a model must give all arguments, those with a default, too."""
    return oa.function_tool(function, strict_mode=False)


# Microsoft Agent Framework


def maf(name: str, *tools: Any) -> Any:
    return af.Agent(ScriptedChatClient(says), name=name, instructions="Help.", tools=list(tools))


def workflow() -> Any:
    first, second = maf("first", get_order), maf("second", refund)
    return af.WorkflowBuilder(start_executor=first).add_edge(first, second).build()


BUILT: dict[str, Callable[[], Any]] = {
    "langchain-tools": lambda: [lc_tool(get_order), lc_tool(refund)],
    "tool-node": lambda: ToolNode([lc_tool(get_order), lc_tool(refund)]),
    "create-agent": lambda: create_agent(ScriptedChatModel(respond=says), [lc_tool(get_order), lc_tool(refund)]),
    "graph-of-graphs": graph_of_graphs,
    "autogen-tools": lambda: [ag(get_order), ag(refund)],
    "workbench": lambda: StaticWorkbench([ag(get_order), ag(refund)]),
    "stream-workbench": lambda: StaticStreamWorkbench([ag(get_order), ag(refund)]),
    "assistant": lambda: assistant("a", get_order, refund),
    "team": lambda: RoundRobinGroupChat([assistant("a", get_order), assistant("b", refund)]),
    "society": society,
    "crew": crew,
    "crew-agent": lambda: [crew().agents[0], refund],
    "function-tools": lambda: [strict_off(get_order), strict_off(refund)],
    "handoff": lambda: oa.Agent(
        name="a",
        tools=[strict_off(get_order)],
        handoffs=[oa.handoff(oa.Agent(name="b", tools=[strict_off(refund)]))],
    ),
    "pydantic-tools": lambda: [PydanticTool(get_order), PydanticTool(refund)],
    "toolsets": lambda: CombinedToolset([FunctionToolset([get_order]), FunctionToolset([refund])]),
    "pydantic-agent": lambda: PydanticAgent(TestModel(), tools=[get_order], toolsets=[FunctionToolset([refund])]),
    "maf-agent": lambda: maf("a", get_order, refund),
    "maf-workflow": workflow,
}


@pytest.mark.parametrize("name", BUILT)
def test_the_tools_of_what_was_built_are_found_with_their_types(name: str) -> None:
    found = reach(BUILT[name]())
    assert found.left_out == ()
    by_name = {tool.name.lower().replace(" ", "_"): tool for tool in found.tools}
    assert set(by_name) == {"get_order", "refund"}
    order, pay = by_name["get_order"], by_name["refund"]
    assert (order.parameters["order_no"].schema["type"], order.parameters["order_no"].required) == ("string", True)
    assert (order.parameters["full"].schema["type"], order.parameters["full"].required) == ("boolean", False)
    assert pay.parameters["amount"].schema["type"] == "number"
    assert (order.description or "").startswith("Find an order.")
    assert order.returns == {"type": "object", "additionalProperties": {"type": "string"}}
    assert pay.returns == {"type": "string"}


def test_the_tools_of_an_agent_that_is_a_tool_are_found() -> None:
    def names(found: Reached) -> set[str]:
        return {tool.name for tool in found.tools}

    inner = oa.Agent(name="inner", tools=[strict_off(refund)])
    assert names(reach([inner.as_tool("ask_inner", "Ask.")])) == {"ask_inner", "refund"}
    assert names(reach([AgentTool(assistant("inner", refund))])) == {"inner", "refund"}
    assert names(reach(maf("outer", maf("inner", refund).as_tool()))) == {"inner", "refund"}


def test_toolsets_that_rename_are_drafted_by_the_names_that_the_model_sees() -> None:
    tools = FunctionToolset([get_order])
    agent = PydanticAgent(TestModel(), toolsets=[tools.prefixed("shop"), tools.renamed({"look": "get_order"})])
    assert [tool.name for tool in reach(agent).tools] == ["shop_get_order", "look"]


def test_a_tool_with_an_artifact_returns_what_the_model_is_told() -> None:
    def look(order_no: str) -> tuple[dict[str, str], bytes]:
        """Look at it."""
        return {"order_no": order_no}, b""

    (tool,) = reach(lc_tool(response_format="content_and_artifact")(look)).tools
    assert tool.returns == {"type": "object", "additionalProperties": {"type": "string"}}
    (bare,) = reach(look).tools
    assert bare.returns == {"type": "array"}


def test_what_runs_at_the_provider_is_named() -> None:
    one = reach(oa.Agent(name="a", tools=[strict_off(get_order), oa.WebSearchTool()]))
    assert [tool.name for tool in one.tools] == ["get_order"]
    assert one.left_out == ("web_search is no function here: where it runs there is no gate",)
    other = reach(maf("a", get_order, {"type": "web_search"}))
    assert other.left_out == ("web_search runs at the model's provider, where there is no gate",)


async def test_servers_and_workbenches_are_asked_also_from_inside_a_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"DESK_LOG": str(tmp_path / "log"), "DESK_MOOD": str(tmp_path / "mood")}
    names = {"find_order", "pay-back", "who_am_i"}
    params = mcp_tools.StdioServerParams(command=sys.executable, args=[str(SERVER)], env=env)
    workbench = mcp_tools.McpWorkbench(params)
    assert names <= {tool.name for tool in reach(workbench).tools}
    server = MCPServerStdio(params={"command": sys.executable, "args": [str(SERVER)], "env": env})
    assert names <= {tool.name for tool in reach(oa.Agent(name="a", mcp_servers=[server])).tools}
    own = FastMCP("own")
    own.tool()(get_order)
    (found,) = reach(own).tools
    assert found.parameters["order_no"].schema == {"type": "string"}


DESKS = ["langgraph", "autogen", "crewai", "openai_agents", "pydantic_ai", "agent_framework"]


@pytest.mark.parametrize("framework", DESKS)
def test_an_agent_that_is_guarded_is_drafted_without_what_the_gate_offers(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = f"roadworthy.examples.desk.agents.{framework}"
    assert main(["init", "--from", f"{module}:build()", "--world", "desk_trial"]) == 0
    contract = Contract.load(tmp_path / "contract.yaml")
    assert len(contract.tools) == 12
    assert not {name for name in contract.tools if "ask_user" in name or "escalate" in name}
    assert contract.tools["billing_get_invoice"].effect == "write"  # its first word is no verb: the careful guess
    assert main(["check", "contract.yaml"]) == 1


def test_from_an_mcp_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DESK_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("DESK_MOOD", str(tmp_path / "mood"))
    seen = ["--env", "DESK_LOG", "--env", "DESK_MOOD"]
    assert main(["init", *seen, "--", sys.executable, str(SERVER)]) == 0
    contract = Contract.load(tmp_path / "contract.yaml")
    assert contract.tools["find_order"].effect == "read"
    assert contract.tool_names["pay-back"] == "pay_back"
    proxy = ["proxy", "contract.yaml", "--ledger", "runs.db", *seen, "--accept-all"]
    assert main([*proxy, "--", sys.executable, str(SERVER)]) == 0
    assert main(["init", "--force", "--", sys.executable, "-c", "pass"]) == 2
    assert "the MCP server cannot be asked for its tools" in capsys.readouterr().err


def test_from_a_server_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--", sys.executable, "-m", "mcp_server_git"]) == 0
    contract = Contract.load(tmp_path / "contract.yaml")
    assert contract.tools["git_status"].effect == "read"
    assert contract.tools["git_reset"].effect == "write"
    assert json.dumps(contract.capabilities["everything"].tools).count("git_") == len(contract.tools)
