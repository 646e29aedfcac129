"""What every adapter must do, for those who write one: a class says how the framework is used, and the suite tests it.

from roadworthy.adapters.conformance import Adapter, Conformance


class Mine(Adapter):
    def build(self, gate, functions, respond): ...
    async def atalk(self, agent, text): ...
    async def adrive(self, agent, run, start): ...
    def reach(self, agent): ...


class TestMine(Conformance):
    adapter = Mine

With pytest, or without: `python -m roadworthy.adapters.conformance my.module:Mine`.
"""

from roadworthy.adapters.conformance.adapter import Adapter
from roadworthy.adapters.conformance.reach import found
from roadworthy.adapters.conformance.suite import Conformance, checks

__all__ = ["Adapter", "Conformance", "checks", "found"]
