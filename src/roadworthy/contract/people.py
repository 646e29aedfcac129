"""The people file: who may decide what, and the public keys that prove it.

A contract names it under `people`, and the contract's digest covers it: with a changed people file it is another
contract. Private keys never stand in it; see `contract.keys`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import PrivateAttr

from roadworthy.contract import keys
from roadworthy.contract.model import Part
from roadworthy.contract.names import did_you_mean
from roadworthy.contract.structure import fitted
from roadworthy.contract.written import read
from roadworthy.core import canonical
from roadworthy.core.errors import ContractError, Finding

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = frozenset({"user", "requester", "owner", "nobody", "reply", "ask_user", "escalate"})
_STAND_INS: Mapping[str, Any] = {"people": 1, "roles": (), "members": {}}


class Member(Part):
    """One person."""

    roles: tuple[str, ...]
    """What the person may decide as."""
    keys: tuple[str, ...] = ()
    """Public keys, `ed25519:…`; without one the person can sign nothing."""


class People(Part):
    """Roles, and the people that hold them. Frozen; equal meaning has an equal `digest`."""

    people: Literal[1]
    """The version of the file format."""
    roles: tuple[str, ...]
    """All roles that there are."""
    members: dict[str, Member]
    """The people, by name."""
    _file: str | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, path: str | Path) -> People:
        """The people in a YAML file. Raises ContractError with every finding, each with line and cure."""
        try:
            text = Path(path).read_bytes().decode("utf-8-sig")
        except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a path that there cannot be
            cause = error.strerror if isinstance(error, OSError) else str(error)
            cure = "check the path, or make the file with `roadworthy people add`"
            unread = Finding(text=f"the people file cannot be read: {cause}; {cure}", file=str(path), code="file")
            raise ContractError([unread]) from None
        return cls.loads(text, file=str(path))

    @classmethod
    def loads(cls, text: str, *, file: str = "<people>") -> People:
        """The people in a YAML text; `file` is the name that findings carry."""
        people, findings = read_people(text, file=file)
        if people is None or findings:
            raise ContractError(findings)
        people._file = file
        return people

    @property
    def file(self) -> str | None:
        """Where they were read from."""
        return self._file

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the meaning, in hex: comments and the order of names do not change it."""
        members = {
            name: {"roles": sorted(member.roles), "keys": sorted(member.keys)} for name, member in self.members.items()
        }
        return canonical.digest({"people": self.people, "roles": sorted(self.roles), "members": members})

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, People) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def holds(self, person: str, role: str) -> bool:
        """Whether a person may decide as a role. False for whoever is not a member."""
        member = self.members.get(person)
        return member is not None and role in member.roles

    def holding(self, role: str) -> tuple[str, ...]:
        """Those who hold a role, in the order of the file."""
        return tuple(name for name, member in self.members.items() if role in member.roles)

    def verify(self, person: str, purpose: str, payload: Mapping[str, Any], signature: object) -> bool:
        """Whether a person has signed a payload for a purpose, with any of their keys. Never raises."""
        member = self.members.get(person)
        return member is not None and any(keys.verify(key, purpose, payload, signature) for key in member.keys)

    def sealed(self, purpose: str, body: Mapping[str, Any]) -> bool:
        """Whether the body of an entry was signed, as `keys.seal` does it, by the person under `by`. Never raises."""
        by = body.get("by")
        unsigned = {key: value for key, value in body.items() if key != "signature"}
        return isinstance(by, str) and self.verify(by, purpose, unsigned, body.get("signature"))

    def findings(self) -> Iterator[Finding]:
        """What does not hold together, however it was made."""
        for i, role in enumerate(self.roles):
            wrong = wrong_name(role, "role")
            if wrong:
                yield Finding(text=wrong, path=("roles", i))
            if role in self.roles[:i]:
                yield Finding(text=f"the role {role} stands here twice; keep one", path=("roles", i), code="duplicate")
        seen: dict[str, str] = {}
        names: dict[str, str] = {}
        for name, member in self.members.items():
            wrong = wrong_name(name, "person")
            if wrong:
                yield Finding(text=wrong, path=("members", name))
            other = names.setdefault(name.casefold(), name)
            if other != name:
                text = f"{other} and {name} differ in capitals only, and would be taken for one; rename one of them"
                yield Finding(text=text, path=("members", name))
            yield from self._roles_of(name, member)
            for i, key in enumerate(member.keys):
                bad = keys.wrong_with_key(key)
                holder = seen.setdefault(key, name)
                path = ("members", name, "keys", i)
                if bad:
                    yield Finding(text=bad, path=path, code="key")
                elif holder != name:
                    text = f"this is the key of {holder}, too: one person would count as two; each needs their own"
                    yield Finding(text=text, path=path, code="key")
                elif key in member.keys[:i]:
                    yield Finding(text="this key stands here twice; keep one", path=path, code="duplicate")

    def _roles_of(self, name: str, member: Member) -> Iterator[Finding]:
        if not member.roles:
            yield Finding(text=f"{name} holds no role; name one, or take {name} out", path=("members", name, "roles"))
        for i, role in enumerate(member.roles):
            path = ("members", name, "roles", i)
            if role not in self.roles:
                cure = did_you_mean(role, self.roles, none="declare it under roles")
                yield Finding(text=f"{role!r} is not a role here; {cure}", path=path, code="unknown_name")
            if role in member.roles[:i]:
                yield Finding(text=f"{role} stands here twice; keep one", path=path, code="duplicate")


def wrong_name(name: str, kind: Literal["person", "role"]) -> str | None:
    """What is wrong with the name of a person or role, and the cure; None where nothing is."""
    if not _NAME.fullmatch(name):
        return f"{name!r} is no name of a {kind}; write at most 64 letters, digits, ., _ and -, the first no sign"
    if name in _RESERVED:
        return f"{name} means something else in contracts, and cannot be the name of a {kind}; choose another"
    return None


def read_people(text: str, *, file: str) -> tuple[People | None, list[Finding]]:
    """What could be read of a people file, beside all that is wrong with it. Never raises."""
    written = read(text, file=file)
    if not isinstance(written.data, dict):
        if not written.findings:
            cure = "a people file starts with `people: 1`"
            written.findings.append(written.found((), f"there are no people in this file; {cure}", code="yaml"))
        return None, written.findings
    people = fitted(written, People, stand_ins=_STAND_INS)
    if people is not None and not written.findings:
        for finding in people.findings():
            placed = written.found(finding.path, finding.text, code=finding.code)
            key = written.keys.get(placed.path)
            written.findings.append(replace(placed, line=key.line, column=key.column) if key is not None else placed)
    return people, sorted(written.findings, key=lambda f: (f.line or 0, f.column or 0))
