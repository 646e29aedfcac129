"""A batch is the ledger of one trial: the same face, one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.core.errors import LedgerError
from roadworthy.core.types import Draft, Kind, Realm
from roadworthy.ledger.batch import Batch
from roadworthy.ledger.store import Ledger

Make = Callable[..., Draft]
START = datetime(2026, 1, 5, 9, tzinfo=UTC)

_BODIES = st.dictionaries(
    st.text(max_size=6),
    st.text(max_size=20) | st.integers() | st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=2),
    max_size=4,
)
_KINDS: list[Kind] = ["heard", "said", "action", "verdict", "intent", "outcome"]
_WORLDS: list[Realm] = ["test", "production"]
_DRAFTS = st.lists(
    st.builds(
        Draft,
        kind=st.sampled_from(_KINDS),
        world=st.sampled_from(_WORLDS),
        run=st.sampled_from(["a", "b", "c"]),
        body=_BODIES,
        at=st.just(START),
        cause=st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
    )
    | st.builds(Draft, kind=st.just("stop"), world=st.just("test"), run=st.none(), body=_BODIES, at=st.just(START)),
    max_size=12,
)


@settings(deadline=None)  # the first example imports the engine
@given(_DRAFTS)
def test_a_batch_is_a_direct_append(drafts: list[Draft]) -> None:
    with Ledger.open() as direct, Ledger.open() as batched, Ledger.open() as shipped:
        direct.append(drafts)
        wanted = list(direct.entries())
        batch = batched.batch()
        made = [entry for d in drafts for entry in batch.append([d])]
        assert made == wanted
        assert list(batch.entries()) == wanted
        assert list(batch.commit()) == wanted
        assert list(batched.entries()) == wanted
        worker = Batch()
        worker.append(drafts)
        assert list(shipped.submit(worker.pack()).result()) == wanted
        assert list(shipped.entries()) == wanted
        assert list(worker.controls()) == list(direct.controls())


@settings(deadline=None)
@given(
    _DRAFTS,
    st.none() | st.sampled_from(["a", "b"]),
    st.none() | st.sampled_from(_KINDS),
    st.none() | st.sampled_from(_WORLDS),
    st.integers(0, 6),
    st.none() | st.integers(0, 5),
)
def test_a_batch_is_read_like_a_ledger(
    drafts: list[Draft], run: str | None, kind: Kind | None, world: Realm | None, after: int, limit: int | None
) -> None:
    chosen: dict[str, Any] = {"run": run, "kind": kind, "world": world, "after": after, "limit": limit}
    with Ledger.open() as ledger:
        ledger.append(drafts)
        batch = Batch()
        batch.append(drafts)
        assert list(batch.entries(**chosen)) == list(ledger.entries(**chosen))
        assert list(batch.controls(after)) == list(ledger.controls(after))


def test_places_are_final_when_it_is_committed(make: Make) -> None:
    with Ledger.open() as ledger:
        ledger.append([make(0), make(1)])
        batch = ledger.batch()
        (provisional,) = batch.append([make(2)])
        assert (provisional.seq, provisional.run_seq) == (1, 1)
        (final,) = batch.commit()
        assert (final.seq, final.run_seq) == (3, 3)


def test_nothing_is_written_before_the_end(path: Path, make: Make) -> None:
    with Ledger.open(path) as ledger:
        batch = ledger.batch()
        batch.append([make(0)])
        assert list(ledger.entries()) == []
        batch.commit()
        assert len(list(ledger.entries())) == 1


async def test_it_appends_in_a_loop(make: Make) -> None:
    batch = Batch()
    (entry,) = await batch.aappend([make(4)])
    assert entry.body == {"n": 4}


def test_it_is_committed_once(make: Make) -> None:
    with Ledger.open() as ledger:
        batch = ledger.batch()
        batch.append([make(0)])
        batch.commit()
        with pytest.raises(LedgerError, match="begin another"):
            batch.commit()
        with pytest.raises(LedgerError, match="begin another"):
            batch.append([make(1)])
        assert len(list(ledger.entries())) == 1


def test_without_a_ledger_it_is_packed(make: Make) -> None:
    batch = Batch()
    batch.append([make(0)])
    with pytest.raises(LedgerError, match="has no ledger"):
        batch.commit()


def test_drafts_come_back(make: Make) -> None:
    batch = Batch()
    drafts = [make(0, body={"amount": Decimal("1.50")}), make(1, run=None, kind="stop", world="test")]
    batch.append(drafts)
    assert len(batch) == 2
    assert batch.drafts == (replace(drafts[0], body={"amount": "1.50"}), drafts[1])


@pytest.mark.parametrize(
    "packed", [b"", b"junk", b'{"a": 1}', b"[[1]]", b'[[1,"test","r","gossip",null,"{}"]]', b"[1]"]
)
def test_bytes_that_are_no_batch_are_refused(packed: bytes) -> None:
    with Ledger.open() as ledger, pytest.raises(LedgerError, match="no batch of entries"):
        ledger.submit(packed)
