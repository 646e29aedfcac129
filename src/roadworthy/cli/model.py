"""`roadworthy model`: an endpoint on loopback that records what a model answers, or replays it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from roadworthy.adapters.model.conversation import LateRun
from roadworthy.adapters.model.endpoint import ModelEndpoint
from roadworthy.adapters.model.prices import read_prices
from roadworthy.adapters.model.upstream import Upstream
from roadworthy.cli.ledgers import LEDGER_ENV, VaultChoice, appending
from roadworthy.cli.terminal import err, json_line, log_to_standard_error, out
from roadworthy.contract.model import Contract
from roadworthy.core.errors import UsageError
from roadworthy.gate.gate import Gate
from roadworthy.gate.run import Run

app = typer.Typer(add_completion=False)

File = Annotated[Path, typer.Option("--cassette", help="The file that holds the answers, a line each.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1. 0: any that is free.")]
Law = Annotated[
    Path | None,
    typer.Option("--contract", help="The agent's contract: what carries its labels gets other names in the cassette."),
]
Book = Annotated[
    str | None,
    typer.Option("--ledger", envvar=LEDGER_ENV, help="With --run: the ledger, a path or postgresql://HOST/DATABASE."),
]
RunId = Annotated[
    str | None, typer.Option("--run", help="The run that the model is asked for; with --contract and --ledger.")
]
Prices = Annotated[
    Path | None,
    typer.Option(help='What a million tokens cost: a YAML file, `MODEL: {input: "0.15", output: "0.60"}` a line.'),
]
Trial = Annotated[int, typer.Option(min=0, help="Which of several conversations that begin alike this is.")]
Json = Annotated[bool, typer.Option("--json", help="The base URL in a line of JSON.")]


@app.callback()
def group() -> None:
    """Stand between an agent and its model, as an OpenAI-compatible endpoint on loopback."""


@app.command()
def record(
    upstream: Annotated[str, typer.Option(help="The model's base URL, such as http://127.0.0.1:8000/v1.")],
    cassette: File,
    key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable that holds the model's key.")
    ] = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Add to a cassette that is there: ask only for what it lacks.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds until the model must say something.")] = 600.0,
    port: Port = 0,
    trial: Trial = 0,
    contract: Law = None,
    ledger: Book = None,
    run: RunId = None,
    prices: Prices = None,
    vault: VaultChoice = None,
    json: Json = False,
) -> int:
    """Ask a model for an agent, and record what it answers.

    Prints the base URL to give to the agent's client, with any API key, and serves it until Ctrl-C. The model's own key
    comes from an environment variable, and is written nowhere. With --run, what the run used counts in its budgets, and
    what the model answered comes back from the ledger when the run is driven again: start this anew for each drive.
    Exit codes: 0 it ran, 2 broken input.
    """
    model = Upstream.of(upstream, key_env=key_env, timeout_s=timeout)
    with (
        _asked_for(contract, ledger, run, vault) as late,
        ModelEndpoint(
            upstream=model,
            cassette=cassette,
            mode="extend" if extend else "record",
            contract=Contract.load(contract) if contract is not None else None,
            prices=read_prices(prices) if prices is not None else None,
            port=port,
        ) as endpoint,
    ):
        _serve(endpoint.url(late, trial=trial), json=json)
    return 0


@app.command()
def replay(
    cassette: File,
    port: Port = 0,
    trial: Trial = 0,
    contract: Law = None,
    ledger: Book = None,
    run: RunId = None,
    prices: Prices = None,
    vault: VaultChoice = None,
    json: Json = False,
) -> int:
    """Answer an agent from a cassette, and never ask a model.

    Prints the base URL to give to the agent's client, with any API key, and serves it until Ctrl-C. What is not
    recorded is refused, and standard error says how it differs from the nearest recording. Exit codes: 0 all was there,
    1 something was not recorded, 2 broken input.
    """
    with _asked_for(contract, ledger, run, vault) as late:
        with ModelEndpoint(
            cassette=cassette, prices=read_prices(prices) if prices is not None else None, port=port
        ) as endpoint:
            _serve(endpoint.url(late, trial=trial), json=json)
        return 1 if endpoint.missed else 0


@contextmanager
def _asked_for(
    contract: Path | None, ledger: str | None, run: str | None, vault: str | None
) -> Generator[LateRun | None]:
    """What finds the run, where one is meant. Raises UsageError, LedgerError and ContractError."""
    if run is None:
        yield None
        return
    if contract is None or ledger is None:
        raise UsageError("--run needs --contract and --ledger: the run's budgets and its journal stand there")
    law = Contract.load(contract)
    with appending(ledger, vault, create=True) as book:

        def find() -> Run | None:
            began = next((e for e in book.entries(run=run, kind="run") if "principal" in e.body), None)
            if began is None:
                return None
            return Gate(law, book, enforce=bool(began.body.get("enforce", True))).asking(run)

        yield find


def _serve(url: str, *, json: bool) -> None:
    """Say where, and wait for Ctrl-C or SIGTERM."""
    log_to_standard_error()
    told = threading.Event()

    def leave(*_: Any) -> None:
        told.set()

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if json:
            json_line({"base_url": url})
        else:
            out().print(url)
            err().print("Give this base URL to the agent's client, with any API key. Ctrl-C ends it.")
        told.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
