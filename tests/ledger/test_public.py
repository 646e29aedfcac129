"""What of an entry is public, and that nothing is lost by keeping the rest apart."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeAlias, cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.core.canonical import dumps, loads
from roadworthy.core.types import Kind
from roadworthy.ledger.public import PUBLIC, WHOLE, apart, merge, split
from roadworthy.ledger.rows import OF_THE_WHOLE

Strategy: TypeAlias = "st.SearchStrategy[Any]"

KINDS = st.sampled_from(get_args(Kind))
LISTED = sorted({name for names in PUBLIC.values() for name in names})
KEYS = st.one_of(st.sampled_from(LISTED), st.text(max_size=4), st.sampled_from(["/", "/a", "~", "$float", "$$", "a/b"]))
LEAVES: Strategy = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=6),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
    st.binary(max_size=3),
)
VALUES: Strategy = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=8
)
REASON: Strategy = st.fixed_dictionaries(
    {
        "rule": st.text(max_size=3),
        "code": st.text(max_size=3),
        "text": VALUES,
        "ruling": st.sampled_from(["ask", "deny"]),
        "enforced": st.booleans(),
    },
    optional={"more": VALUES},
)


def reasoned(body: dict[str, Any], reasons: list[Any]) -> dict[str, Any]:
    """A body that has reasons."""
    return {**body, "reasons": reasons}


BODIES: Strategy = st.one_of(
    st.dictionaries(KEYS, VALUES, max_size=6),
    st.builds(reasoned, st.dictionaries(KEYS, VALUES, max_size=3), st.lists(REASON, max_size=3)),
)


def stored(value: Any) -> Any:
    """A value as it comes back from the ledger."""
    return loads(dumps(value))


def pointers(value: Any, at: str = "") -> list[str]:
    """All places inside a value."""
    found: list[str] = []
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items += cast("dict[str, Any]", value).items()
    elif isinstance(value, list):
        items += enumerate(cast("list[Any]", value))
    for key, inner in items:
        here = f"{at}/{str(key).replace('~', '~0').replace('/', '~1')}"
        found += [here, *pointers(inner, here)]
    return found


@settings(max_examples=400)
@given(kind=KINDS, body=BODIES)
def test_what_is_split_is_merged_to_the_byte(kind: str, body: dict[str, Any]) -> None:
    public, private = split(kind, body)
    parts = [] if private is None else [stored(private)]
    assert dumps(merge(stored(public), parts)) == dumps(stored(body))


@settings(max_examples=400)
@given(kind=KINDS, body=BODIES, data=st.data())
def test_what_belongs_to_others_is_put_back_to_the_byte(kind: str, body: dict[str, Any], data: st.DataObject) -> None:
    places = [*pointers(body), "", "/nowhere/0", "/a/01", "no pointer"]
    owners = data.draw(st.dictionaries(st.sampled_from(places), st.sampled_from("AB"), max_size=4))
    before = dumps(body)
    rest, taken = apart(body, owners)
    assert dumps(body) == before, "the caller's values are left as they are"
    public, private = split(kind, rest)
    parts = [*([] if private is None else [stored(private)]), *(stored(part) for part in taken.values())]
    shuffled = data.draw(st.permutations(parts))
    assert dumps(merge(stored(public), shuffled)) == dumps(stored(body))


@given(body=BODIES, data=st.data())
def test_what_cannot_be_read_stops_nobody_from_reading_the_rest(body: dict[str, Any], data: st.DataObject) -> None:
    owners = data.draw(st.dictionaries(st.sampled_from([*pointers(body), "/x"]), st.just("A"), max_size=3))
    rest, taken = apart(body, owners)
    public, private = split("verdict", rest)
    merge(stored(public), [stored(part) for part in taken.values()])  # the body's own part was erased
    left = merge(stored(public), [] if private is None else [stored(private)])  # the other owner's was
    assert left.keys() <= {str(key) for key in stored(body)}


def test_a_part_of_another_owner_is_null_until_it_is_put_back() -> None:
    body = {"status": "ok", "value": [{"name": "Ada"}, {"name": "Bob"}], "text": "two"}
    rest, taken = apart(body, {"/value/1/name": "customer:bob"})
    assert rest == {"status": "ok", "value": [{"name": "Ada"}, {"name": None}], "text": "two"}
    assert taken == {"customer:bob": {"/value/1/name": "Bob"}}
    public, private = split("outcome", rest)
    assert public == {"status": "ok"}
    assert private is not None
    assert merge(public, [private]) == rest
    assert merge(public, [private, taken["customer:bob"]]) == body


@pytest.mark.parametrize(
    ("kind", "body", "public"),
    [
        ("heard", {"text": "I am Ada"}, {}),
        (
            "action",
            {"id": "r#1", "tool": "billing.refund", "args": {"a": Decimal(4)}, "principal": "bot", "subject": "c-1",
             "capability": "refunds", "call_id": "call_Ada"},
            {"id": "r#1", "tool": "billing.refund", "principal": "bot", "capability": "refunds"},
        ),
        (
            "verdict",
            {"ruling": "deny", "level": "shadow", "told": "no, Ada",
             "reasons": [{"rule": "x", "code": "y", "text": "Ada may not", "ruling": "deny", "enforced": True}]},
            {"ruling": "deny", "level": "shadow",
             "reasons": [{"rule": "x", "code": "y", "ruling": "deny", "enforced": True}]},
        ),
        ("intent", {"key": "0a1b", "reserved": [["refunds/Ada", "4"]], "before": {"plan": "x"}}, {}),
        ("outcome", {"status": "ok", "done": "held", "text": "x", "value": 1}, {"status": "ok", "done": "held"}),
        (
            "answer",
            {"question": "r#1", "by": "kim", "role": "lead", "ruling": "approve", "because": "Ada is right",
             "digest": "0a", "signature": "1b", "args": {}},
            {"question": "r#1", "by": "kim", "role": "lead", "ruling": "approve"},
        ),
        ("handover", {"to": "team", "reason": "Ada is upset"}, {"to": "team"}),
        ("run", {"agent": "desk", "subject": "c-1", "facts": {"mail": "a@b"}, "requester": "Ada"}, {"agent": "desk"}),
        ("incident", {"text": "Ada"}, {}),
    ],
)  # fmt: skip
def test_what_is_about_a_person_is_private(kind: str, body: dict[str, Any], public: dict[str, Any]) -> None:
    assert split(kind, body)[0] == public


def test_a_tool_that_the_contract_lacks_has_a_name_of_the_models_own() -> None:
    body: dict[str, Any] = {"id": "r#1", "tool": "call_ada_lovelace", "unknown": True, "args": {}}
    public, private = split("action", body)
    assert public == {"id": "r#1", "unknown": True}
    assert private is not None
    assert merge(public, [private]) == body


def test_entries_about_the_whole_ledger_are_public_whole() -> None:
    assert OF_THE_WHOLE <= WHOLE
    assert not WHOLE & PUBLIC.keys()
    for kind in WHOLE:
        assert split(kind, {"by": "kim", "because": "x"}) == ({"by": "kim", "because": "x"}, None)
