"""What the statistics refuse to count with."""

from __future__ import annotations


class BadCount(ValueError):
    """A count, a rate or a confidence is out of its range."""
