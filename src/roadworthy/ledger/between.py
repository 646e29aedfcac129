"""Handovers between the agents of one application, told apart from those to people: both are `handover` entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def between_agents(body: Mapping[str, Any]) -> bool:
    """Whether the body of a `handover` entry tells of agents among themselves. A run that goes to a person is over."""
    return "id" in body or "returned" in body
