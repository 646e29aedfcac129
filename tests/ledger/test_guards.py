"""Guards: budgets that are shared and things that happen once, in the transaction that writes the entries."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.core.errors import Conflict, LedgerError
from roadworthy.core.types import Claim, Draft, Entry, Guard, Kind, Reservation
from roadworthy.ledger.batch import Batch
from roadworthy.ledger.rows import SOUGHT
from roadworthy.ledger.store import Appender, Ledger

from .conftest import POSTGRES, beside, held, schema, settle

Make = Callable[..., Draft]
Script = Callable[..., "subprocess.Popen[str]"]


def spend(amount: str, limit: str | None = "100", account: str = "refunds") -> Reservation:
    return Reservation(account=account, amount=Decimal(amount), limit=None if limit is None else Decimal(limit))


@pytest.fixture(params=["file", "memory", "batch", POSTGRES])
def appender(request: pytest.FixtureRequest, path: Path) -> Iterator[Appender]:
    if request.param == "batch":
        yield Batch()
    elif request.param == "postgres":
        with schema() as url, Ledger.open(url) as ledger:
            yield ledger
    else:
        with Ledger.open(path if request.param == "file" else ":memory:") as ledger:
            yield ledger


def test_a_budget_is_spent_and_given_back(appender: Appender, make: Make) -> None:
    appender.append([make(0)], [spend("60.50")])
    with pytest.raises(Conflict, match=r"refunds holds 60\.50, and 39\.51 more would pass its limit of 100") as caught:
        appender.append([make(1)], [spend("39.51")])
    assert caught.value.code == "RW-302"
    assert caught.value.guard == spend("39.51")
    assert caught.value.found == Decimal("60.50")
    appender.append([make(2)], [spend("39.50")])
    appender.append([make(3)], [spend("-60.50", None)])
    appender.append([make(4)], [spend("60.50")])
    assert [entry.body["n"] for entry in appender.entries()] == [0, 2, 3, 4]


def test_giving_back_always_holds(appender: Appender, make: Make) -> None:
    appender.append([make(0)], [spend("60", None)])
    appender.append([make(1)], [spend("-1", "10")])
    with pytest.raises(Conflict):
        appender.append([make(2)], [spend("0.01", "10")])


def test_the_first_claim_wins(appender: Appender, make: Make) -> None:
    appender.append([make(0)], [Claim(key="question 1", value="")])
    for value in ("deny", ""):
        with pytest.raises(Conflict, match="question 1 was claimed before") as caught:
            appender.append([make(1)], [Claim(key="question 1", value=value)])
        assert caught.value.found == ""
    with pytest.raises(Conflict):
        appender.append([make(1)], [Claim(key="question 1", value="deny", again=True)])
    appender.append([make(2)], [Claim(key="question 1", value="", again=True)])
    appender.append([make(3)], [Claim(key="question 2", value="deny", again=True)])
    assert [entry.body["n"] for entry in appender.entries()] == [0, 2, 3]


def test_all_guards_hold_or_none_does_anything(appender: Appender, make: Make) -> None:
    appender.append([make(0)], [Claim(key="k", value="v")])
    with pytest.raises(Conflict) as caught:
        appender.append([make(1)], [spend("70"), Claim(key="new", value="v"), Claim(key="k", value="w")])
    assert caught.value.guard == Claim(key="k", value="w")
    with pytest.raises(Conflict) as caught:  # within one append they add up
        appender.append([make(2)], [spend("60"), spend("60")])
    assert caught.value.found == Decimal(60)
    with pytest.raises(Conflict):
        appender.append([make(3)], [Claim(key="twice", value="a"), Claim(key="twice", value="a")])
    appender.append([make(4)], [spend("100"), Claim(key="new", value="v"), Claim(key="twice", value="a")])
    assert [entry.body["n"] for entry in appender.entries()] == [0, 4]


@pytest.mark.parametrize(
    "guard",
    [
        spend("NaN"),
        spend("Infinity"),
        spend("1", "sNaN"),
        spend("1e999999"),
        spend("1e-999999"),
        spend("1", account="\ud800"),
        Claim(key="\udcff", value=""),
        Claim(key="", value="\ud800"),
        spend("1", account="a\x00"),
        Claim(key="k\x00", value=""),
        Claim(key="k", value="v\x00"),
        Claim(key="k" * 2501, value=""),
    ],
)
def test_what_no_ledger_can_keep_is_refused_and_harms_nobody(appender: Appender, make: Make, guard: Guard) -> None:
    with pytest.raises(LedgerError) as caught:
        appender.append([make(0)], [guard])
    assert not isinstance(caught.value, Conflict)
    appender.append([make(1)], [spend("1")])
    assert [entry.body["n"] for entry in appender.entries()] == [1]


def test_sums_are_exact(appender: Appender) -> None:
    for amount in ("0.1", "0.2", "123456789012345678901234567890", "0.0000000001"):
        appender.append([], [spend(amount, None)])
    wanted = Decimal("123456789012345678901234567890.3000000001")
    with pytest.raises(Conflict) as caught:
        appender.append([], [spend("0.0000000001", str(wanted))])
    assert caught.value.found == wanted


@pytest.mark.parametrize(
    ("run", "cause", "says"),
    [
        ("\ud800", None, "no UTF-8"),
        ("r", "\udfff", "no UTF-8"),
        ("r\x00", None, "zero byte"),
        ("r" * 2001, None, "2,001 bytes"),
        ("ü" * 1001, None, "2,002 bytes"),
    ],
)
def test_a_name_that_is_no_text_is_refused_and_harms_nobody(
    appender: Appender, make: Make, run: str, cause: str | None, says: str
) -> None:
    with pytest.raises(LedgerError, match=says):
        appender.append([make(0, run=run, cause=cause)])
    appender.append([make(1)])
    assert len(list(appender.entries())) == 1


def test_the_longest_names_fit(appender: Appender, make: Make) -> None:
    # Letters in no order: an engine that compresses them must not be what makes them fit.
    run, key = ("".join(chr(0x4E00 + n * 7919 % 20000) for n in range(size // 3)) for size in (2000, 2500))
    appender.append([make(0, run=run)], [Claim(key=key, value="x" * 100_000), spend("1", account=key)])
    assert [entry.run for entry in appender.entries(run=run)] == [run]
    with pytest.raises(Conflict):
        appender.append([], [Claim(key=key, value="y")])


def test_a_batch_spends_nobody_elses_budget(shared: str, make: Make) -> None:
    with Ledger.open(shared) as ledger:
        ledger.append([make(0)], [spend("100"), Claim(key="k", value="v")])
        for number in (1, 2):
            batch = ledger.batch()
            batch.append([make(number)], [spend("100"), Claim(key="k", value="w")])
            batch.commit()
        worker = Batch()
        worker.append([make(3)], [spend("100")])
        with pytest.raises(Conflict):
            worker.append([make(4)], [spend("1")])
        ledger.submit(worker.pack()).result()
        assert [entry.body["n"] for entry in ledger.entries()] == [0, 1, 2, 3]
    assert beside(shared) == ({"refunds": Decimal(100)}, {"k": "v"})


async def test_guards_hold_in_a_loop(make: Make) -> None:
    with Ledger.open() as ledger:
        ended = await asyncio.gather(
            *(ledger.aappend([make(n)], [spend("30")]) for n in range(5)), return_exceptions=True
        )
        assert sum(isinstance(one, Conflict) for one in ended) == 2
        assert len(list(ledger.entries())) == 3
        batch = ledger.batch()
        await batch.aappend([make(9)], [spend("100")])
        with pytest.raises(Conflict):
            await batch.aappend([make(9)], [spend("1")])


def test_one_callers_conflict_fails_nobody_who_shares_the_transaction(shared: str, make: Make) -> None:
    with Ledger.open(shared) as ledger:
        ledger.append([make(0)])
        ended: dict[int, Any] = {}

        def work(number: int) -> None:
            guards = () if number % 3 == 0 else (spend("10", "30"), Claim(key=str(number % 5), value=str(number)))
            try:
                ended[number] = [entry.seq for entry in ledger.append([make(number)] * 2, guards)]
            except Conflict as conflict:
                ended[number] = conflict

        workers = [threading.Thread(target=work, args=(number,)) for number in range(1, 25)]
        with held(shared):  # so that all of them wait, and are written together
            for worker in workers:
                worker.start()
        for worker in workers:
            worker.join()
        written = {number for number, end in ended.items() if not isinstance(end, Conflict)}
        assert len(ended) == 24
        assert written >= {number for number in ended if number % 3 == 0}
        assert len([number for number in written if number % 3]) == 3
        assert [entry.seq for entry in ledger.entries()] == list(range(1, 2 * len(written) + 2))
        for number in written:
            first, second = ended[number]
            assert second == first + 1
            assert next(ledger.entries(after=first - 1, limit=1)).body == {"n": number}
        refused = [end for end in ended.values() if isinstance(end, Conflict)]
        assert len({id(one) for one in refused}) == len(refused)
    accounts, claims = beside(shared)
    assert accounts == {"refunds": Decimal(30)}
    assert {int(value) for value in claims.values()} == {number for number in written if number % 3}


_GUARDS = st.lists(
    st.one_of(
        st.builds(
            Reservation,
            account=st.sampled_from(["a", "b"]),
            amount=st.integers(-3, 6).map(Decimal),
            limit=st.none() | st.integers(0, 10).map(Decimal),
        ),
        st.builds(Claim, key=st.sampled_from(["k", "l"]), value=st.sampled_from(["v", "w"]), again=st.booleans()),
    ),
    max_size=3,
)


@settings(deadline=None)
@given(st.lists(_GUARDS, max_size=8))
def test_a_ledger_and_a_batch_admit_the_same(appends: list[list[Guard]]) -> None:
    sums: dict[str, Decimal] = {}
    claims: dict[str, str] = {}

    def admitted(guards: list[Guard]) -> bool:
        """The rules once more, as plainly as they can be written."""
        new_sums, new_claims = dict(sums), dict(claims)
        for guard in guards:
            if isinstance(guard, Reservation):
                after = new_sums.get(guard.account, Decimal(0)) + guard.amount
                if guard.amount > 0 and guard.limit is not None and after > guard.limit:
                    return False
                new_sums[guard.account] = after
            elif guard.key in new_claims and not (guard.again and new_claims[guard.key] == guard.value):
                return False
            else:
                new_claims[guard.key] = guard.value
        sums.update(new_sums)
        claims.update(new_claims)
        return True

    with Ledger.open() as ledger:
        batch = Batch()
        for guards in appends:
            wanted = admitted(guards)
            assert _holds(ledger, guards) == _holds(batch, guards) == wanted


def _holds(appender: Appender, guards: list[Guard]) -> bool:
    try:
        appender.append([], guards)
    except Conflict:
        return False
    return True


# -- several processes, and one that dies -----------------------------------------------------------------------------

_CLAIM_ALL = """
from roadworthy.core.errors import Conflict
from roadworthy.core.types import Claim
with Ledger.open(path) as ledger:
    print("open")
    sys.stdin.readline()
    for n in range(60):
        try:
            ledger.append([draft(n, run=sys.argv[2])], [Claim(key=f"question {n}", value=sys.argv[2])])
        except Conflict as conflict:
            assert conflict.found != sys.argv[2]
"""


def test_of_several_processes_one_answers(script: Script, shared: str) -> None:
    with Ledger.open(shared):
        pass
    _together([script(_CLAIM_ALL, shared, name, stdin=subprocess.PIPE) for name in ("left", "right")])
    with Ledger.open(shared, read_only=True) as ledger:
        entries = list(ledger.entries())
    assert sorted(entry.body["n"] for entry in entries) == list(range(60))
    assert beside(shared)[1] == {f"question {entry.body['n']}": entry.run for entry in entries}


def _together(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What the processes print after all of them were ready."""
    for process in processes:
        cast("IO[str]", process.stdout).readline()
    for process in processes:
        cast("IO[str]", process.stdin).write("go\n")
        cast("IO[str]", process.stdin).flush()
    ended: list[str] = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        ended.append(out)
    return ended


_SPEND_FOR_EVER = """
import threading
from decimal import Decimal
from roadworthy.core.errors import Conflict
from roadworthy.core.types import Claim, Reservation
ledger = Ledger.open(path)
begin = sum(1 for _ in ledger.entries(kind="intent"))

def work(name):
    for n in range(1_000_000):
        try:
            ledger.append(
                [draft(n, run=name, kind="intent", size=2000), draft(n, run="shared", kind="action")],
                [
                    Reservation(account="all", amount=Decimal("0.10"), limit=None),
                    Reservation(account=name, amount=Decimal(1), limit=None),
                    Claim(key=f"{sys.argv[2]} {name} {n}", value=name),
                ],
            )
            ledger.append([draft(n, run="lost")], [Claim(key=f"{sys.argv[2]} {name} {n}", value="other")])
        except Conflict:
            os.write(1, b"+")

for name in ("one", "two"):
    threading.Thread(target=work, args=(name,)).start()
"""


def test_a_process_that_is_killed_leaves_sums_that_its_entries_explain(script: Script, shared: str) -> None:
    for session, acknowledgements in enumerate((1, 9, 40, 120)):
        process = script(_SPEND_FOR_EVER, shared, str(session))
        said = cast("IO[str]", process.stdout)
        assert said.read(acknowledgements) == "+" * acknowledgements
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        settle(shared)
        with Ledger.open(shared) as ledger:
            intents = [entry for entry in ledger.entries(kind="intent")]
            spent = {name: sum(entry.run == name for entry in intents) for name in ("one", "two")}
            assert len(intents) == sum(spent.values())
            assert len(list(ledger.entries(run="shared"))) == len(intents)
            assert not list(ledger.entries(run="lost"))
            accounts, claims = beside(shared)
            assert accounts["all"] == Decimal(len(intents)) / 10
            assert {name: int(accounts.get(name, 0)) for name in spent} == spent
            assert len(claims) == len(intents) >= acknowledgements


_KILLED_AT_EACH_STATEMENT = """
import signal
from decimal import Decimal
from roadworthy.core.types import Claim, Reservation

for place in range(1, 100):
    child = os.fork()
    if child == 0:
        ledger, seen = Ledger.open(path), 0

        def look(_statement):
            global seen
            seen += 1
            if seen == place:
                os.kill(os.getpid(), signal.SIGKILL)

        ledger._store._main.set_trace_callback(look)
        ledger.append(
            [draft(place, kind="intent"), draft(place, kind="action")],
            [Reservation(account="all", amount=Decimal("0.10"), limit=None), Claim(key=str(place), value="v")],
        )
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(place, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "lived")
    if not os.WIFSIGNALED(status):
        break
"""


def test_killed_at_any_statement_an_append_is_whole_or_was_never_there(script: Script, path: Path) -> None:
    out, err = script(_KILLED_AT_EACH_STATEMENT, path).communicate(timeout=120)
    *killed, last = out.splitlines()
    assert last.endswith("lived"), err
    assert len(killed) > 7  # begin, three look-ups, two entries, an account, a claim, commit
    with Ledger.open(path) as ledger:
        intents = [str(entry.body["n"]) for entry in ledger.entries(kind="intent")]
        assert [str(entry.body["n"]) for entry in ledger.entries(kind="action")] == intents
    accounts, claims = beside(path)
    assert accounts == {"all": Decimal(len(intents)) / 10}
    assert sorted(claims) == sorted(intents)
    assert last.split()[0] in intents


# -- what stands beside the entries ------------------------------------------------------------------------------------


def test_a_ledger_keeps_its_id(shared: str) -> None:
    with Ledger.open(shared) as ledger, Ledger.open(shared) as same, Ledger.open() as other:
        mine = ledger.id
        assert same.id == mine != other.id != Batch().id == "test"
    with Ledger.open(shared, read_only=True) as again:
        assert again.id == mine


@pytest.mark.parametrize("total", ["much", "NaN", ""])
def test_a_sum_that_is_none_is_named(path: Path, make: Make, total: str) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([make(0)], [spend("1")])
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE accounts SET total = ?", (total,))
        with pytest.raises(LedgerError, match=r"account refunds holds .*restore it from a backup"):
            ledger.append([make(1)], [spend("1")])


# -- what is looked for over the whole ledger -------------------------------------------------------------------------


def test_what_is_sought_over_the_whole_ledger_is_found(shared: str, make: Make) -> None:
    kinds: tuple[Kind, ...] = (*SOUGHT, "heard", "level", "signature", "stop")
    whole = ("level", "signature", "stop")
    drafts = [make(n, kind=kinds[n % 9], run=None if kinds[n % 9] in whole else f"r{n % 7}") for n in range(300)]
    with Ledger.open(shared) as ledger:
        ledger.append(drafts)
        batch = Batch()
        batch.append(drafts)
        for kind in kinds:
            wanted = [n for n in range(300) if kinds[n % 9] == kind]
            assert _numbers(ledger.entries(kind=kind)) == _numbers(batch.entries(kind=kind)) == wanted
            assert _numbers(ledger.entries(kind=kind, after=150)) == [n for n in wanted if n >= 150]
            mine = _numbers(ledger.entries(kind=kind, run="r3", world="production"))
            assert mine == [n for n in wanted if n % 7 == 3 and kind not in whole]
        assert _numbers(ledger.controls()) == [n for n in range(300) if kinds[n % 9] in whole]


def _numbers(entries: Any) -> list[int]:
    return [cast("Entry", entry).body["n"] for entry in entries]


@pytest.mark.parametrize("kind", [*SOUGHT, "level", "signature", "stop"])
def test_what_is_sought_is_not_searched_for(path: Path, make: Make, kind: Kind) -> None:
    with Ledger.open(path) as ledger:
        ledger.append([make(n, run=f"run-{n % 2}") for n in range(2000)])
        for wanted in (kind, "heard"):
            steps: list[int] = []

            def count(steps: list[int] = steps) -> int:
                steps.append(1)
                return 0

            store = cast("Any", ledger)._store
            with store._reader() as connection:
                connection.set_progress_handler(count, 100)
            list(ledger.entries(kind=wanted))
            with store._reader() as connection:
                connection.set_progress_handler(None, 0)
            assert len(steps) > 20 if wanted == "heard" else not steps


def test_a_signature_belongs_to_no_run(make: Make) -> None:
    with pytest.raises(LedgerError, match="belongs to no run"):
        Batch().append([make(0, kind="signature", run="r")])


def test_a_conflict_is_text_for_people() -> None:
    text = json.dumps(str(Conflict(Claim(key="k", value="v"), "w")))
    assert "[RW-302] k was claimed before, for w; nothing was written" in text
