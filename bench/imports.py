"""How much does `import roadworthy` load?

Counts the modules that one import adds to a bare interpreter, and the milliseconds it takes. With `--json` the last
line is one JSON object: `modules`, `ms` (the median of 5 fresh interpreters) and `heavy` (libraries that have no
business there).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

HEAVY = (
    "numpy", "scipy", "hypothesis", "jinja2", "faker", "aiosmtpd", "sqlalchemy", "pydantic", "google.protobuf",
    "cel_expr_python", "cryptography", "jsonschema", "ruamel", "typer", "rich", "opentelemetry",
    "langgraph", "langchain", "langchain_core", "autogen_core", "autogen_agentchat", "crewai",
    "agents", "pydantic_ai", "agent_framework",
)  # fmt: skip
"""Libraries that a program which only names `roadworthy` does not pay for."""

_PROBE = """
import sys, time
before = set(sys.modules)
start = time.perf_counter()
import roadworthy
took = (time.perf_counter() - start) * 1000
import json
print(json.dumps({"added": sorted(set(sys.modules) - before - {"json", "json.decoder", "json.encoder", "json.scanner",
    "_json"}), "ms": took}))
"""


def measure() -> dict[str, object]:
    """The modules that `import roadworthy` adds, the time it takes, and the heavy libraries among them."""
    looks = [
        json.loads(subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    added: list[str] = looks[0]["added"]
    return {
        "modules": len(added),
        "ms": round(statistics.median(look["ms"] for look in looks), 1),
        "heavy": [name for name in HEAVY if any(m == name or m.startswith(f"{name}.") for m in added)],
    }


if __name__ == "__main__":
    result = measure()
    heavy = result["heavy"] or "none"
    print(f"import roadworthy: {result['modules']} modules, {result['ms']} ms, heavy libraries: {heavy}")
    if "--json" in sys.argv[1:]:
        print(json.dumps(result))
    sys.exit(1 if result["heavy"] else 0)
