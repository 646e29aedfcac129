"""Scenarios that cannot be run as they are written are refused with file, line and cure, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadworthy.contract.model import Contract
from roadworthy.core.errors import ScenarioError
from roadworthy.trials.imports import find_world
from roadworthy.trials.load import against_world, load_scenarios
from roadworthy.trials.scenario import Scenario

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.load(HERE / "shop.yaml")


def write(folder: Path, text: str, name: str = "s.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def refused(folder: Path, text: str, contract: Contract | None = None) -> list[str]:
    with pytest.raises(ScenarioError) as error:
        load_scenarios(write(folder, text), contract=contract)
    return [line.replace(f"{folder}/", "") for line in error.value.text.splitlines()]


def test_a_folder_is_read_with_its_defaults(contract: Contract) -> None:
    found = load_scenarios(HERE / "scenarios", contract=contract)
    assert [s.scenario for s in found] == [
        "plain-refund",
        "forgotten-number",
        "answer-lost",
        "poisoned-note",
        "large-refund",
    ]
    assert {s.world for s in found} == {"trialshop:world"}
    assert found[0].must_pass
    assert found[2].expect.ending == ("escalated",)
    assert [f for s in found for f in against_world(s, find_world("trialshop:world"))] == []


GOOD = 'scenario: a\ncapability: refunds\nuser: {opening: "Hello"}\n'


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (GOOD + "approvr: absent\n", "s.yaml:4:1", "did you mean approver?"),
        (GOOD + "approver: absentt\n", "s.yaml:4:11", "did you mean absent?"),
        (GOOD + "must_pass: 'yes'\n", "s.yaml:4:12", "true or false stands here, not 'yes'"),
        (GOOD + "must_pass: yes\n", "s.yaml:4:12", "true"),
        (GOOD + "capability: other\n", "s.yaml:4:1", "second time"),
        ('capability: refunds\nuser: {opening: "Hello"}\n', "s.yaml:1:1", "`scenario` is missing"),
        (GOOD.replace("opening", "openning"), "s.yaml:3:8", "did you mean opening?"),
        (GOOD + "faults: [{tool: shop.refund, kind: timeout}]\n", "s.yaml:4:36", "none of the words"),
        (GOOD + "faults: [{tool: shop.refund, kind: field_missing}]\n", "s.yaml:4", "needs a field"),
        (GOOD + "conditions: [curated, messy]\n", "s.yaml", "exactly one of `curated` and `messy`"),
        (GOOD + "conditions: [vague]\n", "s.yaml", "exactly one of `curated` and `messy`"),
        (GOOD + 'user2: {answers: [{when: "["}]}\n', "s.yaml:4:1", "no key 'user2'"),
        (GOOD + "expect: {required: {t: [{a: {contains: x}}]}}\n", "s.yaml:4", "matches: pattern"),
        (GOOD + 'expect: {required: {t: [{a: {matches: "("}}]}}\n', "s.yaml:4", "no regular expression"),
        (GOOD + "expect: {ending: happily}\n", "s.yaml:4:18", "none of the words"),
        (GOOD + "expect: {allowed: {t: all}}\n", "s.yaml:4", "'all'"),
        (GOOD + "rows: {t: {a: 1}}\n", "s.yaml:4:8", "a list stands here"),
        (GOOD + "rows: {t: [{a: 42.00}]}\n", "s.yaml:4:16", '"42.00"'),
        ("scenario: two words\ncapability: c\nuser: {opening: x}\n", "s.yaml:1:11", "no id"),
        ("- a list\n", "s.yaml:1:1", "key: value"),
        ("scenario: a\n  capability: b\n", "s.yaml:2", "no YAML"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(tmp_path: Path, text: str, place: str, said: str) -> None:
    lines = refused(tmp_path, text)
    assert any(line.startswith(place) and said in line for line in lines), lines


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (GOOD.replace("refunds", "refund"), "s.yaml:2:13", "did you mean refunds?"),
        (GOOD + "faults: [{tool: shop.refnd, kind: error_500}]\n", "s.yaml:4:17", "did you mean shop.refund?"),
        (GOOD + "attack: {tool: shop.find, says: x}\n", "s.yaml:4:16", "no tool 'shop.find'"),
        (GOOD + "attack: {tool: shop.find_order, field: notes, says: x}\n", "s.yaml:4:40", "did you mean note?"),
        (GOOD + "attack: {tool: shop.refund, field: refund_no, says: x}\n", "s.yaml:4", "is no text"),
        (
            GOOD + "faults: [{tool: shop.find_order, kind: field_null, field: sum}]\n",
            "s.yaml:4:59",
            "no field 'sum'",
        ),
        (GOOD + "subject: C-1\n", "s.yaml:4:10", "names no `subject`"),
        (GOOD + "facts: {tier: gold}\n", "s.yaml:4", "no fact 'tier'"),
    ],
)
def test_what_the_contract_lacks_is_named_with_its_place(
    tmp_path: Path, contract: Contract, text: str, place: str, said: str
) -> None:
    lines = refused(tmp_path, text, contract)
    assert any(line.startswith(place) and said in line for line in lines), lines


def test_all_is_said_at_once_and_lines_are_counted_through_the_file(tmp_path: Path, contract: Contract) -> None:
    text = (
        GOOD
        + "levl: shadow\n---\n"
        + GOOD.replace("scenario: a", "scenario: b").replace("refunds", "refnds")
        + "---\n"
        + GOOD
    )
    lines = refused(tmp_path, text, contract)
    assert [line.split(": ")[0] for line in lines] == ["s.yaml:4:1", "s.yaml:7:13"]


def test_an_id_is_used_once(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "a.yaml")
    write(tmp_path, GOOD, "b.yaml")
    with pytest.raises(ScenarioError, match=r"b\.yaml:1.*in .*a\.yaml"):
        load_scenarios(tmp_path)


def test_what_the_world_lacks_is_named_with_its_place(tmp_path: Path) -> None:
    text = GOOD + (
        "rows: {shop.order: []}\n"
        "expect:\n  required: {till.refunds: [{order: '1'}]}\n  allowed: {mail.sent: any, mail.send: any}\n"
    )
    (scenario,) = load_scenarios(write(tmp_path, text))
    found = [str(f).replace(f"{tmp_path}/", "") for f in against_world(scenario, find_world("trialshop:world"))]
    assert [f.split(": ")[0] for f in found] == ["s.yaml:4:8", "s.yaml:6:30", "s.yaml:7:29"], found
    assert "did you mean shop.orders?" in found[0]
    assert "order_no" in found[1]
    assert "did you mean mail.sent?" in found[2]


def test_a_wrong_default_is_found_in_its_own_file(tmp_path: Path, contract: Contract) -> None:
    write(tmp_path, "world: trialshop:world\nlevvel: shadow\ncapability: refnds\n", "_defaults.yaml")
    write(tmp_path, 'scenario: a\nuser: {opening: "Hello"}\n')
    with pytest.raises(ScenarioError) as error:
        load_scenarios(tmp_path, contract=contract)
    lines = [line.replace(f"{tmp_path}/", "") for line in error.value.text.splitlines()]
    assert any(line.startswith("_defaults.yaml:2:1") and "did you mean level?" in line for line in lines), lines
    assert any(line.startswith("_defaults.yaml:3:13") and "refunds" in line for line in lines), lines


def test_no_file_and_no_scenarios(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no such file or folder"):
        load_scenarios(tmp_path / "nothing")
    with pytest.raises(ScenarioError, match="holds no scenarios"):
        load_scenarios(tmp_path)


def test_a_scenario_in_python_is_the_same_as_in_yaml(tmp_path: Path) -> None:
    (written,) = load_scenarios(write(tmp_path, GOOD))
    made = Scenario.model_validate({"scenario": "a", "capability": "refunds", "user": {"opening": "Hello"}})
    assert made.digest == written.digest
    assert made.model_dump() == written.model_dump()
