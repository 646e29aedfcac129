"""Types as written and the shapes that everything else reads."""

from __future__ import annotations

from decimal import Decimal

from roadworthy import Contract
from roadworthy.contract.shapes import Shape

from .edits import REFERENCE, edited, findings_in


def args(tool: str) -> dict[str, Shape]:
    return dict(Contract.loads(REFERENCE).shapes.args[tool])


def test_an_entity_is_text_with_its_pattern() -> None:
    guest = args("stays.bookings")["guest_id"]
    assert (guest.type, guest.entity, guest.pattern) == ("string", "stays.Guest", "G-[0-9]{5}")


def test_a_named_type_keeps_its_bounds_and_takes_what_is_added() -> None:
    amount = args("ledger.credit")["amount"]
    assert (amount.type, amount.type_name, amount.unit) == ("decimal", "Euro", "EUR")
    assert (amount.minimum, amount.maximum) == (Decimal("0.01"), Decimal("5000.00"))
    assert amount.origins == ("user", "trusted", "contract", "facts", "derived", "simulated")
    assert amount.wire == "number"


def test_null_beside_a_type_and_a_default_make_an_argument_optional_and_nullable() -> None:
    shapes = args("stays.bookings")
    assert shapes["first"].nullable
    assert shapes["first"].optional
    assert (shapes["limit"].default, shapes["limit"].optional) == (10, True)
    assert not shapes["guest_id"].optional


def test_enum_and_const_tell_the_type_by_themselves() -> None:
    shapes = args("stays.cancel")
    assert (shapes["reason"].type, shapes["reason"].enum) == ("string", ("illness", "weather", "other"))
    assert shapes["fee"].enum == ("none",)


def test_short_and_long_forms_of_objects() -> None:
    returns = Contract.loads(REFERENCE).shapes.returns["stays.bookings"]
    assert returns is not None
    assert returns.items is not None
    booking = returns.items
    assert booking.fields["booking_id"].entity == "stays.Booking"
    room = booking.fields["room"]
    assert not room.fields["number"].optional
    assert room.fields["beds"].optional  # `required` lists the others
    assert room.fields["sea-view"].alias == "sea_view"
    assert room.extra is not None
    assert room.extra.type == "string"
    note = booking.fields["notes"].items
    assert note is not None
    assert (note.trust, note.trust_when) == ("untrusted", 'item.author == "staff"')
    assert note.fields["tags"].optional


def test_a_destination_keeps_who_vouches_and_what_else_happens() -> None:
    to = args("mail.send")["to"]
    assert (to.destination, to.destination_else) == (("guest_email", "staff"), "deny")


def test_shapes_are_resolved_once() -> None:
    contract = Contract.loads(REFERENCE)
    assert contract.shapes is contract.shapes


def test_walk_visits_everything_below() -> None:
    returns = Contract.loads(REFERENCE).shapes.returns["stays.bookings"]
    assert returns is not None
    paths = [".".join(path) for path, _ in returns.walk()]
    assert "*.notes.*.text" in paths
    assert "*.room.*" in paths


def test_a_word_that_is_type_and_entity_at_once_is_refused() -> None:
    found = findings_in(edited(("types:\n", "types:\n  Guest: string\n"), ("  stays.Guest: {key", "  Guest: {key")))
    assert any("both an entity and a type" in f.text for f in found)
