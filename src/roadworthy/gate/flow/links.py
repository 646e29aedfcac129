"""Links in texts: where they really lead, and whether somebody vouches for that.

Two links are compared by host, port and parts of the path, after everything that browsers undo has been undone:
case, dots in the path, encodings, other alphabets in the host. What cannot be undone without guessing (a user name in
front of the host, a backslash, a control character) leads nowhere that anybody vouches for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from typing import Literal
from urllib.parse import unquote

from roadworthy.gate.forms.lookalikes import INVISIBLE

_GENERIC = (
    "com|net|org|info|biz|edu|gov|mil|int|io|ai|co|dev|app|xyz|online|site|store|shop|top|club|link|live|cloud|page|"
    "website|space|tech|click|test|example|invalid|onion|ru|cn|eu|uk|de|tk|ml|cf|gq|ga|cc|ws|zip|mov|ly|gl|gg|pw"
)
_COUNTRIES = (
    "a[cdefgilmoqrstuwxz]|b[abdefghijmnorstvwyz]|c[acdfghiklmnoruvwxyz]|d[ejkmoz]|e[ceghrstu]|f[ijkmor]|"
    "g[abdefghilmnpqrstuwy]|h[kmnrtu]|i[delmnoqrst]|j[emop]|k[eghimnprwyz]|l[abcikrstuvy]|m[acdeghklmnopqrstuvwxyz]|"
    "n[acefgilopruz]|om|p[aefghklmnrstwy]|qa|r[eosuw]|s[abcdeghiklmnorstuvxyz]|t[cdfghjklmnortvwz]|u[agksyz]|"
    "v[aceginu]|w[fs]|y[et]|z[amw]"
)
_LINK = re.compile(
    r"(?<![\w+.-])[a-z][a-z0-9+-]{1,20}:[/\\]{1,3}[^\s<>\"`]+"  # a scheme and slashes, of either kind
    r"|(?<![\w+.-])(?:https?|ftp|wss?):[^\s<>\"`/\\]+"  # browsers take these without slashes
    r"|(?<![\w+.-])(?:javascript|vbscript):[^\s<>\"]+|(?<![\w+.-])data:[\w+.-]+/[^\s<>\"]+"
    r"|(?<![\w:/\\.])[/\\]{2}[\w-]+(?:\.[\w-]+)+[^\s<>\"`]*"  # as the page's own scheme
    r"|(?<![\w@./\\-])www\.[\w-]+\.[^\s<>\"`]+"
    rf"|(?<![\w@./\\-])(?:[^\W_][\w-]{{0,62}}[.\u3002])+(?:{_GENERIC})(?![\w-]|[.\u3002]\w|@)(?::\d+)?(?:[/?#][^\s<>\"`]*)?"
    rf"|(?<![\w@./\\-])(?:[^\W_][\w-]{{0,62}}[.\u3002])+(?:{_COUNTRIES})(?::\d+)?[/?][^\s<>\"`]*",
    re.IGNORECASE,
)
_HINT = re.compile(r"[.\u3002][^\W\d]|//|:[\\/a-zA-Z]|\\\\|&[#\w]")
_ANOTHER = re.compile(r"(?:https?|ftp|wss?):[/\\]{2}|\]\(", re.IGNORECASE)
_ODD = re.compile(r"[\x00-\x20\x7f\\]")
_TRAILING = ".,;:!?'\"*_~]}>|"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.IGNORECASE | re.DOTALL)
_PORTS = {"http": 80, "https": 443, "ftp": 21, "ws": 80, "wss": 443}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\]")
_NUMERIC_HOST = re.compile(r"(?:0x[0-9a-f]+|\d+)(?:\.(?:0x[0-9a-f]+|\d+))*")
_GLUED = re.compile(r"(?<=[a-z0-9/])\.[A-Z][a-z]*$")
MOST_LENGTH = 2_048
"""Characters of a link; nobody vouches for a longer one."""
MOST_KEPT = 20_000
"""Links and hosts that one run remembers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where an address leads."""

    scheme: str
    host: str
    """In ASCII, lower case; empty where it leads to no host, such as `javascript:`."""
    port: int | None
    """None: the scheme's own."""
    path: tuple[str, ...]
    """Its parts, decoded, with `.` and `..` followed."""
    rest: str
    """Query and fragment as written, with their sign."""

    @property
    def place(self) -> tuple[str, int | None, tuple[str, ...], str]:
        """What two links have in common that lead to the same page, by whatever scheme."""
        return self.host, self.port, self.path, self.rest

    @property
    def quarter(self) -> tuple[str, str]:
        """The host and the first part of the path: on many hosts, whose corner it is."""
        return self.host, self.path[0] if self.path else ""


def links_in(text: str) -> list[str]:
    """The links of a text, as they are written, including those without a scheme that chats and mails make of names."""
    if not text.isascii():
        text = text.translate(INVISIBLE)
    if "&" in text:
        text = unescape(text)
    found: list[str] = []
    done = 0
    for hint in _HINT.finditer(text):
        if hint.start() < done:
            continue
        start, done = max(text.rfind(" ", done, hint.start()) + 1, done), text.find(" ", hint.end())
        if done < 0:
            done = len(text)
        for match in _LINK.finditer(text, start, done):
            written = match[0][: MOST_LENGTH + 1]
            found.append(trimmed(written))
            for another in _ANOTHER.finditer(written, 1):  # handed on to, or behind the end of the first
                if another[0] != "](":
                    found.append(trimmed(written[another.start() :]))
                elif written.startswith(("//", "\\\\"), another.end()):
                    found.append(trimmed(written[another.end() :]))
    return found


def loads(text: str) -> bool:
    """Whether a text may hold something that is fetched as soon as the text is shown: a picture, or any HTML."""
    return "![" in text or "<" in text


def trimmed(written: str) -> str:
    """A link without the punctuation of the sentence around it."""
    end, extra = len(written), written.count(")") - written.count("(")
    while end:
        last = written[end - 1]
        if last == ")" and extra > 0:
            extra -= 1
        elif last not in _TRAILING:
            break
        end -= 1
    written = written[:end]
    cut = written.find("](")
    return written[:cut] if cut > 0 else written


@lru_cache(maxsize=2_048)
def read(written: str) -> Link | None:
    """Where an address leads; None where that cannot be said without guessing."""
    if len(written) > MOST_LENGTH or _ODD.search(written) is not None:
        return None
    found = _SCHEME.fullmatch(written)
    scheme, rest = (found[1].lower(), found[2]) if found is not None else ("", written)
    if found is not None and not rest.startswith("/") and scheme not in _PORTS:
        if re.match(r"\d+(?:[/?#]|$)", rest):
            scheme, rest = "", written  # a host and a port
        else:
            return Link(scheme=scheme, host="", port=None, path=(), rest=rest)
    rest = rest.lstrip("/")
    cut = next((i for i, char in enumerate(rest) if char in "/?#"), len(rest))
    place, after = rest[:cut], rest[cut:]
    if "@" in place or "%" in place:
        return None
    host, colon, port_text = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not colon:
        host, port_text = place, ""
    if port_text and not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5):
        return None
    port = int(port_text) if port_text else None
    known = _host(host)
    if known is None:
        return None
    query = next((i for i, char in enumerate(after) if char in "?#"), len(after))
    path = _path(after[:query])
    if path is None:
        return None
    return Link(
        scheme=scheme,
        host=known,
        port=None if port in (_PORTS.get(scheme), None) or (scheme == "" and port in (80, 443)) else port,
        path=path,
        rest=after[query:],
    )


def _host(written: str) -> str | None:
    host = written.rstrip(".").lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    if _HOST.fullmatch(host) is None:
        return None
    if _NUMERIC_HOST.fullmatch(host) and not re.fullmatch(r"(?:(?:0|[1-9]\d{0,2})\.){3}(?:0|[1-9]\d{0,2})", host):
        return None  # other ways of writing an address of four bytes
    return host


def _path(written: str) -> tuple[str, ...] | None:
    """The parts of a path; None where servers disagree about what it means."""
    parts = _followed(written.split("/"))
    decoded = written
    for _ in range(3):
        again = unquote(decoded, errors="surrogateescape")
        if again == decoded:
            break
        decoded = again
    else:
        return None
    if decoded == written and ";" not in written:
        return parts
    plain = _followed([part.split(";")[0] for part in decoded.replace("\\", "/").split("/")])
    if plain != tuple(unquote(part).split(";")[0] for part in parts):
        return None
    return tuple(unquote(part) for part in parts)


def _followed(parts: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for part in parts:
        if part == "..":
            if kept:
                kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return tuple(kept)


def begins(link: Link, prefix: Link) -> bool:
    """Whether a link leads to where a declared beginning of addresses leads, or below it."""
    if (link.scheme, link.host, link.port) != (prefix.scheme, prefix.host, prefix.port) or not link.host:
        return False
    if prefix.rest:
        return link.path == prefix.path and link.rest.startswith(prefix.rest)
    return link.path[: len(prefix.path)] == prefix.path


Standing = Literal["known", "near", "stranger", "nowhere"]
"""Whether somebody vouches for a link; `near`: for another one on its host, `stranger`: it was seen in untrusted text
alone."""


class SeenLinks:
    """The links that one run has seen, by who wrote them."""

    __slots__ = ("_hosts", "_known", "_quarters", "_strange", "named")

    def __init__(self) -> None:
        self._known: set[tuple[str, int | None, tuple[str, ...], str]] = set()
        self._hosts: set[str] = set()
        self._strange: set[tuple[str, int | None, tuple[str, ...], str]] = set()
        self._quarters: set[tuple[str, str]] = set()
        self.named: set[str] = set()
        """The hosts that the user named as such, and not a page of theirs."""

    def heard(self, text: str) -> None:
        """The user's words. What follows a full stop without a blank may be the next sentence or part of the link."""
        self.learn(text, trusted=True)
        for written in links_in(text):
            glued = _GLUED.search(written)
            for reading in (written, written[: glued.start()]) if glued is not None else (written,):
                self.learn(reading, trusted=True)
                link = read(reading)
                if link is not None and link.host and not (link.path or link.rest) and len(self.named) < MOST_KEPT:
                    self.named.add(link.host)

    def learn(self, text: str, *, trusted: bool) -> None:
        """A text that somebody wrote: the user, the application or a tool; untrusted texts vouch for nothing."""
        for written in links_in(text):
            link = read(written)
            if link is None or not link.host or len(self._known) + len(self._strange) >= MOST_KEPT:
                continue
            if trusted:
                self._known.add(link.place)
                self._hosts.add(link.host)
            else:
                self._strange.add(link.place)
                self._quarters.add(link.quarter)

    def was_read(self, link: Link) -> bool:
        """Whether some text holds just this link."""
        return link.place in self._strange or link.place in self._known

    def standing(self, link: Link | None) -> Standing:
        """Who has written a link, or at least another one to the same place."""
        if link is None or not link.host:
            return "nowhere"
        if link.place in self._known:
            return "known"
        if link.place in self._strange or link.quarter in self._quarters:
            return "stranger"
        return "near" if link.host in self._hosts else "nowhere"
