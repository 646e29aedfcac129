"""The agents of a run as a tree, from its entries and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from roadworthy.core.types import Entry, Kind
from roadworthy.ledger.agents import Branch, Stretch, agents_of, several_agents, stretches, told_of, tree_of

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


class Story:
    """Entries as a gate writes them."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.count = 0
        self.tell("run", {"agent": "desk", "principal": "bot"})

    def tell(self, kind: Kind, body: dict[str, Any], cause: str | None = "r#0.ab") -> None:
        seq = len(self.entries) + 1
        self.entries.append(
            Entry(seq=seq, at=AT, world="production", run="r", run_seq=seq, kind=kind, cause=cause, body=body)
        )

    def user(self, text: str, **more: str) -> None:
        self.tell("heard", {"text": text, **more})

    def begin(self, agent: str | None = None, **more: str) -> str:
        self.count += 1
        id = f"r#{self.count}.ab"
        named = {"agent": agent} if agent is not None else {}
        self.tell("action", {"id": id, "tool": f"t{self.count}", "args": {}, **named, **more}, id)
        return id

    def end(self, id: str) -> None:
        self.tell("verdict", {"ruling": "allow"}, id)
        self.tell("outcome", {"status": "ok", "done": "executed"}, f"{id}~.cd")

    def call(self, agent: str | None = None, **more: str) -> str:
        id = self.begin(agent, **more)
        self.end(id)
        return id

    def hand(self, id: str, to: str, source: str | None = None, how: str = "delegate", text: str = "") -> None:
        self.tell("handover", {"id": id, "agent": to, "source": source, "how": how, "text": text})

    def back(self, id: str, text: str = "") -> None:
        self.tell("handover", {"returned": id, "text": text})

    @property
    def lines(self) -> list[str]:
        return list(_lines(tree_of(self.entries), ""))


def _lines(branch: Branch, deep: str) -> list[str]:
    """A tree in writing: agents, calls by tool, and other entries by kind; what follows from calls is left out."""
    found: list[str] = []
    for item in branch.items:
        if isinstance(item, Entry):
            found.append(f"{deep}{item.kind}")
            continue
        came = told_of(item.given.body) if item.given is not None else ""
        found.append(f"{deep}{item.agent}{came}{' again' if item.goes_on else ''}")
        for part in item.parts:
            if isinstance(part, Branch):
                found += _lines(part, f"{deep}  ")
            elif part.kind not in ("verdict", "outcome"):
                found.append(f"{deep}- {part.body.get('tool', part.kind)}")
    if branch.returned is not None:
        found.append(f"{deep}= {branch.returned.body['text']}")
    return found


def test_one_agent_that_nobody_names_is_no_tree() -> None:
    story = Story()
    story.user("hi")
    story.call()
    story.tell("handover", {"to": "lead", "reason": "too hard"})
    assert not several_agents(story.entries)
    story.call("one")
    assert not several_agents(story.entries), "one that somebody names is one"
    story.tell("said", {"text": "x", "agent": "two"})
    assert several_agents(story.entries)


def test_a_handover_tells_of_several_though_no_call_names_them() -> None:
    story = Story()
    story.hand("h1", "billing", how="handoff")
    assert several_agents(story.entries)


def test_work_that_is_given_and_comes_back_stands_within() -> None:
    story = Story()
    story.user("refund 7")
    story.call("triage")
    story.hand("h1", "billing", "triage", text="paid?")
    story.call("billing")
    story.hand("h2", "archive", "billing")
    story.call("archive")
    story.back("h2", "no")
    story.call("billing")
    story.back("h1", "yes")
    story.tell("said", {"text": "Done."})
    assert story.lines == [
        "run",
        "heard",
        "triage",
        "- t1",
        "  billing, for triage: paid?",
        "  - t2",
        "    archive, for billing",
        "    - t3",
        "    = no",
        "  - t4",
        "  = yes",
        "- said",
    ]


def test_control_and_turns_go_on_in_the_same_line() -> None:
    story = Story()
    story.call("triage")
    story.hand("h1", "care", "triage", "handoff", "angry")
    story.call("care")
    story.user("thanks")
    story.call()
    story.hand("h2", "quality", None, "turn")
    story.call("quality")
    story.hand("h3", "care", "quality", "turn")
    assert story.lines == [
        "run",
        "triage",
        "- t1",
        "care takes over from triage: angry",
        "- t2",
        "heard",
        "care takes over from triage: angry again",
        "- t3",
        "quality has the word",
        "- t4",
        "care has the word after quality",
    ]


def test_pieces_of_work_side_by_side_are_told_apart() -> None:
    story = Story()
    story.hand("h1", "left", "boss")
    story.hand("h2", "right", "boss")
    one, two = story.begin("right"), story.begin("left")
    story.end(two)
    story.end(one)
    story.back("h2", "r")
    story.call("left")
    story.back("h1", "l")
    story.call("boss")
    assert story.lines == [
        "run", "boss", "  left, for boss", "  - t2", "  - t3", "  = l", "  right, for boss", "  - t1", "  = r", "- t4",
    ]  # fmt: skip


def test_work_that_nobody_is_named_to_have_given_is_from_whoever_has_no_name() -> None:
    story = Story()
    story.hand("h1", "worker")
    story.hand("h2", "worker")
    story.call("worker")
    story.back("h1", "one")
    story.back("h2", "two")
    assert story.lines == [
        "run", "None", "  worker, on a piece of work", "  = one", "  worker, on a piece of work", "  - t1", "  = two",
    ]  # fmt: skip
    story = Story()
    story.call("boss")
    story.hand("h1", "left")
    story.hand("h2", "inner")
    assert story.lines[2:] == ["- t1", "  left, on a piece of work", "    inner, on a piece of work"]


def test_what_follows_from_a_call_stands_with_it() -> None:
    story = Story()
    one = story.begin("left")
    story.hand("h1", "right", "left", "handoff")
    story.tell("question", {"role": "lead"}, one)
    look = story.begin(by="verify", **{"for": one})
    story.end(look)
    story.end(one)
    story.call("right")
    left, right = stretches(tree_of(story.entries))
    kinds = [part.kind for part in left.parts if isinstance(part, Entry)]
    assert kinds == ["action", "question", "action", "verdict", "outcome", "verdict", "outcome"]
    assert (right.agent, len(right.parts)) == ("right", 3)


def test_what_is_noted_before_anybody_is_at_work_belongs_to_the_run() -> None:
    story = Story()
    story.tell("observation", {"recall": "start", "value": "x"})
    story.hand("h1", "desk", how="turn")
    story.tell("observation", {"recall": "now", "value": "y"})
    story.tell("model_call", {"tokens": 3})
    assert story.lines == ["run", "observation", "desk has the word", "- observation", "- model_call"]


def test_an_agent_that_nothing_was_handed_to_shows_by_its_calls() -> None:
    story = Story()
    story.call()
    story.call("one")
    story.call("two")
    story.call()
    story.call("one")
    assert story.lines == ["run", "one", "- t1", "- t2", "two", "- t3", "- t4", "one", "- t5"]


def test_work_that_never_came_back_ends_with_what_it_was_for() -> None:
    story = Story()
    story.hand("h1", "outer", "boss")
    story.hand("h2", "inner", "outer")
    story.call("inner")
    story.back("h1", "done")
    story.call("inner")
    story.back("h2", "late")
    assert story.lines == [
        "run",
        "boss",
        "  outer, for boss",
        "    inner, for outer",
        "    - t1",
        "  = done",
        "inner",
        "- t2",
        "- handover",
    ]


def test_what_the_user_says_belongs_to_the_run_and_what_they_answer_to_whoever_asked() -> None:
    story = Story()
    story.hand("h1", "billing", "triage")
    story.tell("said", {"text": "Which?", "sink": "ask_user", "agent": "billing"})
    story.user("7", answers="Which?")
    story.user("and be quick")
    story.call("billing")
    story.back("h1")
    story.tell("said", {"text": "Done."})
    assert story.lines == [
        "run", "triage", "  billing, for triage", "  - said", "  - heard", "  - t1", "  = ", "heard", "triage again",
        "- said",
    ]  # fmt: skip


def test_the_agents_behind_a_call() -> None:
    story = Story()
    story.call("triage")
    story.hand("h1", "billing", "triage")
    story.hand("h2", "care", "billing", "handoff")
    two = story.call("care")
    tree = tree_of(story.entries)
    assert [one.agent for one in agents_of(tree, two)] == ["care", "triage"]
    assert [one.agent for one in agents_of(tree, "r#1.ab")] == ["triage"]
    assert agents_of(tree, "r#9") == []


NAMES = st.none() | st.sampled_from(("a", "b", "c"))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), NAMES),
        st.tuples(st.just("user"), st.just("x")),
        st.tuples(st.just("said"), NAMES),
        st.tuples(
            st.just("hand"), st.sampled_from("abc"), NAMES, st.sampled_from(("handoff", "delegate", "turn", "?"))
        ),
        st.tuples(st.just("back"), st.integers(0, 9)),
    ),
    max_size=30,
)


@given(STEPS)
def test_every_entry_stands_in_the_tree_once(steps: list[tuple[Any, ...]]) -> None:
    story, hands = Story(), 0
    for step in steps:
        if step[0] == "call":
            story.call(step[1])
        elif step[0] == "user":
            story.user(step[1])
        elif step[0] == "said":
            story.tell("said", {"text": "x", "agent": step[1]})
        elif step[0] == "hand":
            hands += 1
            story.hand(f"h{hands}", *step[1:])
        else:
            story.back(f"h{step[1]}")
    placed = sorted(entry.seq for entry in _entries(tree_of(story.entries)))
    assert placed == [entry.seq for entry in story.entries]


def _entries(branch: Branch) -> list[Entry]:
    found = [branch.returned] if branch.returned is not None else []
    for item in branch.items:
        if isinstance(item, Stretch):
            found += [item.given] if item.given is not None and not item.goes_on else []
            for part in item.parts:
                found += _entries(part) if isinstance(part, Branch) else [part]
        else:
            found.append(item)
    return found
