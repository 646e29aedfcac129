"""Undo after any prefix of a run restores a real world or lists what is left, whatever fails or breaks off."""

from __future__ import annotations

import shutil
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from roadworthy import Contract, Gate, Ledger
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Outcome
from roadworthy.gate.undo import Undone

GATE_TESTS = Path(__file__).parents[1] / "gate"


def _module(name: str) -> ModuleType:
    spec = spec_from_file_location(name, GATE_TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


board = _module("board")
LAW = Contract.load(board.CONTRACT)

places = st.sampled_from(["door", "wall", "desk"])
texts = st.sampled_from(["Open", "Closed", "Back at noon"])
accounts = st.sampled_from(["rent", "tea"])
amounts = st.sampled_from(["1.00", "2.50", "40.00"])
items = st.sampled_from(["paper", "ink", "tea"])
mishaps = st.sampled_from(["fine", "fine", "fine", "refused", "lost_before", "lost_after"])


class Killed(BaseException):
    """The process is gone."""


class Book:
    """A ledger whose process dies at one of the next appends: before it is written, or just after."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.dies_in: int | None = None
        self.written = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)

    def append(self, drafts: Any, guards: Any = ()) -> Any:
        if self.dies_in == 0:
            if self.written:
                self.ledger.append(drafts, guards)
            raise Killed
        if self.dies_in is not None:
            self.dies_in -= 1
        return self.ledger.append(drafts, guards)


class UndoneRuns(RuleBasedStateMachine):
    """One run of the office's agent, what it really did, and undos in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.office = board.Office(self.folder / "office.db")
        self.clock = VirtualClock()
        self.ledger = Ledger.open()
        self.open()
        self.left: dict[str, str] = {}
        """Actions that a person was told of, by id, with why."""
        self.undone: list[str] = []

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)

    def open(self) -> None:
        """The process, as it begins: it knows what stands in the ledger, and nothing else."""
        self.book = Book(self.ledger)
        book: Any = self.book
        self.gate = Gate(LAW, book, tools=self.office.tools, clock=self.clock)
        self.run = self.gate.run(id="r1", capability="office")

    @initialize(text=texts)
    def begin(self, text: str) -> None:
        self.office.tools["board.write"](place="door", text=text)
        self.office.tools["books.book"](account="old", amount="9.00")
        self.before = self.office.world()

    # -- what the agent does -------------------------------------------------------------------------------------------

    def call(self, tool: str, mishap: str, dies: tuple[int, bool] | None, **args: Any) -> Outcome | None:
        self.office.goes(tool, mishap)
        return self.dying(dies, lambda: self.run.call(tool, args, self.office.tools[tool]))

    def dying(self, dies: tuple[int, bool] | None, work: Any) -> Any:
        if dies is not None:
            self.book.dies_in, self.book.written = dies
        try:
            return work()
        except (Killed, LedgerError):
            self.open()
            return None
        finally:
            self.book.dies_in = None
            self.office.mishaps.clear()

    deaths = st.one_of(st.none(), st.none(), st.none(), st.tuples(st.integers(0, 6), st.booleans()))

    @rule(place=places, text=texts, mishap=mishaps, dies=deaths)
    def write(self, place: str, text: str, mishap: str, dies: Any) -> None:
        self.call("board.write", mishap, dies, place=place, text=text)

    @rule(account=accounts, amount=amounts, mishap=mishaps, dies=deaths)
    def book_it(self, account: str, amount: str, mishap: str, dies: Any) -> None:
        self.call("books.book", mishap, dies, account=account, amount=amount)

    @rule(item=items, mishap=mishaps, dies=deaths)
    def order(self, item: str, mishap: str, dies: Any) -> None:
        self.call("shop.order", mishap, dies, item=item)

    @rule(body=texts)
    def send(self, body: str) -> None:
        self.call("post.send", "fine", None, body=body)

    @rule()
    def look(self) -> None:
        self.call("board.read", "fine", None, place="door")

    @rule()
    def restart(self) -> None:
        self.open()

    # -- what people take back -----------------------------------------------------------------------------------------

    @rule(
        dies=st.one_of(st.none(), st.tuples(st.integers(0, 9), st.booleans())),
        write=mishaps,
        reverse=mishaps,
        cancel=mishaps,
        find=st.sampled_from(["fine", "fine", "refused"]),
    )
    def undo(self, dies: Any, write: str, reverse: str, cancel: str, find: str) -> None:
        for tool, mishap in (
            ("board.write", write), ("books.reverse", reverse), ("shop.cancel", cancel), ("books.find", find),
            ("shop.status", find),
        ):  # fmt: skip
            self.office.goes(tool, mishap)
        done: Undone | None = self.dying(dies, lambda: self.gate.undo("r1", by="ada", because="Wrong"))
        if done is None:  # whoever finds it broken off calls it again
            done = self.gate.undo("r1", by="bob", because="Wrong")
        self.undone += [r.action for r in done.undone]
        self.left = {r.action: r.code for r in done.left}
        self.restored_or_listed(done)

    def restored_or_listed(self, done: Undone) -> None:
        """What differs from the world before the run is explained by what was listed, and by nothing else."""
        left: dict[str, list[Any]] = {}
        for reversal in done.left:
            left.setdefault(reversal.tool, []).append(reversal.args)
        now, before = self.office.world(), self.before
        touched = {args["place"] for args in left.get("board.write", ())}
        for place in {p for p, _ in now["board"]} | {p for p, _ in before["board"]}:
            if place not in touched:
                assert dict(now["board"]).get(place) == dict(before["board"]).get(place), place
        extra = list(now["books"])
        for entry in before["books"]:
            assert entry in extra, "an entry of somebody else was reversed"
            extra.remove(entry)
        listed = [(args["account"], board.plain(args["amount"])) for args in left.get("books.book", ())]
        for entry in extra:
            assert entry in listed, entry
            listed.remove(entry)
        ordered = {args["item"] for args in left.get("shop.order", ())}
        for item in dict(now["shop"]) | dict(before["shop"]):
            assert item in ordered or dict(now["shop"]).get(item) == dict(before["shop"]).get(item), item
            assert dict(now["shop"]).get(item, 0) >= 0, "cancelled twice"
        assert len(now["post"]) - len(before["post"]) <= len(left.get("post.send", ()))

    @invariant()
    def nothing_is_taken_back_twice(self) -> None:
        assert len(self.undone) == len(set(self.undone))
        with self.office.opened() as db:
            assert db.execute("select count(*) from books where reversed > 1").fetchone() == (0,)

    @invariant()
    def another_process_knows_the_same(self) -> None:
        book: Any = self.ledger
        theirs = Gate(LAW, book, tools=self.office.tools, clock=self.clock)
        reopen: Any = getattr(theirs, "_reopened")  # noqa: B009  # without writing that it was opened again
        state, mine = reopen("r1", list(self.ledger.entries(run="r1"))).state, self.run.state
        for name in ("counts", "sums", "writes", "tool_calls", "keys", "news", "status"):
            assert getattr(state, name) == getattr(mine, name), name


UndoneRuns.TestCase.settings = settings(
    max_examples=60, stateful_step_count=14, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_undo_restores_the_world_or_lists_what_is_left = UndoneRuns.TestCase
