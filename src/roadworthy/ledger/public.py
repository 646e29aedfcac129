"""What of an entry may stand in plain, and what is sealed for whoever it is about.

A field that is not listed here as public is private: texts, arguments, values, facts and reasons in words, and all
that comes from the application, a model or a tool. What is public names nobody and cannot be guessed back: fixed words,
names of the contract, people who decide, ids of ours, counts. A digest or a signature over private values is private
like the values, for whoever guesses them could tell by it that the guess is right. Entries about the whole ledger
(contracts, levels, stops) are about no subject, and public whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, cast

from roadworthy.core.canonical import dumps, loads

Fields: TypeAlias = Mapping[str, Any]
"""Private fields of one entry. A key that begins with a slash is a JSON Pointer (RFC 6901) into the body."""

WHOLE: Final = frozenset(
    ("contract", "level", "stop", "signature", "manifest", "release", "export", "prune", "key", "erasure")
)
"""Kinds that are public whole."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PUBLIC: Final[Mapping[str, frozenset[str]]] = {
    "run": _words(
        "agent version contract principal capabilities levels enforce suspendable reopened status opened by scope "
        "driven_by"
    ),
    "said": _words("done sink status reasons"),
    "action": _words("id tool unknown inexact principal capability by for trace"),
    "verdict": _words("ruling level reasons origins enforce"),
    "intent": _words("approved"),
    "outcome": _words("status done settled_by decided interrupted attempts"),
    "question": _words("question action role tool rules approvals nonce not expires meanwhile origins"),
    "answer": _words("ledger run question nonce expires role ruling by"),
    "handover": _words("to id how returned"),
    "model_call": _words("tokens input output cost"),
    "observation": _words("trust tool principal epoch calls"),
    "drift": _words("tool principal change breaking confirmed"),
    "undo": _words("ledger run contract actions by nonce action tool came code with"),
    "signal": _words("name happened"),
    "gap": _words("unrecorded_reads why"),
}
"""The public fields of all other kinds. A kind that does not stand here has none."""

_NONE: Final = _words("")
_REASON: Final = _words("rule code text ruling enforced")


def split(kind: str, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], Fields | None]:
    """A body in two: what stands in plain, and what is sealed; None where nothing is.

    `merge` makes the body of both again. Of `reasons`, the texts alone are private, and stand there as a list.
    """
    if kind in WHOLE:
        return body, None
    listed = PUBLIC.get(kind, _NONE)
    public: dict[str, Any] = {}
    private: dict[str, Any] = {}
    for key, value in body.items():
        if key in listed:
            public[key] = value
        elif type(key) is not str:
            return split(kind, cast("dict[str, Any]", loads(dumps(body))))  # as it will be read
        elif key[:1] != "/":
            private[key] = value
        else:
            private["/" + key.replace("~", "~0").replace("/", "~1")] = value
    if "reasons" in public:
        _part_reasons(public, private)
    if "unknown" in public and "tool" in public:
        # The contract has no such tool, so that the name is the model's word and may be anything.
        private["tool"] = public.pop("tool")
    return public, private or None


def _part_reasons(public: dict[str, Any], private: dict[str, Any]) -> None:
    reasons: Any = public["reasons"]
    plain: list[dict[str, Any]] = []
    texts: list[Any] = []
    for reason in cast("list[Any]", reasons) if isinstance(reasons, list) else (None,):
        if type(reason) is not dict or reason.keys() != _REASON:
            private["reasons"] = public.pop("reasons")
            return
        known = cast("dict[str, Any]", reason)
        plain.append(
            {
                "code": known["code"],
                "enforced": known["enforced"],
                "rule": known["rule"],
                "ruling": known["ruling"],
            }
        )
        texts.append(known["text"])
    if texts:
        public["reasons"], private["reasons"] = plain, texts


def merge(public: Mapping[str, Any], parts: Iterable[Fields]) -> dict[str, Any]:
    """The body of which `split` and `apart` have made these parts. Parts that cannot be read are left out."""
    body = dict(public)
    pointed: list[tuple[str, Any]] = []
    for part in parts:
        for key, value in part.items():
            if key[:1] == "/":
                pointed.append((key, value))
            elif key == "reasons" and key in body:
                body[key] = [
                    {**reason, "text": text} for reason, text in zip(cast("list[Any]", body[key]), value, strict=True)
                ]
            else:
                body[key] = value
    if pointed:
        # What holds others comes before what it holds, and the null that keeps a place before what belongs there.
        pointed.sort(key=lambda one: (one[0].count("/"), one[1] is not None))
        for pointer, value in pointed:
            _put(body, _path(pointer), value)
    return body


def apart(body: Mapping[str, Any], owners: Mapping[str, str]) -> tuple[Mapping[str, Any], dict[str, dict[str, Any]]]:
    """A body without what belongs to others, where null stands then; and by owner, what that was, by JSON Pointer.

    A pointer that leads nowhere is passed over: what it was to mean stays with the rest, which is sealed, too.
    """
    taken: dict[str, dict[str, Any]] = {}
    rest: Any = body
    for pointer in sorted(owners, key=lambda one: -one.count("/")):
        path = _path(pointer)
        if path:
            found, rest = _without(rest, path)
            if found is not _NOWHERE:
                taken.setdefault(owners[pointer], {})[pointer] = found
    return rest, taken


_NOWHERE: Final = object()


def _path(pointer: str) -> list[str]:
    if pointer[:1] != "/":
        return []
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _at(value: Any, part: str) -> Any:
    """The key or index that a part of a pointer means in a value; _NOWHERE for none."""
    if isinstance(value, Mapping):
        return part if part in value else _NOWHERE
    if isinstance(value, (list, tuple)) and part.isascii() and part.isdigit() and (part == "0" or part[0] != "0"):
        index = int(part)
        return index if index < len(cast("list[Any]", value)) else _NOWHERE
    return _NOWHERE


def _without(value: Any, path: list[str]) -> tuple[Any, Any]:
    """What stands at a path, and a copy of the value with null there."""
    at = _at(value, path[0])
    if at is _NOWHERE:
        return _NOWHERE, value
    if len(path) == 1:
        found, inner = value[at], None
    else:
        found, inner = _without(value[at], path[1:])
        if found is _NOWHERE:
            return _NOWHERE, value
    copy: Any = dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else list(value)
    copy[at] = inner
    return found, copy


def _put(body: dict[str, Any], path: list[str], value: Any) -> None:
    """Put back what was taken; nothing where what held it cannot be read."""
    inside: Any = body
    for n, part in enumerate(path[:-1]):
        at = _at(inside, part)
        if at is _NOWHERE:
            return
        held = inside[at]
        copy: Any = dict(cast("Mapping[str, Any]", held)) if isinstance(held, Mapping) else held
        copy = list(cast("list[Any]", held)) if isinstance(held, (list, tuple)) else copy
        if _at(copy, path[n + 1]) is _NOWHERE:
            return
        inside[at] = copy
        inside = copy
    inside[path[0] if inside is body else _at(inside, path[-1])] = value
