"""The Merkle tree of RFC 6962, section 2.1: hashes, roots, and the proofs that a reader checks.

A leaf is SHA-256(0x00, data), a node SHA-256(0x01, left, right); a tree of n leaves splits at the largest power of two
below n. Proofs are made from the hashes of *complete* subtrees alone (`Node`), which never change once they are there.
What checks a proof answers true or false and never raises: what it is given comes from somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

Node = Callable[[int, int], bytes]
"""(level, index): the hash of the complete subtree over the leaves index * 2**level up to (index + 1) * 2**level."""

HASH_BYTES: Final = 32
EMPTY: Final = sha256().digest()
"""The root of the tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over the hashes of its two halves."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over the hashes of all leaves, or over the hashes of neighbouring complete subtrees of one height."""
    if not hashes:
        return EMPTY
    level = list(hashes)
    while len(level) > 1:
        above = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def _span(start: int, end: int, node: Node) -> bytes:
    """The root over leaves start to end (end excluded); start is a multiple of a power of two not below their number.

    Such a span ends at the edge of the tree or is complete, so its parts lie at the bits of its length.
    """
    found: bytes | None = None
    level, place, length = 0, end, end - start
    while length:
        if length & 1:
            part = node(level, place - 1)
            found = part if found is None else node_hash(part, found)
        length >>= 1
        place >>= 1
        level += 1
    return EMPTY if found is None else found


def root(size: int, node: Node) -> bytes:
    """The root of the tree of the first `size` leaves."""
    return _span(0, size, node)


def inclusion(index: int, size: int, node: Node) -> list[bytes]:
    """The proof that leaf `index` stands in the tree of `size` leaves: from its sibling up to the child of the root.

    0 <= index < size, else ValueError. Source: RFC 6962, section 2.1.1.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}; they are counted from 0")
    proof: list[bytes] = []
    level, last = 0, size - 1
    while last:
        if index & 1:
            proof.append(node(level, index - 1))
        elif index < last:
            proof.append(_span((index + 1) << level, min((index + 2) << level, size), node))
        index >>= 1
        last >>= 1
        level += 1
    return proof


def consistency(old: int, new: int, node: Node) -> list[bytes]:
    """The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves.

    0 <= old <= new, else ValueError. Empty where nothing is to be proven: the sizes are the same, or the old tree has
    no leaves. Source: RFC 6962, section 2.1.2.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} leaves is not the beginning of one of {new}")
    if old in (0, new):
        return []
    proof: list[bytes] = []
    start, end, within, whole = 0, new, old, True
    while within != end - start:
        half = 1 << ((end - start - 1).bit_length() - 1)
        if within <= half:
            proof.append(_span(start + half, end, node))
            end = start + half
        else:
            proof.append(_span(start, start + half, node))
            start += half
            within -= half
            whole = False
    if not whole:  # else the reader has this hash: it is the root of the old tree
        proof.append(_span(start, end, node))
    return proof[::-1]


def _hashes(*found: bytes) -> bool:
    return all(len(one) == HASH_BYTES for one in found)


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that the leaf with this hash is number `index` (from 0) of the tree with this root.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size or not _hashes(leaf, root, *proof):
        return False
    found, last = leaf, size - 1
    for sibling in proof:
        if not last:
            return False
        if index & 1 or index == last:
            found = node_hash(sibling, found)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        index >>= 1
        last >>= 1
    return not last and found == root


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the tree with the new root begins with the whole of the tree with the old one.

    Nothing can be shown of an old tree without leaves, unless the new one is the same: who begins with nothing must
    know that. Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 <= old <= new or not _hashes(old_root, new_root, *proof):
        return False
    if old == new:
        return not proof and old_root == new_root and (old > 0 or old_root == EMPTY)
    if not old or not proof:
        return False
    path = list(proof)
    if not old & (old - 1):  # a power of two: its root is a node of the new tree, and the proof leaves it out
        path.insert(0, old_root)
    index, last = old - 1, new - 1
    while index & 1:
        index >>= 1
        last >>= 1
    before = after = path[0]
    for sibling in path[1:]:
        if not last:
            return False
        if index & 1 or index == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            after = node_hash(after, sibling)
        index >>= 1
        last >>= 1
    return not last and before == old_root and after == new_root
