"""Every kind of broken contract is refused, with the place and the cure."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pydantic import BaseModel

from roadworthy import Contract, ContractError
from roadworthy.contract import model
from roadworthy.contract.load import assure

from .edits import REFERENCE, REFERENCE_FILE, edited, findings_in, place_of_mark

SMALL = """
roadworthy: 1
agent: reset-bot
version: "1"
goal: Get people back in.
owner: {team: IT, accountable: it-lead}
tools:
  find_user: {effect: read, args: {email: string}, returns: {user_id: string, email: string}}
  send_reset: {effect: write, args: {user_id: string}, returns: string}
capabilities:
  password_reset:
    means: The person cannot sign in.
    tools: [find_user, send_reset]
    autonomy: {start: approval, ceiling: autonomous, approver: it-lead}
    success: [{id: sent-once, check: count.send_reset == 1}]
"""


def test_the_reference_contract_loads_and_has_every_key_of_the_model() -> None:
    contract = Contract.load(REFERENCE_FILE)
    used: dict[str, set[str]] = {}

    def visit(value: object) -> None:
        if isinstance(value, BaseModel):
            used.setdefault(type(value).__name__, set()).update(value.model_fields_set)
            for name in type(value).model_fields:
                visit(getattr(value, name))
        elif isinstance(value, dict):
            for inner in value.values():  # pyright: ignore[reportUnknownVariableType]  # any mapping of the model
                visit(inner)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, tuple):
            for inner in value:  # pyright: ignore[reportUnknownVariableType]  # any list of the model
                visit(inner)  # pyright: ignore[reportUnknownArgumentType]

    visit(contract)
    parts = [
        p for p in vars(model).values() if isinstance(p, type) and issubclass(p, model.Part) and p is not model.Part
    ]
    missing = {p.__name__: set(p.model_fields) - used.get(p.__name__, set()) for p in parts}
    assert {name: keys for name, keys in missing.items() if keys} == {}


def test_the_smallest_contract_has_safe_defaults() -> None:
    contract = Contract.loads(SMALL)
    assert contract.hosted_tools == "refuse"
    assert contract.ledger_down.writes == "deny"
    assert contract.model_name("find_user") == "find_user"
    assert contract.rules == ()


CHANGES = [
    # keys
    pytest.param("agent: hotel-desk", "‸agnt: hotel-desk", "agnt", "did you mean agent?", id="misspelt-key"),
    pytest.param("facts:\n", "‸fact:\n", "fact", "did you mean facts?", id="misspelt-section"),
    pytest.param(
        "effect: read\n    description",
        "‸efect: read\n    description",
        "tools.stays.find_guest.efect",
        "did you mean effect?",
        id="misspelt-key-of-a-tool",
    ),
    pytest.param(
        'version: "7"',
        'version: "7"\n‸version: "8"',
        "version",
        "second time (first on line 4); keep one",
        id="duplicate-key",
    ),
    pytest.param(
        "budgets:\n",
        "budgets:\n  ‸tool_calls: 3\n",
        "budgets.tool_calls",
        "it belongs under run",
        id="key-one-level-up",
    ),
    pytest.param(
        "owner: {team: Guest Services, accountable: desk-lead}",
        "‸owner: {team: Guest Services}",
        "owner.accountable",
        "`accountable` is missing; add accountable:",
        id="missing-key",
    ),
    pytest.param(
        "check: count.stays.cancel == 1}",
        'check: heard == "x, ‸y"}',
        'capabilities.cancel_stay.success.0.y"',
        "quote that text as a whole",
        id="comma-ends-unquoted-text",
    ),
    pytest.param(
        "    unless: has(facts.club)",
        "    ‸unless:\n    # has(facts.club)",
        "rules.0.unless",
        "nothing stands after `unless`; write a value, or leave the key out",
        id="key-without-value",
    ),
    # types of values
    pytest.param(
        'version: "7"', "version: ‸7", "version", 'not 7, which is a number; quote it: "7"', id="number-for-text"
    ),
    pytest.param(
        'version: "7"', "version: ‸7.10", "version", 'write "7.10" for a version', id="version-loses-its-zero"
    ),
    pytest.param(
        "retries: 2", "retries: ‸many", "tools.stays.find_guest.retries", "a whole number", id="text-for-number"
    ),
    pytest.param("retries: 2", "retries: ‸99", "tools.stays.find_guest.retries", "at most 10", id="number-too-large"),
    pytest.param("timeout: 3s", "timeout: ‸3", "tools.stays.find_guest.timeout", "write 3s or 3m", id="no-unit"),
    pytest.param(
        "timeout: 3s", "timeout: ‸3 secs", "tools.stays.find_guest.timeout", "500ms, 3s, 10m, 4h or 7d", id="odd-unit"
    ),
    pytest.param('min: "0.01"', "min: ‸0.01", "types.Euro.min", "must be quoted", id="unquoted-money"),
    pytest.param('min: "0.01"', 'min: ‸"1,00"', "types.Euro.min", "digits and a point", id="money-with-a-comma"),
    pytest.param("enforce: false", "enforce: ‸no", "rules.2.enforce", 'write "no" for the text, or false', id="no"),
    pytest.param("enforce: false", 'enforce: ‸"false"', "rules.2.enforce", "without quotes", id="quoted-truth"),
    pytest.param("enforce: false", "enforce: ‸0", "rules.2.enforce", "true or false stands here", id="zero-for-false"),
    pytest.param(
        "effect: compute", "effect: ‸computes", "tools.hotel.nights.effect", "did you mean compute?", id="word"
    ),
    pytest.param(
        "start: approval", "start: ‸autonomus", "capabilities.cancel_stay.autonomy.start", "autonomous?", id="level"
    ),
    pytest.param(
        "approval: [engineering]", "‸aproval: [engineering]", "signatures.aproval", "approval?", id="key-word"
    ),
    pytest.param("roadworthy: 1", "roadworthy: ‸2", "roadworthy", "write `roadworthy: 1`", id="format-version"),
    pytest.param(
        "tools: {effect: send}", "tools: ‸mail.send", "rules.3.tools", "write [mail.send]", id="list-forgotten"
    ),
    pytest.param(
        "tools: {effect: send}", "tools: {‸efect: send}", "rules.3.tools.efect", "effect?", id="union-misspelt"
    ),
    pytest.param(
        "readers: owner", "readers: ‸owners", "labels.personal.readers", "did you mean owner?", id="union-word"
    ),
    pytest.param("  stays.cancel:\n", "  ‸stays cancel:\n", "tools.stays cancel", "is no name", id="tool-name"),
    pytest.param(
        "count: {tool: stays.cancel}, max: 20",
        'count: {tool: stays.cancel}, max: ‸"20"',
        "budgets.day.2.max",
        "without quotes",
        id="quoted-count",
    ),
    pytest.param('max: "1000.00"', "max: ‸1000", "budgets.day.0.max", 'quote it: "1000"', id="unquoted-sum"),
    # types of tools
    pytest.param(
        "args: {email: {type: string, format: email}}",
        "args: {email: ‸strng}",
        "tools.stays.find_guest.args.email",
        "did you mean string?",
        id="type-misspelt",
    ),
    pytest.param(
        "args: {email: {type: string, format: email}}",
        "args: {email: ‸int}",
        "tools.stays.find_guest.args.email",
        "write integer",
        id="type-of-python",
    ),
    pytest.param(
        "args: {email: {type: string, format: email}}",
        "args: {email: {type: string, ‸formt: email}}",
        "tools.stays.find_guest.args.email.formt",
        "did you mean format?",
        id="keyword-misspelt",
    ),
    pytest.param(
        "args: {email: {type: string, format: email}}",
        "args: {email: {type: string, ‸anyOf: [string]}}",
        "tools.stays.find_guest.args.email.anyOf",
        "cannot be judged before a call",
        id="other-json-schema",
    ),
    pytest.param(
        "args: {email: {type: string, format: email}}",
        "args: {‸email: {format: email}}",
        "tools.stays.find_guest.args.email",
        "`type` is missing",
        id="type-forgotten",
    ),
    pytest.param(
        "args: {email: {type: string, format: email}}",
        "args: {email: {type: string, ‸name: string}}",
        "tools.stays.find_guest.args.email.name",
        "{type: object, properties: {...}}",
        id="field-called-type",
    ),
    pytest.param(
        "args: {email: {type: string, format: email}}",
        "args: {‸email: [string]}",
        "tools.stays.find_guest.args.email",
        "enum: [...]",
        id="list-for-a-type",
    ),
    pytest.param('min: "0.01"', "‸minimum: 0.01", "types.Euro.minimum", "write min, quoted", id="bound-of-a-number"),
    pytest.param(
        "Euro: {", "Euro: {‸items: string, ", "types.Euro.items", "belongs to array", id="keyword-of-another-type"
    ),
    pytest.param(
        '  Euro: {type: decimal, unit: EUR, min: "0.01"',
        '  ‸Euro: {type: decimal, unit: EUR, min: "5001"',
        "types.Euro",
        "no value fits; exchange them",
        id="bounds-crossed",
    ),
    pytest.param("Night: {type: string", "Night: {type: ‸Night", "types.Night.type", "contains itself", id="circle"),
    pytest.param('"G-[0-9]{5}"', '‸"G-[0-9{5}"', "entities.stays.Guest.pattern", "no regular expression", id="regex"),
    pytest.param('"G-[0-9]{5}"', '‸"(a+)+"', "entities.stays.Guest.pattern", "repeats a repeat", id="regex-for-ever"),
    pytest.param(
        "limit: {type: integer, default: 10",
        "limit: {type: integer, default: ‸0",
        "tools.stays.bookings.args.limit.default",
        "below the least value, 1",
        id="default-out-of-bounds",
    ),
    pytest.param(
        "reason: {enum: [illness, weather, other]}",
        "reason: {enum: [illness, ‸3, other], type: string}",
        "tools.stays.cancel.args.reason.enum.1",
        'quote it: "3"',
        id="enum-of-another-type",
    ),
    pytest.param(
        "origin: [user, trusted]",
        "origin: [‸usr, trusted]",
        "tools.ledger.credit.args.booking_id.origin.0",
        "did you mean user?",
        id="origin-misspelt",
    ),
    pytest.param(
        "returns: {type: string, trust: untrusted}",
        "returns: {type: string, ‸destination: [staff]}",
        "tools.web.read.returns.destination",
        "no effect in a result",
        id="keyword-of-arguments-in-a-result",
    ),
    pytest.param(
        "reason: {type: string, minLength: 3}",
        "reason: {type: string, ‸trust: untrusted}",
        "tools.hotel.hand_over.args.reason.trust",
        "no effect in an argument",
        id="keyword-of-results-in-an-argument",
    ),
    # names
    pytest.param("zone: Europe/Vienna", "zone: ‸Europe/Viena", "zone", "did you mean Europe/Vienna?", id="zone"),
    pytest.param(
        "common: [stays.find_guest,", "common: [‸stays.find_gest,", "common.0", "stays.find_guest?", id="common"
    ),
    pytest.param(
        "tools: {effect: send}", "tools: [‸mail.sent]", "rules.3.tools.0", "did you mean mail.send?", id="rule-tool"
    ),
    pytest.param("tools: {effect: send}", "‸tools: []", "rules.3.tools", "name at least one", id="rule-about-nothing"),
    pytest.param("field: email}", "field: ‸emial}", "directories.guest_email.field", "did you mean email?", id="field"),
    pytest.param("label: personal", "label: ‸persona", "flow.0.label", "did you mean personal?", id="label"),
    pytest.param("only_to: guest_email", "only_to: ‸gest_email", "flow.0.only_to", "guest_email?", id="directory"),
    pytest.param("into: [mail.send, reply]", "into: [mail.send, ‸replay]", "flow.0.into.1", "reply?", id="sink"),
    pytest.param(
        "into: [mail.send, reply]", "into: [‸stays.cancel]", "flow.0.into.0", "no argument with a", id="sink-open"
    ),
    pytest.param("needs: ledger.credit", "needs: ‸ledger.kredit", "claims.0.needs", "ledger.credit?", id="claim"),
    pytest.param(
        "capabilities: [cancel_stay, credit]",
        "capabilities: [‸cancel-stay, credit]",
        "principals.desk-bot.capabilities.0",
        "did you mean cancel_stay?",
        id="principal",
    ),
    pytest.param("tool: hotel.hand_over", "tool: ‸hotel.handover", "escalate.tool", "hotel.hand_over?", id="escalate"),
    pytest.param("arg: amount}", "arg: ‸ammount}", "budgets.day.0.sum.arg", "did you mean amount?", id="budget-arg"),
    pytest.param(
        "arg: amount}", "arg: ‸folio_no}", "budgets.day.0.sum.arg", "cannot be summed exactly", id="budget-text"
    ),
    pytest.param(
        "entity: stays.Guest\n", "entity: ‸stays.Gest\n", "subject.entity", "did you mean stays.Guest?", id="entity"
    ),
    pytest.param(
        "established_by: [stays.find_guest]",
        "established_by: [‸hotel.directory]",
        "subject.established_by.0",
        "returns no stays.Guest",
        id="subject-not-returned",
    ),
    pytest.param(
        "established_by: [stays.find_guest]",
        "established_by: [‸stays.cancel]",
        "subject.established_by.0",
        "must not change anything; name a read",
        id="subject-by-a-write",
    ),
    pytest.param(
        "from: stays.Guest, to: ledger.Folio, by: ledger.find_folio",
        "from: stays.Booking, to: ledger.Folio, by: ‸ledger.find_folio",
        "same_as.0.by",
        "takes no stays.Booking",
        id="bridge-from",
    ),
    pytest.param(
        "by: ledger.find_folio}", "by: ‸stays.bookings}", "same_as.0.by", "returns no ledger.Folio", id="bridge-to"
    ),
    pytest.param(
        "since: [stays.cancel]",
        "since: [‸stays.cancl]",
        "tools.stays.cancel.needs.0.since.0",
        "stays.cancel?",
        id="since",
    ),
    pytest.param(
        "same: [booking_id], where",
        "same: [‸bookingid], where",
        "tools.stays.cancel.needs.0.same.0",
        "no argument 'bookingid'; did you mean booking_id?",
        id="needs-same",
    ),
    pytest.param(
        "read_out: [booking_id]",
        "read_out: [‸booking]",
        "tools.stays.cancel.confirm.read_out.0",
        "booking_id?",
        id="read-out",
    ),
    pytest.param(
        "key: [folio_no, booking_id, amount]",
        "key: [folio_no, ‸booking, amount]",
        "tools.ledger.credit.idempotent.key.1",
        "booking_id?",
        id="idempotent-key",
    ),
    pytest.param(
        "passed_as: request_id",
        "passed_as: ‸amount",
        "tools.ledger.credit.idempotent.passed_as",
        "an argument that the model fills",
        id="idempotent-passed-as",
    ),
    pytest.param(
        "credit_no: result.credit_no",
        "credit_no: ‸result.creditno",
        "tools.ledger.credit.undo.args.credit_no",
        "did you mean credit_no?",
        id="undo-field",
    ),
    pytest.param(
        "undo: {tool: ledger.reverse, args: {credit_no: result.credit_no}}",
        "undo: {tool: ledger.reverse, ‸args: {}}",
        "tools.ledger.credit.undo.args",
        "needs credit_no as well",
        id="undo-argument-forgotten",
    ),
    pytest.param(
        "status: before.status}, before: stays.read_booking",
        "status: ‸before.status}",
        "tools.stays.cancel.undo.args.status",
        "name the look-up under `before:`",
        id="undo-before-forgotten",
    ),
    pytest.param(
        "tools: [stays.read_booking, stays.cancel, mail.send]",
        "tools: [stays.read_booking, ‸stays.reinstate]",
        "capabilities.cancel_stay.tools.1",
        "`only: undo`",
        id="undo-tool-offered",
    ),
    pytest.param(
        "booking: {call: stays.read_booking, same: [booking_id]}",
        "booking: {call: stays.read_booking, same: [‸amount]}",
        "rules.2.with.booking.same.0",
        "stays.read_booking has no argument 'amount'",
        id="with-same",
    ),
    pytest.param(
        "with: {booking:", "with: {‸heard:", "rules.2.with.heard", "cannot be used in a condition", id="with-name"
    ),
    # meaning
    pytest.param(
        "    name: cancel_stay\n", "    name: ‸mail_send\n", "tools.stays.cancel.name", "could mean", id="two-names"
    ),
    pytest.param(
        "    name: cancel_stay\n",
        "    name: ‸cancel.stay\n",
        "tools.stays.cancel.name",
        "models take no",
        id="model-name",
    ),
    pytest.param(
        "  hotel.nights:\n", "  ‸mail:\n    effect: read\n  hotel.nights:\n", None, "begins with the name", id="prefix"
    ),
    pytest.param(
        "- id: one-credit-a-run", "- id: ‸credit-above-100", "rules.1.id", "stands here twice", id="rule-id-twice"
    ),
    pytest.param(
        "{start: approval, ceiling: autonomous, approver: reception}",
        "{start: autonomous, ceiling: approval, approver: reception}",
        "capabilities.cancel_stay.autonomy",
        "above its ceiling approval",
        id="start-above-ceiling",
    ),
    pytest.param(
        "{start: approval, ceiling: autonomous, approver: reception}",
        "{start: approval, ceiling: autonomous}",
        "capabilities.cancel_stay.autonomy.approver",
        "add `approver:` with a role",
        id="nobody-answers",
    ),
    pytest.param(
        'pass_rate: "0.95"',
        'pass_rate: ‸"95"',
        "capabilities.cancel_stay.evidence.pass_rate",
        "between 0 and 1",
        id="rate",
    ),
    pytest.param(
        "    then: deny\n    because: A second",
        "    then: deny\n    ‸ask: {role: x}\n    because: A second",
        "rules.1.ask",
        "write `then: ask`",
        id="ask-without-ask",
    ),
    pytest.param(
        "{id: cancelled-once, check: count.stays.cancel == 1}",
        "{id: cancelled-once, check: count.stays.cancel == 1, ‸within: 3d}",
        "capabilities.cancel_stay.success.0.within",
        "no effect without `signal`",
        id="within-without-signal",
    ),
    pytest.param(
        "    timeout: 10s\n",
        "    timeout: 10s\n    ‸retries: 1\n",
        "tools.stays.cancel.retries",
        "may happen twice",
        id="blind-retry",
    ),
    # conditions and examples
    pytest.param(
        "when: args.amount > 100.00", "when: ‸args.amuont > 100.00", "rules.0.when", "amount", id="condition-argument"
    ),
    pytest.param(
        "when: args.amount > 100.00", "when: ‸args.amount > 100", "rules.0.when", "100", id="condition-integer"
    ),
    pytest.param(
        "check: count.stays.cancel == 1}",
        "check: ‸count.stays.cancl == 1}",
        "capabilities.cancel_stay.success.0.check",
        "stays.cancel",
        id="condition-tool",
    ),
    pytest.param(
        'passed: [{args: {amount: "1.00"}}]',
        'passed: [‸{args: {amount: "1.00"}, count: {ledger.credit: 1}}]',
        "rules.1.examples.passed.0",
        "says deny to this call of ledger.credit",
        id="example-caught",
    ),
    pytest.param(
        '- {args: {amount: "100.01"}, facts: {club: silver}}',
        '- ‸{args: {amount: "99.00"}, facts: {club: silver}}',
        "rules.0.examples.caught.0",
        "lets this call of ledger.credit pass",
        id="example-passed",
    ),
    pytest.param(
        '- {args: {amount: "100.01"}, facts: {club: silver}}',
        "- {args: {amount: ‸100.5}, facts: {club: silver}}",
        "rules.0.examples.caught.0.args.amount",
        'quoted number, such as "100.5"',
        id="example-money",
    ),
    pytest.param(
        'caught: [{now: "2026-03-01T03:00:00"}]',
        "caught: [‸{heard: hello}]",
        "rules.3.examples.caught.0",
        "looks at the time",
        id="example-without-time",
    ),
    pytest.param(
        'caught: [{now: "2026-03-01T03:00:00"}]',
        'caught: [{now: ‸"3 am"}]',
        "rules.3.examples.caught.0.now",
        "is no time",
        id="example-odd-time",
    ),
]


@pytest.mark.parametrize(("old", "new", "path", "cure"), CHANGES)
def test_a_broken_contract_is_refused_at_its_place(old: str, new: str, path: str | None, cure: str) -> None:
    text = edited((old, new))
    line = column = None
    if "‸" in text:
        text, line, column = place_of_mark(text)
    found = findings_in(text)
    hits = [f for f in found if cure in f.text]
    assert hits, f"no finding names the cure {cure!r}: {[str(f) for f in found]}"
    if path is not None:
        assert ".".join(map(str, hits[0].path)) == path
    if line is not None and path is not None:
        assert (hits[0].line, hits[0].column) == (line, column)
    assert all(f.file == "contract.yaml" and f.line and f.column for f in found)


def test_one_mistake_is_one_finding() -> None:
    for old, new in (
        ("effect: read\n    description", "efect: read\n    description"),
        ("returns: {folio_no: ledger.Folio, open: Euro}", "returns: {folio_no: ledger.Folyo, open: Euro}"),
        ("tools: {effect: send}", "tools: 5"),
        ('  Euro: {type: decimal, unit: EUR, min: "0.01"', '  Euro: {type: decimal, unit: EUR, mix: "0.01"'),
    ):
        found = findings_in(edited((old, new)))
        assert len(found) == 1, [str(f) for f in found]


def test_all_findings_come_at_once_in_the_order_of_their_lines() -> None:
    found = findings_in(
        edited(
            ("zone: Europe/Vienna", "zone: Europe/Viena"),
            ("retries: 2", "retries: many"),
            ("enforce: false", "enforce: no"),
            ("label: personal", "label: persona"),
        )
    )
    assert [f.path[0] for f in found] == ["zone", "tools", "rules", "flow"]
    assert [f.line for f in found] == sorted(f.line or 0 for f in found)


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("", 1, 1, "there is no contract in this file"),
        ("# only a comment\n", 1, 1, "there is no contract in this file"),
        ("- a\n- b\n", 1, 1, "write `key: value` lines"),
        ("a: b: c", 1, 5, "a colon followed by a space"),
        ("a:\n\tb: 1", 2, 1, "indent with spaces"),
        ("a: {b: [1, 2}", 1, 13, "not closed"),
        ('a: "x', 1, 6, "never closed"),
        ("a: @x", 1, 4, "cannot start with @"),
        ("a: \x01", 1, 4, "U+0001"),
        ("a: &x 1", 1, 4, "&x names a part"),
        ("a: 1\nb: *a\n", 2, 4, "by reference"),
        ("a: &a 1\nb: *a\n", 2, 4, "write it out"),
        ("a: {x: 1}\nb: {<<: {y: 2}}\n", 2, 5, "merges another part in"),
        ("a: !!int 3", 1, 4, "has no meaning here"),
        ("---\na: 1\n---\nb: 2\n", 3, 1, "a second document"),
        ("? [a]\n: 1\n", 1, 3, "a key is one word"),
        (": 1\n", 1, 1, "a key is empty"),
        ("a: 12:30", 1, 4, 'write "12:30"'),
        ("a: 2026-03-01", 1, 4, 'write "2026-03-01"'),
        ("a: 007", 1, 4, 'write "007"'),
        ("a: 0x1F", 1, 4, 'write "0x1F"'),
        ("a: 1_000", 1, 4, 'write "1_000"'),
        ("a: 50.00", 1, 4, 'write "50.00"'),
        ("a: .inf", 1, 4, "no number that can be compared"),
        ("a: 12345678901234567890", 1, 4, "too many digits"),
        ("a: Yes", 1, 4, "text to some readers and true to others"),
        ("a: off", 1, 4, "text to some readers and false to others"),
        ("a: " + "[" * 60 + "]" * 60, 1, 44, "nested more than 40 deep"),
    ],
)
def test_what_yaml_readers_disagree_about_is_refused(text: str, line: int, column: int, said: str) -> None:
    found = findings_in(text)
    hits = [f for f in found if said in f.text]
    assert hits, [str(f) for f in found]
    assert (hits[0].line, hits[0].column) == (line, column)


def test_words_that_trap_other_readers_are_fine_as_keys_and_in_quotes() -> None:
    contract = Contract.loads(
        edited(
            (
                "args: {email: string}",
                "args: {email: string, y: {type: string, optional: true}, "
                'no: {enum: ["no", "1.10", "12:30"], optional: true}}',
            )
        )
    )
    no = contract.shapes.args["hotel.directory"]["no"]
    assert no.enum == ("no", "1.10", "12:30")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "latin.yaml"
    broken.write_bytes("goal: Gr\xfc\xdfe".encode("latin-1"))
    for path, said in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "is a folder"), (broken, "no UTF-8")):
        with pytest.raises(ContractError) as caught:
            Contract.load(path)
        (finding,) = caught.value.findings
        assert said in finding.text
        assert finding.file == str(path)


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + REFERENCE.replace("\n", "\r\n").encode())
    people = (REFERENCE_FILE.parent / "people.yaml").read_text(encoding="utf-8")
    (tmp_path / "people.yaml").write_bytes(b"\xef\xbb\xbf" + people.replace("\n", "\r\n").encode())
    assert Contract.load(path) == Contract.load(REFERENCE_FILE)


def test_the_digest_covers_meaning_and_nothing_else() -> None:
    contract = Contract.loads(REFERENCE)
    for old, new in (
        ("# Every construct", "# Each construct"),
        ("retries: 2\n", "retries: 2  # twice\n"),
        ("zone: Europe/Vienna\n", "zone: 'Europe/Vienna'\n"),
        ("staff_on_duty: boolean", "staff_on_duty: {type: boolean}"),
        ("{folio_no: ledger.Folio, open: Euro}", "{open: Euro, folio_no: {type: ledger.Folio}}"),
        ("open_for: 1m", "open_for: 60s"),
        ("    then: deny\n    because: Personal", "    because: Personal"),
    ):
        assert Contract.loads(edited((old, new))).digest == contract.digest, new
    for old, new in (("open_for: 1m", "open_for: 61s"), ("enforce: false", "enforce: true"), ("> 100.00", "> 100.01")):
        changed = edited((old, new), ('{args: {amount: "100.01"}', '{args: {amount: "100.02"}'))
        assert Contract.loads(changed) != contract, new


def test_python_builds_the_same_object_as_yaml() -> None:
    contract = Contract.loads(SMALL)
    same = Contract(
        roadworthy=1,
        agent="reset-bot",
        version="1",
        goal="Get people back in.",
        owner=model.Owner(team="IT", accountable="it-lead"),
        tools={
            "find_user": model.Tool.model_validate(
                {"effect": "read", "args": {"email": "string"}, "returns": {"user_id": "string", "email": "string"}}
            ),
            "send_reset": model.Tool.model_validate(
                {"effect": "write", "args": {"user_id": "string"}, "returns": "string"}
            ),
        },
        capabilities={
            "password_reset": model.Capability(
                means="The person cannot sign in.",
                tools=("find_user", "send_reset"),
                autonomy=model.Autonomy(start="approval", ceiling="autonomous", approver="it-lead"),
                success=(model.Criterion(id="sent-once", check="count.send_reset == 1"),),
            )
        },
    )
    assert same == contract
    assert hash(same) == hash(contract)


def test_a_finding_about_a_loaded_contract_knows_its_place() -> None:
    contract = Contract.loads(SMALL, file="small.yaml")
    (finding,) = findings_in(SMALL.replace("effect: read", "effect: raed"))
    located = contract.located(dataclasses.replace(finding, file=None, line=None, column=None))
    assert (located.file, located.line, located.column) == ("small.yaml", 8, 23)


def test_a_folded_text_is_one_line_without_the_marks_of_its_folds() -> None:
    rule = """
rules:
  - id: twice
    tools: [send_reset]
    when: >-
      count.send_reset >= 1
      && args.user_id != ""
    then: deny
    because: >-
      Once
      is enough.
"""
    (loaded,) = Contract.loads(SMALL + rule).rules
    assert loaded.when == 'count.send_reset >= 1 && args.user_id != ""'
    assert loaded.because == "Once is enough."


def test_a_contract_made_in_python_is_held_to_the_same() -> None:
    contract = Contract.loads(SMALL, file="small.yaml")
    assure(contract)
    rule = model.Rule(id="never", tools=("send_rest",), then="deny", because="It is so.")
    changed = contract.model_copy(update={"rules": (rule,)})
    assert changed.digest != contract.digest
    with pytest.raises(ContractError, match="did you mean send_reset"):
        assure(changed)
