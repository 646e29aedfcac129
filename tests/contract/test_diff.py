"""What changed between two versions, told in words, with the place where it stands."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from tests.contract.edits import REFERENCE, edited

from roadworthy import Contract
from roadworthy.contract.diff import Kind, differences, place_of
from roadworthy.contract.narrow import only_narrows
from roadworthy.contract.people import People
from roadworthy.contract.resolve import shapes_of
from roadworthy.core.errors import ContractError

HERE = Path(__file__).parent
PEOPLE = People.load(HERE / "people.yaml")
OLD = Contract.loads(REFERENCE, file="old.yaml", folder=HERE)

TOLD: dict[str, tuple[tuple[str, str], Kind, str]] = {
    "level": (("{start: shadow, ceiling: approval", "{start: approval, ceiling: approval"), "widens",
              "credit starts in approval instead of shadow"),
    "budget": (("writes: 4", "writes: 3"), "narrows", "writes in a run: 3 instead of 4"),
    "time": (("wall: 5m", "wall: 90s"), "narrows", "time of a run: 90s instead of 5m"),
    "day": (('max: "1000.00"', 'max: "1200.00"'), "widens",
            "the sum of amount in ledger.credit a day, in all: 1200.00 instead of 1000.00"),
    "owner": (("accountable: desk-lead", "accountable: finance"), "widens",
              "finance answers for the agent, and raises its levels, instead of desk-lead"),
    "signature": (("approval: [engineering]", "approval: [engineering, reception]"), "narrows",
                  "approval needs the signature of reception as well"),
    "condition": (("when: args.amount > 100.00", "when: args.amount >= 100.01"), "unclear",
                  "the rule credit-above-100 holds when args.amount >= 100.01, and held when args.amount > 100.00"),
    "approvals": (("approvals: 2", "approvals: 1"), "widens", "credit-above-100 needs 1 approvals instead of 2"),
    "claim": (('"credited", "money', '"money'), "widens", "the user may be told 'credited' without ledger.credit"),
    "flow": (("into: [mail.send, reply]", "into: [mail.send, reply, escalate]"), "unclear",
             "the rule personal-to-its-owner holds for escalate, too"),
    "origin": (("origin: [user, trusted]", "origin: [user]"), "narrows",
               "booking_id of ledger.credit must come from user"),
    "enum": (("reason: {enum: [illness, weather, other]}", "reason: {enum: [illness, weather]}"), "narrows",
             "reason of stays.cancel may not be 'other' any more"),
    "stranger": (("staff], else: deny}", "staff], else: ask}"), "widens",
                 "to of mail.send: a stranger's address is put to a person"),
    "timeout": (("    timeout: 10s", "    timeout: 20s"), "widens", "time of stays.cancel: 20s instead of 10s"),
    "result": (("returns: {credit_no: string}", "returns: {credit_no: string, note: string}"), "unclear",
               "what ledger.credit returns has another type, so other things may follow from it"),
    "wording": (("because: Guests sleep.", "because: It is night."), "neutral",
                "the reason of the rule no-mail-at-night is worded otherwise: It is night."),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_a_change_in_words(name: str) -> None:
    change, kind, text = TOLD[name]
    new = Contract.loads(edited(change), file="new.yaml", folder=HERE)
    (found,) = [c for c in differences(OLD, new) if c.text.startswith(text)]
    assert found.kind == kind
    place = place_of(found, OLD, new)
    line = edited(change)[: edited(change).index(change[1])].count("\n") + 1
    assert place.file == "new.yaml"
    assert abs((place.line or 0) - line) <= 1  # a list has the place of its key


def test_what_is_gone_stands_in_the_old_version() -> None:
    new = Contract.loads(edited(("    - {count: {tool: stays.cancel}, max: 20}\n", "")), file="new.yaml", folder=HERE)
    (found,) = differences(OLD, new)
    assert (found.kind, found.gone) == ("widens", True)
    assert place_of(found, OLD, new).file == "old.yaml"


def test_another_order_of_names_is_told_and_harmless() -> None:
    new = Contract.loads(edited(("ledger.find_folio, ledger.credit, web", "ledger.credit, ledger.find_folio, web")))
    (found,) = differences(OLD, new.with_people(PEOPLE))
    assert (found.kind, found.text) == ("neutral", "only the order of names differs")


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for key, inner in cast("dict[str, Any]", value).items() for p in _leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [p for n, inner in enumerate(cast("list[Any]", value)) for p in _leaves(inner, (*path, n))]
    return [path]


def _with_another(data: dict[str, Any], path: tuple[Any, ...]) -> Contract | None:
    """The contract with one value changed; None where that is no contract."""
    new = copy.deepcopy(data)
    holder: Any = new
    for step in path[:-1]:
        holder = holder[step]
    value = holder[path[-1]]
    if isinstance(value, bool):
        holder[path[-1]] = not value
    else:
        holder[path[-1]] = value + 1 if isinstance(value, int | float) else f"{value}1"
    try:
        law = Contract.model_validate(new).with_people(PEOPLE)
        shapes_of(law)  # raises where a name leads nowhere any more
        return law
    except (ValueError, ContractError):
        return None


def test_no_change_of_any_value_goes_unseen() -> None:
    """Every value of the reference contract, changed alone, is told; only wording and what stops nothing is quiet."""
    data = OLD.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    recorded = next(n for n, rule in enumerate(data["rules"]) if not rule.get("enforce", True))
    seen = 0
    for path in _leaves(data):
        law = _with_another(data, path)
        if law is None:
            continue
        seen += 1
        changes = differences(OLD, law)
        assert changes, path
        if all(change.kind == "neutral" for change in changes):
            wording = {"version", "goal", "because", "description", "title", "examples", "types"} & set(path)
            assert wording or path[:2] == ("rules", recorded), path
    assert seen > 150


SMALL = """
roadworthy: 1
agent: desk
version: "1"
goal: Help.
owner: {team: IT, accountable: lead}
tools:
  look: {effect: read, args: {x: string}, returns: string}
  page: {effect: read, args: {url: {type: string, format: uri, destination: ["https://a.example/"]}}, returns: string}
  mail: {effect: send, args: {body: string}, returns: string}
capabilities:
  one: {means: One thing., tools: [look, mail], autonomy: {approver: lead}}
  two: {means: Another thing., tools: [look, page], autonomy: {approver: APPROVER}}
principals:
  bot: {capabilities: [one, two]}
"""


def small(change: Callable[[str], str] = str, *, approver: str = "lead") -> Contract:
    return Contract.loads(change(SMALL.replace("APPROVER", approver)))


def test_a_principal_may_less_where_nothing_is_shared_but_what_nobody_is_asked_about() -> None:
    def fewer(text: str) -> str:
        return text.replace("[one, two]}", "[one]}")

    assert only_narrows(small(fewer), small())
    assert only_narrows(small(fewer, approver="other"), small(approver="other"))

    def shared(text: str) -> str:  # a mail takes the lowest level of what is open
        return text.replace("tools: [look, page]", "tools: [look, page, mail]")

    assert not only_narrows(small(lambda text: fewer(shared(text))), small(shared))


def test_what_makes_links_be_judged_is_missed_when_it_is_gone() -> None:
    def without(text: str) -> str:
        lines = [line for line in text.split("\n") if not line.startswith("  page:")]
        return "\n".join(lines).replace("[look, page]", "[look]")

    found = [c.text for c in differences(small(), small(without)) if c.kind == "widens"]
    assert found == ["no argument or result says any more whom to believe, so links in texts are not judged any more"]
    assert not only_narrows(small(without), small())


def test_an_argument_that_may_be_left_out_is_another_contract() -> None:
    """`default: null` is no default, but says that the argument may be absent; so must a copy of the contract."""
    absent = small(lambda text: text.replace("args: {x: string}", "args: {x: {type: string, default: null}}"))
    assert absent.digest != small().digest
    again = Contract.model_validate(absent.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    assert again.digest == absent.digest
    assert again.shapes.args["look"]["x"].optional
    assert not small().shapes.args["look"]["x"].optional
    assert only_narrows(small(), absent)
    assert not only_narrows(absent, small())
