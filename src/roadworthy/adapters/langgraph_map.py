"""A graph of LangGraph as the report draws it: what it is made of, and which way each turn of a run went."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import Any

from roadworthy.adapters.langgraph_layout import drawn, layout_of
from roadworthy.adapters.langgraph_trail import Trail
from roadworthy.core.errors import HarnessError

logger = logging.getLogger("roadworthy.adapters")

_KEPT = 4096
"""Of how many runs it is remembered that the graph stands in their entries."""


class Map:
    """What is known of one guarded graph."""

    def __init__(self, graph: Any) -> None:
        self.layout = layout_of(graph)
        self._graph = drawn(graph)
        self._written: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def write(self, trail: Trail) -> None:
        """Write down which way a turn went, and before the first one of a run the graph itself."""
        if not trail.path:
            return
        run = trail.run
        with self._lock:
            known = run.id in self._written
            self._written[run.id] = None
            self._written.move_to_end(run.id)
            while len(self._written) > _KEPT:
                self._written.popitem(last=False)
        try:
            run.went(trail.path, graph=None if known else self._graph, source="langgraph")
        except HarnessError:
            raise
        except Exception:  # a picture is not worth a failed run
            logger.exception("which way run %s went was not recorded", run.id)
