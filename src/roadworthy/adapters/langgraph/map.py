"""A graph of LangGraph as the report draws it: what it is made of, and which way each turn of a run went."""

from __future__ import annotations

import logging
from typing import Any

from roadworthy.adapters.langgraph.layout import drawn, layout_of
from roadworthy.adapters.langgraph.trail import Trail
from roadworthy.core.errors import HarnessError

logger = logging.getLogger("roadworthy.adapters")


class Map:
    """What is known of one guarded graph."""

    def __init__(self, graph: Any) -> None:
        self.layout = layout_of(graph)
        self._drawn = drawn(graph)

    def write(self, trail: Trail) -> None:
        """Write down which way a turn went, and, the first time in a run, the graph itself."""
        if not trail.path:
            return
        run = trail.run
        try:
            if self._drawn is not None:
                run.connected(self._drawn.nodes, self._drawn.edges, source="langgraph")
            run.went(trail.path, source="langgraph")
        except HarnessError:
            raise
        except Exception:  # a picture is not worth a failed run
            logger.exception("which way run %s went was not recorded", run.id)
