"""The Merkle tree of a ledger as it grows: what a commit must know of it, and the tiles that it leaves behind.

RFC 6962, section 2.1; tiles as in C2SP tlog-tiles: 256 hashes of one height, complete ones only.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

TILE: Final = 256
"""Hashes in a tile, and leaves under each hash of the next level's tiles."""

_HEIGHT: Final = 8
_KEPT: Final = 64
"""Tiles, with all hashes inside them: some 40 KB each."""
_HASH: Final = 32
EMPTY: Final = sha256(b"").digest()
"""The root of a tree without leaves."""


class Controls(NamedTuple):
    """A hash over all entries that change what gates may do, such as stops, in order.

    It stands in the checkpoint, so that taking such an entry out of the tables is noticed by whoever goes by them:
    each hash is SHA-256 over the one before and the leaf hash of the entry.
    """

    number: int = 0
    digest: bytes = bytes(_HASH)

    def plus(self, leaf: bytes) -> Controls:
        """With one more, by its leaf hash."""
        return Controls(self.number + 1, sha256(self.digest + leaf).digest())

    def lines(self) -> tuple[str, ...]:
        """The extension line of a checkpoint; none where there is no such entry."""
        return (f"controls {self.number} {base64.b64encode(self.digest).decode()}",) if self.number else ()


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
    """Hashes of complete subtrees, from tiles, and from the leaves where the lowest tile is not complete.

    `tile` gives the hashes of a tile as far as it goes, and None for the lowest one that is not complete; `leaves` the
    hashes of the leaves from one index up to another. What was read is kept: a leaf that is there never changes.
    """

    def __init__(self, tile: Callable[[int, int], bytes | None], leaves: Callable[[int, int], Sequence[bytes]]) -> None:
        self._leaves = leaves
        self._tile = tile
        self._whole: dict[tuple[int, int], list[list[bytes]]] = {}
        self._open: dict[int, tuple[int, list[list[bytes]]]] = {}
        """For each level the tile that was not complete when it was read."""

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of the 2**level leaves from index * 2**level on.

        Raises LookupError where the tree does not reach so far.
        """
        height, inside = divmod(level, _HEIGHT)
        tile, at = divmod(index, TILE >> inside)
        place, rows = self._open.get(height, (-1, []))
        if place != tile or at >= len(rows[inside]):
            rows = self._whole.get((height, tile)) or self._read(height, tile)
        if at >= len(rows[inside]):
            raise LookupError(f"there is no complete subtree of height {level} at {index}")
        return rows[inside][at]

    def _read(self, height: int, tile: int) -> list[list[bytes]]:
        """All hashes inside a tile, by height."""
        found = self._tile(height, tile)
        if found is None:
            rows = [list(self._leaves(tile * TILE, (tile + 1) * TILE))]
        else:
            rows = [[found[at : at + _HASH] for at in range(0, len(found), _HASH)]]
        while len(rows) < _HEIGHT:
            rows.append(_above(rows[-1]))
        if len(rows[0]) < TILE:
            self._open[height] = (tile, rows)
        else:
            if len(self._whole) >= _KEPT:
                self._whole.clear()
            self._whole[height, tile] = rows
        return rows


def _above(row: Sequence[bytes]) -> list[bytes]:
    return [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row) - 1, 2)]
