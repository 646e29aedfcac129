"""From the entries of a run to a drawing of the graph that it went through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.audit.drawing import Drawing, Mark, described, draw
from roadworthy.audit.graph import drawings_of
from roadworthy.gate.run import Run

CONTRACT = """
roadworthy: 1
agent: shop
version: "1"
goal: Settle what customers want.
owner: {team: Care, accountable: lead}
tools:
  look: {effect: read, args: {no: string}, returns: string}
  pay: {effect: write, args: {no: string}, returns: string}
capabilities:
  all:
    means: The customer wants something.
    tools: [look, pay]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one-at-most, check: count.pay <= 1}]
rules:
  - {id: never-x, tools: [pay], when: args.no == "x", then: deny, because: X is never paid.}
  - {id: ask-y, tools: [pay], when: args.no == "y", then: ask, because: Y is for the lead.}
"""

LOOP = [
    ("__start__", "model", False),
    ("model", "tools", True),
    ("tools", "model", False),
    ("model", "__end__", True),
]
NESTED = [
    "__start__", "alice:__start__", "alice:model", "alice:tools", "alice:__end__",
    "bob:__start__", "bob:model", "bob:__end__", "__end__",
]  # fmt: skip
NESTED_WAYS = [
    ("__start__", "alice:__start__", False),
    ("alice:__start__", "alice:model", False),
    ("alice:model", "alice:tools", True),
    ("alice:tools", "alice:model", False),
    ("alice:model", "alice:__end__", True),
    ("alice:__end__", "bob:__start__", True),
    ("bob:__start__", "bob:model", False),
    ("bob:model", "bob:__end__", False),
    ("bob:__end__", "__end__", False),
]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.open(":memory:")


@pytest.fixture
def run(ledger: Ledger) -> Run:
    return Gate(Contract.loads(CONTRACT), ledger).run(id="r", capability="all")


def drawn(ledger: Ledger) -> Drawing:
    (drawing,) = drawings_of(list(ledger.entries(run="r")))
    return drawing


def went(*nodes: str, **calls: Sequence[str]) -> list[dict[str, Any]]:
    return [{"node": node, **({"calls": list(calls[node])} if node in calls else {})} for node in nodes]


def test_a_run_without_a_graph_has_no_drawing(run: Run, ledger: Ledger) -> None:
    run.call("look", {"no": "1"}, found)
    run.went(went("model"), source="langgraph")
    assert drawings_of(list(ledger.entries(run="r"))) == []


def test_the_way_through_a_graph_and_what_the_gate_said_on_it(run: Run, ledger: Ledger) -> None:
    run.connected(
        ["__start__", "model", "tools", "__end__"],
        [
            ("__start__", "model", False),
            ("model", "tools", True),
            ("tools", "model", False),
            ("model", "__end__", True),
        ],
        source="langgraph",
    )
    run.call("look", {"no": "1"}, found, call_id="c1")
    run.call("pay", {"no": "x"}, paid, call_id="c2")
    run.call("pay", {"no": "y"}, paid, call_id="c3")
    run.call("look", {"no": "2"}, broken, call_id="c4")
    path = went("model", "tools", "model", "tools", "model", "__end__", tools=["c1", "c2", "c3", "c4"])
    run.went(path, source="langgraph")
    drawing = drawn(ledger)
    assert [(node.id, node.kind) for node in drawing.nodes] == [
        ("__start__", "start"),
        ("model", "step"),
        ("tools", "tool"),
        ("__end__", "end"),
    ]
    assert drawing.taken == [
        ("__start__", "model"),
        ("model", "tools"),
        ("tools", "model"),
        ("model", "tools"),
        ("tools", "model"),
        ("model", "__end__"),
    ]
    assert set(drawing.marks) == {
        Mark(node="tools", verdict="allow"),
        Mark(node="tools", verdict="deny"),
        Mark(node="tools", verdict="ask"),
        Mark(node="tools", verdict="failed"),
    }
    assert "Calls of tools: 1 allowed" in described(drawing)
    assert draw(drawing).startswith("<svg")


def found(no: str) -> str:
    return "found"


def paid(no: str) -> str:
    return "paid"


def broken(no: str) -> str:
    raise RuntimeError("the printer is on fire")


def test_the_ends_of_graphs_in_the_graph_are_no_nodes(run: Run, ledger: Ledger) -> None:
    run.connected(NESTED, NESTED_WAYS, source="langgraph")
    run.went(went("alice", "alice:model", "bob", "bob:model", "__end__"), source="langgraph")
    drawing = drawn(ledger)
    assert [node.id for node in drawing.nodes] == ["__start__", "alice:model", "alice:tools", "bob:model", "__end__"]
    assert {(e.source, e.target): e.conditional for e in drawing.edges} == {
        ("__start__", "alice:model"): False,
        ("alice:model", "alice:tools"): True,
        ("alice:tools", "alice:model"): False,
        ("alice:model", "bob:model"): True,
        ("bob:model", "__end__"): False,
    }
    assert drawing.taken == [("__start__", "alice:model"), ("alice:model", "bob:model"), ("bob:model", "__end__")]


def test_control_that_a_tool_sends_out_of_its_graph_leaves_there(run: Run, ledger: Ledger) -> None:
    run.connected(NESTED, NESTED_WAYS, source="langgraph")
    run.went(went("alice", "alice:model", "alice:tools", "bob", "bob:model", "__end__"), source="langgraph")
    assert drawn(ledger).taken == [
        ("__start__", "alice:model"),
        ("alice:model", "alice:tools"),
        ("alice:tools", "bob:model"),
        ("bob:model", "__end__"),
    ]


def test_what_runs_inside_of_a_function_belongs_to_its_node(run: Run, ledger: Ledger) -> None:
    run.connected(
        ["__start__", "work", "__end__"], [("__start__", "work", False), ("work", "__end__", False)], source="l"
    )
    run.call("look", {"no": "1"}, found, call_id="c1")
    path = [*went("work", "work:model"), {"node": "work:tools", "calls": ["c1"]}, *went("work:model", "__end__")]
    run.went(path, source="l")
    drawing = drawn(ledger)
    assert drawing.taken == [("__start__", "work"), ("work", "__end__")]
    assert drawing.marks == [Mark(node="work", verdict="allow")]


def test_branches_side_by_side_all_come_from_where_they_began(run: Run, ledger: Ledger) -> None:
    nodes = ["__start__", "plan", "work:__start__", "work:model", "work:tools", "work:__end__", "__end__"]
    ways = [
        ("__start__", "plan", False),
        ("plan", "work:__start__", True),
        ("work:__start__", "work:model", False),
        ("work:model", "work:tools", True),
        ("work:tools", "work:model", False),
        ("work:model", "work:__end__", True),
        ("work:__end__", "__end__", False),
    ]
    run.connected(nodes, ways, source="langgraph")
    one = ["work", "work:model", "work:tools"]
    run.went(went("plan", *one, *one, "work:model", "work:model", "__end__"), source="langgraph")
    taken = drawn(ledger).taken
    assert taken.count(("plan", "work:model")) == 2
    assert taken.count(("work:tools", "work:model")) == 2


def test_a_turn_that_goes_on_goes_on_from_where_it_waited(run: Run, ledger: Ledger) -> None:
    run.connected(["__start__", "model", "tools", "__end__"], LOOP, source="langgraph")
    run.went(went("model"), source="langgraph")
    run.went(went("tools", "model", "__end__"), source="langgraph")
    assert drawn(ledger).taken == [
        ("__start__", "model"),
        ("model", "tools"),
        ("tools", "model"),
        ("model", "__end__"),
    ]


def test_where_no_path_is_told_the_handovers_are_the_way(run: Run, ledger: Ledger) -> None:
    run.connected(["front", "back"], [("front", "back", True), ("back", "front", True)], source="autogen")
    run.call("look", {"no": "1"}, found, agent="front")
    run.handover("back", source="front")
    run.call("pay", {"no": "x"}, paid, agent="back")
    drawing = drawn(ledger)
    assert drawing.taken == [("front", "back")]
    assert drawing.marks == [Mark(node="front", verdict="allow"), Mark(node="back", verdict="deny")]
