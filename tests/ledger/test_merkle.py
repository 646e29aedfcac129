"""The tree: known roots, and vectors of good and broken proofs that nobody here has written."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from roadworthy.ledger.merkle import (
    EMPTY,
    consistency,
    consistent,
    included,
    inclusion,
    leaf_hash,
    node_hash,
    root,
    root_of,
)

DATA = Path(os.environ.get("ROADWORTHY_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
VECTORS = DATA / "merkle-vectors"

LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Of the first 0 to 8 leaves: the tree that Certificate Transparency's own tests are made of."""


def _node(level: int, index: int) -> bytes:
    part = LEAVES[index << level : (index + 1) << level]
    assert len(part) == 1 << level
    return root_of([leaf_hash(leaf) for leaf in part])


@pytest.mark.parametrize("size", range(9))
def test_the_roots_of_certificate_transparency(size: int) -> None:
    assert root(size, _node).hex() == ROOTS[size]
    assert root_of([leaf_hash(leaf) for leaf in LEAVES[:size]]).hex() == ROOTS[size]


def test_a_leaf_is_no_node() -> None:
    """Else a node could be passed off as an entry that says what its two hashes spell."""
    left, right = leaf_hash(b"left"), leaf_hash(b"right")
    assert leaf_hash(left + right) != node_hash(left, right)
    assert leaf_hash(b"") != EMPTY


def test_proofs_are_made_within_the_tree_only() -> None:
    for index, size in ((-1, 8), (8, 8), (0, 0)):
        with pytest.raises(ValueError, match="counted from 0"):
            inclusion(index, size, _node)
    for old, new in ((-1, 8), (5, 4)):
        with pytest.raises(ValueError, match="is not the beginning"):
            consistency(old, new, _node)


def test_nothing_can_be_shown_of_an_empty_tree() -> None:
    """Every tree begins with it, so a proof would say nothing: who starts there must know that they do."""
    assert consistency(0, 8, _node) == []
    assert not consistent(0, 8, EMPTY, root(8, _node), [])
    assert consistent(0, 0, EMPTY, EMPTY, [])
    assert not consistent(0, 0, root(8, _node), root(8, _node), [])


def test_a_hash_of_another_length_is_none() -> None:
    """Else bytes could be moved over the edge between two hashes, and the sum would stay."""
    proof = inclusion(0, 2, _node)
    leaf, top = leaf_hash(LEAVES[0]), root(2, _node)
    assert included(leaf, 0, 2, proof, top)
    assert not included(leaf + proof[0][:1], 0, 2, [proof[0][1:]], top)
    assert not consistent(2, 2, b"short", b"short", [])


# Vectors --------------------------------------------------------------------------------------------------------------


def _vectors(name: str) -> list[dict[str, Any]]:
    path = VECTORS / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the vectors are not at {path}; name their folder in ROADWORTHY_DATA")
    return json.loads(path.read_text(encoding="utf-8"))


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _proof(vector: dict[str, Any]) -> list[bytes]:
    return [_bytes(text) for text in vector["proof"] or ()]


def _judged(found: dict[str, bool], vectors: list[dict[str, Any]]) -> list[str]:
    """The names of those that were judged otherwise than their makers say."""
    return [one["name"] for one in vectors if found[one["name"]] is one["wantErr"]]


@pytest.mark.real_data
def test_vectors_of_inclusion() -> None:
    vectors = _vectors("inclusion")
    found = {
        one["name"]: included(
            _bytes(one["leafHash"]), one["leafIdx"], one["treeSize"], _proof(one), _bytes(one["root"])
        )
        for one in vectors
    }
    assert _judged(found, vectors) == []
    assert (sum(found.values()), len(vectors)) == (6, 98)


@pytest.mark.real_data
def test_vectors_of_consistency() -> None:
    vectors = _vectors("consistency")
    found = {
        one["name"]: consistent(one["size1"], one["size2"], _bytes(one["root1"]), _bytes(one["root2"]), _proof(one))
        for one in vectors
    }
    # Their makers let a root be any bytes; here it has 32, and this one has not.
    assert _judged(found, vectors) == ["additional/sizes-are-equal-one-and-proof-is-empty"]
    assert (sum(found.values()), len(vectors)) == (5, 98)


@pytest.mark.real_data
def test_vectors_of_inclusion_in_a_part_of_the_tree() -> None:
    """A part that begins at a multiple of its own width is a tree like any other, places counted from its start."""
    vectors = [one for one in _vectors("subtreeinclusion") if _is_part(one["start"], one["end"])]
    found = {
        one["name"]: included(
            _bytes(one["leafHash"]),
            one["leafIdx"] - one["start"],
            one["end"] - one["start"],
            _proof(one),
            _bytes(one["root"]),
        )
        for one in vectors
    }
    assert _judged(found, vectors) == []
    assert sum(found.values()) == 12


@pytest.mark.real_data
def test_vectors_of_consistency_with_the_beginning_of_a_tree() -> None:
    """Of a part without leaves they say that it is in every tree; here nothing is said of it."""
    vectors = [one for one in _vectors("subtreeconsistency") if one["start"] == 0 < one["end"]]
    found = {
        one["name"]: consistent(one["end"], one["size"], _bytes(one["root1"]), _bytes(one["root2"]), _proof(one))
        for one in vectors
    }
    assert _judged(found, vectors) == ["additional/sizes-are-equal-one-and-proof-is-empty"]
    assert (sum(found.values()), len(vectors)) == (5, 91)


def _is_part(start: int, end: int) -> bool:
    """Source: the definition of a subtree in draft-ietf-plants-merkle-tree-certs."""
    return 0 <= start < end and start % (1 << (end - start - 1).bit_length()) == 0
