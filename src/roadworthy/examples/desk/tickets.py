"""What customers write in tickets, by department; the trial's seed picks the wordings.

`PLAIN` is what a demo would show. In `MIXED` the matter belongs to one department and some of the words to another, or
the words are unusual; in `RAMBLING` the matter stands somewhere in a long complaint. All of it was written to sound
like people and then left alone: no wording was chosen or dropped for what the scripted model makes of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket and where a careful person would send it."""

    department: str
    subject: str
    body: str


PLAIN: Sequence[Ticket] = (
    Ticket("billing", "VAT number", "Please print our VAT number on future invoices."),
    Ticket("billing", "New address on the invoice", "We have moved. Please put the new address on the next invoice."),
    Ticket("billing", "Payment by direct debit", "I would like to change my payment to direct debit."),
    Ticket("billing", "Copy of a bill", "Could you send me a copy of the bill of last March?"),
    Ticket("access", "Permission for a colleague", "My colleague needs the permission to see our orders."),
    Ticket("access", "Two-factor app", "I have a new phone and want to move the two-factor app to it."),
    Ticket("access", "Wrong role", "My role is still `buyer`, but I should be able to approve orders."),
    Ticket("access", "Access for our accountant", "Please give our accountant read access."),
    Ticket("shipping", "Where is my parcel?", "The tracking page has not moved for nine days."),
    Ticket("shipping", "Delivery on Saturday", "Can the delivery come on a Saturday?"),
    Ticket("shipping", "Damaged parcel", "The parcel arrived with a hole in it, and the lamp inside is broken."),
    Ticket("shipping", "Half of the shipment", "Two boxes of the shipment came, the third did not."),
    Ticket("technical", "Crash", "The page crashes when I open the list of orders."),
    Ticket("technical", "Export is empty", "The export of my orders is an empty file."),
    Ticket("technical", "Error 500", "I get an error 500 when I change my name."),
    Ticket("technical", "A bug in the search", "There is a bug in the search: it finds nothing with an umlaut."),
    Ticket("legal", "GDPR", "Under the GDPR I want to know what you store about me."),
    Ticket("legal", "Letter of my lawyer", "My lawyer has written to you three weeks ago and has heard nothing."),
    Ticket("legal", "Terms of the contract", "Which law does the contract between us stand under?"),
    Ticket("legal", "Court", "The court has asked me for the documents about my order."),
)

MIXED: Sequence[Ticket] = (
    Ticket("shipping", "Invoice", "The invoice should lie in the box, but the box never came. Where is it?"),
    Ticket("shipping", "Not here yet", "My neighbour got hers on Monday, mine is still somewhere."),
    Ticket("billing", "Wrong sum", "The parcel was fine, but you took the sum for two of them from my card."),
    Ticket("billing", "Steuernummer", "Bitte drucken Sie künftig unsere Steuernummer auf die Rechnung."),
    Ticket("access", "New colleague", "A colleague starts on Monday and should see our invoices, like I do."),
    Ticket(
        "access", "Only half of the menu", "Since the reorganisation I no longer see the page where I approve orders."
    ),
    Ticket("technical", "Tracking", "The tracking page is white, in three browsers. The parcel itself came."),
    Ticket("technical", "Nothing happens", "When I press the green button, nothing happens at all."),
    Ticket("legal", "My data", "Please tell me everything that you have stored about me, and then delete it."),
    Ticket("legal", "Formal notice", "If the payment is not with us by Friday, we take this before a judge."),
)

RAMBLING: Sequence[Ticket] = (
    Ticket(
        "technical",
        "Again!!",
        "I pay for this, month after month. My parcel came on time for once, fine, nobody is complaining "
        "about that. But whenever I want to export my list of orders the page shows an error and throws me "
        "out, and I have work to do.",
    ),
    Ticket(
        "shipping",
        "I give up",
        "First I waited at home for a whole day. Then I took a day off. Then your colleague told me something "
        "about a depot in the next town, where nobody has ever heard of me. I do not want to hear any more "
        "stories. I want my parcel.",
    ),
    Ticket(
        "billing",
        "???",
        "You are a funny lot. Your driver is nice, the box was nice, even the tape was nice. Only the man who "
        "writes the bill cannot count: three lamps are not four lamps, however long you look at them, and I "
        "look at them every night.",
    ),
    Ticket(
        "access",
        "To whoever reads this, if anybody does",
        "It was so easy in the old shop. Now everybody here has another role, my intern can order for ten "
        "thousand and I, who own the place, cannot even see what she has ordered. And do not tell me it is a "
        "bug, it is how you set it up.",
    ),
    Ticket(
        "legal",
        "Last warning",
        "My patience has an end, and it ended on the phone with you. The toaster burnt my kitchen table. I "
        "have photos, I have a witness, and since this morning I also have a lawyer. Whether the refund came "
        "or not is all the same to me.",
    ),
)


def wordings(rng: random.Random) -> Iterator[tuple[str, str]]:
    """The tickets of one trial, as names for scenarios: `${shipping.subject}`, `${mixed.department}`."""
    chosen: Mapping[str, Sequence[Ticket]] = {"mixed": MIXED, "rambling": RAMBLING}
    for name, tickets in chosen.items():
        ticket = rng.choice(tickets)
        yield f"{name}.department", ticket.department
        yield f"{name}.subject", ticket.subject
        yield f"{name}.body", ticket.body
    for department, tickets in _BY_DEPARTMENT.items():
        ticket = rng.choice(tickets)
        yield f"{department}.subject", ticket.subject
        yield f"{department}.body", ticket.body


_BY_DEPARTMENT = {d: [t for t in PLAIN if t.department == d] for d in dict.fromkeys(t.department for t in PLAIN)}
