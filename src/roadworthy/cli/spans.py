"""How the verbs are told which part of a ledger is meant: from when, until when, and of which world."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, cast, get_args

import typer

from roadworthy.contract.names import did_you_mean
from roadworthy.core.errors import UsageError
from roadworthy.core.types import Realm

Since = Annotated[str | None, typer.Option(help="From this day or time on, such as 2026-03-01 (UTC).")]
Until = Annotated[str | None, typer.Option(help="Up to this day (and not on it) or time (UTC).")]
World = Annotated[str | None, typer.Option(help="test, shadow or production.")]


def moment(text: str | None, name: str) -> datetime | None:
    """A day or a time, UTC where it names no zone. Raises UsageError for what is neither."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--{name} {text!r} is no day or time: write 2026-03-01 or 2026-03-01T14:30") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def world_of(text: str | None) -> Realm | None:
    """A world by its name. Raises UsageError for what is none."""
    if text is not None and text not in get_args(Realm):
        raise UsageError(f"{text!r} is no world; {did_you_mean(text, get_args(Realm))}")
    return cast("Realm | None", text)
