"""A world is fresh in every trial, says what changed, and lets an action be tried without doing it."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from roadworthy.core.clock import Clock
from roadworthy.core.errors import HarnessError
from roadworthy.trials.imports import find_world
from roadworthy.trials.world import Post, World


@pytest.fixture
def shop() -> World:
    return find_world("trialshop:world")


def test_each_ground_is_fresh(shop: World) -> None:
    with shop.ground() as first:
        first.tools["shop.refund"](order_no="4711", amount="42.00")
        first.tools["mail.send"](to="ada@example.com", body="Done")
        assert {c.table for c in first.changes()} == {"shop.orders", "till.refunds", "mail.sent"}
    with shop.ground() as second:
        assert second.changes() == ()
        assert second.tools["shop.find_order"](order_no="4711")["status"] == "paid"


def test_two_open_grounds_do_not_see_each_other(shop: World) -> None:
    with shop.ground() as one, shop.ground() as other:
        one.tools["shop.refund"](order_no="4711", amount="42.00")
        assert other.changes() == ()


def test_changes_are_net(shop: World) -> None:
    with shop.ground() as ground:
        db = ground.connection
        db.execute("UPDATE shop.orders SET status = 'x' WHERE order_no = '4711'")
        db.execute("UPDATE shop.orders SET status = 'paid' WHERE order_no = '4711'")
        db.execute("INSERT INTO till.refunds (order_no, amount) VALUES ('1', '1')")
        db.execute("DELETE FROM till.refunds")
        assert ground.changes() == ()
        db.execute("UPDATE shop.orders SET note = NULL || 'x', order_no = '1' WHERE order_no = '4711' AND 0")
        db.execute("DELETE FROM shop.orders WHERE order_no = '4711'")
        (change,) = ground.changes()
        assert (change.table, change.change, change.after) == ("shop.orders", "delete", None)
        assert change.before is not None
        assert change.before["order_no"] == "4711"


def test_replacing_a_row_is_seen(shop: World) -> None:
    with shop.ground() as ground:
        ground.connection.execute("REPLACE INTO shop.orders VALUES ('4711', 'lost', '42.00', '')")
        assert [(c.change, c.row["status"]) for c in ground.changes()] in (
            [("update", "lost")],
            [("delete", "paid"), ("insert", "lost")],
        )


def test_what_a_raising_tool_had_done_is_undone(shop: World) -> None:
    with shop.ground() as ground:
        with pytest.raises(ValueError, match="superstitious"):
            ground.tools["shop.refund"](order_no="4711", amount="13")
        assert ground.changes() == ()


def test_an_attempt_shows_the_world_afterwards_and_leaves_nothing(shop: World) -> None:
    with shop.ground() as ground:
        ground.tools["shop.refund"](order_no="4711", amount="1")
        before = ground.changes()
        tried = ground.attempt(lambda: ground.tools["mail.send"](to="ada@example.com", body="Hello"))
        assert [c.table for c in tried.changes] == ["shop.orders", "till.refunds", "mail.sent"]
        assert ground.changes() == before
        assert ground.post.sent == []
        failed = ground.attempt(lambda: ground.tools["shop.find_order"](order_no="0"))
        assert isinstance(failed.error, LookupError)


def test_the_seed_makes_the_rows_and_their_names(shop: World) -> None:
    with shop.ground(seed=1) as one, shop.ground(seed=1) as same, shop.ground(seed=2) as other:
        assert one.names == same.names != other.names
        assert one.tools["shop.find_order"](order_no=one.names["order"])["total"] == "30.00"


def test_rows_of_a_scenario_are_no_changes(shop: World) -> None:
    with shop.ground(rows={"shop.orders": [{"order_no": "1", "status": "paid", "total": "1", "note": ""}]}) as ground:
        assert ground.changes() == ()
        assert ground.tools["shop.find_order"](order_no="1")["total"] == "1"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"shop.order": [{"order_no": "1"}]}, "no table 'shop.order'"),
        ({"shop.orders": [{"number": "1"}]}, "no column 'number'"),
        ({"shop.orders": [{"order_no": "1"}]}, "NOT NULL"),
    ],
)
def test_rows_that_do_not_fit_are_the_harness_fault(shop: World, rows: Any, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        shop.ground(rows=rows)


def _committing(db: sqlite3.Connection, clock: Clock, post: Post) -> Mapping[str, Callable[..., Any]]:
    def add(fail: bool) -> None:
        with db:
            db.execute("INSERT INTO t VALUES (1)")
        db.commit()
        if fail:
            db.execute("INSERT INTO t VALUES (2)")
            db.rollback()
            db.execute("INSERT INTO t VALUES (3)")

    def escape() -> None:
        db.execute("COMMIT")

    return {"add": add, "escape": escape}


def test_tools_may_be_written_as_for_a_real_database() -> None:
    world = World("w", "CREATE TABLE t (n INTEGER)", _committing)
    with world.ground() as ground:
        ground.tools["add"](fail=False)
        assert [c.row["n"] for c in ground.changes()] == [1]
    with world.ground() as ground:
        ground.tools["add"](fail=True)
        assert [c.row["n"] for c in ground.changes()] == [3]
    with world.ground() as ground:
        assert ground.changes() == ()


def test_a_tool_that_ends_the_trials_transaction_is_found_out() -> None:
    ground = World("w", "CREATE TABLE t (n INTEGER)", _committing).ground()
    with pytest.raises(sqlite3.OperationalError, match="savepoint"):
        ground.tools["escape"]()
    with pytest.raises(HarnessError, match="tools do not commit"):
        ground.close()


def test_odd_values_and_tables_without_rowid_are_captured() -> None:
    schema = "CREATE TABLE t (a TEXT, b, PRIMARY KEY (a)) WITHOUT ROWID"
    world = World("w", schema, lambda db, clock, post: {}, rows={"t": [{"a": "x", "b": b"\x00\xff"}]})
    with world.ground() as ground:
        ground.connection.execute("UPDATE t SET b = 1.5")
        ground.connection.execute("INSERT INTO t VALUES ('y', NULL)")
        rows = {c.row["a"]: (c.change, c.before, c.row["b"]) for c in ground.changes()}
        assert rows == {"x": ("update", {"a": "x", "b": "00FF"}, 1.5), "y": ("insert", None, None)}


def test_a_line_break_in_an_address_is_refused(shop: World) -> None:
    with shop.ground() as ground, pytest.raises(ValueError, match="line break"):
        ground.tools["mail.send"](to="ada@example.com\nBcc: eve@example.com", body="Hello")


class _Inbox:
    def __init__(self) -> None:
        self.got: list[tuple[list[str], str]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


def test_the_wired_world_gives_equal_changes(shop: World, tmp_path: Path) -> None:
    inbox = _Inbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        with shop.wired(tmp_path / "w", seed=3, smtp=("127.0.0.1", port)) as wired, shop.ground(seed=3) as plain:
            for ground in (wired, plain):
                ground.tools["shop.refund"](order_no="4711", amount="42.00")
                ground.attempt(lambda g=ground: g.tools["mail.send"](to="nobody@example.com", body="never"))
                ground.tools["mail.send"](to="ada@example.com", body="Your money is on its way.")
                with pytest.raises(ValueError, match="superstitious"):
                    ground.tools["shop.refund"](order_no="4711", amount="13")
            assert wired.changes() == plain.changes()
            assert wired.names == plain.names
    finally:
        server.stop()
    ((to, content),) = inbox.got
    assert to == ["ada@example.com"]
    assert "on its way" in content
    file = sqlite3.connect(tmp_path / "w" / "till.db")
    assert file.execute("SELECT order_no, amount FROM refunds").fetchall() == [("4711", "42.00")]
    file.close()


def test_a_wired_world_wants_an_empty_folder(shop: World, tmp_path: Path) -> None:
    shop.wired(tmp_path).close()
    with pytest.raises(HarnessError, match="empty folder"):
        shop.wired(tmp_path)


def _no_tools(db: sqlite3.Connection, clock: Clock, post: Post) -> Mapping[str, Callable[..., Any]]:
    raise ZeroDivisionError


async def _async_tool() -> None: ...


@pytest.mark.parametrize(
    ("world", "said"),
    [
        (World("w", "CREATE TABL t", lambda db, clock, post: {}), "do not load"),
        (World("w", "", lambda db, clock, post: {"a": _async_tool}), "async"),
        (World("w", "", _no_tools), "ZeroDivisionError"),
        (World("w", "", lambda db, clock, post: {}, seed=lambda db, dice: {"a": str(1 / 0)}), "seeding"),
    ],
)
def test_a_world_that_cannot_be_built_says_so(world: World, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        world.ground()
