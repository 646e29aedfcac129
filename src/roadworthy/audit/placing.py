"""Where the boxes and the lines of a graph stand: in rows from the top down, with as few crossings as a few tries find.

The steps are those of Sugiyama, Tagawa and Toda (1981): ways that lead back are set aside, boxes go in rows by their
longest way from a beginning, a way over several rows is given room in each, rows are ordered by where their neighbours
stand, and places are the nearest to the neighbours that leave no overlap. Ways that lead back go round the side, so
that no line ever passes through a box.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias

Point: TypeAlias = tuple[float, float]

BETWEEN: Final = 26.0
"""From box to box in a row, in pixels."""
ROOM: Final = 8.0
"""What a line needs in a row that it only passes."""
GAP: Final = 54.0
"""From row to row, where no way leads back."""
LANE: Final = 13.0
"""From line to line of those that lead back."""
LOOP: Final = 20.0
"""How far a way from a node to itself reaches out of its box."""
WIDEST: Final = 780.0
"""A row that would be wider is put in several."""
SWEEPS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The place of one node, in pixels from the upper left corner of the drawing."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The way of one edge: from the box where it begins to where it ends."""

    points: tuple[Point, ...]
    round_the_side: bool
    """It leads back: its points are corners. Otherwise they are to be joined by a curve, from above to below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A graph with all places."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    lines: Mapping[tuple[str, str], Line]


def place(sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]]) -> Placed:
    """Places for nodes, given with their width and height in pixels, and for the edges between them."""
    return _Placing(sizes, edges).placed()


@dataclass(slots=True, eq=False)
class _Cell:
    """Something that stands in a row: a node, or room for a line that passes."""

    node: str | None
    width: float
    above: list[_Cell] = field(default_factory=list["_Cell"])
    below: list[_Cell] = field(default_factory=list["_Cell"])
    x: float = 0.0
    """Of its middle."""


class _Placing:
    def __init__(self, sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]]) -> None:
        self.sizes = sizes
        self.loops = {source for source, target in edges if source == target}
        self.edges = list(dict.fromkeys(edge for edge in edges if edge[0] != edge[1]))
        self.back: set[tuple[str, str]] = set()
        self.row_of: dict[str, int] = {}
        self.rows: list[list[_Cell]] = []
        self.cells: dict[str, _Cell] = {}
        self.passed: dict[tuple[str, str], list[_Cell]] = {}
        """By edge, what it passes from its beginning to its end, both with it."""

    def placed(self) -> Placed:
        self._set_aside()
        self._into_rows()
        self._narrow()
        self._make_room()
        self._order()
        self._across()
        return self._drawn()

    # -- rows -------------------------------------------------------------------------------------------------------

    def _set_aside(self) -> None:
        """Find the edges that lead back, by going through the graph from its beginnings."""
        ahead: dict[str, list[str]] = {node: [] for node in self.sizes}
        for source, target in self.edges:
            ahead[source].append(target)
        led_to = {target for _, target in self.edges}
        state: dict[str, str] = {}
        for first in (*(n for n in self.sizes if n not in led_to), *self.sizes):
            if first in state:
                continue
            state[first] = "open"
            stack = [(first, iter(ahead[first]))]
            while stack:
                node, targets = stack[-1]
                target = next(targets, None)
                if target is None:
                    state[node] = "done"
                    stack.pop()
                elif state.get(target) == "open":
                    self.back.add((node, target))
                elif target not in state:
                    state[target] = "open"
                    stack.append((target, iter(ahead[target])))

    def _into_rows(self) -> None:
        before: dict[str, list[str]] = {node: [] for node in self.sizes}
        for source, target in self._forward():
            before[target].append(source)
        left = dict.fromkeys(self.sizes)
        while left:
            for node in list(left):
                if all(source in self.row_of for source in before[node]):
                    self.row_of[node] = 1 + max((self.row_of[source] for source in before[node]), default=-1)
                    del left[node]

    def _forward(self) -> list[tuple[str, str]]:
        return [edge for edge in self.edges if edge not in self.back]

    def _narrow(self) -> None:
        """Put rows that are too wide in several: no edge leads from a row into itself, so that none is broken."""
        found: dict[str, int] = {}
        at = 0
        for row in range(1 + max(self.row_of.values(), default=-1)):
            here = [node for node in self.sizes if self.row_of[node] == row]
            whole = sum(self.sizes[node][0] + BETWEEN for node in here)
            share, width = whole / math.ceil(whole / WIDEST), 0.0
            for node in here:
                wide = self.sizes[node][0] + BETWEEN
                if width and width + wide / 2 > share:
                    at, width = at + 1, 0.0
                width += wide
                found[node] = at
            at += 1
        self.row_of = found

    def _make_room(self) -> None:
        self.rows = [[] for _ in range(1 + max(self.row_of.values(), default=-1))]
        for node, (width, _) in self.sizes.items():
            cell = self.cells[node] = _Cell(node, width + (2 * LOOP if node in self.loops else 0))
            self.rows[self.row_of[node]].append(cell)
        for edge in self._forward():
            source, target = edge
            way = [self.cells[source]]
            for row in range(self.row_of[source] + 1, self.row_of[target]):
                way.append(_Cell(None, ROOM))
                self.rows[row].append(way[-1])
            way.append(self.cells[target])
            for one, other in pairwise(way):
                one.below.append(other)
                other.above.append(one)
            self.passed[edge] = way

    # -- order and places in a row ----------------------------------------------------------------------------------

    def _order(self) -> None:
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            for row in self.rows[1:] if down else self.rows[-2::-1]:
                places = {id(c): n for other in self.rows for n, c in enumerate(other)}
                middles = {id(cell): _middle(cell, places, down=down) for cell in row}
                row.sort(key=lambda cell: middles[id(cell)])
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def _crossings(self) -> int:
        count = 0
        for row, under in pairwise(self.rows):
            places = {id(c): n for n, c in enumerate(under)}
            ends = [places[id(to)] for cell in row for to in sorted(cell.below, key=lambda c: places[id(c)])]
            count += sum(one > other for n, one in enumerate(ends) for other in ends[n + 1 :])
        return count

    def _across(self) -> None:
        for row in self.rows:
            _spread(row, [0.0] * len(row))
        for sweep in range(SWEEPS):
            for row in self.rows[1:] if sweep % 2 == 0 else self.rows[-2::-1]:
                _spread(row, [_wanted(cell, down=sweep % 2 == 0) for cell in row])

    # -- lines ------------------------------------------------------------------------------------------------------

    def _drawn(self) -> Placed:
        back = [edge for edge in self.edges if edge in self.back]
        low = min((c.x - c.width / 2 for row in self.rows for c in row), default=0.0)
        high = max((c.x + c.width / 2 for row in self.rows for c in row), default=0.0)
        middle = (low + high) / 2
        # A line that leads back goes round the nearer side; those that reach farther go farther outside.
        sides: dict[tuple[str, str], tuple[bool, int]] = {}
        for right in (False, True):
            here = [e for e in back if (self.cells[e[0]].x + self.cells[e[1]].x >= 2 * middle) is right]
            here.sort(key=lambda e: (abs(self.row_of[e[0]] - self.row_of[e[1]]), self.row_of[e[1]]))
            sides |= {edge: (right, n) for n, edge in enumerate(here)}
        lefts = sum(not right for right, _ in sides.values())
        rights = len(sides) - lefts
        shift = -low + (lefts * LANE + 12 if lefts else 0) + 2
        tops, heights = self._tops(sides)
        boxes = {
            node: Box(
                x=cell.x - self.sizes[node][0] / 2 + shift,
                y=tops[self.row_of[node]] + (heights[self.row_of[node]] - self.sizes[node][1]) / 2,
                width=self.sizes[node][0],
                height=self.sizes[node][1],
            )
            for node, cell in self.cells.items()
        }
        ports = self._ports(boxes)
        lines: dict[tuple[str, str], Line] = {}
        for edge, way in self.passed.items():
            start, end = ports[edge]
            first, last = self.row_of[edge[0]], self.row_of[edge[1]]
            points = [start, (start[0], tops[first] + heights[first])]  # out of the row before it bends
            for cell, row in zip(way[1:-1], range(first + 1, last), strict=True):
                points += [(cell.x + shift, tops[row]), (cell.x + shift, tops[row] + heights[row])]
            points += [(end[0], tops[last]), end]
            lines[edge] = Line(points=tuple(points), round_the_side=False)
        right_edge = high + shift
        for edge, (right, n) in sides.items():
            (sx, sy), (tx, ty) = ports[edge]
            lane = right_edge + 12 + n * LANE if right else low + shift - 12 - n * LANE
            out = tops[self.row_of[edge[0]]] + heights[self.row_of[edge[0]]] + 9 + n * 4
            into = tops[self.row_of[edge[1]]] - 13 - n * 4
            points = ((sx, sy), (sx, out), (lane, out), (lane, into), (tx, into), (tx, ty))
            lines[edge] = Line(points=points, round_the_side=True)
        for node in self.loops:
            box = boxes[node]
            x, y, out, low_y = box.x + box.width, box.y + 8, box.x + box.width + LOOP - 4, box.y + box.height - 8
            lines[node, node] = Line(points=((x, low_y), (out, low_y), (out, y), (x, y)), round_the_side=True)
        width = right_edge + (rights * LANE + 12 if rights else 0) + 2
        bottom = tops[-1] + heights[-1] if self.rows else 0.0
        lowest = max((y for line in lines.values() for _, y in line.points), default=0.0)
        return Placed(width=width, height=max(bottom, lowest) + 4, boxes=boxes, lines=lines)

    def _tops(self, sides: Mapping[tuple[str, str], tuple[bool, int]]) -> tuple[list[float], list[float]]:
        heights = [
            max((self.sizes[cell.node][1] for cell in row if cell.node is not None), default=0.0) for row in self.rows
        ]
        tops: list[float] = []
        y = 4.0
        for row in range(len(self.rows)):
            # Lines that lead back run between the rows, each at a height of its own.
            into = max((n + 1 for (_, target), (_, n) in sides.items() if self.row_of[target] == row), default=0)
            out = max((n + 1 for (source, _), (_, n) in sides.items() if self.row_of[source] == row - 1), default=0)
            y += into * 4 + out * 4 + (14 if into and row == 0 else 0)
            tops.append(y)
            y += heights[row] + GAP
        return tops, heights

    def _ports(self, boxes: Mapping[str, Box]) -> dict[tuple[str, str], tuple[Point, Point]]:
        """Where edges leave and reach their boxes: side by side, in the order in which they come from and go to."""
        starts: dict[tuple[str, str], Point] = {}
        ends: dict[tuple[str, str], Point] = {}
        for node, box in boxes.items():
            leaving = [edge for edge in self.edges if edge[0] == node]
            reaching = [edge for edge in self.edges if edge[1] == node]
            leaving.sort(key=lambda edge: self._toward(edge, first=True))
            reaching.sort(key=lambda edge: self._toward(edge, first=False))
            for edges, found, y in ((leaving, starts, box.y + box.height), (reaching, ends, box.y)):
                apart = min(16.0, (box.width - 20) / max(len(edges), 1))
                for n, edge in enumerate(edges):
                    found[edge] = (box.x + box.width / 2 + (n - (len(edges) - 1) / 2) * apart, y)
        return {edge: (starts[edge], ends[edge]) for edge in self.edges}

    def _toward(self, edge: tuple[str, str], *, first: bool) -> float:
        """Which way an edge goes from its beginning, or comes to its end."""
        if edge in self.passed:
            way = self.passed[edge]
            return way[1].x if first else way[-2].x
        middle = sum(c.x for c in self.cells.values()) / len(self.cells)
        return 1e6 if self.cells[edge[0]].x + self.cells[edge[1]].x >= 2 * middle else -1e6


def _middle(cell: _Cell, places: Mapping[int, int], *, down: bool) -> float:
    near = cell.above if down else cell.below
    return sum(places[id(c)] for c in near) / len(near) if near else float(places[id(cell)])


def _wanted(cell: _Cell, *, down: bool) -> float:
    near = cell.above if down else cell.below
    return sum(c.x for c in near) / len(near) if near else cell.x


def _apart(left: _Cell, right: _Cell) -> float:
    """From middle to middle of two neighbours in a row, at least."""
    free = BETWEEN if left.node is not None and right.node is not None else BETWEEN / 2
    return left.width / 2 + free + right.width / 2


def _spread(row: Sequence[_Cell], wanted: Sequence[float]) -> None:
    """Places in a row that are as near as can be to those wanted, in order and without overlap.

    The least squares under an order, by pooling neighbours that would overlap (Ayer and others, 1955).
    """
    offsets: list[float] = []
    for n, cell in enumerate(row):
        offsets.append(offsets[-1] + _apart(row[n - 1], cell) if n else 0.0)
    pools: list[tuple[float, int]] = []
    for goal, offset in zip(wanted, offsets, strict=True):
        pools.append((goal - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, m), (other, n) = pools[-2], pools[-1]
            pools[-2:] = [((one * m + other * n) / (m + n), m + n)]
    places = [place for place, count in pools for _ in range(count)]
    for cell, offset, base in zip(row, offsets, places, strict=True):
        cell.x = base + offset
