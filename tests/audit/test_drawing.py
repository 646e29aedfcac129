"""A graph as a picture: every box, line and text has a place of its own, and the same is said in words."""

from __future__ import annotations

import re
from importlib import resources
from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.audit.drawing import MOST, Drawing, Edge, Mark, Node, described, draw, overlap, text_width
from roadworthy.audit.placing import Box, place
from roadworthy.core.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"

LOOP = Drawing(
    title="Its graph",
    nodes=[
        Node(id="s", label="start", kind="start"),
        Node(id="model"),
        Node(id="tools"),
        Node(id="e", label="end", kind="end"),
    ],
    edges=[
        Edge(source="s", target="model"),
        Edge(source="model", target="tools", conditional=True, label="it calls tools"),
        Edge(source="tools", target="model"),
        Edge(source="model", target="e", conditional=True),
    ],
    taken=[("s", "model"), ("model", "tools"), ("tools", "model"), ("model", "tools")],
    marks=[Mark(node="tools", verdict="deny"), Mark(node="tools", verdict="allow", count=2)],
)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib[name])


def box_of(rect: ElementTree.Element) -> Box:
    return Box(x=number(rect, "x"), y=number(rect, "y"), width=number(rect, "width"), height=number(rect, "height"))


def boxes_of(svg: ElementTree.Element) -> list[Box]:
    return [
        box_of(rect)
        for node in svg.iter(f"{SVG}g")
        if node.attrib["class"].startswith("node")
        for rect in node.findall(f"{SVG}rect")
    ]


# what is drawn --------------------------------------------------------------------------------------------------------


def test_what_was_taken_and_what_the_gate_said_are_drawn() -> None:
    svg = parsed(draw(LOOP))
    groups = {group.attrib["class"] for group in svg.iter(f"{SVG}g")}
    assert {"node start been", "node step been", "node end idle", "said deny", "said allow"} <= groups
    ways = [path.attrib["class"] for path in svg.iter(f"{SVG}path") if "class" in path.attrib]
    assert sorted(ways) == ["edge taken", "edge taken", "edge taken maybe", "edge way maybe"]
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert texts == ["start", "model", "tools", "2 allowed", "1 denied", "end", "1", "2, 4", "3"]


def test_the_same_in_words() -> None:
    assert described(LOOP).split("\n") == [
        "4 nodes: start, model, tools, end.",
        "From start to model: taken at step 1.",
        "From model to tools (it calls tools), on a condition: taken at steps 2, 4.",
        "From tools to model: taken at step 3.",
        "From model to end, on a condition: not taken.",
        "Calls of tools: 1 denied, 2 allowed.",
    ]
    svg = parsed(draw(LOOP, name="one"))
    words = svg.find(f"{SVG}desc")
    assert words is not None
    assert words.text == described(LOOP)
    assert svg.attrib["aria-labelledby"] == f"one-title {words.attrib['id']}"


def test_many_steps_over_one_way_are_cut_in_the_picture_and_counted_in_words() -> None:
    again = Drawing(title="x", nodes=[Node(id="a"), Node(id="b")], taken=[("a", "b")] * 12)
    assert "1, 2, 3…" in draw(again)
    assert "taken at steps 1, 2, 3, 4, 5, 6, 7, 8 and 4 more" in described(again)


def test_texts_of_strangers_stay_texts() -> None:
    nasty = '<script>x</script>"\u202e&\x1b'
    drawing = Drawing(title=nasty, nodes=[Node(id=nasty, kind="agent"), Node(id="b")], taken=[(nasty, "b")])
    svg = draw(drawing)
    assert not set(svg) & set("\u202e\x1b")
    assert parsed(svg).findall(".//{*}script") == []
    assert "style=" not in svg
    assert described(drawing).count("<U+202E>") == 2


def test_a_long_name_is_cut_and_stands_whole_in_its_title() -> None:
    name = "retrieve documents from the archive"
    svg = parsed(draw(Drawing(title="x", nodes=[Node(id=name)])))
    (text,) = [text.text for text in svg.iter(f"{SVG}text")]
    assert text is not None
    assert len(text) < len(name)
    assert name in [title.text for title in svg.iter(f"{SVG}title")]


def test_two_drawings_of_one_page_share_no_id() -> None:
    ids = [set(re.findall(r' id="([^"]+)"', draw(LOOP, name=name))) for name in ("a", "b")]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_the_sheet_knows_every_class() -> None:
    sheet = resources.files("roadworthy.audit").joinpath("templates", "drawing.css").read_text(encoding="utf-8")
    everything = Drawing(
        title="x",
        nodes=[Node(id=kind, kind=kind) for kind in ("agent", "step", "tool", "start", "end")],
        edges=[Edge(source="agent", target="step", conditional=True)],
        taken=[("agent", "tool")],
        marks=[Mark(node="tool", verdict=v) for v in ("allow", "clarify", "ask", "deny", "failed", "in_doubt")],
    )
    used = {name for names in re.findall(r'class="([^"]+)"', draw(everything)) for name in names.split()}
    plain = {"agent", "step", "been", "way"}  # as everything else of its kind
    assert {name for name in used if not re.search(rf"\.{name}(?![\w-])", sheet)} == plain


@pytest.mark.parametrize(
    ("drawing", "why"),
    [
        (Drawing(title="g", nodes=[Node(id="a"), Node(id="a")]), "two of its nodes have one id"),
        (Drawing(title="g", nodes=[Node(id="a")], edges=[Edge(source="a", target="b")]), "it has no node 'b'"),
        (Drawing(title="g", nodes=[Node(id="a")], taken=[("c", "a")]), "it has no node 'c'"),
        (Drawing(title="g", nodes=[Node(id="a")], visited=["d"]), "it has no node 'd'"),
        (Drawing(title="g", nodes=[Node(id="a")], marks=[Mark(node="e", verdict="ask")]), "it has no node 'e'"),
        (Drawing(title="g", nodes=[Node(id=str(n)) for n in range(MOST + 1)]), "too large to be drawn"),
    ],
)
def test_what_cannot_be_drawn_says_why(drawing: Drawing, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        draw(drawing)


def test_nothing_is_a_drawing_too() -> None:
    assert boxes_of(parsed(draw(Drawing(title="empty", nodes=[])))) == []
    assert described(Drawing(title="empty", nodes=[])) == "0 nodes: ."


# places ---------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["a", "model", "retrieve documents from here", "検索して要約する", "WWWWWWWWWWWW", "x_y", "é", "b", "c"]
)


@st.composite
def drawings(draw_: st.DrawFn) -> Drawing:
    labels = draw_(st.lists(NAMES, min_size=1, max_size=18))
    nodes = [Node(id=str(n), label=label, kind="agent") for n, label in enumerate(labels)]
    ids = st.integers(0, len(nodes) - 1).map(str)
    ways = draw_(st.lists(st.tuples(ids, ids), max_size=30, unique=True))
    taken = draw_(st.lists(st.sampled_from(ways), max_size=12)) if ways else []
    marks = draw_(
        st.lists(
            st.builds(Mark, node=ids, verdict=st.sampled_from(("allow", "deny", "in_doubt")), count=st.integers(1, 99)),
            max_size=6,
        )
    )
    return Drawing(title="g", nodes=nodes, edges=[Edge(source=a, target=b) for a, b in ways], taken=taken, marks=marks)


@settings(max_examples=150, deadline=None)
@given(drawings())
def test_no_box_and_no_text_stands_on_another(drawing: Drawing) -> None:
    svg = parsed(draw(drawing))
    left, top, width, height = (float(one) for one in svg.attrib["viewBox"].split())
    boxes = boxes_of(svg)
    assert len(boxes) == len(drawing.nodes)
    for one, other in combinations(boxes, 2):
        assert not overlap(one, other)
    texts: list[Box] = []
    sizes = {"name": 13.0, "count": 11.0}
    for text in svg.iter(f"{SVG}text"):
        size = sizes.get(text.attrib["class"])
        if size is None:
            continue  # numbers are looked at in a test of their own
        wide = text_width(text.text or "", size)
        texts.append(Box(x=number(text, "x") - wide / 2, y=number(text, "y") - size * 0.8, width=wide, height=size))
    for one, other in combinations(texts, 2):
        assert not overlap(one, other)
    for text in texts:
        assert any(
            box.x <= text.x and text.x + text.width <= box.x + box.width and box.y <= text.y
            and text.y + text.height <= box.y + box.height
            for box in boxes
        )  # fmt: skip
    for box in boxes:
        assert left <= box.x
        assert box.x + box.width <= left + width
        assert top <= box.y
        assert box.y + box.height <= top + height


@settings(max_examples=150, deadline=None)
@given(drawings())
def test_no_line_passes_through_a_box(drawing: Drawing) -> None:
    sizes = {node.id: (60.0 + 9 * len(node.id), 30.0 + 23 * (int(node.id) % 2)) for node in drawing.nodes}
    edges = [(edge.source, edge.target) for edge in drawing.edges]
    placed = place(sizes, edges)
    assert placed.lines.keys() == set(edges)
    for (source, target), line in placed.lines.items():
        first, last = placed.boxes[source], placed.boxes[target]
        assert touches(line.points[0], first)
        assert touches(line.points[-1], last)
        for (x, y), (to_x, to_y) in zip(line.points, line.points[1:], strict=False):
            # A curve between two rows stays between them, so that only what is straight can meet a box.
            if line.round_the_side or x == to_x:
                way = Box(x=min(x, to_x), y=min(y, to_y) + 0.1, width=abs(to_x - x) + 0.1, height=abs(to_y - y) - 0.2)
                if line.round_the_side and abs(to_y - y) < 0.3:
                    way = Box(x=min(x, to_x) + 0.1, y=y, width=abs(to_x - x) - 0.2, height=0.1)
                assert not any(overlap(way, box) for box in placed.boxes.values())
            else:
                between = Box(x=-1e6, y=min(y, to_y) + 0.1, width=2e6, height=abs(to_y - y) - 0.2)
                assert not any(overlap(between, box) for box in placed.boxes.values())


def touches(point: tuple[float, float], box: Box) -> bool:
    x, y = point
    return box.x <= x <= box.x + box.width and box.y <= y <= box.y + box.height


@settings(max_examples=60, deadline=None)
@given(drawings())
def test_the_same_graph_is_drawn_in_the_same_way(drawing: Drawing) -> None:
    assert draw(drawing) == draw(drawing)
