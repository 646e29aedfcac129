"""Who vouches for a destination: addresses that trusted results gave, and declared beginnings of addresses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from roadworthy.contract.model import Directory
from roadworthy.gate.flow import links
from roadworthy.gate.walk import Leaf

Owner = tuple[str, str]
"""An entity and a key of it."""

_PHONE = re.compile(r"[+0(][\d\s()./-]{5,}")
_MOST = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A look-up that the gate may make itself to find out whether a directory knows a destination."""

    directory: str
    tool: str
    args: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledDirectory:
    name: str
    of: str | None
    """The entity that entries belong to."""
    field: str
    tools: frozenset[str]
    """The reads that fill it, the one that verifies among them."""
    verify: tuple[str, tuple[str, ...]] | None
    """A tool, and the arguments in which it takes the destination in question."""
    personal: bool
    """Its entries belong to the subject of a run or to others like it; only the subject's own vouch."""


def compile_directories(
    directories: Mapping[str, Directory], personal: frozenset[str]
) -> Mapping[str, CompiledDirectory]:
    """The directories of a contract. `personal`: the entities that are, or lead to, the subject of a run."""
    return {
        name: CompiledDirectory(
            name=name,
            of=spec.of,
            field=spec.field,
            tools=frozenset((*spec.from_, *((spec.verify.tool,) if spec.verify is not None else ()))),
            verify=(spec.verify.tool, tuple(spec.verify.args)) if spec.verify is not None else None,
            personal=spec.of in personal,
        )
        for name, spec in directories.items()
    }


@lru_cache(maxsize=1_024)
def address(value: str) -> str:
    """The one way to write a destination; two that are written alike are the same, and no others."""
    text = unicodedata.normalize("NFC", value.strip())
    if "://" in text:
        link = links.read(text)
        return text if link is None else f"{link.scheme}://{link.place!r}"
    if "@" in text:
        local, _, domain = text.rpartition("@")
        return f"{local.lower()}@{domain.lower()}" if text.isascii() else text
    if _PHONE.fullmatch(text):
        digits = "".join(char for char in text if char.isascii() and char.isdigit())
        return f"+{digits}" if text.startswith("+") else f"+{digits[2:]}" if digits.startswith("00") else digits
    return text


class Entries:
    """What the directories of one run hold."""

    __slots__ = ("_asked", "_entries")

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], set[Owner]] = {}
        self._asked: set[tuple[str, str]] = set()

    def fill(self, directory: CompiledDirectory, leaves: Iterable[Leaf]) -> None:
        """Take the entries from a result; only what is trusted makes one."""
        for leaf in leaves:
            if not leaf.trusted or leaf.is_key or not isinstance(leaf.value, str) or len(self._entries) >= _MOST:
                continue
            names = [part for part in leaf.path if isinstance(part, str)]
            if not names or names[-1] != directory.field:
                continue
            owners = leaf.entities.get(directory.of, ()) if directory.of is not None else ()
            if directory.of is None or owners:
                held = self._entries.setdefault((directory.name, address(leaf.value)), set())
                held.update((directory.of, key) for key in owners if directory.of is not None)

    def asked(self, directory: CompiledDirectory, value: str) -> None:
        """The directory was looked up for a value; there is no need to do so again."""
        self._asked.add((directory.name, address(value)))

    def was_asked(self, directory: CompiledDirectory, value: str) -> bool:
        return (directory.name, address(value)) in self._asked

    def owners(self, directory: CompiledDirectory, value: str) -> set[Owner] | None:
        """Whose address this is; empty where the directory has no owners, None where it does not know the address."""
        return self._entries.get((directory.name, address(value)))

    def vouches(self, directory: CompiledDirectory, value: str, own: set[Owner]) -> bool:
        """Whether the directory knows a destination; where it holds people like the subject, the subject's own."""
        owners = self.owners(directory, value)
        if owners is None:
            return False
        return not directory.personal or not owners.isdisjoint(own)


def leads_to(prefixes: Sequence[links.Link], value: str) -> bool:
    """Whether an address begins in one of the declared ways."""
    if not prefixes:
        return False
    link = links.read(value)
    return link is not None and any(links.begins(link, prefix) for prefix in prefixes)
