"""What goes wrong behind the gate: one model of faults, the same for every framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from roadworthy.contract.model import Part
from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import HarnessError
from roadworthy.gate.carry import NotDone
from roadworthy.trials.paths import changed

FaultKind = Literal[
    "timeout_before_commit", "timeout_after_commit",
    "error_500", "error_429", "error_403",
    "field_missing", "field_null", "field_renamed",
]  # fmt: skip
"""What can go wrong. `before_commit`: nothing was done; `after_commit`: it was done, and the answer got lost."""

FAULT_KINDS: tuple[FaultKind, ...] = (
    "timeout_before_commit", "timeout_after_commit",
    "error_500", "error_429", "error_403",
    "field_missing", "field_null", "field_renamed",
)  # fmt: skip
"""All kinds of faults."""

DEFAULT_TIMEOUT_S = 30.0
"""How long a tool without a declared timeout is waited for."""

Tools = Mapping[str, Callable[..., Any]]


class Fault(Part):
    """Something that goes wrong in a tool."""

    tool: str
    kind: FaultKind
    call: int = Field(default=1, ge=1)
    """At which call of the tool in a trial, from 1."""
    calls: int = Field(default=1, ge=1)
    """How many calls in a row, from that one on."""
    field: str | None = None
    """The field of the result, as a path with points, for the kinds `field_...`; in a list: of every item."""
    to: str | None = None
    """The new name, for `field_renamed`."""

    @model_validator(mode="after")
    def _whole(self) -> Fault:
        if self.kind.startswith("field_") != (self.field is not None):
            raise ValueError(f"{self.kind} {'needs a field' if self.field is None else 'takes no field'}")
        if (self.kind == "field_renamed") != (self.to is not None):
            raise ValueError("`to` is the new name of a field, for field_renamed and nothing else")
        return self


class ServiceError(NotDone):
    """What a tool raises when the service behind it answers with an error; nothing was done."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status


_ERRORS: Mapping[str, tuple[int, str]] = {
    "error_500": (500, "Internal Server Error"),
    "error_429": (429, "Too Many Requests"),
    "error_403": (403, "Forbidden"),
}


class FaultyTools:
    """Stand-ins with faults in them, for one trial."""

    def __init__(
        self, tools: Tools, faults: Sequence[Fault], *, clock: VirtualClock, timeouts_s: Mapping[str, float]
    ) -> None:
        self.reached = [0] * len(faults)
        """How often each fault struck."""
        self.struck: dict[tuple[str, int], str] = {}
        """(tool, n-th call from 1) -> the kind of fault that struck there."""
        self._faults = faults
        self._clock = clock
        self._timeouts_s = timeouts_s
        self._calls: dict[str, int] = {}
        self.tools: Tools = tools
        if faults:
            faulty = {f.tool for f in faults}
            self.tools = {name: self._wrap(name, tool) if name in faulty else tool for name, tool in tools.items()}

    def _wrap(self, name: str, tool: Callable[..., Any]) -> Callable[..., Any]:
        mine = [(i, f) for i, f in enumerate(self._faults) if f.tool == name]

        def call(*args: Any, **kwargs: Any) -> Any:
            n = self._calls[name] = self._calls.get(name, 0) + 1
            now = [(i, f) for i, f in mine if f.call <= n < f.call + f.calls]
            for i, fault in now:
                if fault.kind in _ERRORS:
                    self._strike(i, fault, n)
                    raise ServiceError(*_ERRORS[fault.kind])
                if fault.kind == "timeout_before_commit":
                    self._strike(i, fault, n)
                    raise self._timeout(name)
            value = tool(*args, **kwargs)
            for i, fault in now:
                if fault.kind == "timeout_after_commit":
                    self._strike(i, fault, n)
                    raise self._timeout(name)
            for i, fault in now:
                value, found = _spoilt(value, fault)
                if found:
                    self._strike(i, fault, n)
            return value

        return call

    def _strike(self, i: int, fault: Fault, n: int) -> None:
        self.reached[i] += 1
        self.struck[fault.tool, n] = fault.kind

    def _timeout(self, name: str) -> TimeoutError:
        seconds = self._timeouts_s.get(name, DEFAULT_TIMEOUT_S)
        self._clock.advance(seconds)
        return TimeoutError(f"no answer within {seconds:g} s")


def _spoilt(value: Any, fault: Fault) -> tuple[Any, bool]:
    if fault.field is None:
        return value, False

    def spoil(parent: dict[str, Any], name: str) -> None:
        if fault.kind == "field_missing":
            del parent[name]
        elif fault.kind == "field_null":
            parent[name] = None
        elif fault.kind == "field_renamed" and fault.to is not None:
            parent[fault.to] = parent.pop(name)
        else:
            raise HarnessError(f"no way to inject the fault {fault.kind!r}")

    return changed(value, fault.field.split("."), spoil)
