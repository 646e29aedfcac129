"""The Merkle tree of a ledger as it grows: what a commit must know of it, and the tiles that it leaves behind.

RFC 6962, section 2.1; tiles as in C2SP tlog-tiles: 256 hashes of one height, complete ones only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

TILE: Final = 256
"""Hashes in a tile, and leaves under each hash of the next level's tiles."""

_HEIGHT: Final = 8
_HASH: Final = 32
EMPTY: Final = sha256(b"").digest()
"""The root of a tree without leaves."""


class Tile(NamedTuple):
    """A complete tile."""

    level: int
    idx: int
    hashes: bytes
    root: bytes
    """The hash above them all."""


class Frontier:
    """The right edge of a tree: enough to add leaves and to give the root. Not thread-safe."""

    __slots__ = ("_open", "_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []
        """Roots of the complete subtrees that the leaves fall into, the largest first: one for each bit of the size."""
        self._open: list[list[bytes]] = [[]]
        """For each level the hashes of its tile that is not complete yet."""

    @classmethod
    def at(cls, size: int, hashes: Callable[[int], Sequence[bytes]]) -> Frontier:
        """The edge of a tree of this size; `hashes` gives those of a level's open tile, in order."""
        edge = cls()
        edge.size = size
        levels = 1
        while size >> (_HEIGHT * levels):
            levels += 1
        edge._open = [list(hashes(level)) for level in range(levels)]
        for level in reversed(range(levels)):
            for count, one in enumerate(edge._open[level], start=1):
                edge._peaks.append(one)
                while not count & 1:
                    right = edge._peaks.pop()
                    edge._peaks[-1] = sha256(b"\x01" + edge._peaks[-1] + right).digest()
                    count >>= 1
        return edge

    def copy(self) -> Frontier:
        """One that grows by itself."""
        other = Frontier()
        other.size = self.size
        other._peaks = self._peaks.copy()
        other._open = [level.copy() for level in self._open]
        return other

    def extend(self, leaves: Iterable[bytes]) -> list[Tile]:
        """Add leaves by their hashes; the tiles that are complete now."""
        done: list[Tile] = []
        peaks, levels = self._peaks, self._open
        lowest, size = levels[0], self.size
        for leaf in leaves:
            size += 1
            lowest.append(leaf)
            peaks.append(leaf)
            left, height = size, 0
            while not left & 1:
                above = sha256(b"\x01" + peaks[-2] + peaks[-1]).digest()
                del peaks[-1]
                peaks[-1] = above
                left >>= 1
                height += 1
                if not height & 7:
                    level = height >> 3
                    done.append(Tile(level - 1, (size >> height) - 1, b"".join(levels[level - 1]), above))
                    levels[level - 1].clear()
                    if level == len(levels):
                        levels.append([])
                    levels[level].append(above)
        self.size = size
        return done

    def root(self) -> bytes:
        """The root over all leaves."""
        if not self._peaks:
            return EMPTY
        *rest, found = self._peaks
        for peak in reversed(rest):
            found = sha256(b"\x01" + peak + found).digest()
        return found


class Nodes:
    """Hashes of complete subtrees, from tiles where these are complete and from the leaves where not.

    `tile` gives the hashes of a complete tile, or None; `leaves` those of the leaves from one index up to another.
    """

    def __init__(self, tile: Callable[[int, int], bytes | None], leaves: Callable[[int, int], Sequence[bytes]]) -> None:
        self._leaves = leaves
        self._levels = lru_cache(maxsize=64)(self._within)
        self._tile = tile

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of the 2**level leaves from index * 2**level on.

        Raises LookupError where the tree does not reach so far.
        """
        height, inside = divmod(level, _HEIGHT)
        per = TILE >> inside
        tile, at = divmod(index, per)
        try:
            return self._levels(height, tile)[inside][at]
        except LookupError:
            return self._open(level, index)

    def _within(self, height: int, tile: int) -> list[list[bytes]]:
        """All hashes inside a complete tile, by height. A complete tile never changes, so they are kept."""
        found = self._tile(height, tile)
        if found is None:
            raise LookupError(f"tile {tile} of level {height} is not complete")
        rows = [[found[at : at + _HASH] for at in range(0, len(found), _HASH)]]
        while len(rows[-1]) > 1:
            rows.append(_above(rows[-1]))
        return rows

    def _open(self, level: int, index: int) -> bytes:
        if level >= _HEIGHT:
            row = [self(level - 1, 2 * index), self(level - 1, 2 * index + 1)]
            return _above(row)[0]
        first = index << level
        row = list(self._leaves(first, first + (1 << level)))
        if len(row) != 1 << level:
            raise LookupError(f"there is no complete subtree of height {level} at {index}")
        while len(row) > 1:
            row = _above(row)
        return row[0]


def _above(row: Sequence[bytes]) -> list[bytes]:
    return [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row) - 1, 2)]
