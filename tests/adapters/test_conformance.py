"""The conformance suite itself: each of its cases can fail, it can be run as a program, and it sees what is hidden."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import broken_adapters
import pytest
from broken_adapters import Crashing, Hanging
from conformance import REFUND, Script
from plain_adapters import Dispatching

from roadworthy.adapters.conformance import Adapter, Conformance, checks, found
from roadworthy.adapters.conformance.__main__ import main
from roadworthy.adapters.conformance.bench import WAYS, Bench, Failed, Way
from roadworthy.adapters.conformance.case import CASES, Case

BROKEN: list[type[Adapter]] = [
    broken_adapters.Ungated,
    broken_adapters.Wandering,
    broken_adapters.Mute,
    broken_adapters.Twice,
    broken_adapters.Swallowing,
    broken_adapters.Leaving,
]


def test_each_case_fails_for_an_adapter_that_is_broken() -> None:
    left: dict[tuple[str, Way], Case] = {(case.name, way): case for case in CASES for way in WAYS}
    for kind in BROKEN:
        cases = list({case.name: case for case in left.values()}.values())
        for result in checks(kind, cases):
            if result.error is not None:
                left.pop((result.case.name, result.way), None)
    assert sorted(left) == []


def test_every_case_is_a_test_in_both_ways() -> None:
    names = {name for name in dir(Conformance) if name.startswith("test_")}
    assert names == {f"test_{case.name}__{way}" for case in CASES for way in WAYS}
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.run.__doc__ for case in CASES)


@pytest.mark.parametrize("way", WAYS)
def test_an_agent_that_hangs_is_said_to_hang(way: Way) -> None:
    bench = Bench(Hanging(), way)
    gate = bench.gate()
    with pytest.raises(Failed, match=r"the agent hangs: it has not ended within 0\.05 s"):
        bench.talk(gate, Script([REFUND], "done"), run=gate.run(capability="refunds"))
    bench.close()


def test_a_process_that_dies_is_quoted() -> None:
    (case,) = [case for case in CASES if case.name == "a_third_process_replays_the_run_and_does_nothing"]
    errors = [str(result.error) for result in checks(Crashing, [case])]
    assert len(errors) == 2
    for error in errors:
        assert "the process that was to begin ended before it had done so" in error
        assert "MemoryError: of a process that dies" in error


@pytest.mark.parametrize("method", ["talk", "drive", "build", "reach"])
def test_what_an_adapter_does_not_say_is_asked_for(method: str) -> None:
    class Empty(Adapter):
        pass

    arguments: dict[str, tuple[Any, ...]] = {"talk": (None, ""), "drive": (None, None, ""), "build": (None, {}, None)}
    with pytest.raises(NotImplementedError, match=rf"Empty .*{method}\(\)"):
        getattr(Empty(), method)(*arguments.get(method, (None,)))


class TestProgram:
    def test_an_adapter_that_conforms(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([f"{Dispatching.__module__}:Dispatching", "--case", "an_allowed"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "ok    an allowed call reaches the tool and its result the model (blocking)",
            "ok    an allowed call reaches the tool and its result the model (async)",
            "plain_adapters:Dispatching conforms.",
        ]

    def test_one_that_does_not(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["broken_adapters:Ungated", "--case", "a_denied_call", "--json"]) == 1
        blocking, _ = map(json.loads, capsys.readouterr().out.splitlines())
        assert (blocking["case"], blocking["way"], blocking["ok"]) == (
            "a_denied_call_tells_the_model_why",
            "blocking",
            False,
        )
        assert blocking["why"].startswith("Failed: what the tools have done: [] was expected")
        assert main(["broken_adapters:Ungated", "--case", "a_denied_call"]) == 1
        told = capsys.readouterr().out
        assert "FAIL  a denied call tells the model why (async)" in told
        assert told.endswith("broken_adapters:Ungated does not conform: 2 failed.\n")

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (["plain_adapters"], "names no class: write MODULE:CLASS"),
            (["no_such_module:Mine"], "cannot be imported: No module named"),
            (["plain_adapters:Nothing"], "is no subclass of"),
            (["plain_adapters:Loop"], "is no subclass of"),
            (["plain_adapters:Dispatching", "--case", "nonsense"], "the groups are calls, processes, replies"),
        ],
    )
    def test_what_cannot_be_tested(self, arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert why in capsys.readouterr().err


class Wanted:
    def __init__(self) -> None:
        self.run = lambda: None


@dataclass(slots=True)
class Slotted:
    inside: object


class Secretive:
    __slots__ = ("__hidden",)

    def __init__(self, hidden: object) -> None:
        self.__hidden = hidden

    def method(self) -> None: ...


class TestFound:
    def test_through_attributes_containers_slots_and_methods(self) -> None:
        wanted = [Wanted() for _ in range(6)]
        function = lambda: None  # noqa: E731  # one with an attribute
        function.kept = wanted[4]  # pyright: ignore[reportFunctionMemberAccess]  # that is the point
        holder = Wanted()
        holder.__dict__.update(
            a={"x": [wanted[0]]},
            _b=Slotted((wanted[1],)),
            c=Secretive({wanted[2]}).method,
            d={wanted[3]: 1},
            e=function,
            f=wanted[5],
            itself=holder,
        )
        assert {id(one) for one in found(holder, Wanted)} == {id(one) for one in [holder, *wanted]}

    def test_not_through_closures(self) -> None:
        wanted = Wanted()
        assert found(lambda: wanted, Wanted) == []

    def test_a_search_that_finds_no_end_says_so(self) -> None:
        with pytest.raises(RuntimeError, match="more than 10 objects hang together"):
            found([object() for _ in range(11)], Wanted, at_most=10)
