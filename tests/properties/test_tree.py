"""The laws of the tree, against a slow reference that follows RFC 6962 word by word."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roadworthy.ledger.merkle import consistency, consistent, included, inclusion, leaf_hash, root, root_of
from roadworthy.ledger.tree import TILE, Frontier, Nodes, Tile

MOST = 130
LEAVES = [b"leaf %d" % number for number in range(MOST)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def _split(size: int) -> int:
    """The largest power of two smaller than the size."""
    half = 1
    while half * 2 < size:
        half *= 2
    return half


@cache
def _mth(start: int, end: int) -> bytes:
    """The Merkle Tree Hash of leaves start to end (RFC 6962, section 2.1)."""
    if end == start:
        return sha256(b"").digest()
    if end - start == 1:
        return sha256(b"\x00" + LEAVES[start]).digest()
    half = start + _split(end - start)
    return sha256(b"\x01" + _mth(start, half) + _mth(half, end)).digest()


def _path(m: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[start:end]) (section 2.1.1)."""
    if end - start == 1:
        return []
    half = _split(end - start)
    if m < half:
        return [*_path(m, start, start + half), _mth(start + half, end)]
    return [*_path(m - half, start + half, end), _mth(start, start + half)]


def _subproof(m: int, start: int, end: int, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[start:end], whole) (section 2.1.2)."""
    if m == end - start:
        return [] if whole else [_mth(start, end)]
    half = _split(end - start)
    if m <= half:
        return [*_subproof(m, start, start + half, whole), _mth(start + half, end)]
    return [*_subproof(m - half, start + half, end, False), _mth(start, start + half)]


def _node(level: int, index: int) -> bytes:
    assert (index + 1) << level <= MOST, "only complete subtrees are asked for"
    return _mth(index << level, (index + 1) << level)


def test_roots_of_all_sizes() -> None:
    for size in range(MOST + 1):
        assert root(size, _node) == root_of(HASHES[:size]) == _mth(0, size)


def test_a_proof_of_every_leaf_in_every_tree() -> None:
    for size in range(1, MOST + 1):
        for index in range(size):
            proof = inclusion(index, size, _node)
            assert proof == _path(index, 0, size)
            assert included(HASHES[index], index, size, proof, _mth(0, size))


def test_a_proof_between_every_two_trees() -> None:
    for new in range(1, MOST + 1):
        for old in range(1, new + 1):
            proof = consistency(old, new, _node)
            assert proof == _subproof(old, 0, new, True)
            assert consistent(old, new, _mth(0, old), _mth(0, new), proof)


@st.composite
def _broken(draw: st.DrawFn, proof: Sequence[bytes]) -> list[bytes]:
    """A proof with one change: a bit, a hash more, one fewer, two in the other order."""
    broken = list(proof)
    what = draw(st.sampled_from(("bit", "more", "fewer", "order") if broken else ("more",)))
    place = draw(st.integers(0, max(0, len(broken) - 1)))
    if what == "bit":
        at = draw(st.integers(0, 255))
        changed = int.from_bytes(broken[place], "big") ^ 1 << at
        broken[place] = changed.to_bytes(32, "big")
    elif what == "more":
        broken.insert(draw(st.integers(0, len(broken))), draw(st.sampled_from((*broken, HASHES[0], bytes(32)))))
    elif what == "fewer":
        del broken[place]
    else:
        other = draw(st.integers(0, len(broken) - 1))
        broken[place], broken[other] = broken[other], broken[place]
    assume(broken != list(proof))
    return broken


@given(st.data())
def test_a_broken_proof_of_a_leaf_shows_nothing(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, MOST))
    index = data.draw(st.integers(0, size - 1))
    proof, top = inclusion(index, size, _node), _mth(0, size)
    assert not included(HASHES[index], index, size, data.draw(_broken(proof)), top)
    other = data.draw(st.integers(-2, size + 2))
    assert included(HASHES[index], other, size, proof, top) is (other == index)
    assert included(HASHES[other % size], index, size, proof, top) is (other % size == index)
    assert not included(HASHES[index], index, size, proof, _mth(0, size - 1))


@given(st.data())
def test_a_broken_proof_between_trees_shows_nothing(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, MOST))
    old = data.draw(st.integers(1, new))
    proof, before, after = consistency(old, new, _node), _mth(0, old), _mth(0, new)
    assert not consistent(old, new, before, after, data.draw(_broken(proof)))
    rewritten = data.draw(st.integers(1, MOST).filter(lambda size: size != old))
    assert not consistent(old, new, _mth(0, rewritten), after, proof)
    assert not consistent(old, new, before, _mth(0, rewritten) if rewritten != new else bytes(32), proof)


@given(st.data())
def test_history_that_was_changed_is_not_the_beginning_of_any_tree(data: st.DataObject) -> None:
    """Whoever changes an entry cannot prove the new tree from the old root, not even with the tree itself at hand."""
    new = data.draw(st.integers(2, 40))
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    forged = [*HASHES[:changed], leaf_hash(b"forged"), *HASHES[changed + 1 : new]]

    def node(level: int, index: int) -> bytes:
        return root_of(forged[index << level : (index + 1) << level])

    proof = consistency(old, new, node)
    assert not consistent(old, new, _mth(0, old), root(new, node), proof)


@given(st.integers(), st.integers(), st.lists(st.binary(max_size=40), max_size=70), st.binary(max_size=40))
def test_what_checks_proofs_never_raises(one: int, other: int, proof: list[bytes], top: bytes) -> None:
    assert included(HASHES[0], one, other, proof, top) in (True, False)
    assert consistent(one, other, HASHES[0], top, proof) in (True, False)


# The tree of a ledger -------------------------------------------------------------------------------------------------


class _Shelf:
    """A ledger's tree as an engine keeps it: complete tiles, and leaves for the rest."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []
        self.tiles: dict[tuple[int, int], Tile] = {}
        self.edge = Frontier()
        self.asked = 0

    def grow(self, count: int) -> None:
        more = [leaf_hash(b"%d" % number) for number in range(len(self.leaves), len(self.leaves) + count)]
        self.leaves += more
        self.tiles.update({(tile.level, tile.idx): tile for tile in self.edge.extend(more)})

    def tile(self, level: int, index: int) -> bytes | None:
        self.asked += 1
        whole = self.tiles.get((level, index))
        if whole is not None or not level:
            return None if whole is None else whole.hashes
        below = (self.tiles.get((level - 1, place)) for place in range(index * TILE, (index + 1) * TILE))
        return b"".join(tile.root for tile in below if tile is not None)

    def read(self, start: int, end: int) -> Sequence[bytes]:
        return self.leaves[start:end]


def test_tiles_give_the_hashes_of_a_tree_that_grows() -> None:
    shelf = _Shelf()
    nodes = Nodes(shelf.tile, shelf.read)
    for size in (1, 2, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 66_000):
        shelf.grow(size - len(shelf.leaves))
        top = root_of(shelf.leaves)
        assert shelf.edge.root() == top
        for where in (nodes, Nodes(shelf.tile, shelf.read)):  # one that has read before, and one that has not
            assert root(size, where) == top
            for index in {0, size // 3, size // 2, size - 1}:
                assert included(shelf.leaves[index], index, size, inclusion(index, size, where), top)
            old = size // 2 + 1
            assert consistent(old, size, root_of(shelf.leaves[:old]), top, consistency(old, size, where))
            for level, index in ((0, size), (1, size // 2), (8, size // 256), (16, size // 65_536)):
                with pytest.raises(LookupError):
                    where(level, index)
    assert nodes(16, 0) == root_of(shelf.leaves[:65_536])


def test_what_was_read_is_not_read_again() -> None:
    shelf = _Shelf()
    shelf.grow(70_000)
    nodes = Nodes(shelf.tile, shelf.read)
    inclusion(69_999, 70_000, nodes)
    before = shelf.asked
    inclusion(69_999, 70_000, nodes)
    assert before <= 4
    assert shelf.asked == before


@given(st.integers(0, 700), st.integers(0, 700))
def test_the_edge_of_a_tree_is_found_again(size: int, more: int) -> None:
    """An engine that opens a ledger goes on as the one that closed it would have."""
    shelf = _Shelf()
    shelf.grow(size)

    def hashes(level: int) -> Sequence[bytes]:
        if not level:
            return shelf.leaves[size >> 8 << 8 :]
        return [tile.root for (at, _), tile in sorted(shelf.tiles.items()) if at == level - 1]

    again = Frontier.at(size, hashes)
    assert again.root() == shelf.edge.root()
    fresh = [leaf_hash(b"%d" % number) for number in range(size, size + more)]
    assert again.extend(fresh) == shelf.edge.copy().extend(fresh)
    assert again.root() == root_of([*shelf.leaves, *fresh])
