"""One action explained by the entries of its run and of its contract, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from roadworthy.core.errors import UsageError
from roadworthy.core.types import Draft, Kind
from roadworthy.ledger.explain import Explanation, explain, in_words
from roadworthy.ledger.store import Ledger

BEGAN = datetime(2026, 1, 5, 9, tzinfo=UTC)
DIGEST = "c0ffee" * 8
LAW: Mapping[str, Any] = {
    "digest": DIGEST,
    "agent": "desk",
    "version": "3",
    "owner": {"team": "Care", "accountable": "care-lead"},
    "contract": {
        "signatures": {"autonomous": ["security"]},
        "rules": [
            {"id": "large", "tools": ["refund"], "when": "args.amount > 50.00", "then": "ask", "because": "Signed."},
            {"id": "unused", "tools": ["refund"], "then": "deny", "because": "Never."},
        ],
    },
}


class Story:
    """Writes entries as a gate does, a second apart."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.seconds = 0

    def tell(self, kind: Kind, body: Mapping[str, Any], cause: str | None = None, run: str | None = "r1") -> None:
        self.seconds += 1
        at = BEGAN + timedelta(seconds=self.seconds)
        self.ledger.append([Draft(kind=kind, world="production", run=run, body=body, at=at, cause=cause)])

    def begin(self) -> None:
        self.tell("contract", LAW, run=None)
        self.tell("signature", {"contract": DIGEST, "by": "sam", "role": "security", "level": "autonomous"}, run=None)
        self.tell(
            "run",
            {
                "agent": "desk",
                "version": "3",
                "contract": DIGEST,
                "principal": "bot",
                "requester": "ada",
                "subject": None,
            },
        )

    def action(self, id: str, tool: str = "refund", args: Mapping[str, Any] | None = None, **more: Any) -> None:
        body = {
            "id": id, "tool": tool, "args": {"amount": "60.00"} if args is None else args, "principal": "bot",
            "subject": "C-1", "capability": "money_back", **more,
        }  # fmt: skip
        self.tell("action", body, id)

    def verdict(self, cause: str, ruling: str, *reasons: Mapping[str, Any], **more: Any) -> None:
        self.tell("verdict", {"ruling": ruling, "level": "autonomous", "reasons": list(reasons), **more}, cause)


@pytest.fixture
def story() -> Iterator[Story]:
    with Ledger.open() as ledger:
        told = Story(ledger)
        told.begin()
        yield told


def words(explanation: Explanation) -> str:
    return "\n".join(f"{label:<9} {text}" for label, text in in_words(explanation))


def test_which_agent_asked_is_told_with_who_gave_it_the_work(story: Story) -> None:
    story.action("r1#1.aa", agent="triage")
    story.tell("handover", {"id": "h1.aa", "agent": "billing", "source": "triage", "how": "delegate", "text": "paid?"})
    story.action("r1#2.aa", agent="billing")
    story.verdict("r1#2.aa", "allow")
    found = explain(story.ledger, "r1#2")
    assert (found.who["asked_by"], found.who["through"]) == ("billing", ["billing, for triage: paid?", "triage"])
    assert "agent     billing, for triage: paid?\n          under triage\nwho " in words(found)
    assert explain(story.ledger, "r1#1").who["through"] == ["triage"]


def test_of_one_agent_its_name_is_told_where_it_has_one(story: Story) -> None:
    story.action("r1#1.aa")
    assert explain(story.ledger, "r1#1").who.keys() == {
        "agent",
        "principal",
        "subject",
        "requester",
        "capability",
        "owner",
    }
    story.action("r1#2.aa", agent="triage")
    found = explain(story.ledger, "r1#2")
    assert found.who["asked_by"] == "triage"
    assert "agent     triage\n" in words(found)


LARGE = {"rule": "large", "code": "rule_ask", "text": "Signed.", "ruling": "ask", "enforced": True}


def approved(story: Story) -> None:
    """An action that was asked about, approved, carried by another process, and taken back."""
    story.tell("heard", {"text": "Give me my 60 euro back"})
    story.action("r1#1.aa", "find", {"id": "7"}, by="verify", **{"for": "r1#2.aa"})
    story.verdict("r1#1.aa", "allow")
    story.tell("intent", {"key": "r1#1.aa"}, "r1#1.aa")
    story.tell("outcome", {"status": "ok", "done": "executed", "text": "found"}, "r1#1.aa")
    story.action("r1#2.aa")
    story.verdict("r1#2.aa", "ask", LARGE, origins={"amount": ["user", "trusted"]})
    story.tell(
        "question",
        {
            "question": "r1#2.aa", "action": "r1#2.aa", "role": "lead", "tool": "refund", "args": {"amount": "60.00"},
            "text": "Signed.", "approvals": 1, "origins": {"amount": ["user"]}, "expires": "2026-01-05T13:00:00+00:00",
        },
        "r1#2.aa",
    )  # fmt: skip
    story.tell("heard", {"text": "Still there?"})
    story.tell(
        "answer",
        {"question": "r1#2.aa", "ruling": "approve", "by": "lea", "role": "lead", "because": "ok", "signature": "x"},
        "r1#2.aa",
    )
    story.verdict("r1#2.aa~.bb", "allow", {**LARGE, "ruling": "allow", "text": "Approved: Signed."})
    story.tell("intent", {"key": "k1", "approved": "r1#2.aa", "before": {"balance": "1.00"}}, "r1#2.aa~.bb")
    story.tell("outcome", {"status": "in_doubt", "done": "executed", "text": "broke off"}, "r1#2.aa~.bb")
    story.tell("outcome", {"status": "ok", "done": "executed", "text": "was done", "settled_by": "find"}, "r1#2.aa~.bb")
    story.tell("drift", {"tool": "refund", "text": "result.x is new"}, "r1#2.aa~.bb")
    story.tell("undo", {"by": "ada", "because": "Wrong", "actions": ["r1#2.aa"]})
    story.action("r1#3.cc", "reverse", {"refund_no": "R1"}, by="undo", **{"for": "r1#2.aa"})
    story.verdict("r1#3.cc", "allow")
    story.tell("intent", {"key": "r1#3.cc"}, "r1#3.cc")
    story.tell("outcome", {"status": "ok", "done": "executed", "text": "reversed"}, "r1#3.cc")
    story.tell(
        "undo",
        {"action": "r1#2.aa", "came": "undone", "by": "ada", "because": "Wrong", "with": "r1#3.cc", "text": "Taken."},
        "r1#2.aa~.cc",
    )


def test_everything_that_led_to_an_action_and_followed_from_it_is_found(story: Story) -> None:
    approved(story)
    e = explain(story.ledger, "r1#2.aa")
    assert (e.tool, e.args, e.state, e.by) == ("refund", {"amount": "60.00"}, "undone", None)
    assert e.who == {
        "agent": "desk", "principal": "bot", "subject": "C-1", "requester": "ada", "capability": "money_back",
        "owner": {"team": "Care", "accountable": "care-lead"},
    }  # fmt: skip
    assert (e.law["version"], e.law["digest"], e.law["asks"]) == ("3", DIGEST, {"autonomous": ["security"]})
    assert [(s["by"], s["role"], s["level"]) for s in e.law["signatures"]] == [("sam", "security", "autonomous")]
    assert e.heard == "Give me my 60 euro back"  # what was said later led to nothing
    assert [v["ruling"] for v in e.verdicts] == ["ask", "allow"]
    assert e.verdicts[0]["origins"] == {"amount": ["user", "trusted"]}
    assert [r["id"] for r in e.rules] == ["large"]
    assert [(q["role"], [a["by"] for a in q["answers"]]) for q in e.questions] == [("lead", ["lea"])]
    assert [(c["by"], c["tool"], c["status"]) for c in e.calls] == [("verify", "find", "ok"), ("undo", "reverse", "ok")]
    assert [c["before"] for c in e.carried] == [{"balance": "1.00"}]
    assert [o["status"] for o in e.outcomes] == ["in_doubt", "ok"]
    assert [d["text"] for d in e.drift] == ["result.x is new"]
    assert [(u["came"], u["with"]) for u in e.undone] == [("undone", "r1#3.cc")]


def test_the_words_say_it_all(story: Story) -> None:
    approved(story)
    told = words(explain(story.ledger, "r1#2.aa"))
    for line in (
        'action    refund(amount="60.00")',
        "state     done, and taken back",
        "who       desk, run by bot, for C-1, wanted by ada",
        "owner     care-lead, Care",
        f"contract  version 3, digest {DIGEST[:12]}",
        "signed    for autonomous by sam, as security",
        "user      had said: Give me my 60 euro back",
        "ask       capability money_back, level autonomous",
        "          ask by large (rule_ask): Signed.",
        "seen      amount: user, trusted",
        "rule      large, as the contract writes it: when args.amount > 50.00; because Signed.",
        "asked     lead, until 2026-01-05T13:00:00+00:00 (r1#2.aa): Signed.",
        '          they saw refund(amount="60.00")',
        "answer    approve, by lea, as lead, signed: ok",
        'gate      verify: find(id="7"), ok: found',
        "with key k1, as approved under r1#2.aa",
        '          before it there was {"balance":"1.00"}',
        "ok        executed, settled by find",
        "drift     result.x is new",
        'undo      r1#3.cc: reverse(refund_no="R1"), ok: reversed',
    ):
        assert line in told, f"{line}\n---\n{told}"


def test_a_call_of_the_gate_says_for_which_action(story: Story) -> None:
    approved(story)
    e = explain(story.ledger, "r1#3.cc")
    assert (e.by, e.serves, e.state) == ("undo", "r1#2.aa", "ok")
    assert "the gate itself took back r1#2.aa" in words(e)


@pytest.mark.parametrize(
    ("ruling", "then", "state"),
    [
        ("deny", None, "denied"),
        ("clarify", None, "clarify"),
        ("ask", None, "held"),
        ("allow", "intent", "running"),
        ("allow", None, "allow"),
    ],
)
def test_the_state_of_what_has_no_outcome(story: Story, ruling: str, then: Kind | None, state: str) -> None:
    story.action("r1#1.aa")
    story.verdict("r1#1.aa", ruling)
    if then is not None:
        story.tell(then, {"key": "r1#1.aa"}, "r1#1.aa")
    assert explain(story.ledger, "r1#1.aa").state == state
    assert "state" in words(explain(story.ledger, "r1#1.aa"))


def test_what_was_not_enforced_says_so(story: Story) -> None:
    story.action("r1#1.aa")
    story.verdict("r1#1.aa", "ask", {**LARGE, "enforced": False}, enforce=False)
    told = words(explain(story.ledger, "r1#1.aa"))
    assert "NOT ENFORCED" in told
    assert "would have; not enforced" in told


def test_an_approval_under_another_action_is_shown_with_its_question(story: Story) -> None:
    approved(story)
    story.action("r1#4.aa")
    story.verdict("r1#4.aa", "allow", LARGE)
    story.tell("intent", {"key": "k1", "approved": "r1#2.aa"}, "r1#4.aa")
    e = explain(story.ledger, "r1#4.aa")
    assert [(q["question"], q["answers"][0]["by"]) for q in e.questions] == [("r1#2.aa", "lea")]


def test_a_contract_that_the_ledger_does_not_hold_is_not_made_up(story: Story) -> None:
    story.tell("run", {"agent": "desk", "version": "4", "contract": "beef" * 12}, run="r2")
    story.tell(
        "action",
        {"id": "r2#1", "tool": "x", "args": {}, "principal": "bot", "subject": None, "capability": None},
        "r2#1",
        "r2",
    )
    e = explain(story.ledger, "r2#1")
    assert (e.law["version"], e.law["signatures"], e.who["owner"], e.rules) == ("4", [], None, ())
    assert "who       desk, run by bot, for nobody known" in words(e)


def test_who_could_sign_and_approve_then_is_told_with_what_a_version_has_inherited(story: Story) -> None:
    people = {
        "people": 1,
        "roles": ["security", "lead"],
        "members": {"sam": {"roles": ["security"], "keys": []}, "lea": {"roles": ["lead"], "keys": []}},
    }
    terms = {
        "capabilities": {"money_back": {"autonomy": {"approver": "lead"}}},
        "signatures": {"autonomous": ["security"]},
    }
    body = {**LAW, "digest": "new", "version": "4", "contract": terms, "people": people}
    story.tell("contract", body, run=None)
    story.tell("run", {"agent": "desk", "version": "4", "contract": "new", "principal": "bot"}, run="r2")
    story.tell("action", {"id": "r2#1", "tool": "refund", "args": {}, "capability": "money_back"}, "r2#1", run="r2")
    asked: list[tuple[Any, Any]] = []

    def inherits(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
        asked.append((new["version"], old["version"]))
        return True

    e = explain(story.ledger, "r2#1", inherits=inherits)
    assert asked == [("4", "3")]
    assert e.law["approver"] == "lead"
    assert e.law["people"] == {"security": ["sam"], "lead": ["lea"]}
    assert [(s["by"], s["version"]) for s in e.law["signatures"]] == [("sam", "3")]
    told = words(e)
    assert "approver  lead (lea) decides what money_back must ask" in told
    assert "signed    for autonomous by sam, as security, for version 3, which this one only narrows" in told
    assert explain(story.ledger, "r2#1", inherits=lambda _new, _old: False).law["signatures"] == []
    assert explain(story.ledger, "r2#1").law["signatures"] == []


def test_a_later_contract_or_signature_is_not_taken_for_the_law_of_then(story: Story) -> None:
    story.action("r1#1.aa")
    story.tell("signature", {"contract": DIGEST, "by": "late", "role": "security", "level": "autonomous"}, run=None)
    story.tell("run", {"version": "9", "contract": "beef" * 12, "reopened": True})
    e = explain(story.ledger, "r1#1.aa")
    assert e.law["version"] == "3"
    assert [s["by"] for s in e.law["signatures"]] == ["sam"]


@pytest.mark.parametrize(
    ("id", "said"),
    [
        ("r1#9.zz", "no action 'r1#9.zz'; it has r1#1.aa, r1#2.aa, r1#3.cc"),
        ("r1#2.ab", "do you mean r1#2.aa?"),
        ("r#2", "there is no run 'r', and so no action 'r#2'; do you mean run 'r1'?"),
        ("r1", "'r1' is a run, and not an action; it has r1#1.aa, r1#2.aa, r1#3.cc"),
        ("what", "'what' is no action; ids look like RUN#1"),
        ("", "'' is no action"),
        ("#", "'#' is no action"),
    ],
)
def test_a_wrong_id_names_the_nearest(story: Story, id: str, said: str) -> None:
    approved(story)
    with pytest.raises(UsageError) as raised:
        explain(story.ledger, id)
    assert said in raised.value.text


def test_short_ids_and_those_of_questions_lead_to_their_action(story: Story) -> None:
    approved(story)
    for id in ("r1#2", "r1#2.aa/2", "r1#2.aa~.bb"):
        assert explain(story.ledger, id).action == "r1#2.aa"
    story.action("r1#2.dd")
    with pytest.raises(UsageError, match=r"name one of r1#2\.aa, r1#2\.dd"):
        explain(story.ledger, "r1#2")


def test_a_run_without_actions_says_so(story: Story) -> None:
    with pytest.raises(UsageError, match="called no tool"):
        explain(story.ledger, "r1#1")


def test_long_values_are_cut_in_words_and_whole_in_data(story: Story) -> None:
    story.action("r1#1.aa", args={"note": "x" * 5000})
    e = explain(story.ledger, "r1#1.aa")
    assert e.args["note"] == "x" * 5000
    assert "(5,002 characters; --json shows all)" in words(e)
    assert len(words(e)) < 2000
