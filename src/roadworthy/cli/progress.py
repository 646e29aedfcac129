"""A bar on standard error while trials run; nothing where no person is watching."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from roadworthy.trials.results import TrialResult
from roadworthy.trials.runner import OnTrial


def progress_bar(stack: ExitStack, count: int) -> OnTrial | None:
    """A bar over `count` trials with the live pass rate, shown until the stack is left; None without a terminal."""
    if not sys.stderr.isatty():
        return None
    progress = stack.enter_context(
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
    )
    task = progress.add_task("trials", total=count)
    passed = done = 0

    def each(trial: TrialResult) -> None:
        nonlocal passed, done
        done += 1
        passed += trial.passed
        progress.update(task, advance=1, description=f"{passed / done:.0%} passed")

    return each
