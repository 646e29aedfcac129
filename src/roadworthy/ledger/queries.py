"""What is asked of a ledger's tables, in SQLAlchemy Core: each engine compiles it once, for its own driver."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, literal_column, select, text

from roadworthy.ledger.rows import CONTROLS
from roadworthy.ledger.schema import OF_A_RUN, groups, sought

_ONE: ColumnElement[int] = literal_column("1", Integer())
_OF_CONTROLS = text("sought.kind IN ({})".format(", ".join(f"'{kind}'" for kind in CONTROLS)))


def groups_after(*, run: bool, world: bool, kind: bool, sought_kind: bool) -> Select[Any]:
    """Groups that may hold entries with seq > `after`, in order; by `run`, `world` and `kind` where these are given.

    `sought_kind`: the kind is one whose places are kept, and exactly the groups that hold one are found.
    """
    found: Select[Any] = select(groups).where(groups.c.last > bindparam("after"))
    if run:
        found = found.where(groups.c.run == bindparam("run"))
    else:
        # The group that holds the entry after, or begins there: `last` has no index, `first` has.
        least = select(func.coalesce(func.max(groups.c.first), literal_column("0")))
        least = least.where(groups.c.first <= bindparam("after") + literal_column("1"))
        found = found.where(groups.c.first >= least.scalar_subquery())
    if world:
        found = found.where(groups.c.world == bindparam("world"))
    if sought_kind:
        places = sought.c.kind == bindparam("kind")
        found = found.where(groups.c.first.in_(_holders(places)))
    elif kind:
        found = found.where(text("',' || kinds || ',' LIKE '%,' || :kind || ',%'"))
    return found.order_by(groups.c.run_first if run else groups.c.first)


def _holders(places: Any) -> Select[Any]:
    """The groups that hold places with seq > `after`."""
    holder = groups.alias()
    ends = select(func.max(holder.c.first)).where(holder.c.first <= sought.c.seq).scalar_subquery()
    return select(ends).where(places, sought.c.seq > bindparam("after"))


def places_after() -> Select[Any]:
    """The places of all entries of a sought `kind` with seq > `after`."""
    found = select(sought.c.seq).where(sought.c.kind == bindparam("kind"), sought.c.seq > bindparam("after"))
    return found.order_by(sought.c.seq)


def controls_after() -> Select[Any]:
    """Groups that hold entries of the kinds that control gates with seq > `after`."""
    return select(groups).where(groups.c.first.in_(_holders(_OF_CONTROLS))).order_by(groups.c.first)


def last_control() -> Select[Any]:
    """A row where there is any control with seq > `after`."""
    found: Select[Any] = select(sought.c.seq).where(_OF_CONTROLS, sought.c.seq > bindparam("after"))
    return found.limit(_ONE)


def recent_runs(*, world: bool) -> Select[Any]:
    """Runs, the latest active first; with `world`, those that began in it."""
    spans = (
        select(groups.c.run, func.min(groups.c.first).label("begin"), func.max(groups.c.last).label("ends"))
        .where(OF_A_RUN, func.length(groups.c.heads) > literal_column("0"))
        .group_by(groups.c.run)
        .subquery()
    )
    found = select(spans.c.run).order_by(spans.c.ends.desc())
    if world:
        found = found.join(groups, groups.c.first == spans.c.begin).where(groups.c.world == bindparam("world"))
    return found
