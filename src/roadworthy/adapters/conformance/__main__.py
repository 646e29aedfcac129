"""python -m roadworthy.adapters.conformance MODULE:CLASS [--case WORD] [--json]."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from roadworthy.adapters.conformance.adapter import Adapter
from roadworthy.adapters.conformance.case import CASES
from roadworthy.adapters.conformance.suite import checks
from roadworthy.core.visible import visible


def main(arguments: Sequence[str] | None = None) -> int:
    """Put an adapter to the test. 0: it conforms, 1: it does not, 2: it could not be found."""
    parser = argparse.ArgumentParser(
        prog="python -m roadworthy.adapters.conformance", description="Test an adapter: what every one of them must do."
    )
    parser.add_argument("adapter", metavar="MODULE:CLASS", help="a subclass of roadworthy.adapters.conformance.Adapter")
    parser.add_argument("--case", default="", metavar="WORD", help="only cases with this word in their name or group")
    parser.add_argument("--json", action="store_true", help="one line of JSON per case, and nothing else")
    given = parser.parse_args(arguments)
    adapter = _found(parser, given.adapter)
    cases = [case for case in CASES if given.case in case.name or given.case == case.group]
    if not cases:
        groups = ", ".join(dict.fromkeys(case.group for case in CASES))
        parser.error(f"no case has {given.case!r} in its name, and no group is called so; the groups are {groups}")
    failed = 0
    for result in checks(adapter, cases):
        failed += result.error is not None
        if given.json:
            why = None if result.error is None else f"{type(result.error).__name__}: {result.error}"
            line = {"case": result.case.name, "way": result.way, "ok": why is None, "why": why}
            print(json.dumps(line), flush=True)
            continue
        said = result.case.name.replace("_", " ")
        print(f"{'ok  ' if result.error is None else 'FAIL'}  {said} ({result.way})", flush=True)
        if result.error is not None:
            print("      " + visible(f"{type(result.error).__name__}: {result.error}"), flush=True)
    if not given.json:
        print(f"{given.adapter} " + ("conforms." if not failed else f"does not conform: {failed} failed."))
    return 1 if failed else 0


def _found(parser: argparse.ArgumentParser, name: str) -> type[Adapter]:
    module, _, rest = name.partition(":")
    if not rest:
        parser.error(f"{name!r} names no class: write MODULE:CLASS, such as my_package.adapters:Mine")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        parser.error(f"{module!r} cannot be imported: {error}")
    for part in rest.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        parser.error(f"{name!r} is no subclass of roadworthy.adapters.conformance.Adapter")
    return found


if __name__ == "__main__":
    sys.path.insert(0, "")
    raise SystemExit(main())
