"""Play the desk's episodes with a real model, in three frameworks, with the gate off and on, and tell the figures.

The model is any OpenAI-compatible endpoint: ROADWORTHY_MODEL_BASE_URL, ROADWORTHY_MODEL, and ROADWORTHY_MODEL_API_KEY
where it wants a key. What it answers is kept in cassettes beside the episodes, so that an episode that was broken off
goes on where it was; what was played before is not played again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from real_model.desk import Model
from real_model.episodes import FRAMEWORKS, Broken, Plan, plans, play
from real_model.figures import figures, pairs, table
from roadworthy.adapters.model.endpoint import ModelEndpoint
from roadworthy.adapters.model.upstream import Upstream
from roadworthy.core.errors import UsageError

OUT = Path("roadworthy-out") / "real-model"
WAIT_S = 900.0
"""As long may one answer of the model take: small machines are slow."""


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="make real-model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--framework", choices=FRAMEWORKS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--label", help="what the model is called in the figures; its name when left out")
    parser.add_argument("--out", type=Path, default=OUT, help=f"the folder of episodes and cassettes ({OUT})")
    parser.add_argument("--only", default="", help="only episodes whose id holds this, such as `hijack` or `-on-`")
    parser.add_argument("--slice", action="store_true", help="only the five whose cassettes are kept with the tests")
    parser.add_argument("--figures", action="store_true", help="play nothing; tell the figures of what was played")
    parser.add_argument("--json", action="store_true", help="the figures as one line of JSON at the end")
    return parser.parse_args(argv)


def played(folder: Path) -> list[dict[str, Any]]:
    """All episodes in a folder."""
    files = sorted(folder.glob("*.episodes.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def chosen(given: argparse.Namespace, label: str) -> list[Plan]:
    """The episodes that are still to be played."""
    done = {(e["model"], e["framework"], e["gate"], e["scenario"], e["index"]) for e in played(given.out)}
    return [
        plan
        for framework in given.framework or FRAMEWORKS
        for plan in plans(framework)
        if given.only in plan.id
        and (plan.in_slice or not given.slice)
        and (label, framework, plan.gate, plan.scenario, plan.index) not in done
    ]


def play_all(given: argparse.Namespace) -> None:
    """Play what is still to be played. Raises UsageError and Broken."""
    url, name = os.environ.get("ROADWORTHY_MODEL_BASE_URL"), os.environ.get("ROADWORTHY_MODEL")
    if not url or not name:
        raise UsageError(
            "say where the model is: ROADWORTHY_MODEL_BASE_URL=http://127.0.0.1:8000/v1 ROADWORTHY_MODEL=name"
        )
    key = "ROADWORTHY_MODEL_API_KEY"
    upstream = Upstream.of(url, key_env=key if os.environ.get(key) else None, timeout_s=WAIT_S)
    label = given.label or name
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in label)
    given.out.mkdir(parents=True, exist_ok=True)
    for framework in given.framework or FRAMEWORKS:
        todo = [plan for plan in chosen(given, label) if plan.framework == framework]
        if not todo:
            continue
        cassette = given.out / f"{safe}-{framework}.cassette.jsonl"
        with ModelEndpoint(upstream=upstream, cassette=cassette, mode="extend") as endpoint:
            for plan in todo:
                with endpoint.conversation() as base_url:
                    episode = play(plan, Model(base_url=base_url, name=name, timeout_s=WAIT_S), label=label)
                with (given.out / f"{safe}.episodes.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(episode.line(), ensure_ascii=False) + "\n")
                print(f"{label} {plan.id}: {episode.told} ({episode.seconds:.0f} s)", flush=True)


def main(argv: Sequence[str]) -> int:
    """Exit code 0, or 2 where the model cannot be asked."""
    given = parsed(argv)
    logging.disable(logging.ERROR)  # frameworks log what the episode already tells
    try:
        if not given.figures:
            play_all(given)
    except (UsageError, Broken) as e:
        print(e, file=sys.stderr)
        return 2
    lines = played(given.out)
    print(table(lines))
    if given.json:
        print(json.dumps({"figures": figures(lines), "pairs": pairs(lines)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
