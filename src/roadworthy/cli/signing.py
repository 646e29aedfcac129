"""Where the verbs find the private key of whoever sits at the keyboard."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import typer

from roadworthy.contract.keys import KeyLocked, SigningKey, refuse_inside
from roadworthy.contract.people import wrong_name
from roadworthy.core.errors import UsageError

KEYS_ENV: Final = "ROADWORTHY_KEYS"
"""Names the folder of private keys where no option does."""
PASSPHRASE_ENV: Final = "ROADWORTHY_PASSPHRASE"
"""Holds the passphrase of an encrypted key where nobody can be asked for it."""

KEYS_HELP: Final = "The folder of your private keys, outside the project and the ledger's folder."


def key_file(name: str, keys: Path | None, folders: Mapping[str, Path]) -> Path:
    """Where the private key of a person lies. Raises UsageError for a folder in which none may lie."""
    wrong = wrong_name(name, "person")
    if wrong:
        raise UsageError(wrong)
    if keys is None:
        raise UsageError(
            f"say where private keys are kept, a folder outside the project: --keys DIR, or {KEYS_ENV}=DIR"
        )
    refuse_inside(keys, folders)
    return keys.expanduser() / f"{name}.pem"


def find_key(name: str, keys: Path | None, folders: Mapping[str, Path]) -> SigningKey:
    """The private key of a person, whose passphrase is asked for where it has one. Raises UsageError."""
    path = key_file(name, keys, folders)
    try:
        return SigningKey.load(path, passphrase=os.environ.get(PASSPHRASE_ENV))
    except KeyLocked:
        if PASSPHRASE_ENV in os.environ or not sys.stdin.isatty():
            raise
    asked: str = typer.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    return SigningKey.load(path, passphrase=asked)


def new_passphrase() -> str:
    """A passphrase for a new key: from the environment, or typed in twice. Raises UsageError for an empty one."""
    given = os.environ.get(PASSPHRASE_ENV)
    if given is None:
        if not sys.stdin.isatty():
            raise UsageError(f"nobody can be asked for a passphrase here; set {PASSPHRASE_ENV}")
        given = str(typer.prompt("Passphrase of the new key", hide_input=True, confirmation_prompt=True, err=True))
    if not given:
        raise UsageError("an empty passphrase protects nothing; give one, or leave --passphrase out")
    return given
