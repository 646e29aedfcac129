"""Suggesting the name that somebody meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, or None where none is near."""
    candidates = sorted(set(known))
    by_lower = {c.lower(): c for c in candidates}
    if name.lower() in by_lower:
        return by_lower[name.lower()]
    found = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    if found:
        return by_lower[found[0]]
    ends = [c for c in candidates if c.rsplit(".", 1)[-1] == name or name.rsplit(".", 1)[-1] == c]
    return ends[0] if len(ends) == 1 else None


def did_you_mean(name: str, known: Iterable[str], *, none: str = "") -> str:
    """The end of a sentence about an unknown name: the nearest one, else the first few, else `none`."""
    candidates = sorted(set(known))
    if not candidates:
        return none or "there is none to choose from"
    near = nearest(name, candidates)
    if near is not None:
        return f"did you mean {near}?"
    shown = ", ".join(candidates[:8])
    return f"choose from: {shown}" + (", …" if len(candidates) > 8 else "")
