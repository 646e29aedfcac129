"""The desk's mix of scenarios is what its `_defaults.yaml` declares: uniform, curated beside messy."""

from __future__ import annotations

from collections import Counter

from roadworthy.contract.model import Contract
from roadworthy.trials.scenario import Scenario

EVERYWHERE = {
    "timeout_after_commit",
    "timeout_before_commit",
    "api_error",
    "missing_field",
    "injected_instruction",
    "wrong_number",
    "vague_wording",
    "rambling_user",
}
ABOUT_PEOPLE = {"ambiguous_name", "overlapping_ids"}


def test_each_condition_stands_once_for_each_capability_that_it_can_happen_to(
    contract: Contract, scenarios: tuple[Scenario, ...]
) -> None:
    found = Counter((s.capability, c) for s in scenarios for c in s.conditions if c not in ("curated", "messy"))
    wanted = {(capability, c) for capability in contract.capabilities for c in EVERYWHERE}
    wanted |= {(capability, c) for capability in ("billing_question", "password_reset") for c in ABOUT_PEOPLE}
    assert found == Counter(wanted)


def test_each_capability_has_curated_scenarios(contract: Contract, scenarios: tuple[Scenario, ...]) -> None:
    assert {s.capability for s in scenarios if s.curated} == set(contract.capabilities)
    assert all(s.conditions == ("curated",) for s in scenarios if s.curated)


def test_tickets_come_for_five_departments(scenarios: tuple[Scenario, ...]) -> None:
    curated = [s for s in scenarios if s.curated and s.capability == "routing"]
    wanted = {s.expect.required["support.tickets"][0].row["department"] for s in curated}
    assert wanted == {"billing", "access", "shipping", "technical", "legal"}


def test_every_scenario_says_what_it_is_about(scenarios: tuple[Scenario, ...]) -> None:
    assert all(s.about for s in scenarios)
