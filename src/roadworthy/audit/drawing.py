"""A graph as a picture: what an application is made of, which way a run took, and what the gate said where.

One SVG that stands in a page by itself: no script, no style of its own (the page's sheet, `drawing.css`, knows its
classes), and texts of strangers escaped. `described` says the same in words.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final, Literal

from roadworthy.audit.placing import Box, Line, Placed, Point, place
from roadworthy.core.errors import UsageError
from roadworthy.core.visible import visible

Kind = Literal["agent", "step", "tool", "start", "end"]
Said = Literal["allow", "clarify", "ask", "deny", "failed", "in_doubt"]

MOST: Final = 60
"""A graph with more nodes is told in words only."""
_LONGEST: Final = 26
"""Characters of a name that are drawn; all of them stand in its title."""
_WORDS: Final = {
    "allow": "allowed", "clarify": "sent back", "ask": "asked", "deny": "denied", "failed": "failed",
    "in_doubt": "in doubt",
}  # fmt: skip
_HEIGHT, _CHIP, _PAD = 34.0, 18.0, 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A box."""

    id: str
    label: str = ""
    """What stands in it; its id, where that is empty."""
    kind: Kind = "step"

    @property
    def name(self) -> str:
        return self.label or self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A way from one node to another."""

    source: str
    target: str
    conditional: bool = False
    """It is taken on a condition, and drawn in dashes."""
    label: str = ""
    """What it means, for `described`; the drawing has no room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the gate said at a node, and how often."""

    node: str
    verdict: Said
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A graph and what a run did in it."""

    title: str
    nodes: Sequence[Node]
    edges: Sequence[Edge] = ()
    taken: Sequence[tuple[str, str]] = ()
    """The edges that the run took, in order; one may come again. What is no edge of the graph is drawn as one."""
    visited: Sequence[str] = ()
    """Nodes that the run came to, beside those at the ends of what it took."""
    marks: Sequence[Mark] = ()


def draw(drawing: Drawing, *, name: str = "d") -> str:
    """The SVG. `name` begins the ids in it: a page that has several drawings gives each another one.

    Raises UsageError for more than `MOST` nodes, two with one id, and edges or marks of nodes that are not there.
    """
    return _Picture(_checked(drawing), name).svg()


def described(drawing: Drawing) -> str:
    """The same in words, a sentence a line. For a graph of any size."""
    names = {node.id: node.name for node in drawing.nodes}
    lines = [f"{len(names)} {'node' if len(names) == 1 else 'nodes'}: {', '.join(names.values())}."]
    steps = _steps(drawing.taken)
    for edge in _edges(drawing):
        taken = steps.get((edge.source, edge.target))
        how = ", on a condition" if edge.conditional else ""
        what = f" ({edge.label})" if edge.label else ""
        when = f"taken at {_listed(taken)}" if taken else "not taken"
        lines.append(f"From {names[edge.source]} to {names[edge.target]}{what}{how}: {when}.")
    counted: dict[str, Counter[str]] = {}
    for mark in drawing.marks:
        counted.setdefault(mark.node, Counter())[mark.verdict] += mark.count
    for node, said in ((one.id, counted[one.id]) for one in drawing.nodes if one.id in counted):
        told = ", ".join(f"{count} {_WORDS[word]}" for word, count in said.items())
        lines.append(f"Calls of {names[node]}: {told}.")
    return "\n".join(visible(line, lines=False) for line in lines)


def _checked(drawing: Drawing) -> Drawing:
    ids = {node.id for node in drawing.nodes}
    named = [*drawing.visited, *(mark.node for mark in drawing.marks)]
    named += [end for edge in drawing.edges for end in (edge.source, edge.target)]
    named += [end for way in drawing.taken for end in way]
    unknown = next((one for one in named if one not in ids), None)
    if unknown is not None or len(ids) < len(drawing.nodes):
        why = f"it has no node {unknown!r}" if unknown is not None else "two of its nodes have one id"
        raise UsageError(f"the graph {drawing.title!r} cannot be drawn: {why}")
    if len(ids) > MOST:
        raise UsageError(
            f"a graph of {len(ids)} nodes is too large to be drawn; up to {MOST} are: describe it in words"
        )
    return drawing


def _edges(drawing: Drawing) -> list[Edge]:
    """The edges of the graph, and what was taken beside them."""
    known = {(edge.source, edge.target): edge for edge in drawing.edges}
    for source, target in drawing.taken:
        known.setdefault((source, target), Edge(source=source, target=target))
    return list(known.values())


def _steps(taken: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for step, way in enumerate(taken, 1):
        found.setdefault(way, []).append(step)
    return found


def _listed(steps: Sequence[int], most: int = 8) -> str:
    shown = ("steps " if len(steps) > 1 else "step ") + ", ".join(map(str, steps[:most]))
    return f"{shown} and {len(steps) - most} more" if len(steps) > most else shown


def text_width(text: str, size: float) -> float:
    """How wide a text is at most in a usual sans serif font, in pixels."""
    wide = 0.0
    for character in text:
        if unicodedata.combining(character):
            continue
        if unicodedata.east_asian_width(character) in "WF":
            wide += 1.05
        elif character in "mwMW@%—…":
            wide += 0.95
        elif character.isupper() or character.isdigit() or character in "_+=<>#&":
            wide += 0.72
        elif character in "iljtfr.,:;'|!()[]{} -/":
            wide += 0.4
        else:
            wide += 0.6
    return wide * size


def _cut(text: str) -> str:
    shown = visible(text, lines=False)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A piece of text in the drawing, and the room that it takes."""

    text: str
    x: float
    y: float
    """Of its base line."""
    size: float
    kind: str

    @property
    def room(self) -> Box:
        width = text_width(self.text, self.size)
        return Box(x=self.x - width / 2, y=self.y - self.size * 0.8, width=width, height=self.size)


class _Picture:
    def __init__(self, drawing: Drawing, name: str) -> None:
        self.drawing = drawing
        self.name = name
        self.edges = _edges(drawing)
        self.steps = _steps(drawing.taken)
        self.marks: dict[str, dict[str, int]] = {node.id: {} for node in drawing.nodes}
        for mark in drawing.marks:
            counts = self.marks[mark.node]
            counts[mark.verdict] = counts.get(mark.verdict, 0) + mark.count
        self.visited = {*drawing.visited, *(end for way in drawing.taken for end in way)}
        self.visited.update(mark.node for mark in drawing.marks)
        self.texts: list[Text] = []
        self.placed: Placed = place(
            {node.id: self._size(node) for node in drawing.nodes}, [(e.source, e.target) for e in self.edges]
        )

    def svg(self) -> str:
        boxes = "".join(self._box(node) for node in self.drawing.nodes)
        # What was taken stands above what was not.
        ordered = sorted(self.edges, key=lambda edge: (edge.source, edge.target) in self.steps)
        lines = "".join(map(self._line, ordered))
        numbers = "".join(self._numbers(edge) for edge in ordered)
        title = escape(visible(self.drawing.title, lines=False))
        # A number on the outermost line may reach out of what the boxes and lines take.
        rooms = [text.room for text in self.texts]
        left = min((room.x - 8 for room in rooms), default=0.0)
        width = max((room.x + room.width + 8 for room in rooms), default=0.0)
        left, width = min(left, 0.0), max(width, self.placed.width) - min(left, 0.0)
        height = self.placed.height
        return (
            f'<svg class="drawing" viewBox="{_n(left)} 0 {_n(width)} {_n(height)}" '
            f'width="{_n(width)}" height="{_n(height)}" '
            f'role="img" aria-labelledby="{self.name}-title {self.name}-words">'
            f'<title id="{self.name}-title">{title}</title>'
            f'<desc id="{self.name}-words">{escape(described(self.drawing))}</desc>'
            f"<defs>{self._arrow('way')}{self._arrow('taken')}</defs>{lines}{boxes}{numbers}</svg>"
        )

    def _arrow(self, kind: str) -> str:
        return (
            f'<marker id="{self.name}-{kind}" class="head-{kind}" viewBox="0 0 8 8" refX="7.5" refY="4" '
            'markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
            '<path d="M0 .5 8 4 0 7.5z"/></marker>'
        )

    # -- boxes ------------------------------------------------------------------------------------------------------

    def _size(self, node: Node) -> tuple[float, float]:
        wide = text_width(_cut(node.name), 13) + 2 * _PAD
        chips = self._chips(node.id)
        if chips:
            wide = max(wide, sum(width for _, _, width in chips) + 5 * (len(chips) - 1) + _PAD)
        if node.kind in ("start", "end"):
            return max(wide, 48.0), 26.0
        return max(wide, 72.0), _HEIGHT + (_CHIP + 5 if chips else 0)

    def _chips(self, node: str) -> list[tuple[str, str, float]]:
        """Verdict, text, width."""
        counts = self.marks[node]
        texts = [(word, f"{counts[word]} {told}") for word, told in _WORDS.items() if word in counts]
        return [(word, text, text_width(text, 11) + 12) for word, text in texts]

    def _box(self, node: Node) -> str:
        box = self.placed.boxes[node.id]
        been = "been" if node.id in self.visited else "idle"
        corner = {"start": box.height / 2, "end": box.height / 2, "agent": 10.0}.get(node.kind, 4.0)
        chips = self._chips(node.id)
        middle = box.x + box.width / 2
        line = box.y + (box.height / 2 + 4.5 if not chips else 21.5)
        parts = [
            f'<g class="node {node.kind} {been}"><title>{escape(visible(node.name, lines=False))}</title>',
            _rect(box, corner),
            self._text(_cut(node.name), middle, line, 13, "name"),
        ]
        x = middle - (sum(width for _, _, width in chips) + 5 * (len(chips) - 1)) / 2
        for word, text, width in chips:
            y = box.y + box.height - _CHIP - 7
            parts.append(
                f'<g class="said {word}">{_rect(Box(x=x, y=y, width=width, height=_CHIP), 9)}'
                f"{self._text(text, x + width / 2, y + 13, 11, 'count')}</g>"
            )
            x += width + 5
        return "".join([*parts, "</g>"])

    def _text(self, text: str, x: float, y: float, size: float, kind: str) -> str:
        self.texts.append(Text(text=text, x=x, y=y, size=size, kind=kind))
        return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}">{escape(text)}</text>'

    # -- lines ------------------------------------------------------------------------------------------------------

    def _line(self, edge: Edge) -> str:
        taken = (edge.source, edge.target) in self.steps
        line = self.placed.lines[edge.source, edge.target]
        kinds = f"edge {'taken' if taken else 'way'}{' maybe' if edge.conditional else ''}"
        arrow = f"url(#{self.name}-{'taken' if taken else 'way'})"
        return f'<path class="{kinds}" d="{_path(line)}" marker-end="{arrow}"/>'

    def _numbers(self, edge: Edge) -> str:
        """At which steps a way was taken, where that can be read."""
        steps = self.steps.get((edge.source, edge.target))
        if not steps:
            return ""
        text = ", ".join(map(str, steps[:3])) + ("…" if len(steps) > 3 else "")
        width = max(text_width(text, 10.5) + 8, 17)
        x, y = self._free(self.placed.lines[edge.source, edge.target], width)
        return (
            f'<g class="step-no">{_rect(Box(x=x - width / 2, y=y - 8.5, width=width, height=17), 8.5)}'
            f"{self._text(text, x, y + 3.8, 10.5, 'no')}</g>"
        )

    def _free(self, line: Line, width: float) -> Point:
        """A place on a line where a number meets no box and no other text; the middle, where there is none."""
        taken = [*self.placed.boxes.values(), *(text.room for text in self.texts)]
        found = list(_along(line))
        x, y = found[len(found) // 2]
        for point in sorted(found, key=lambda p: abs(p[0] - x) + abs(p[1] - y)):
            room = Box(x=point[0] - width / 2 - 2, y=point[1] - 10, width=width + 4, height=20)
            if not any(overlap(room, other) for other in taken):
                return point
        return x, y


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have any room in common."""
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def _along(line: Line) -> Iterable[Point]:
    """Points on a line, from its beginning to its end."""
    points = line.points
    for (x, y), (to_x, to_y) in pairwise(points):
        if (x, y) == (to_x, to_y):
            continue
        for n in range(1, 20):
            t = n / 20
            # A curve between rows leaves and arrives upright; between the corners of a side lane it is straight.
            bend = t if line.round_the_side or x == to_x else 3 * t * t - 2 * t * t * t
            down = t if line.round_the_side or x == to_x else 1.5 * t - 1.5 * t * t + t * t * t
            yield x + (to_x - x) * bend, y + (to_y - y) * down


def _rect(box: Box, radius: float) -> str:
    place = f'x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}"'
    return f'<rect {place} rx="{_n(radius)}"/>'


def _path(line: Line) -> str:
    points = line.points
    if line.round_the_side:
        return _cornered(points)
    parts = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        if x == to_x:
            parts.append(f"V{_n(to_y)}" if y != to_y else "")
        else:
            half = (y + to_y) / 2
            parts.append(f"C{_n(x)} {_n(half)} {_n(to_x)} {_n(half)} {_n(to_x)} {_n(to_y)}")
    return "".join(parts)


def _cornered(points: Sequence[Point]) -> str:
    """Straight lines with round corners."""
    parts = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for before, at, after in zip(points, points[1:], points[2:], strict=False):
        near, far = _toward(at, before), _toward(at, after)
        parts.append(f"L{_n(near[0])} {_n(near[1])}Q{_n(at[0])} {_n(at[1])} {_n(far[0])} {_n(far[1])}")
    return "".join([*parts, f"L{_n(points[-1][0])} {_n(points[-1][1])}"])


def _toward(at: Point, other: Point, radius: float = 6.0) -> Point:
    length = abs(other[0] - at[0]) + abs(other[1] - at[1])
    share = min(radius, length / 2) / length if length else 0.0
    return at[0] + (other[0] - at[0]) * share, at[1] + (other[1] - at[1]) * share


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
