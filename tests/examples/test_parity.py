"""The desk on database files and real SMTP gives the same verdicts as in memory, trial by trial."""

from __future__ import annotations

from asyncio import Server
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from roadworthy.contract.model import Contract
from roadworthy.examples.desk.agents.plain import agent
from roadworthy.trials.results import TestReport
from roadworthy.trials.runner import run_trials, wired_in
from roadworthy.trials.scenario import Scenario
from roadworthy.trials.trial import in_memory
from roadworthy.trials.world import Ground, World

Mailed = Counter[tuple[str, str, str]]
"""Address, subject and text of each mail."""


class Inbox:
    """A post office that keeps what it is given."""

    def __init__(self) -> None:
        self.mails: Mailed = Counter()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # its name
        del server, session
        assert isinstance(envelope.content, bytes)
        mail: Any = message_from_bytes(envelope.content, policy=default)
        text = mail.get_content().replace("\r\n", "\n").strip()
        for to in envelope.rcpt_tos:
            self.mails[to, mail["Subject"], text] += 1
        return "250 OK"


class AnyPort(Controller):
    """A server on whichever port is free; its own code takes port 0 for the port to greet itself on."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, Server)
        self.port: int = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def office() -> Iterator[tuple[Inbox, tuple[str, int]]]:
    inbox = Inbox()
    controller = AnyPort(inbox, hostname="127.0.0.1", port=0)
    controller.start()
    try:
        yield inbox, ("127.0.0.1", controller.port)
    finally:
        controller.stop()


def outcome(report: TestReport) -> list[tuple[Any, ...]]:
    return [
        (t.scenario, t.seed, t.status, t.why, t.ending, t.stops, t.calls, t.changes, t.transcript)
        for t in report.trials
    ]


@pytest.mark.parametrize("enforce", [True, False])
def test_files_and_smtp_give_the_verdicts_of_memory(
    contract: Contract,
    scenarios: tuple[Scenario, ...],
    office: tuple[Inbox, tuple[str, int]],
    tmp_path: Path,
    enforce: bool,
) -> None:
    inbox, address = office
    grounds: list[Ground] = []

    def kept(world: World, scenario: Scenario, seed: int) -> Ground:
        grounds.append(in_memory(world, scenario, seed))
        return grounds[-1]

    memory = run_trials(contract, agent, scenarios, trials=1, seed=11, enforce=enforce, ground=kept)
    files = run_trials(
        contract, agent, scenarios, trials=1, seed=11, enforce=enforce, ground=wired_in(tmp_path, smtp=address)
    )

    assert outcome(files) == outcome(memory)
    assert files.manifest.ground == "files and SMTP"
    assert len(list(tmp_path.glob("*/billing.db"))) == len(scenarios)
    sent: Mailed = Counter((m.to, m.subject, m.body.strip()) for g in grounds for m in g.post.sent)
    assert inbox.mails == sent
    assert sent
