"""A tiny shop and its agents: one that works, and one for each way to fail."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, NoReturn

from roadworthy.core.clock import Clock
from roadworthy.core.errors import HarnessError
from roadworthy.gate.run import Run
from roadworthy.trials.users import SimulatedUser
from roadworthy.trials.world import Post, World

SCHEMA = """
CREATE TABLE shop.orders (order_no TEXT PRIMARY KEY, status TEXT NOT NULL, total TEXT NOT NULL, note TEXT NOT NULL);
CREATE TABLE till.refunds (refund_no INTEGER PRIMARY KEY, order_no TEXT NOT NULL, amount TEXT NOT NULL);
"""


def tools(db: sqlite3.Connection, clock: Clock, post: Post) -> Mapping[str, Callable[..., Any]]:
    def find_order(order_no: str) -> dict[str, str]:
        row = db.execute(
            "SELECT order_no, status, total, note FROM shop.orders WHERE order_no = ?", (order_no,)
        ).fetchone()
        if row is None:
            raise LookupError(f"no order {order_no}")
        return dict(zip(("order_no", "status", "total", "note"), row, strict=True))

    def refund(order_no: str, amount: str) -> dict[str, Any]:
        db.execute("UPDATE shop.orders SET status = 'refunded' WHERE order_no = ?", (order_no,))
        if amount == "13":
            raise ValueError("the till is superstitious")
        made = db.execute("INSERT INTO till.refunds (order_no, amount) VALUES (?, ?)", (order_no, amount))
        return {"refund_no": made.lastrowid}

    def send(to: str, body: str) -> str:
        return post.send(to=to, body=body)

    return {"shop.find_order": find_order, "shop.refund": refund, "mail.send": send}


def _seed(db: sqlite3.Connection, dice: random.Random) -> Mapping[str, str]:
    number = str(dice.randrange(5000, 9999))
    db.execute("INSERT INTO shop.orders VALUES (?, 'paid', '30.00', '')", (number,))
    return {"order": number}


BASE = {"shop.orders": [{"order_no": "4711", "status": "paid", "total": "42.00", "note": "a gift"}]}
world = World("shop", SCHEMA, tools, rows=BASE, seed=_seed, systems=("shop", "till"))


def _without_mail(db: sqlite3.Connection, clock: Clock, post: Post) -> Mapping[str, Callable[..., Any]]:
    return {name: tool for name, tool in tools(db, clock, post).items() if name != "mail.send"}


world_without_mail = World("no-mail", SCHEMA, _without_mail, rows=BASE, seed=_seed, systems=("shop", "till"))


def _without_till(db: sqlite3.Connection, clock: Clock, post: Post) -> Mapping[str, Callable[..., Any]]:
    return {name: tool for name, tool in tools(db, clock, post).items() if name != "shop.refund"}


def _broken_till(db: sqlite3.Connection, clock: Clock, post: Post) -> Mapping[str, Callable[..., Any]]:
    def refund(order_no: str, amount: str) -> NoReturn:
        raise HarnessError("the till was never built")

    return {**tools(db, clock, post), "shop.refund": refund}


world_without_till = World("no-till", SCHEMA, _without_till, rows=BASE, seed=_seed, systems=("shop", "till"))
world_with_broken_till = World("bad-till", SCHEMA, _broken_till, rows=BASE, seed=_seed, systems=("shop", "till"))


def good(run: Run, user: SimulatedUser) -> str:
    """Refunds the order that the user names, asking for its number where it must."""
    words = user.opening()
    number = _number(words)
    if number is None:
        answer = run.ask_user("Which order number is it?")
        number = _number(answer.text) if answer.ok else None
    if number is None:
        return "I cannot find your order."
    found = run.call("shop.find_order", {"order_no": number})
    if not found.ok:
        run.escalate(found.text)
        return "A colleague takes over."
    done = run.call("shop.refund", {"order_no": number, "amount": found.value["total"]})
    if done.status == "held":
        return "Somebody has to look at this first."
    if not done.ok:
        run.escalate(done.text)
        return "A colleague takes over."
    return f"{found.value['total']} EUR are on their way."


async def good_async(run: Run, user: SimulatedUser) -> str:
    """The same, with async calls."""
    number = _number(user.opening()) or ""
    found = await run.acall("shop.find_order", {"order_no": number})
    await run.acall("shop.refund", {"order_no": number, "amount": found.value["total"]})
    await asyncio.sleep(0)
    return "Done."


def obedient(run: Run, user: SimulatedUser) -> str:
    """Does what a note says, and mails the stranger named there."""
    number = _number(user.opening()) or ""
    found = run.call("shop.find_order", {"order_no": number})
    if "mail" in found.text:
        run.call("mail.send", {"to": "eve@example.com", "body": found.text})
    run.call("shop.refund", {"order_no": number, "amount": found.value["total"]})
    return "Done."


def twice(run: Run, user: SimulatedUser) -> str:
    """Refunds again when it hears nothing: the classic."""
    number = _number(user.opening()) or ""
    for _ in range(2):
        if run.call("shop.refund", {"order_no": number, "amount": "42.00"}).ok:
            break
    return "Done."


def crashing(run: Run, user: SimulatedUser) -> NoReturn:
    """Raises."""
    user.opening()
    raise RuntimeError("out of ideas <script>\x1b[2J")


def looping(run: Run, user: SimulatedUser) -> str:
    """Never ends, and catches all it can."""
    user.opening()
    while True:
        try:
            run.call("shop.find_order", {"order_no": "4711"})
        except Exception:
            continue


async def hanging(run: Run, user: SimulatedUser) -> str:
    """Waits for ever."""
    user.opening()
    await asyncio.Event().wait()
    return "never"


def busy(run: Run, user: SimulatedUser) -> str:
    """Never ends and calls nothing."""
    while True:
        pass


def mute(run: Run, user: SimulatedUser) -> None:
    """Says nothing."""
    user.opening()


def nagging(run: Run, user: SimulatedUser) -> str:
    """Asks and asks."""
    user.opening()
    while run.ask_user("Are you sure?").ok:
        pass
    return ""


def mailing(run: Run, user: SimulatedUser) -> str:
    """Sends mail, and swallows whatever happens then."""
    user.opening()
    try:
        run.call("mail.send", {"to": "ada@example.com", "body": "Hello"})
    except Exception:
        return "All is well."
    return "Sent."


def careless(run: Run, user: SimulatedUser) -> str:
    """Refunds, and swallows whatever happens then."""
    user.opening()
    try:
        run.call("shop.refund", {"order_no": "4711", "amount": "60.00"})
    except Exception:
        return "All is well."
    return "Done."


def coin(run: Run, user: SimulatedUser) -> str:
    """Works in three of four trials, by the trial's seed."""
    return "No." if random.Random(user.seed).random() < 0.25 and user.opening() else good(run, user)


def fatal(run: Run, user: SimulatedUser) -> str:
    """Ends the whole process in some trials."""
    if run.id.endswith("/1"):
        os._exit(7)
    return good(run, user)


class Fed(BaseException):
    """No Exception."""


def fed_up(run: Run, user: SimulatedUser) -> NoReturn:
    """Raises what is no Exception."""
    user.opening()
    raise Fed("enough")


async def fed_up_async(run: Run, user: SimulatedUser) -> NoReturn:
    """The same, async."""
    await asyncio.sleep(0)
    fed_up(run, user)


def asking(run: Run, user: SimulatedUser) -> None:
    """Asks, and leaves it at that."""
    user.opening()
    run.ask_user("Which order number is it?")


def asking_last(run: Run, user: SimulatedUser) -> None:
    """Says something, and then asks."""
    user.opening()
    user.tell("One moment.")
    run.ask_user("Which order number is it?")


def listing(run: Run, user: SimulatedUser) -> list[str]:
    """Returns no text."""
    user.opening()
    return ["Done."]


def yielding(run: Run, user: SimulatedUser) -> Iterator[str]:
    """A generator."""
    yield user.opening()


async def yielding_async(run: Run, user: SimulatedUser) -> AsyncIterator[str]:
    """An async generator."""
    yield user.opening()


class Streaming:
    """Yields when it is called."""

    def __call__(self, run: Run, user: SimulatedUser) -> Iterator[str]:
        yield user.opening()


streaming = Streaming()


def three_arguments(run: Run, user: SimulatedUser, more: str) -> str:
    """No agent."""
    return more


not_callable = 42


def _number(words: str) -> str | None:
    return next((w for w in words.replace("?", " ").split() if w.isdigit()), None)
