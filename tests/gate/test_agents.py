"""Several agents in one run: who asked and who handed what to whom is recorded, and decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Ledger, Suspended
from roadworthy.adapters.calls import abring, bring
from roadworthy.audit.redecide import Redeciding
from roadworthy.core.errors import UsageError
from roadworthy.gate.run import Run
from roadworthy.ledger.public import split

from .office import Office, law


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Callable[..., Office]]:
    """Opens the office: `office("role: lead")`."""
    opened: list[Office] = []

    def open_it(ask: str = "role: lead", **kwargs: Any) -> Office:
        made = Office(tmp_path, law(ask, **kwargs))
        opened.append(made)
        return made

    yield open_it
    for one in opened:
        one.open.close()


Opened = Callable[..., Office]


def answering(text: str) -> Callable[[str], str]:
    """A user who says the same to every question."""

    def answer(question: str) -> str:
        del question
        return text

    return answer


def bodies(at: Office, kind: Any) -> list[dict[str, Any]]:
    return [dict(entry.body) for entry in at.gate.ledger.entries(run="r", kind=kind)]


# what is recorded -----------------------------------------------------------------------------------------------------


def test_an_action_says_which_agent_asked(office: Opened) -> None:
    at = office()
    run = at.run()
    run.call("find", {"no": "7"}, at.till.find, agent="triage")
    asyncio.run(run.acall("find", {"no": "7"}, at.till.find, agent="billing"))
    run.call("find", {"no": "7"}, at.till.find)
    run.call("find", {"no": "7"}, at.till.find, agent="")
    bring(at.gate, run, "find", {"no": "7"}, at.till.find, agent="one")
    asyncio.run(abring(at.gate, run, "find", {"no": "7"}, at.till.find, agent="two"))
    assert [body.get("agent") for body in bodies(at, "action")] == ["triage", "billing", None, None, "one", "two"]


def test_a_call_that_cannot_be_judged_says_so_too(office: Opened) -> None:
    at = office()
    run = at.run()
    run.call("nonsense", {}, agent="triage")
    run.call("refund", {"no": 1}, agent="billing")
    assert [body["agent"] for body in bodies(at, "action")] == ["triage", "billing"]


def test_questions_replies_and_escalations_say_which_agent(office: Opened) -> None:
    at = office()
    run = at.run(ask_user=answering("blue"))
    run.say("Hello.", agent="triage")
    run.ask_user("Which?", agent="billing")
    bring(at.gate, run, "ask_user", {"question": "Sure?"}, None, agent="billing")
    bring(at.gate, run, "escalate", {"reason": "too hard"}, None, agent="billing")
    assert [(body["text"], body.get("agent")) for body in bodies(at, "said")] == [
        ("Hello.", "triage"),
        ("Which?", "billing"),
        ("Sure?", "billing"),
    ]
    assert bodies(at, "handover") == [{"to": "lead", "reason": "too hard", "source": "billing"}]
    assert run.status == "escalated"


def test_handovers_are_told_with_what_went_along(office: Opened) -> None:
    at = office()
    run = at.run()
    first = run.handover("billing", source="triage", how="delegate", text="Is 7 paid?")
    second = asyncio.run(run.ahandover("care", how="turn"))
    run.returned(first, "It is.")
    run.returned(first, "It is, twice.")
    with pytest.raises(UsageError, match="no handover 'h9'"):
        asyncio.run(run.areturned("h9"))
    assert first != second
    assert bodies(at, "handover") == [
        {"id": first, "agent": "billing", "source": "triage", "how": "delegate", "text": "Is 7 paid?"},
        {"id": second, "agent": "care", "source": None, "how": "turn", "text": ""},
        {"returned": first, "text": "It is."},
    ]
    assert run.status == "open"
    ledger = at.gate.ledger
    assert isinstance(ledger, Ledger)
    assert next(iter(ledger.runs())).status == "open"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"to": ""}, "needs the name of the agent"),
        ({"to": None}, "needs the name of the agent"),
        ({"to": 7}, "named by a text"),
        ({"to": "x", "source": 7}, "named by a text"),
        ({"to": "x", "how": "throw"}, "none of handoff, delegate, turn"),
        ({"to": "x", "text": b"y"}, "not a bytes"),
    ],
)
def test_a_handover_that_says_nothing_is_refused(office: Opened, given: dict[str, Any], why: str) -> None:
    at = office()
    with pytest.raises(UsageError, match=why):
        at.run().handover(**given)
    assert not bodies(at, "handover")


def test_names_of_agents_and_what_they_write_are_private() -> None:
    handed = {"id": "h1", "agent": "Ada's", "source": "Bob's", "how": "delegate", "text": "c-1 is angry"}
    assert split("handover", handed)[0] == {"id": "h1", "how": "delegate"}
    assert split("handover", {"returned": "h1", "text": "c-1 is calm"})[0] == {"returned": "h1"}
    assert split("action", {"id": "r#1", "tool": "find", "agent": "Ada's"})[0] == {"id": "r#1", "tool": "find"}


def test_how_an_application_is_put_together_is_told_once(office: Opened) -> None:
    at = office()
    run = at.run()
    ways = [("triage", "billing", True), ("billing", "triage", False)]
    run.connected(["triage", "billing"], ways, source="langgraph")
    asyncio.run(run.aconnected(["triage", "billing"], ways, source="langgraph"))
    at.run(gate=at.elsewhere()).connected(("triage", "billing"), iter(ways), source="langgraph")
    (told,) = bodies(at, "observation")
    assert told["source"] == "langgraph"
    assert told["graph"] == {
        "nodes": ["triage", "billing"],
        "edges": [["triage", "billing", True], ["billing", "triage", False]],
    }
    assert split("observation", told)[0] == {}
    run.connected(["triage", "billing", "care"], [], source="langgraph")
    assert len(bodies(at, "observation")) == 2, "another graph is another thing"


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [
        (["a", ""], []),
        (["a", "a"], []),
        (["a"], [("a", "b", False)]),
        (["a"], [("a", "a", "sometimes")]),
        ([str(n) for n in range(1001)], []),
    ],
)
def test_a_graph_that_is_none_is_refused(office: Opened, nodes: list[str], edges: list[Any]) -> None:
    with pytest.raises(UsageError, match=r"a graph has|an edge is"):
        office().run().connected(nodes, edges, source="x")


# what is not decided by it --------------------------------------------------------------------------------------------


def test_what_agents_write_to_each_other_vouches_for_nothing(office: Opened) -> None:
    at = office()
    run = at.run()
    run.heard("refund 7 please")
    first = run.handover("billing", source="triage", how="delegate", text="Send it to DE00 1234.")
    told = run.call("refund", {"no": "7", "amount": "5.00", "to": "DE00 1234"}, at.till.refund, agent="billing")
    run.returned(first, "DE00 9999 is right")
    again = run.call("refund", {"no": "7", "amount": "5.00", "to": "DE00 9999"}, at.till.refund, agent="billing")
    assert (told.status, again.status) == ("held", "held"), "as with `run.read(..., trust='agent')`"
    assert [body["origins"]["to"] for body in bodies(at, "verdict")] == [["agent"], ["agent"]]


def test_a_run_with_several_agents_is_decided_again_as_it_was(office: Opened) -> None:
    at = office()
    run = at.run(ask_user=answering("to DE00 1234"))
    run.heard("refund 7 please")
    first = run.handover("billing", source="triage", how="delegate", text="Send it to DE00 1234.")
    run.call("refund", {"no": "7", "amount": "5.00", "to": "DE00 1234"}, at.till.refund, agent="billing")
    run.ask_user("Where to?", agent="billing")
    run.call("refund", {"no": "7", "amount": "5.00", "to": "DE00 1234"}, at.till.refund, agent="billing")
    run.returned(first, "done")
    run.say("Done.", agent="triage")
    assert [body["ruling"] for body in bodies(at, "verdict")] == ["ask", "allow"]
    assert isinstance(at.gate.ledger, Ledger)
    again = Redeciding(at.gate.ledger).run("r")
    assert again.same
    assert [one.what for one in again.decisions] == ["levels", "verdict", "question", "said", "verdict", "said"]


# the same again -------------------------------------------------------------------------------------------------------


def test_a_run_that_is_driven_again_hands_over_once(office: Opened) -> None:
    at = office("role: lead, meanwhile: suspend")
    ids: list[list[str]] = []

    def job(run: Run) -> None:
        one = run.handover("billing", source="triage", how="delegate", text="Is it paid?")
        run.returned(one, "It is.")
        two = run.handover("billing", source="triage", how="delegate", text="Is it paid?")
        ids.append([one, two])
        at.refund(run)
        run.returned(two, "Paid back.")
        ids[-1].append(run.handover("care", source="triage"))

    with pytest.raises(Suspended):
        job(at.run(suspendable=True))
    at.answer("ada")
    job(at.elsewhere().resume("r"))
    assert ids[0] == ids[1][:2]
    assert len(set(ids[1])) == 3
    told = [body.get("id", body.get("returned")) for body in bodies(at, "handover")]
    one, two, three = ids[1]
    assert told == [one, one, two, two, three]


def test_what_was_handed_on_is_known_in_another_process(office: Opened) -> None:
    at = office()
    run = at.run()
    run.heard("refund 7 please")
    handed = run.handover("billing", how="delegate", text="Send it to DE00 1234.")
    again = at.run(gate=at.elsewhere())
    assert again.state.handed == {handed: "billing"}
    told = again.call("refund", {"no": "7", "amount": "5.00", "to": "DE00 1234"}, at.till.refund)
    assert told.status == "held"
    again.returned(handed)
    assert again.handover("billing") != handed
    assert run.call("find", {"no": "7"}, at.till.find).ok
    assert run.state.back == {handed}


def test_a_contract_knows_nothing_of_agents(office: Opened) -> None:
    """The same contract, people and run for all of them: a name opens no tool and lifts no limit."""
    at = office()
    run = at.run()
    for agent in ("lead", "ada", "refunds", "escalate"):
        run.handover(agent, source="lead")
        assert run.call("refund", {"no": "7", "amount": "250"}, at.till.refund, agent=agent).status == "held"
    fresh = at.run("s")
    assert (run.principal, run.capabilities) == (fresh.principal, fresh.capabilities)
    assert run.state.levels == fresh.state.levels
