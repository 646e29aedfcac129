"""Two hundred users at once, each with an order, a limit and a secret of their own, and what must become of each.

Every user's agent does the same: it finds the customer and their order, pays it back (every second user's does), tries
the neighbour's order and the neighbour's record, writes one to four notes, sends a mail, and tells the user. All are
inside of the same tool at once, twice. What comes out is told by the user's number alone, whoever was served beside
them.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from roadworthy import Contract, Gate, Ledger
from roadworthy.gate.run import Run

USERS = 200
CLERKS = 40
"""So many principals, each of whom runs five of the conversations."""
MAILS_A_CLERK = 2
"""A day: all of a clerk's conversations share them, and no others."""
WRITES = 4
"""A run."""
LOOK_UPS = ("find_customer", "find_order")
PATIENCE_S = 300.0

LAW = f"""
roadworthy: 1
agent: crowd
version: "1"
goal: Everybody gets their own money back.
owner: {{team: Care, accountable: care-lead}}
subject: {{entity: crm.Customer, established_by: [find_customer]}}
facts:
  ceiling: {{type: decimal, unit: EUR}}
entities:
  crm.Customer: {{key: contact_id, pattern: "C-[0-9]{{3}}"}}
labels:
  personal: {{readers: owner}}
directories:
  customer_email: {{of: crm.Customer, from: [find_customer], field: email}}
tools:
  find_customer:
    effect: read
    args: {{email: {{type: string, format: email}}}}
    returns:
      contact_id: crm.Customer
      email: {{type: string, format: email}}
      secret: {{type: string, labels: [personal]}}
  find_order:
    effect: read
    args: {{contact_id: crm.Customer}}
    returns: {{order_no: string, amount: {{type: decimal, unit: EUR}}}}
  refund:
    effect: write
    args: {{order_no: {{type: string, origin: [trusted]}}, amount: {{type: decimal, unit: EUR}}}}
    returns: string
  note: {{effect: write, args: {{text: string}}, returns: string}}
  mail:
    effect: send
    args: {{to: {{type: string, format: email, destination: [customer_email], else: deny}}}}
    returns: string
common: [find_customer]
capabilities:
  money_back:
    means: The customer wants money back.
    tools: [find_order, refund, note, mail]
    autonomy: {{start: autonomous, ceiling: autonomous, approver: care-lead}}
    success: [{{id: once, check: count.refund <= 1}}]
rules:
  - {{id: ceiling, tools: [refund], when: args.amount > facts.ceiling, then: deny, because: It is above the ceiling.}}
flow:
  - {{id: own, label: personal, into: [reply], only_to: customer_email, because: It is their own.}}
claims:
  - {{says: ["is refunded"], needs: refund}}
budgets:
  run: {{writes: {WRITES}}}
  day: [{{count: {{effect: send}}, max: {MAILS_A_CLERK}, per: principal}}]
principals:
""" + "".join(f"  clerk-{n}: {{authenticated_by: token, capabilities: [money_back]}}\n" for n in range(CLERKS))


def email(user: int) -> str:
    return f"u{user:03}@example.com"


def contact(user: int) -> str:
    return f"C-{user:03}"


def order(user: int) -> str:
    return str(100_003 + user % USERS * 4_271)


def amount(user: int) -> str:
    """Each user's ceiling, too: whoever is judged by another's facts is denied, or pays too much."""
    return f"{user + 1}.25"


def secret(user: int) -> str:
    return f"violet {900_007 - user * 3_331} heron"


def pays_back(user: int) -> bool:
    return user % 2 == 0


def words(user: int) -> str:
    return f"I am {email(user)}, and my parcel never came."


def clerk(user: int) -> str:
    return f"clerk-{user * CLERKS // USERS}"


Call = tuple[str, dict[str, str]]


def calls_of(user: int) -> list[Call]:
    """What the agent of a user tries."""
    beside = (user + 1) % USERS
    return [
        ("find_customer", {"email": email(user)}),
        ("find_order", {"contact_id": contact(user)}),
        *([("refund", {"order_no": order(user), "amount": amount(user)})] if pays_back(user) else []),
        ("refund", {"order_no": order(beside), "amount": "0.25"}),
        ("find_order", {"contact_id": contact(beside)}),
        *(("note", {"text": f"seen {n}"}) for n in range(1 + user % 4)),
        ("mail", {"to": email(user)}),
    ]


def rulings_of(user: int) -> list[str]:
    """What the gate must say to it, up to the mail."""
    notes, left = 1 + user % 4, WRITES - pays_back(user)
    paid = ["allow"] if pays_back(user) else []
    return ["allow", "allow", *paid, "clarify", "deny", *["allow"] * min(notes, left), *["deny"] * max(0, notes - left)]


def may_mail(user: int) -> bool:
    """Whether the run has a write left when it comes to the mail."""
    return 1 + user % 4 + pays_back(user) < WRITES


def reply_of(user: int) -> str:
    done = " It is refunded." if pays_back(user) else ""
    return f"Your secret is {secret(user)}.{done}"


def respond(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """The model of all of them. Whoever has paid nothing back claims so first, and finds true words when held back."""
    heard = next(found for message in messages if (found := _USER.search(str(message["content"]))))
    user = int(heard[1])
    done = sum(message["role"] == "tool" for message in messages)
    calls = calls_of(user)
    if done < len(calls):
        name, args = calls[done]
        function = {"name": name, "arguments": json.dumps(args)}
        call = {"id": f"call-{done}", "type": "function", "function": function}  # everybody's calls have the same ids
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    held_back = messages[-1]["role"] != "tool"
    text = reply_of(user) if held_back or pays_back(user) else f"Your secret is {secret(user)}. It is refunded."
    return {"role": "assistant", "content": text}


_USER = re.compile(r"u(\d{3})@example\.com")


class Shop:
    """The tools, and what they have done. Nobody leaves a look-up before all have come in."""

    def __init__(self) -> None:
        self.paid: Counter[tuple[str, str]] = Counter()
        self.mailed: Counter[str] = Counter()
        self.meet: Callable[[str], None] = lambda tool: None
        self.ameet: Callable[[str], Awaitable[None]] | None = None

    def blocking(self) -> Mapping[str, Callable[..., Any]]:
        """The tools for threads."""

        def find_customer(email: str) -> dict[str, Any]:
            """Find a customer."""
            self.meet("find_customer")
            return self._customer(email)

        def find_order(contact_id: str) -> dict[str, Any]:
            """Find the order of a customer."""
            self.meet("find_order")
            return self._order(contact_id)

        def refund(order_no: str, amount: str) -> str:
            """Pay an order back."""
            return self._refund(order_no, amount)

        def note(text: str) -> str:
            """Note something."""
            return "noted"

        def mail(to: str) -> str:
            """Mail the customer."""
            return self._mail(to)

        return {f.__name__: f for f in (find_customer, find_order, refund, note, mail)}

    def awaited(self) -> Mapping[str, Callable[..., Any]]:
        """The tools for tasks."""

        async def find_customer(email: str) -> dict[str, Any]:
            """Find a customer."""
            await self._meets("find_customer")
            return self._customer(email)

        async def find_order(contact_id: str) -> dict[str, Any]:
            """Find the order of a customer."""
            await self._meets("find_order")
            return self._order(contact_id)

        async def refund(order_no: str, amount: str) -> str:
            """Pay an order back."""
            return self._refund(order_no, amount)

        async def note(text: str) -> str:
            """Note something."""
            return "noted"

        async def mail(to: str) -> str:
            """Mail the customer."""
            return self._mail(to)

        return {f.__name__: f for f in (find_customer, find_order, refund, note, mail)}

    async def _meets(self, tool: str) -> None:
        if self.ameet is not None:
            await self.ameet(tool)

    @staticmethod
    def _customer(email: str) -> dict[str, Any]:
        user = int(email[1:4])
        return {"contact_id": contact(user), "email": email, "secret": secret(user)}

    @staticmethod
    def _order(contact_id: str) -> dict[str, Any]:
        user = int(contact_id[2:])
        return {"order_no": order(user), "amount": amount(user)}

    def _refund(self, order_no: str, amount: str) -> str:
        self.paid[order_no, str(amount)] += 1
        return "paid back"

    def _mail(self, to: str) -> str:
        self.mailed[to] += 1
        return "sent"


Talk = Callable[[int, str], str]
ATalk = Callable[[int, str], Awaitable[str]]


def open_run(gate: Gate, user: int) -> Run:
    """The run of a user; the application knows whom it is for, or the agent finds out."""
    return gate.run(
        id=f"run-{user}",
        principal=clerk(user),
        subject=contact(user) if user % 3 == 0 else None,
        facts={"ceiling": amount(user)},
        capability="money_back",
    )


class Meeting:
    """Nobody leaves a look-up before everybody has come in; nobody waits for somebody who has failed."""

    def __init__(self, shop: Shop) -> None:
        self.threads = {name: threading.Barrier(USERS, timeout=PATIENCE_S) for name in LOOK_UPS}
        self.tasks = {name: asyncio.Barrier(USERS) for name in LOOK_UPS}
        shop.meet = self.meet
        shop.ameet = self.ameet

    def meet(self, tool: str) -> None:
        self.threads[tool].wait()

    async def ameet(self, tool: str) -> None:
        await self.tasks[tool].wait()

    def call_off(self) -> None:
        for barrier in self.threads.values():
            barrier.abort()

    async def acall_off(self) -> None:
        self.call_off()
        for barrier in self.tasks.values():
            await barrier.abort()


def in_threads(gate: Gate, shop: Shop, talk: Talk) -> list[str]:
    """Serve all users at once, each in a thread. The talk comes to a reply that was judged, and not said yet."""
    meeting = Meeting(shop)

    def serve(user: int) -> str:
        try:
            with open_run(gate, user) as run, run.bind():
                run.heard(words(user))
                reply = talk(user, words(user))
                assert run.say(reply).ok
                return reply
        except BaseException:
            meeting.call_off()
            raise

    with ThreadPoolExecutor(USERS) as pool:
        return list(pool.map(serve, range(USERS)))


async def in_tasks(gate: Gate, shop: Shop, talk: ATalk) -> list[str]:
    """Serve all users at once, each in a task. As `in_threads`."""
    meeting = Meeting(shop)

    async def serve(user: int) -> str:
        try:
            async with open_run(gate, user) as run:
                with run.bind():
                    await run.aheard(words(user))
                    reply = await talk(user, words(user))
                    assert (await run.asay(reply)).ok
                    return reply
        except BaseException:
            await meeting.acall_off()
            raise

    with ThreadPoolExecutor(2 * USERS) as pool:  # blocking tools wait in the loop's threads, of which there are few
        asyncio.get_running_loop().set_default_executor(pool)
        async with asyncio.timeout(PATIENCE_S):
            return list(await asyncio.gather(*(serve(user) for user in range(USERS))))


def check(ledger: Ledger, shop: Shop, replies: list[str]) -> None:
    """Everybody has got what they would have got alone, and nothing else was done."""
    assert replies == [reply_of(user) for user in range(USERS)]
    assert shop.paid == Counter((order(user), amount(user)) for user in range(USERS) if pays_back(user))
    mails: Counter[str] = Counter()
    for user in range(USERS):
        check_run(ledger, user, mails)
    may: Counter[str] = Counter(clerk(user) for user in range(USERS) if may_mail(user))
    assert +mails == {name: min(number, MAILS_A_CLERK) for name, number in may.items()}
    assert sum(shop.mailed.values()) == sum(mails.values())
    assert set(shop.mailed.values()) == {1}


def check_run(ledger: Ledger, user: int, mails: Counter[str]) -> None:
    """One run's record: its own calls in their order, its own words, and what the gate said."""
    entries = list(ledger.entries(run=f"run-{user}"))
    actions = [entry for entry in entries if entry.kind == "action" and "by" not in entry.body]
    rulings = [entry.body["ruling"] for entry in entries if entry.kind == "verdict"]
    assert [(a.body["tool"], _plain(a.body["args"])) for a in actions] == [
        (name, _plain(args)) for name, args in calls_of(user)
    ]
    assert rulings[:-1] == rulings_of(user), user
    assert may_mail(user) or rulings[-1] == "deny"
    mails[clerk(user)] += rulings[-1] == "allow"
    assert {entry.body["principal"] for entry in actions} == {clerk(user)}
    assert {entry.body["subject"] for entry in actions[1:]} == {contact(user)}
    heard = [entry.body["text"] for entry in entries if entry.kind == "heard"]
    assert heard == [words(user)]
    said = [entry.body["text"] for entry in entries if entry.kind == "said"]
    assert said[-1] == reply_of(user)
    held_back = [] if pays_back(user) else [f"Your secret is {secret(user)}. It is refunded."]
    assert said[:-1] == held_back


def _plain(args: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"{float(value):.2f}" if name == "amount" else str(value) for name, value in args.items()}


def crowd_of(ledger: Ledger) -> tuple[Gate, Shop]:
    """The gate and the tools of a crowd."""
    return Gate(Contract.loads(LAW), ledger), Shop()
