"""Does the gate notice when a tool's answers change, and does it keep quiet when they do not?

Four grounds. *made*: tools with optional, nullable and dependent fields, maps and lists of any length, which never
change. *shop*: the users, orders and products of tau-bench's shop as its look-ups return them, and the results in its
recorded runs, in order; these never change, either. *desk*: the read tools of the shipped desk, each field of each
spoilt by the faults of trials. *openapi*: pairs of API documents that oasdiff's tests call breaking on the response
side; answers are made up from the first document and then from the second. Data that is not part of this repository is
looked for in $ROADWORTHY_DATA, else in ../shared/data; what is missing is skipped and said so.

A false alarm is an answer with a *confirmed* breaking finding: one that fails a read at `autonomous`. With `--json` the
last line is one JSON object with `made`, `shop`, `runs`, `desk`, `openapi` and `us_per_answer`.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML

from roadworthy.examples.desk.world import world
from roadworthy.gate.carry.drift import Learned
from roadworthy.gate.values import plain
from roadworthy.trials.faults import Fault, FaultKind, FaultyTools

DATA = Path(os.environ.get("ROADWORTHY_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
LEARNT = 60
"""Answers to different calls before anything is changed."""
CHANGED = 10
"""Answers after the change, within which it must be confirmed."""


class Tally:
    """Answers, and those with a suspicion, a confirmed breaking change, an addition."""

    def __init__(self) -> None:
        self.answers = self.suspected = self.alarms = self.additions = self.tools_alarmed = 0

    def take(self, found: Any) -> bool:
        self.answers += 1
        breaking = [f for f in found if f.breaking]
        self.suspected += bool(breaking)
        confirmed = any(f.confirmed for f in breaking)
        self.alarms += confirmed
        self.additions += any(not f.breaking for f in found)
        return confirmed

    def figures(self) -> dict[str, float]:
        return {
            "answers": self.answers,
            "false_alarm_rate": round(self.alarms / self.answers, 5),
            "suspected_rate": round(self.suspected / self.answers, 5),
            "addition_rate": round(self.additions / self.answers, 5),
        }


# -- tools that never change -------------------------------------------------------------------------------------------


def made(tools: int = 200, calls: int = 500) -> dict[str, float]:
    """Fields that are there with every chance, some together, some only for some customers."""
    tally, chance = Tally(), random.Random(20261122)
    for tool in range(tools):
        learned = Learned()
        optional = [chance.choice((0.3, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)) for _ in range(10)]
        nullable = [chance.choice((0.05, 0.01, 0.002)) for _ in range(3)]
        together = chance.choice((0.7, 0.9, 0.97))
        for n in range(calls):
            value: dict[str, Any] = {"id": str(n), "state": chance.choice(("new", "done", "gone"))}
            for i, p in enumerate(optional):
                if chance.random() < p:
                    value[f"field_{i}"] = chance.choice((1, 2.5)) if i % 2 else "x"
            for i, p in enumerate(nullable):
                value[f"maybe_{i}"] = None if chance.random() < p else 1
            if chance.random() < together:  # a business customer has all of these
                value |= {"vat": "1", "company": {"name": "c", "seat": "s"}, "terms": 30}
            value["lines"] = [
                {"sku": "a", **({"note": "n"} if chance.random() < 0.995 else {})} for _ in range(chance.randint(1, 30))
            ]
            value["by_day"] = {f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}": 1 for _ in range(3)}
            tally.take(learned.see(str(tool), "bot", {"n": n}, value).findings)
    return tally.figures()


def shop() -> dict[str, float] | None:
    """The shop's records in a random order, as its look-ups return them."""
    folder = DATA / "tau-retail" / "db"
    if not folder.exists():
        return None
    tally = Tally()
    records = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("orders", "users", "products")}
    for seed in range(20):
        chance, learned = random.Random(seed), Learned()
        for name, rows in records.items():
            for key in chance.sample(list(rows), len(rows)):
                tally.take(learned.see(name, "bot", {"id": key}, plain(rows[key])).findings)
    return tally.figures()


def runs() -> dict[str, float] | None:
    """The results in the shop's recorded runs, by tool, in the order in which they came; errors are text there."""
    file = DATA / "tau-retail" / "runs.jsonl"
    if not file.exists():
        return None
    tally, learned = Tally(), Learned()
    for line in file.read_text().splitlines():
        called: dict[str, Any] = {}
        for message in json.loads(line)["messages"]:
            for call in message.get("tool_calls") or ():
                called[call["id"]] = call["function"]
            if message["role"] == "tool" and message.get("tool_call_id") in called:
                function = called[message["tool_call_id"]]
                content = message["content"]
                if content.startswith("Error"):
                    continue  # the gate learns from results, and a contract's `fails_when` tells these
                value = json.loads(content) if content[:1] in ("{", "[") else content
                args = json.loads(function["arguments"])
                tally.take(learned.see(function["name"], "bot", args, plain(value)).findings)
    return tally.figures()


# -- the desk ----------------------------------------------------------------------------------------------------------


def desk_calls(seed: int) -> Iterator[tuple[str, dict[str, str], Mapping[str, Any]]]:
    """Calls of the desk's read tools that have an answer, in one seeded world, with the world's tools."""
    ground = world.ground(seed=seed)
    try:
        db, tools = ground.connection, ground.tools
        for contact, name, email in db.execute("SELECT contact_id, name, email FROM support.contacts").fetchall():
            yield "support.find_customer", {"email": email}, tools
            yield "support.search_customers", {"name": name}, tools
            yield "billing.find_account", {"contact_id": contact}, tools
            yield "crm.find_party", {"contact_id": contact}, tools
        for account, invoice in db.execute("SELECT account_no, invoice_no FROM billing.invoices").fetchall():
            yield "billing.get_invoice", {"account_no": account, "invoice_no": invoice}, tools
        for (party,) in db.execute("SELECT party_no FROM crm.parties").fetchall():
            tools["crm.issue_reset"](party_no=party)
            yield "crm.latest_reset", {"party_no": party}, tools
        for (ticket,) in db.execute("SELECT ticket_id FROM support.tickets").fetchall():
            yield "support.read_ticket", {"ticket_id": ticket}, tools
    finally:
        ground.close()


def _fields(value: Any) -> set[str]:
    if isinstance(value, list):
        return {name for item in cast("list[Any]", value) for name in _fields(item)}
    return set(cast("dict[str, Any]", value)) if isinstance(value, dict) else set()


def desk(worlds: int = 80) -> dict[str, Any]:
    """Every field of every read tool, lost, null and renamed; and all of it unspoilt, for false alarms."""
    by_tool: dict[str, list[tuple[dict[str, str], Any]]] = {}
    for seed in range(worlds):
        for name, args, tools in desk_calls(seed):
            by_tool.setdefault(name, []).append((args, plain(tools[name](**args))))
    tally, found, cases = Tally(), 0, 0
    needed: Counter[int] = Counter()
    missed: list[str] = []
    kinds: tuple[FaultKind, ...] = ("field_missing", "field_null", "field_renamed")
    for name, answers in by_tool.items():
        quiet = Learned()
        for args, value in answers:
            tally.take(quiet.see(name, "bot", args, value).findings)
        usual, later = answers[:LEARNT], answers[LEARNT : LEARNT + CHANGED]
        for field in sorted(_fields(usual[0][1])):
            for kind in kinds:
                cases += 1
                learned = Learned()
                for args, value in usual:
                    learned.see(name, "bot", args, value)
                fault = Fault(
                    tool=name, kind=kind, field=field, calls=CHANGED, to=f"{field}_2" if "renamed" in kind else None
                )
                calls = _confirmed_after(learned, name, fault, later)
                if calls is None:
                    missed.append(f"{name}.{field} {kind}")
                else:
                    found += 1
                    needed[calls] += 1
    return {
        "cases": cases,
        "confirmed": found,
        "answers_needed": dict(sorted(needed.items())),
        "missed": missed,
        **tally.figures(),
    }


def _confirmed_after(
    learned: Learned, name: str, fault: Fault, answers: list[tuple[dict[str, str], Any]]
) -> int | None:
    """How many spoilt answers it took until the change was certain."""
    values = iter([value for _, value in answers])

    def recorded(**_: Any) -> Any:
        return next(values)

    ground = world.ground(seed=0)
    try:
        tools = FaultyTools({name: recorded}, [fault], clock=ground.clock, timeouts_s={}).tools
    finally:
        ground.close()
    for n, (args, _) in enumerate(answers, 1):
        findings = learned.see(name, "bot", {**args, "n": str(n)}, plain(tools[name](**args))).findings
        if any(f.breaking and f.confirmed for f in findings):
            return n
    return None


# -- documents of APIs -------------------------------------------------------------------------------------------------

FORM = frozenset(
    (
        "required-property-removed", "property-became-optional", "property-became-nullable", "body-became-nullable",
        "body-type-changed", "property-type-changed", "body-one-of-added", "property-one-of-added",
        "body-wrapped-in-one-of", "body-const-changed", "property-const-changed",
    )
)  # fmt: skip
"""Changes that show in the form of answers. The others widen ranges, encodings and conditions between values, or take
away what was optional, which is no drift here: whoever reads it copes without it."""


class Maker:
    """Makes up answers by a schema of an OpenAPI document, seeded."""

    def __init__(self, document: Any, chance: random.Random) -> None:
        self.document = document
        self.chance = chance

    def follow(self, schema: Any) -> Any:
        """The schema that a reference leads to."""
        while isinstance(schema, dict) and "$ref" in schema:
            target: Any = self.document
            for part in str(schema["$ref"]).removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            schema = target
        return schema

    def whole(self, schema: Any) -> dict[str, Any]:
        """A schema with its `allOf` taken in."""
        found = dict(self.follow(schema) or {}) if isinstance(self.follow(schema), dict) else {}
        for part in found.pop("allOf", ()):
            inner = self.whole(part)
            found["properties"] = {**found.get("properties", {}), **inner.get("properties", {})}
            found["required"] = [*found.get("required", ()), *inner.get("required", ())]
            found = {**inner, **found}
        return found

    def make(self, schema: Any, depth: int = 6) -> Any:
        """One value."""
        chance, found = self.chance, self.whole(schema)
        for word in ("oneOf", "anyOf"):
            if found.get(word):
                chosen = self.make(chance.choice(list(found[word])), depth - 1)
                if "properties" in found and isinstance(chosen, dict):
                    own = {k: v for k, v in found.items() if k not in ("oneOf", "anyOf")}
                    return {**self.make({**own, "type": "object"}, depth - 1), **chosen}
                return chosen
        if "const" in found:
            return found["const"]
        if found.get("enum"):
            return chance.choice(list(found["enum"]))
        kinds = found.get("type") or ("object" if "properties" in found else "array" if "items" in found else "string")
        kinds = list(kinds) if isinstance(kinds, list) else [kinds]
        if found.get("nullable"):
            kinds.append("null")
        kind = chance.choice(kinds)
        if kind == "object":
            return self._object(found, depth)
        if kind == "array":
            items: list[Any] = [self.make(inner, depth - 1) for inner in found.get("prefixItems", ())]
            least, most = int(found.get("minItems", 0)), min(int(found.get("maxItems", 6)), 6)
            if depth > 0:
                items += [
                    self.make(found.get("items") or {}, depth - 1)
                    for _ in range(chance.randint(least, max(least, most)))
                ]
            return items
        low, high = found.get("minimum", 0), found.get("maximum", 1000)
        return {
            "string": "".join(chance.choices("abcdefgh", k=6)),
            "integer": chance.randint(int(low), max(int(low), int(high))),
            "number": chance.uniform(float(low), max(float(low), float(high))),
            "boolean": chance.random() < 0.5,
            "null": None,
        }[kind]

    def _object(self, found: dict[str, Any], depth: int) -> dict[str, Any]:
        required = set(found.get("required", ()))
        out: dict[str, Any] = {}
        for name, inner in (found.get("properties") or {}).items():
            inner = self.whole(inner)
            if inner.get("writeOnly") or depth <= 0:
                continue
            # What a document leaves open is mostly there in practice.
            if name in required or self.chance.random() < 0.9:
                out[name] = self.make(inner, depth - 1)
        extra = found.get("additionalProperties")
        if isinstance(extra, dict) and depth > 0:
            for _ in range(self.chance.randint(1, 3)):
                out["k" + str(self.chance.randint(1000, 9999))] = self.make(extra, depth - 1)
        return out


def _responses(document: Any, chance: random.Random) -> dict[str, Any]:
    """By operation and status, what makes an answer; the first JSON schema of each."""
    maker = Maker(document, chance)
    found: dict[str, Any] = {}
    for path, item in (document.get("paths") or {}).items():
        for method, operation in (maker.follow(item) or {}).items():
            if not isinstance(operation, dict):
                continue
            for status, response in (operation.get("responses") or {}).items():
                content = (maker.follow(response) or {}).get("content") or {}
                schema = next((m["schema"] for m in content.values() if isinstance(m, dict) and "schema" in m), None)
                if schema is not None:
                    found[f"{method} {path} {status}"] = schema
    return found


def _noticed(base: Any, revision: Any, seed: int) -> tuple[bool, bool, int, int]:
    """Whether a change was told, and confirmed, after the second document took over; alarms before, and answers."""
    chance = random.Random(seed)
    before, after = _responses(base, chance), _responses(revision, chance)
    told = confirmed = False
    alarms = answers = 0
    for operation, schema in before.items():
        learned, first, second = Learned(), Maker(base, chance), Maker(revision, chance)
        for n in range(LEARNT):
            found = learned.see(operation, "bot", {"n": n}, plain(first.make(schema))).findings
            alarms += any(f.breaking and f.confirmed for f in found)
            answers += 1
        if operation not in after:
            continue
        for n in range(CHANGED):
            found = learned.see(operation, "bot", {"n": -1 - n}, plain(second.make(after[operation]))).findings
            told = told or bool(found)
            confirmed = confirmed or any(f.breaking and f.confirmed for f in found)
    return told, confirmed, alarms, answers


def openapi(rounds: int = 20) -> dict[str, Any] | None:
    """Breaking pairs, by whether their change shows in the form of answers; and documents that stay as they are."""
    folder = DATA / "openapi-breaking"
    if not folder.exists():
        return None
    yaml = YAML(typ="safe", pure=True)
    documents: dict[str, Any] = {}

    def load(name: str) -> Any:
        if name not in documents:
            documents[name] = yaml.load((folder / "specs" / name).read_text())
        return documents[name]

    cases = [c for c in json.loads((folder / "cases.json").read_text()) if any("response" in i for i in c["ids"])]
    broken: dict[tuple[str, str], set[str]] = {}
    quiet: set[tuple[str, str]] = set()
    for case in cases:
        pair = (case["base"], case["revision"])
        ids = {i.removeprefix("response-") for i in case["ids"] if i.startswith("response-")}
        if case["breaking"]:
            broken.setdefault(pair, set()).update(ids)
        else:
            quiet.add(pair)
    quiet -= set(broken)
    shown = {pair: ids for pair, ids in broken.items() if ids & FORM}
    pairs: dict[str, tuple[float, float]] = {}
    for pair, ids in sorted(shown.items()):
        ends = [_noticed(load(pair[0]), load(pair[1]), seed) for seed in range(rounds)]
        told, confirmed = sum(e[0] for e in ends) / rounds, sum(e[1] for e in ends) / rounds
        pairs[f"{pair[0].removesuffix('.yaml')}: {', '.join(sorted(ids & FORM))}"] = (told, confirmed)
    alarms = answers = 0
    for name in sorted({name for pair in (*broken, *quiet) for name in pair}):
        for seed in range(rounds):
            _, _, early, made_up = _noticed(load(name), load(name), seed)
            alarms, answers = alarms + early, answers + made_up
    return {
        "pairs": len(broken),
        "of_form": len(shown),
        "told": sum(told >= 0.5 for told, _ in pairs.values()),
        "confirmed": sum(confirmed >= 0.5 for _, confirmed in pairs.values()),
        "by_pair": pairs,
        "unchanged_answers": answers,
        "false_alarm_rate": round(alarms / answers, 5),
    }


def us_per_answer() -> float:
    """CPU that one answer of five fields and three lines costs, at the best of some rounds."""
    value = {
        "invoice_no": "7",
        "status": "paid",
        "total": "80.00",
        "lines": [{"sku": "a", "price": 1.5}] * 3,
        "note": None,
    }
    best = 1e9
    for _ in range(5):
        learned = Learned()
        start = time.process_time()
        for n in range(5000):
            learned.see("get", "bot", {"n": n}, value)
        best = min(best, (time.process_time() - start) / 5000)
    return round(best * 1e6, 1)


def main() -> int:
    """Print the figures, and what was skipped."""
    result: dict[str, Any] = {
        "made": made(),
        "shop": shop(),
        "runs": runs(),
        "desk": desk(),
        "openapi": openapi(),
        "us_per_answer": us_per_answer(),
    }
    for name, figures in result.items():
        if figures is None:
            result[name] = {"skipped": "its data is not there; name the folder that holds it in ROADWORTHY_DATA"}
        print(f"{name}: {json.dumps(result[name])}")
    if "--json" in sys.argv[1:]:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
