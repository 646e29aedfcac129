"""A world that was drafted from a contract loads, answers as the contract says, and is tried without an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import roadworthy.examples.desk as desk
import roadworthy.examples.retail as retail
from roadworthy import Contract, World
from roadworthy.contract.code import CodeTool, Parameter
from roadworthy.contract.draft import draft
from roadworthy.contract.shapes import Shape
from roadworthy.gate.policy import policy_of
from roadworthy.trials.load import load_scenarios
from roadworthy.trials.runner import run_trials
from roadworthy.trials.skeleton import sample, skeleton

REFERENCE = Path(__file__).parents[1] / "contract" / "reference.yaml"
CONTRACTS = [
    Path(desk.__file__).with_name("contract.yaml"),
    Path(retail.__file__).with_name("contract.yaml"),
    REFERENCE,
]


def made(contract: Contract) -> World:
    files = skeleton(contract, package="trial", source="contract.yaml")
    inside: dict[str, Any] = {"__name__": "trial.world"}
    exec(compile(files["world.py"], "world.py", "exec"), inside)
    compile(files["agent.py"], "agent.py", "exec")
    return inside["world"]


def answers(contract: Contract, world: World) -> Iterator[tuple[str, Any]]:
    shapes = contract.shapes
    with world.ground() as ground:
        assert set(ground.tools) == set(contract.tools)
        for name in contract.tools:
            yield name, ground.tools[name](**{arg: sample(shape, arg) for arg, shape in shapes.args[name].items()})


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda p: p.parent.name)
def test_each_stand_in_answers_as_the_contract_says(path: Path) -> None:
    contract = Contract.load(path)
    policy = policy_of(contract)
    for name, answer in answers(contract, made(contract)):
        assert policy.tools[name].result.read(json.loads(json.dumps(answer))) is not None, name


def test_what_acts_changes_the_world_and_what_reads_does_not() -> None:
    contract = Contract.load(CONTRACTS[0])
    with made(contract).ground() as ground:
        for name, tool in contract.tools.items():
            before = len(ground.changes())
            args = {arg: sample(shape, arg) for arg, shape in contract.shapes.args[name].items()}
            ground.tools[name](**args)
            assert len(ground.changes()) - before == (tool.effect not in ("read", "compute")), name


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda p: p.parent.name)
def test_it_is_tried_and_blocks(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = Contract.load(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    package = f"trial_of_{path.parent.name}"
    for name, text in skeleton(contract, package=package, source="contract.yaml").items():
        file = tmp_path / package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    scenarios = load_scenarios(tmp_path / package / "scenarios", contract=contract)
    assert {s.capability for s in scenarios} == set(contract.capabilities)
    report = run_trials(contract, f"{package}.agent:agent", scenarios, trials=1)
    assert report.release.verdict in ("BLOCK", "INCONCLUSIVE")
    assert [t.why for t in report.trials if t.status == "error"] == []
    assert {t.status for t in report.trials} == {"failed"}


SHAPES: list[tuple[Shape, Any]] = [
    (Shape(type="string", enum=("b", "a")), "b"),
    (Shape(type="string", format="email"), "ada@example.com"),
    (Shape(type="string", pattern=r"INV-[0-9]{4}"), "INV-0000"),
    (Shape(type="string", pattern=r"[A-Z]\d{2,}x+"), "A00x"),
    (Shape(type="string", pattern=r"(gift_card|paypal)_[0-9]+"), "gift_card_0"),
    (Shape(type="string", min_length=9), "value-1xx"),
    (Shape(type="string", max_length=3), "val"),
    (Shape(type="integer", minimum=Decimal(5)), 5),
    (Shape(type="integer", exclusive_maximum=Decimal(0)), -1),
    (Shape(type="integer", minimum=Decimal(7), multiple_of=Decimal(5)), 10),
    (Shape(type="decimal"), "1.00"),
    (Shape(type="decimal", wire="number"), 1.0),
    (Shape(type="decimal", maximum=Decimal("0.50")), "0.50"),
    (Shape(type="boolean"), True),
    (Shape(type="array", items=Shape(type="integer"), min_items=2), [1, 1]),
    (Shape(type="array", items=Shape(type="string"), min_items=2, unique_items=True), ["value-1-1", "value-2-1"]),
    (Shape(type="object", fields={"id": Shape(type="string")}), {"id": "id-1"}),
    (Shape(type="any"), "value-1"),
]


@pytest.mark.parametrize(("shape", "value"), SHAPES)
def test_a_sample_fits_its_type(shape: Shape, value: Any) -> None:
    assert sample(shape) == value


WORDS = st.text(min_size=1, max_size=8) | st.sampled_from(
    ["order", "Order", "at", "args", "class", 'a"""b', "\\", "x;--"]
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "any"]).map(lambda t: {"type": t})
FIELDS = st.dictionaries(WORDS, TYPES, max_size=3)
RETURNS = st.one_of(
    TYPES,
    FIELDS.map(lambda f: {"type": "object", "properties": f}),
    FIELDS.map(lambda f: {"type": "array", "items": {"type": "object", "properties": f}}),
)


def tool(name: str, args: Mapping[str, Any], returns: Mapping[str, Any]) -> CodeTool:
    parameters = {arg: Parameter(schema=schema, required=True) for arg, schema in args.items()}
    return CodeTool(name=name, parameters=parameters, returns=returns)


TOOLS = st.builds(tool, WORDS | st.sampled_from(["get_order", "find", "tools", "send_mail"]), FIELDS, RETURNS)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TOOLS, min_size=1, max_size=4))
def test_whatever_a_draft_says_its_world_answers(tools: list[CodeTool]) -> None:
    contract = Contract.loads(draft(tools, agent='say "hi" \\ """', source="a\nb").text)
    policy = policy_of(contract)
    for name, answer in answers(contract, made(contract)):
        policy.tools[name].result.read(json.loads(json.dumps(answer)))


BILLION = 10**9 - 1
NESTED = Shape(type="array", min_items=1000, items=Shape(type="array", min_items=1000, items=Shape(type="string")))


@pytest.mark.parametrize(
    "shape",
    [
        Shape(type="array", min_items=BILLION, items=Shape(type="boolean")),
        Shape(type="array", min_items=1000, items=NESTED),
        Shape(type="string", min_length=BILLION),
        Shape(type="string", pattern=f"a{{{BILLION}}}"),
        Shape(type="number", minimum=Decimal("1e308"), multiple_of=Decimal("1e-300")),
    ],
)
def test_a_sample_of_what_a_strange_server_declares_is_small(shape: Shape) -> None:
    assert len(json.dumps(sample(shape))) < 20_000
