"""What people answer to the gate's questions, and whether an answer counts.

An answer is the body of an `answer` entry. Where the contract names people it is signed by one of them, over all that
it says: which ledger, run and question, the ruling, and the digest of just that action under just that contract. So
it proves nothing about any other action, and whoever can only write to the ledger can approve nothing.

The question that an answer is held against is the one that the gate makes from the action that it is about to carry
and from its own contract. What a ledger says of a question is never taken for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from roadworthy.contract.keys import SigningKey, seal
from roadworthy.contract.people import People
from roadworthy.core import canonical
from roadworthy.core.types import Claim
from roadworthy.gate.policy import USER

Answering: TypeAlias = Literal["approve", "deny", "edit", "answer", "take"]
"""What a person may say: yes; no; yes to other arguments, which are judged anew; words for the agent; I take over."""

ANSWERINGS: Final[tuple[Answering, ...]] = get_args(Answering)
REQUESTER: Final = "requester"
"""Under `not`: whoever wants the action, which is the principal of the run and whom the application names beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is put to people before an action is carried."""

    id: str
    """Unique in its ledger."""
    ledger: str
    """The id of the ledger that it stands in."""
    run: str
    role: str | None
    """Who answers; `user` is the user, in the conversation. None: nobody was named, and nobody can answer."""
    approvals: int = 1
    """How many people must say yes. One no is a no."""
    sole: bool = True
    """No other role is asked about the same action."""
    excluded: tuple[str, ...] = ()
    """Who may not answer: `requester`, roles, people."""
    nonce: str
    """Random, so that no answer fits two questions."""
    expires: datetime | None = None
    """From then on the answer is no. Aware."""
    principal: str
    """Who runs the agent; never answers."""
    requester: str | None = None
    """Who wants the action, where the application knows a person beside the principal."""
    digest: str
    """Of the action, by `action_digest`."""

    def expired(self, now: datetime) -> bool:
        """Whether it is too late for an answer."""
        return self.expires is not None and now >= self.expires


def action_digest(
    *,
    principal: str,
    subject: str | None,
    tool: str,
    args: Mapping[str, Any],
    contract: str,
    origins: Mapping[str, Iterable[str]],
) -> str:
    """What a person decides about, as one number: who acts for whom, what is done with which arguments, by which law,
    and where the values came from. Arguments as the contract types them, live or from a ledger; `contract` is a digest.
    """
    return canonical.digest(
        {
            "principal": principal,
            "subject": subject,
            "tool": tool,
            "args": args,
            "contract": contract,
            "origins": {name: sorted(places) for name, places in origins.items()},
        }
    )


def answer_payload(
    question: Question,
    *,
    by: str,
    ruling: Answering,
    because: str = "",
    args: Mapping[str, Any] | None = None,
    text: str | None = None,
) -> dict[str, Any]:
    """What a person signs, for the purpose `answer`; with the signature it is the body of the entry.

    `args`: all arguments of an edited action. `text`: the words of an `answer`, which the agent is told.
    """
    body: dict[str, Any] = {
        "ledger": question.ledger,
        "run": question.run,
        "question": question.id,
        "nonce": question.nonce,
        "expires": None if question.expires is None else question.expires.isoformat(),
        "digest": question.digest,
        "role": question.role,
        "ruling": ruling,
        "by": by,
        "because": because,
    }
    if args is not None:
        body["args"] = canonical.loads(canonical.dumps(args))
    if text is not None:
        body["text"] = text
    return body


def signed_answer(
    question: Question,
    key: SigningKey,
    *,
    by: str,
    ruling: Answering,
    because: str = "",
    args: Mapping[str, Any] | None = None,
    text: str | None = None,
) -> dict[str, Any]:
    """The body of an answer, signed."""
    return seal(key, "answer", answer_payload(question, by=by, ruling=ruling, because=because, args=args, text=text))


def check_answer(
    people: People | None,
    question: Question,
    answer: Mapping[str, Any],
    *,
    now: datetime,
    earlier: Iterable[Mapping[str, Any]] = (),
) -> str | None:
    """Why an answer does not count, for whoever gave it; None where it does. Never raises.

    `people`: the contract's members; None where it names none, and then anybody may answer under any name but the
    principal's, unsigned. `earlier`: the answers to this question that have counted.
    """
    return (
        _misfit(question, answer)
        or _too_late(question, now)
        or _not_allowed(people, question, str(answer["by"]))
        or _nobody_s_alone(question, answer)
        or (None if people is None else _unsigned(people, answer))
        or _again(question, answer, list(earlier))
    )


def _misfit(question: Question, answer: Mapping[str, Any]) -> str | None:
    by, ruling, because = answer.get("by"), answer.get("ruling"), answer.get("because")
    if not isinstance(by, str) or not by.strip():
        return "An answer names who gives it."
    if ruling not in ANSWERINGS:
        return f"{ruling!r} is no answer; choose from {', '.join(ANSWERINGS)}."
    if not isinstance(because, str):
        return "The reason of an answer is text."
    wanted: dict[str, Any] = answer_payload(question, by=by, ruling=ruling, because=because)
    for key, value in wanted.items():
        if key not in answer or answer[key] != value:
            return f"This answer belongs to another question: its {key} is not that of question {question.id}."
    args, text = answer.get("args"), answer.get("text")
    if (ruling == "edit") != isinstance(args, Mapping) or ("args" in answer) != (ruling == "edit"):
        return "An edit says what the arguments are to be, and no other answer does."
    if (ruling == "answer") != (isinstance(text, str) and bool(text.strip())) or ("text" in answer) != (
        ruling == "answer"
    ):
        return "An answer in words has words, and no other one does."
    strange = answer.keys() - wanted.keys() - {"args", "text", "signature"}
    if strange:
        return f"An answer has no {min(map(str, strange))}."
    return None


def _too_late(question: Question, now: datetime) -> str | None:
    if not question.expired(now):
        return None
    return f"Question {question.id} expired at {cast('datetime', question.expires).isoformat()}: no answer is a no."


def _not_allowed(people: People | None, question: Question, by: str) -> str | None:
    if question.role == USER:
        return "This is for the user to answer, in the conversation."
    if question.role is None and people is not None:
        return "The contract names nobody who could answer this: name an approver, or a role in the rule."
    name = by.strip().casefold()
    if name == question.principal.strip().casefold():
        return f"{by} runs the agent, and cannot answer for it."
    for who in question.excluded:
        if who == REQUESTER:
            if question.requester is not None and name == question.requester.strip().casefold():
                return f"{by} wants this, and so may not answer; somebody else must."
        elif name == who.casefold() or (people is not None and people.holds(by, who)):
            return f"The contract does not let {who} answer this; somebody else must."
    if people is not None and by not in people.members:
        return f"{by} is not a member of the contract's people."
    if people is not None and not people.holds(by, cast("str", question.role)):
        return f"{by} does not hold the role {question.role}; {_holders(people, cast('str', question.role))}."
    return None


def _nobody_s_alone(question: Question, answer: Mapping[str, Any]) -> str | None:
    if answer["ruling"] != "edit" or (question.approvals == 1 and question.sole):
        return None
    return "Several people must agree to this, so that none of them can change it: deny it, and say what it should be."


def _holders(people: People, role: str) -> str:
    return f"{', '.join(people.holding(role)) or 'nobody'} can answer"


def _unsigned(people: People, answer: Mapping[str, Any]) -> str | None:
    if people.sealed("answer", answer):
        return None
    if not answer.get("signature"):
        return f"{answer['by']} has not signed this answer."
    return f"This is not the signature of {answer['by']} under this answer."


def _again(question: Question, answer: Mapping[str, Any], earlier: list[Mapping[str, Any]]) -> str | None:
    found = _standing(question, earlier)
    if found.ruling is not None:
        return f"Question {question.id} was answered already: {found.ruling}, by {', '.join(found.by)}."
    if any(str(one["by"]).strip().casefold() == str(answer["by"]).strip().casefold() for one in earlier):
        return f"{answer['by']} has answered this question already; it wants {question.approvals} people."
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the answers to a question amount to."""

    ruling: Answering | None
    """What was decided; None while it is open. An expired question is denied, by nobody."""
    by: tuple[str, ...]
    """Who decided it, or who has said yes so far."""
    missing: int
    """How many people must still say yes; 0 when it is decided."""
    counted: tuple[Mapping[str, Any], ...] = ()
    """The answers that count, in their order; the last one decided, where it is decided by anybody."""


def standing(
    people: People | None, question: Question, answers: Iterable[tuple[Mapping[str, Any], datetime]], *, now: datetime
) -> Answered:
    """What the answers to a question amount to, each with the time at which it was written, in their order.

    Those that do not count are passed over. The first answer decides, but that of a yes where several are wanted.
    """
    counted: list[Mapping[str, Any]] = []
    for answer, at in answers:
        if check_answer(people, question, answer, now=at, earlier=counted) is None:
            counted.append(answer)
    found = _standing(question, counted)
    if found.ruling is None and question.expired(now):
        return Answered(ruling="deny", by=(), missing=0, counted=found.counted)
    return found


def place_of(question: Question, found: Answered, *, by: str) -> Claim:
    """The claim with which an answer is appended: to the next place after those that count.

    Of two people who answer at once one gets it; the other one's answer is checked again, with this one before it.
    """
    return Claim(key=f"answer:{question.id}:{len(found.counted)}", value=by)


def _standing(question: Question, counted: list[Mapping[str, Any]]) -> Answered:
    said_yes: list[str] = []
    for answer in counted:
        by, ruling = str(answer["by"]), cast("Answering", answer["ruling"])
        if ruling != "approve":
            return Answered(ruling=ruling, by=(by,), missing=0, counted=tuple(counted))
        said_yes.append(by)
        if len(said_yes) >= question.approvals:
            return Answered(ruling="approve", by=tuple(said_yes), missing=0, counted=tuple(counted))
    missing = question.approvals - len(said_yes)
    return Answered(ruling=None, by=tuple(said_yes), missing=missing, counted=tuple(counted))
