"""The suite: all cases, as tests of pytest and as a list to be gone through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from roadworthy.adapters.conformance.adapter import Adapter
from roadworthy.adapters.conformance.bench import WAYS, Bench, Way
from roadworthy.adapters.conformance.case import CASES, Case
from roadworthy.adapters.conformance.cases import calls, processes, replies, tripwire, waiting

__all__ = ["Conformance", "Result", "checks", "with_cases"]

_WRITTEN = (calls, replies, waiting, tripwire, processes)
"""The files that have put their cases on the list."""

C = TypeVar("C", bound="type[Any]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one case."""

    case: Case
    way: Way
    error: BaseException | None
    """None: the adapter does what it must."""


def run_case(case: Case, bench: Bench) -> None:
    """Put one case to an adapter. Raises AssertionError where it fails, and whatever the adapter raises."""
    try:
        case.run(bench)
    finally:
        bench.close()


def checks(adapter: type[Adapter], cases: Iterable[Case] | None = None) -> Iterator[Result]:
    """Put all cases to an adapter, in both ways, one after the other."""
    for case in CASES if cases is None else cases:
        if case.bound and not adapter.finds_runs:
            continue
        for way in WAYS:
            try:
                run_case(case, Bench(adapter(), way))
            except Exception as error:  # of the adapter, or AssertionError
                yield Result(case=case, way=way, error=error)
            else:
                yield Result(case=case, way=way, error=None)


def with_cases(cases: Iterable[Case], ways: Iterable[Way] = WAYS) -> Callable[[C], C]:
    """Give a class one test method for each case and way; it says by `bench(way)` with what they work."""
    found, both = tuple(cases), tuple(ways)

    def filled(kind: C) -> C:
        for case in found:
            for way in both:
                name = f"test_{case.name}" + (f"__{way}" if len(both) > 1 else "")
                setattr(kind, name, _test(case, way, name))
        return kind

    return filled


def _test(case: Case, way: Way, name: str) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        if case.bound and not self.finds_runs:
            return
        run_case(case, self.bench(way))

    test.__name__, test.__doc__ = name, case.run.__doc__
    return test


@with_cases(CASES)
class Conformance:
    """Every case in every way, as tests of pytest: subclass it, and name the adapter.

    class TestMine(Conformance):
        adapter = MyAdapter
    """

    adapter: ClassVar[type[Adapter]]

    @property
    def finds_runs(self) -> bool:
        """As the adapter says."""
        return self.adapter.finds_runs

    def bench(self, way: Way) -> Bench:
        """What a case works with."""
        return Bench(self.adapter(), way)
