"""`roadworthy ledger show`: a run's story, as people and programs read it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from roadworthy.cli.app import main
from roadworthy.core.types import Draft, Kind, Realm
from roadworthy.ledger.store import Ledger

Capture = pytest.CaptureFixture[str]
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def _draft(
    kind: Kind,
    body: dict[str, Any],
    *,
    run: str | None = "run-1",
    cause: str | None = None,
    world: Realm = "production",
) -> Draft:
    return Draft(kind=kind, world=world, run=run, body=body, at=START + timedelta(seconds=len(kind)), cause=cause)


STORY = [
    _draft("contract", {"agent": "desk", "version": "3", "digest": "abc"}, run=None),
    _draft(
        "run",
        {
            "agent": "desk",
            "version": "3",
            "contract": "0123456789abcdef",
            "principal": "support-bot",
            "subject": "C-000123",
            "facts": {"tier": "gold"},
            "capabilities": ["billing"],
            "levels": {"billing": "approval", "access": "shadow"},
            "enforce": False,
        },
    ),
    _draft("heard", {"text": "refund 4711\nplease \x1b[2J\u202eevil [bold]"}),
    _draft("action", {"id": "run-1#1.ab", "tool": "billing.refund", "args": {"amount": Decimal("42.00"), "no": "4711"}},
           cause="run-1#1.ab"),
    _draft(
        "verdict",
        {
            "ruling": "deny",
            "level": "approval",
            "reasons": [{"rule": "once", "text": "A second refund.", "ruling": "deny", "enforced": False}],
            "enforce": False,
        },
        cause="run-1#1.ab",
    ),
    _draft("intent", {"key": "run-1#1.ab"}, cause="run-1#1.ab"),
    _draft("outcome", {"status": "ok", "done": "executed", "text": "refunded"}, cause="run-1#1.ab"),
    _draft("action", {"id": "run-1#2.ab", "tool": "mail.send", "args": {}}, cause="run-1#2.ab"),
    _draft("question", {"role": "care-lead", "tool": "mail.send", "text": "may it?"}, cause="run-1#2.ab"),
    _draft("answer", {"ruling": "approve", "by": "ada"}, cause="run-1#2.ab"),
    _draft("intent", {"key": "run-1#2.ab"}, cause="run-1#2.ab"),
    _draft("said", {"text": "On its way."}),
    _draft("handover", {"to": "care-lead", "reason": "angry"}),
    _draft("run", {"status": "closed", "why": "done"}),
    _draft("drift", {"tool": "x", "odd": [1, {"a": None}]}),
]  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    path = tmp_path / "runs.db"
    with Ledger.open(path) as opened:
        opened.append(STORY)
        opened.append([_draft("run", {"agent": "desk", "principal": "bot"}, run="trial-1", world="test")])
        stop = {"capability": "billing", "lifted": False, "by": "lead", "because": "odd refunds"}
        opened.append([_draft("stop", stop, run=None)])
    return str(path)


def test_the_runs(ledger: str, capsys: Capture) -> None:
    assert main(["ledger", "show", ledger]) == 0
    header, latest, first = capsys.readouterr().out.splitlines()
    assert header.split()[:7] == ["run", "world", "status", "principal", "subject", "calls", "denied"]
    assert latest.split()[:4] == ["trial-1", "test", "open", "bot"]
    assert first.split()[:7] == ["run-1", "production", "closed", "support-bot", "C-000123", "2", "1"]
    assert header.index("status") == first.index("closed") == latest.index("open")
    main(["ledger", "show", ledger, "--world", "test"])
    assert len(capsys.readouterr().out.splitlines()) == 2
    main(["ledger", "show", ledger, "--limit", "1"])
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 2
    assert "--limit shows more" in told.err


def test_the_story_of_a_run(ledger: str, capsys: Capture) -> None:
    assert main(["ledger", "show", ledger, "run-1"]) == 0
    lines = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "run run-1",
        "2026-01-05 (UTC), world production",
        "run       desk, contract version 3 (0123456789ab)",
        'run       principal support-bot, for C-000123, facts {"tier":"gold"}',
        "run       capability billing is open, approval",
        "run       NOT ENFORCED: verdicts are recorded, and every tool runs",
        "user      refund 4711",
        "                    please <U+001B>[2J<U+202E>evil [bold]",
        'calls     #1 billing.refund(amount="42.00", no="4711")',
        "deny      #1 the gate says deny at level approval (not enforced)",
        "                    once: A second refund. (would have)",
        "ok        #1 executed: refunded",
        "calls     #2 mail.send()",
        "ask       #2 care-lead must decide: may it?",
        "person    #2 ada says approve",
        "agent     On its way.",
        "person    care-lead takes over: angry",
        "run       closed: done",
        'drift     {"odd":[1,{"a":null}],"tool":"x"}',
        "          in_doubt  #2 nothing says how this ended: it may or may not have been done",
    ]


SEVERAL = [
    _draft("run", {"agent": "desk", "principal": "bot"}),
    _draft("observation", {"graph": {"nodes": ["triage", "billing"], "edges": []}, "source": "langgraph"}),
    _draft("heard", {"text": "refund 7"}),
    _draft("action", {"id": "run-1#1.ab", "tool": "find", "args": {}, "agent": "triage"}, cause="run-1#1.ab"),
    _draft("handover", {"id": "h1.ab", "agent": "billing\x1b[2J", "source": "triage", "how": "delegate",
                        "text": "paid?\nby whom?"}),
    _draft("action", {"id": "run-1#2.ab", "tool": "pay", "args": {}, "agent": "billing\x1b[2J"}, cause="run-1#2.ab"),
    _draft("verdict", {"ruling": "deny", "level": "approval",
                       "reasons": [{"rule": "once", "text": "A second refund.", "ruling": "deny", "enforced": True}]},
           cause="run-1#2.ab"),
    _draft("intent", {"key": "run-1#1.ab"}, cause="run-1#1.ab"),
    _draft("handover", {"returned": "h1.ab", "text": "It is."}),
    _draft("handover", {"id": "h2.ab", "agent": "care", "source": None, "how": "handoff", "text": ""}),
    _draft("said", {"text": "Sorry.", "agent": "care"}),
    _draft("observation", {"path": [{"node": "triage"}, {"node": "care", "calls": ["c1"]}], "source": "langgraph"}),
    _draft("handover", {"id": "h3.ab", "agent": "archive", "source": "care", "how": "delegate", "text": ""}),
    _draft("handover", {"to": "lead", "reason": "angry", "source": "care"}),
]  # fmt: skip


def test_several_agents_are_told_as_a_tree(tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "runs.db")
    with Ledger.open(path) as opened:
        opened.append(SEVERAL)
    assert main(["ledger", "show", path, "run-1"]) == 0
    lines = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in capsys.readouterr().out.splitlines()]
    assert lines[2:] == [
        "run       desk, contract version ? ()",
        "run       principal bot",
        "graph     langgraph: triage, billing",
        "user      refund 7",
        "┌ triage",
        "│ calls     #1 find()",
        "│ ┌ billing<U+001B>[2J, for triage: paid?",
        "          │ │           by whom?",
        "│ │ calls     #2 pay()",
        "│ │ deny      #2 the gate says deny at level approval",
        "          │ │           once: A second refund.",
        "│ └ back: It is.",
        "├ care takes over",
        "│ agent     Sorry.",
        "way       langgraph: triage, care",
        "┌ care",
        "│ ┌ archive, for care",
        "          │ └ nothing says that this came back",
        "│ person    lead takes over: angry",
        "          in_doubt  #1 nothing says how this ended: it may or may not have been done",
    ]


def test_entries_of_one_kind_are_no_tree_and_say_what_agents_hand_on(tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "runs.db")
    with Ledger.open(path) as opened:
        opened.append(SEVERAL)
    assert main(["ledger", "show", path, "run-1", "--kind", "handover"]) == 0
    lines = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in capsys.readouterr().out.splitlines()]
    assert lines[2:] == [
        "agents    billing<U+001B>[2J, for triage: paid?",
        "                    by whom?",
        "agents    back: It is.",
        "agents    care takes over",
        "agents    archive, for care",
        "person    lead takes over: angry",
    ]
    assert main(["ledger", "show", path, "run-1", "--json"]) == 0
    bodies = [json.loads(line)["body"] for line in capsys.readouterr().out.splitlines()]
    assert [body.get("agent") for body in bodies if "tool" in body] == ["triage", "billing\x1b[2J"]
    assert {"returned": "h1.ab", "text": "It is."} in bodies


def test_entries_of_one_kind(ledger: str, capsys: Capture) -> None:
    assert main(["ledger", "show", ledger, "--kind", "stop"]) == 0
    assert "lead stops: capability billing, because odd refunds" in capsys.readouterr().out
    assert main(["ledger", "show", ledger, "run-1", "--kind", "said", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    entry = json.loads(line)
    assert entry["body"] == {"text": "On its way."}
    assert (entry["kind"], entry["run"], entry["world"], entry["run_seq"]) == ("said", "run-1", "production", 11)


def test_json_is_uncut(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "runs.db"
    body = {"status": "ok", "done": "executed", "text": "x" * 5000, "value": {"big": 2**80, "lone": "\ud800"}}
    with Ledger.open(path) as opened:
        opened.append([_draft("outcome", body)])
    main(["ledger", "show", str(path), "run-1"])
    assert "(5,000 characters; --json shows all)" in capsys.readouterr().out
    main(["ledger", "show", str(path), "run-1", "--json"])
    assert json.loads(capsys.readouterr().out)["body"] == body
    main(["ledger", "show", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["counts"] == {"outcome": 1}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nobody"], "holds no run 'nobody'"),
        (["--kind", "gossip"], "there is no kind 'gossip'"),
        (["--world", "prod"], "there is no world 'prod'"),
    ],
)
def test_what_is_not_there(ledger: str, words: list[str], says: str, capsys: Capture) -> None:
    assert main(["ledger", "show", ledger, *words]) == 2
    assert says in capsys.readouterr().err


def test_no_ledger_is_made_by_looking(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "runs.db"
    assert main(["ledger", "show", str(path)]) == 2
    assert "there is no ledger" in capsys.readouterr().err
    assert not path.exists()


def test_an_empty_ledger(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "runs.db"
    Ledger.open(path).close()
    assert main(["ledger", "show", str(path)]) == 0
    assert "holds no runs" in capsys.readouterr().err


def test_lines_of_json_steer_no_terminal_and_say_the_same(tmp_path: Path, capsys: Capture) -> None:
    said = "\x1b[2J \x9b31m \u202eevil\u2066 \u200b \ufeff é 👩‍💻"
    path = tmp_path / "runs.db"
    with Ledger.open(path) as ledger:
        ledger.append([_draft("heard", {"text": said})])
    assert main(["ledger", "show", str(path), "run-1", "--json"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["body"]["text"] == said
    assert "é" in printed
    assert not [c for c in printed.removesuffix("\n") if c in said and not c.isprintable()]


def test_a_call_that_another_process_has_ended_is_not_in_doubt(tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "runs.db")
    with Ledger.open(path) as opened:
        opened.append([
            _draft("action", {"id": "run-1#1.ab", "tool": "ask_desk", "args": {}}, cause="run-1#1.ab"),
            _draft("intent", {"key": "run-1#1.ab"}, cause="run-1#1.ab"),
            _draft("outcome", {"status": "ok", "done": "executed", "text": "Done."}, cause="run-1#1.ab~.cd"),
        ])  # fmt: skip
    assert main(["ledger", "show", path, "run-1"]) == 0
    told = capsys.readouterr().out
    assert "#1 executed: Done." in told
    assert "in_doubt" not in told
