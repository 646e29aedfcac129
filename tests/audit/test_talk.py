"""The agents of one run on paper: a tree that people read, and a map of who gave way to whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.audit.test_report import EVIL, Parsed, page_of
from tests.gate.office import Office, Till, law

from roadworthy import Gate, Ledger
from roadworthy.audit.account import Told
from roadworthy.audit.drawing import described
from roadworthy.audit.talk import Called, Piece, Scene, map_of, talk_of
from roadworthy.core.types import Draft, Entry


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path, law("role: lead"))
    with made.open:
        yield made


def entries(office: Office) -> list[Entry]:
    return list(office.gate.ledger.entries(run="r"))


def story(office: Office) -> None:
    """Two pieces of work side by side, a handover for good, a turn, and a run that goes to a person."""
    run, till = office.run(), office.till
    run.heard("Please refund order 7.")
    run.call("find", {"no": "7"}, till.find, agent="triage")
    one = run.handover("billing", source="triage", how="delegate", text="Is 7 paid?")
    two = run.handover("archive", source="triage", how="delegate")
    run.call("find", {"no": "7"}, till.find, agent="billing")
    run.call("find", {"no": "6"}, till.find, agent="archive")
    run.returned(two, "None.")
    run.call("refund", {"no": "7", "amount": "250.00"}, till.refund, agent="billing")
    run.returned(one)
    run.handover("care", source="triage", text="Tell them.")
    run.call("nonsense", {}, agent="care")
    run.say("The money is on its way.")
    run.heard("Thanks!")
    run.say("You are welcome.")
    run.handover("quality", source="care", how="turn")
    run.escalate("too hard", agent="quality")


def written(piece: Piece, deep: str = "") -> list[str]:
    found: list[str] = []
    for scene in piece.scenes:
        if isinstance(scene, Told):
            found.append(f"{deep}{scene.what}: {scene.text}")
            continue
        found.append(f"{deep}{scene.agent}{scene.came}{' again' if scene.goes_on else ''}")
        for part in scene.parts:
            if isinstance(part, Piece):
                found += written(part, f"{deep}  ")
            elif isinstance(part, Called):
                found.append(f"{deep}- {part.call} {'/'.join(part.chips)}")
            else:
                found.append(f"{deep}- {part.what}: {part.text}")
    if piece.given:
        found.append(f"{deep}= {piece.back.text if piece.back is not None else None}")
    return found


def test_one_agent_is_told_entry_by_entry_only(office: Office) -> None:
    office.note(office.run())
    assert talk_of(entries(office)) is None
    assert map_of(entries(office)) is None
    assert isinstance(office.gate.ledger, Ledger)
    assert 'id="agents"' not in page_of(office.gate.ledger, run="r")


def test_the_tree(office: Office) -> None:
    story(office)
    told = talk_of(entries(office))
    assert told is not None
    assert isinstance(told.scenes[2], Scene)
    assert told.scenes[2].at == office.clock.now()
    assert written(told)[1:] == [
        "user: Please refund order 7.",
        "triage",
        '- find(no="7") allow/ok',
        "  billing, for triage: Is 7 paid?",
        '  - find(no="7") allow/ok',
        '  - refund(amount="250", no="7") ask',
        "  = ",
        "  archive, for triage",
        '  - find(no="6") allow/ok',
        "  = None.",
        "care takes over from triage: Tell them.",
        "- nonsense() deny",
        "- agent: The money is on its way.",
        "user: Thanks!",
        "care again",
        "- agent: You are welcome.",
        "quality has the word after care",
        "- handed over: to lead: too hard",
    ]


def test_the_map(office: Office) -> None:
    story(office)
    drawing = map_of(entries(office))
    assert drawing is not None
    assert described(drawing).split("\n") == [
        "6 nodes: user, triage, billing, archive, care, quality.",
        "From user to triage: taken at step 1.",
        "From triage to billing: taken at step 2.",
        "From triage to archive: taken at step 3.",
        "From archive to triage: taken at step 4.",
        "From billing to triage: taken at step 5.",
        "From triage to care: taken at step 6.",
        "From care to quality: taken at step 7.",
        "Calls of triage: 1 allowed.",
        "Calls of billing: 1 allowed, 1 asked.",
        "Calls of archive: 1 allowed.",
        "Calls of care: 1 denied.",
    ]


def test_a_call_that_failed_or_never_ended_is_marked_so(office: Office) -> None:
    run = office.run()

    def broken(text: str) -> str:
        raise ConnectionError(text)

    def lost(no: str) -> str:
        raise LookupError(no)

    run.call("note", {"text": "x"}, broken, agent="one")
    run.call("find", {"no": "7"}, lost, agent="two")
    drawing = map_of(entries(office))
    assert drawing is not None
    assert [(mark.node, mark.verdict) for mark in drawing.marks] == [("one", "in_doubt"), ("two", "failed")]
    begun = [entry for entry in entries(office) if entry.kind not in ("verdict", "intent", "outcome")]
    drawing = map_of(begun)
    assert drawing is not None
    assert [mark.verdict for mark in drawing.marks] == ["in_doubt", "in_doubt"]


def test_the_page_shows_both_and_says_who_asked(office: Office) -> None:
    story(office)
    assert isinstance(office.gate.ledger, Ledger)
    page = page_of(office.gate.ledger, run="r")
    parsed = Parsed(page)
    assert parsed.loads == []
    assert page.count("<svg") == 1
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)
    assert "billing , for triage: Is 7 paid?" in parsed.plain
    assert "From triage to billing: taken at step 2." in parsed.plain
    assert "asked by billing" in parsed.plain
    assert "<svg" not in page_of(office.gate.ledger), "the page of a whole ledger tells of its agents in no tree"


def test_names_of_agents_set_nothing_off(office: Office) -> None:
    run = office.run()
    run.handover(EVIL, source="</svg><b>", how="delegate", text=EVIL)
    run.call("find", {"no": "7"}, office.till.find, agent=EVIL)
    assert isinstance(office.gate.ledger, Ledger)
    page = page_of(office.gate.ledger, run="r")
    parsed = Parsed(page)
    assert parsed.loads == []
    assert "</svg><b>" not in page
    assert not set(page) & set("\x1b\u202e")


def test_what_is_sealed_leaves_a_tree_without_names(tmp_path: Path) -> None:
    book, keys = tmp_path / "runs" / "sealed.db", tmp_path / "keys" / "vault.db"
    book.parent.mkdir()
    keys.parent.mkdir()
    with Ledger.open(book, vault=keys) as ledger:
        run = Gate(law("role: lead", people=False), ledger).run(id="r", principal="bot", capability="refunds")
        work = run.handover("billing", source="triage", how="delegate", text="secret words")
        run.call("find", {"no": "7"}, Till().find, agent="billing")
        run.returned(work, "secret answer")
    with Ledger.open(book, read_only=True) as ledger:
        told = talk_of(list(ledger.entries(run="r")))
        assert told is not None
        assert written(told)[1:] == [
            "an agent",
            "  [sealed], on a piece of work: [sealed]",
            "  - find([sealed]) allow/ok",
            "  = [sealed]",
        ]
        assert "secret" not in page_of(ledger, run="r")


def test_the_graph_of_a_framework_is_drawn_beside_the_agents(office: Office) -> None:
    run = office.run()
    ways = [("__start__", "triage", False), ("triage", "billing", True), ("billing", "__end__", False)]
    run.connected(["__start__", "triage", "billing", "__end__"], ways, source="langgraph")
    run.call("find", {"no": "7"}, office.till.find, agent="triage", call_id="c1")
    run.handover("billing", source="triage")
    run.went([{"node": "triage", "calls": ["c1"]}, {"node": "billing"}], source="langgraph")
    assert isinstance(office.gate.ledger, Ledger)
    page = page_of(office.gate.ledger, run="r")
    parsed = Parsed(page)
    assert page.count("<svg") == 2
    assert len(parsed.ids) == len(set(parsed.ids))
    assert "The graph of langgraph. Numbers" in parsed.plain
    assert "From triage to billing, on a condition: taken at step 2." in parsed.plain
    assert "langgraph: triage, billing" in parsed.plain


def test_what_no_gate_would_write_costs_the_drawing_and_not_the_page(office: Office) -> None:
    run = office.run()
    run.handover("billing", source="triage")
    odd = {"graph": {"nodes": 7}, "source": "langgraph"}
    office.gate.ledger.append(
        [Draft(kind="observation", world="production", run=run.id, body=odd, at=office.clock.now())]
    )
    assert isinstance(office.gate.ledger, Ledger)
    text = Parsed(page_of(office.gate.ledger, run="r")).plain
    assert "cannot be drawn (TypeError)" in text
    assert "billing takes over from triage" in text
