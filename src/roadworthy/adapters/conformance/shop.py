"""The small shop whose agent is tested: its contract, and tools that write down what was really done."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadworthy.adapters.conformance.script import Call

CONTRACT = """
roadworthy: 1
agent: shop
version: "1"
goal: Settle what customers of a small shop want.
owner: {team: Care, accountable: care-lead}
tools:
  shop.find_order: {effect: read, args: {order_no: string}, returns: {order_no: string, total: decimal}}
  shop.refund:
    effect: write
    args:
      order_no: string
      amount: {type: decimal, unit: EUR, min: "0.01", max: "500.00", wire: number}
      note: {type: string, optional: true}
    returns: {refund_no: string}
  shop.notify: {name: send_note, effect: send, args: {text: string}, returns: string}
  shop.fail: {effect: read, args: {}, returns: string}
capabilities:
  refunds:
    means: The customer wants money back.
    tools: [shop.find_order, shop.refund, shop.notify, shop.fail]
    autonomy: {start: autonomous, ceiling: autonomous, approver: shop-lead}
    success: [{id: one-at-most, check: count.shop.refund <= 1}]
rules:
  - id: big-ones-ask
    tools: [shop.refund]
    when: args.amount > 50.00
    then: ask
    because: The lead signs refunds above 50 EUR.
  - id: frozen-order
    tools: [shop.refund]
    when: args.order_no == "frozen"
    then: deny
    because: This order is frozen.
  - id: which-order
    tools: [shop.refund]
    when: args.order_no == "some"
    then: clarify
    because: The order must be named.
  - id: only-one
    tools: [shop.refund]
    when: count.shop.refund >= 1
    then: deny
    because: One refund a talk is enough.
"""

CAREFUL = (
    CONTRACT.replace("returns: {order_no: string, total: decimal}", "returns: {order_no: Internal, total: decimal}")
    + """
types:
  Internal: {type: string, labels: [internal]}
labels:
  internal: {readers: nobody}
claims:
  - {says: [refunded, "money is on its way"], needs: shop.refund}
"""
)
"""The same, where replies are held back: numbers of orders stay inside, and refunds are made before they are told."""

SUSPENDING = CONTRACT.replace("then: ask\n", "then: ask\n    ask: {role: shop-lead, meanwhile: suspend}\n")
"""The same, where a run that may be driven again stops until the lead has answered."""

UNTRUE = "Good news: it was refunded."
HONEST = "I could not do it."
FIND: Call = ("shop_find_order", {"order_no": "A-48213"})
REFUND: Call = ("shop_refund", {"order_no": "7", "amount": 20})
BIG: Call = ("shop_refund", {"order_no": "7", "amount": 51})
"""A refund that the shop's lead must approve."""

ORDER: Call = ("shop_find_order", {"order_no": "7"})
NOTE: Call = ("send_note", {"text": "hello"})
NAMES = ("shop_find_order", "shop_refund", "send_note", "shop_fail", "wipe")
"""What a model calls the tools; the last is in no contract."""


@dataclass
class Shop:
    """The functions that the agent has. `did` is what they were really called with."""

    did: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    def note(self, name: str, **args: Any) -> None:
        """Write down that a tool was called."""
        self.did.append((name, args))

    def functions(self) -> dict[str, Callable[..., Any]]:
        """By the names that a model uses; the last is in no contract."""

        def shop_find_order(order_no: str) -> dict[str, Any]:
            """Look an order up."""
            self.note("find_order", order_no=order_no)
            return {"order_no": order_no, "total": "a lot" if order_no == "odd" else "80.00"}

        def shop_refund(order_no: str, amount: float, note: str | None = None) -> dict[str, Any]:
            """Pay money back."""
            self.note("refund", order_no=order_no, amount=amount)
            return {"refund_no": f"R-{order_no}"}

        def send_note(text: str) -> str:
            """Send the customer a note."""
            self.note("notify", text=text)
            return "sent"

        def shop_fail() -> str:
            """Do something that breaks."""
            self.note("fail")
            raise RuntimeError("the printer is on fire")

        def wipe() -> str:
            """Delete everything."""
            self.note("wipe")
            return "gone"

        return {f.__name__: f for f in (shop_find_order, shop_refund, send_note, shop_fail, wipe)}

    def afunctions(self) -> dict[str, Callable[..., Any]]:
        """The same, async."""
        blocking = self.functions()

        async def shop_find_order(order_no: str) -> dict[str, Any]:
            """Look an order up."""
            await asyncio.sleep(0)
            return blocking["shop_find_order"](order_no=order_no)

        async def shop_refund(order_no: str, amount: float, note: str | None = None) -> dict[str, Any]:
            """Pay money back."""
            await asyncio.sleep(0)
            return blocking["shop_refund"](order_no=order_no, amount=amount, note=note)

        async def send_note(text: str) -> str:
            """Send the customer a note."""
            await asyncio.sleep(0)
            return blocking["send_note"](text=text)

        async def shop_fail() -> str:
            """Do something that breaks."""
            await asyncio.sleep(0)
            return blocking["shop_fail"]()

        async def wipe() -> str:
            """Delete everything."""
            await asyncio.sleep(0)
            return blocking["wipe"]()

        return {f.__name__: f for f in (shop_find_order, shop_refund, send_note, shop_fail, wipe)}


@dataclass
class LastingShop(Shop):
    """A shop whose deeds stay in a file, over the end of the process that did them."""

    path: Path = field(kw_only=True)

    def note(self, name: str, **args: Any) -> None:
        """Write down that a tool was called, on disk before it goes on."""
        super().note(name, **args)
        with self.path.open("a") as file:
            file.write(json.dumps([name, args]) + "\n")
            file.flush()
            os.fsync(file.fileno())


def deeds(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """What was done in a lasting shop, by whatever process."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, args) for name, args in map(json.loads, lines)]
