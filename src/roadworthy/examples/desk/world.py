"""The desk's three systems as one world: in memory for trials, on files and real SMTP where it is wired."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from roadworthy.core.clock import Clock
from roadworthy.examples.desk.people import seed
from roadworthy.examples.desk.systems import billing, crm, support
from roadworthy.examples.desk.systems.billing import Billing
from roadworthy.examples.desk.systems.crm import Crm
from roadworthy.examples.desk.systems.support import Support
from roadworthy.trials.world import Post, World


def tools(db: sqlite3.Connection, clock: Clock, post: Post) -> Mapping[str, Callable[..., Any]]:
    """Every tool of the contract, over these three systems and this post."""
    desk, money, file = Support(db, clock), Billing(db, clock), Crm(db, clock)

    def send(to: str, subject: str, body: str) -> dict[str, Any]:
        """Send an e-mail."""
        return {"message_id": post.send(to=to, subject=subject, body=body)}

    return {
        "support.find_customer": desk.find_customer,
        "support.search_customers": desk.search_customers,
        "support.read_ticket": desk.read_ticket,
        "support.route_ticket": desk.route_ticket,
        "support.hand_over": desk.hand_over,
        "billing.find_account": money.find_account,
        "billing.get_invoice": money.get_invoice,
        "billing.refund": money.refund,
        "billing.reverse_refund": money.reverse_refund,
        "crm.find_party": file.find_party,
        "crm.issue_reset": file.issue_reset,
        "crm.latest_reset": file.latest_reset,
        "mail.send": send,
    }


world = World(
    "desk",
    schema=support.SCHEMA + billing.SCHEMA + crm.SCHEMA,
    tools=tools,
    seed=seed,
    systems=("support", "billing", "crm"),
)
"""The support desk; `seed` fills it with the people of one trial."""
