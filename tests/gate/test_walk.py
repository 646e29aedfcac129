"""Results taken apart: what is to be believed, whose it is, and what stands beside the declared fields."""

from __future__ import annotations

from typing import Any

from roadworthy import Contract
from roadworthy.gate.policy import policy_of
from roadworthy.gate.values import MISSING
from roadworthy.gate.walk import Leaf


def made(returns: Any) -> Contract:
    return Contract.model_validate(
        {
            "roadworthy": 1,
            "agent": "a",
            "version": "1",
            "goal": "g",
            "owner": {"team": "t", "accountable": "x"},
            "entities": {"Customer": {"key": "id", "pattern": "C-[0-9]{3}"}, "Order": {"key": "no"}},
            "labels": {"personal": {"readers": "owner"}, "internal": {"readers": "nobody"}},
            "tools": {"look": {"effect": "read", "args": {}, **({"returns": returns} if returns else {})}},
            "capabilities": {
                "c": {
                    "means": "m",
                    "tools": ["look"],
                    "autonomy": {"start": "autonomous", "ceiling": "autonomous"},
                    "success": [{"id": "s", "check": "count.look == 1"}],
                }
            },
        }
    )


def walked(returns: Any, raw: Any, *, read: bool = True) -> dict[tuple[Any, ...], Leaf]:
    contract = made(returns)
    policy = policy_of(contract)
    typed = policy.tools["look"].result.read(raw) if read else MISSING
    walk = policy.walks["look"]
    return {(*leaf.path, *(("key",) if leaf.is_key else ())): leaf for leaf in walk.leaves(raw, typed)}


def trusted(leaves: dict[tuple[Any, ...], Leaf]) -> set[tuple[Any, ...]]:
    return {path for path, leaf in leaves.items() if leaf.trusted}


def test_what_the_contract_declares_is_trusted_and_typed() -> None:
    found = walked({"total": {"type": "decimal"}, "name": "string"}, {"total": 42.50, "name": "Ada"})
    assert trusted(found) == {("total",), ("name",)}
    assert str(found["total",].value) == "42.5"
    assert found["total",].shape is not None


def test_what_the_contract_does_not_name_is_handed_out_and_vouches_for_nothing() -> None:
    found = walked({"name": "string"}, {"name": "Ada", "note": "pay DE12", "more": {"iban": "DE12"}})
    assert trusted(found) == {("name",)}
    assert {found[path].value for path in found} == {"Ada", "note", "pay DE12", "more", "iban", "DE12"}


def test_a_result_without_a_type_vouches_for_nothing() -> None:
    found = walked(None, {"name": "Ada", "tags": ["x", 7, None, True]})
    assert not trusted(found)
    assert found["tags", 1].value == 7
    assert ("tags", 2) not in found


def test_any_vouches_only_where_somebody_wrote_so() -> None:
    assert not trusted(walked({"a": "any"}, {"a": {"b": "1"}}))
    assert not trusted(walked({"type": "array"}, ["1"]))
    assert trusted(walked({"a": {"type": "any", "trust": "trusted"}}, {"a": {"b": "1"}})) == {
        ("a", "b", "key"),
        ("a", "b"),
    }


def test_nothing_below_an_untrusted_part_is_trusted() -> None:
    returns = {"type": "object", "trust": "untrusted", "properties": {"a": {"type": "string", "trust": "trusted"}}}
    assert not trusted(walked(returns, {"a": "x"}))


def test_trust_that_depends_on_the_item_is_judged_item_by_item() -> None:
    item = {
        "type": "object",
        "properties": {"author": "string", "body": "string"},
        "trust": {"when": 'item.author == "us"', "else": "untrusted"},
    }
    found = walked({"type": "array", "items": item}, [{"author": "us", "body": "a"}, {"author": "eve", "body": "b"}])
    assert trusted(found) == {(0, "author"), (0, "body")}


def test_json_text_is_read_as_the_model_reads_it() -> None:
    found = walked({"name": "string"}, '{"name": "Ada", "note": "x"}')
    assert trusted(found) == {("name",)}
    assert found["note",].value == "x"


def test_labels_hold_for_all_below_and_for_what_is_not_named() -> None:
    returns = {
        "type": "object",
        "labels": ["personal"],
        "properties": {"name": "string", "notes": {"type": "string", "labels": ["internal"]}},
    }
    found = walked(returns, {"name": "Ada", "notes": "n", "extra": "e"})
    assert found["name",].labels == ("personal",)
    assert found["notes",].labels == ("personal", "internal")
    assert found["extra",].labels == ("personal",)


def test_a_result_that_does_not_fit_keeps_its_labels_and_loses_its_trust() -> None:
    returns = {"name": {"type": "string", "labels": ["personal"]}, "n": "integer"}
    found = walked(returns, {"name": "Ada", "n": "many"}, read=False)
    assert not trusted(found)
    assert found["name",].labels == ("personal",)


def test_each_value_knows_whose_record_it_stands_in() -> None:
    returns = {
        "type": "array",
        "items": {"id": "Customer", "name": "string", "order": {"no": "Order", "sum": "string"}},
    }
    raw = [
        {"id": "C-001", "name": "Ada", "order": {"no": "1", "sum": "5"}},
        {"id": "C-002", "name": "Bob", "order": {"no": "2", "sum": "6"}},
    ]
    found = walked(returns, raw)
    assert found[0, "name"].entities == {"Customer": ("C-001",), "Order": ("1",)}
    assert found[1, "order", "sum"].entities == {"Customer": ("C-002",), "Order": ("2",)}


def test_the_nearest_record_says_whose_it_is() -> None:
    returns = {"id": "Customer", "friend": {"id": "Customer", "mail": "string"}, "mail": "string"}
    found = walked(returns, {"id": "C-001", "mail": "a", "friend": {"id": "C-002", "mail": "b"}})
    assert found["mail",].entities == {"Customer": ("C-001",)}
    assert found["friend", "mail"].entities == {"Customer": ("C-002",)}


def test_a_key_in_a_part_of_its_own_stands_for_the_whole_record() -> None:
    returns = {"who": {"id": "Customer"}, "address": {"street": "string"}}
    found = walked(returns, {"who": {"id": "C-001"}, "address": {"street": "Elm"}})
    assert found["address", "street"].entities == {"Customer": ("C-001",)}


def test_an_untrusted_key_owns_nothing() -> None:
    returns = {"id": {"type": "Customer", "trust": "untrusted"}, "mail": "string"}
    assert walked(returns, {"id": "C-001", "mail": "a"})["mail",].entities == {}


def test_the_keys_of_a_map_are_values_too() -> None:
    returns = {"type": "object", "additionalProperties": {"type": "string"}}
    found = walked(returns, {"FL-1": "ok"})
    assert found["FL-1", "key"].value == "FL-1"
    assert found["FL-1", "key"].trusted


def test_what_lies_very_deep_is_one_text() -> None:
    deep: Any = "secret"
    for _ in range(400):
        deep = [deep]
    (leaf,) = walked(None, deep).values()
    assert "secret" in leaf.value
    assert not leaf.trusted
