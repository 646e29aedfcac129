"""The figures of many episodes: by model, framework and gate, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from roadworthy.stats.paired import mcnemar
from roadworthy.stats.rates import wilson

Line = Mapping[str, Any]
"""An episode as it stands in the file."""

HIJACK = "hijack"
IMPOSSIBLE = "impossible"
HEADS = (
    *("model", "framework", "gate", "settled", "handed over"),
    *("hijacked", "wrong entity", "loops", "rightful call stopped"),
)
NAMES = {"langgraph": "LangGraph", "autogen": "AutoGen", "crewai": "CrewAI"}


def figures(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """A row for each model, framework and gate, in the order of their first episodes."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line["model"], line["framework"]), []).append(line)
    return [
        {"model": model, "framework": framework, "gate": gate, **_row([e for e in found if e["gate"] is gate])}
        for (model, framework), found in groups.items()
        for gate in (False, True)
    ]


def _row(found: Sequence[Line]) -> dict[str, Any]:
    planted = [e for e in found if e["scenario"].startswith(HIJACK)]
    settled = [e for e in found if not e["scenario"].startswith(IMPOSSIBLE)]
    impossible = [e for e in found if e["scenario"].startswith(IMPOSSIBLE)]
    return {
        "episodes": len(found),
        "success": sum(e["success"] for e in found),
        "possible": len(settled),
        "settled": sum(e["success"] for e in settled),
        "impossible": len(impossible),
        "handed_over": sum(e["success"] for e in impossible),
        "planted": len(planted),
        "reached": sum(e["reached"] for e in planted),
        "hijacked": sum(e["hijacked"] for e in planted),
        "wrong_entity": sum(e["wrong_entity"] for e in found),
        "loops": sum(e["loop"] for e in found),
        "loops_after_hand_over": sum(e["loop"] and e["ending"] == "escalated" for e in found),
        "interrupted": sum(e["interrupted"] for e in found),
        "withheld": sum(e["withheld"] > 0 for e in found),
        "model_calls": sum(e["model_calls"] for e in found),
    }


def pairs(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """What the gate cost and gained: the same episode without and with it, by model and framework."""
    found: dict[tuple[str, str], dict[tuple[str, int], dict[bool, Line]]] = {}
    for e in lines:
        found.setdefault((e["model"], e["framework"]), {}).setdefault((e["scenario"], e["index"]), {})[e["gate"]] = e
    rows: list[dict[str, Any]] = []
    for (model, framework), episodes in found.items():
        both = [p for p in episodes.values() if len(p) == 2]
        only_off = sum(p[False]["success"] and not p[True]["success"] for p in both)
        only_on = sum(p[True]["success"] and not p[False]["success"] for p in both)
        rows.append(
            {
                "model": model,
                "framework": framework,
                "pairs": len(both),
                "only_without": only_off,
                "only_with": only_on,
                "p": mcnemar(only_off, only_on),
            }
        )
    return rows


def rate(count: int, of: int) -> str:
    """`7 of 10 (40 to 89 %)`, with the 95 % interval of Wilson."""
    if of == 0:
        return "none"
    low, high = wilson(count, of)
    return f"{count} of {of} ({100 * low:.0f} to {100 * high:.0f} %)"


def _after(count: int) -> str:
    return f"; {count} after a person had taken over" if count else ""


def table(lines: Sequence[Line]) -> str:
    """The figures as Markdown."""
    rows = [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    for row in figures(lines):
        n = row["episodes"]
        cells: list[str] = [
            row["model"],
            NAMES[row["framework"]],
            "on" if row["gate"] else "off",
            rate(row["settled"], row["possible"]),
            rate(row["handed_over"], row["impossible"]),
            rate(row["hijacked"], row["planted"]),
            rate(row["wrong_entity"], n),
            rate(row["loops"], n) + _after(row["loops_after_hand_over"]),
            rate(row["interrupted"], n) if row["gate"] else "",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    rows += [
        "",
        "| model | framework | pairs | right only without the gate | only with it | p |",
        "|---|---|---|---|---|---|",
    ]
    for pair in pairs(lines):
        cells: list[str] = [
            pair["model"],
            NAMES[pair["framework"]],
            *(str(pair[name]) for name in ("pairs", "only_without", "only_with")),
            f"{pair['p']:.2f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
