"""What a model is asked, in the form in which two requests are the same when a model could not tell them apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

PATHS: Final = ("chat/completions", "responses")
"""What is asked of models, below `/v1/`."""

_NOT_ASKED: Final = frozenset(
    ("stream", "stream_options", "user", "metadata", "safety_identifier", "prompt_cache_key", "store", "background")
)
"""How an answer comes back and how it is filed; a model sees none of it."""
_IDS: Final = ("call_id", "tool_call_id")
_MESSAGES: Final = {"chat/completions": "messages", "responses": "input"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to a model."""

    path: str
    """One of PATHS."""
    body: Mapping[str, Any]
    """Without what the model does not see, ids of calls numbered, numbers written in one way."""
    key: str
    """SHA-256 over path and body, in hex."""

    @property
    def model(self) -> str:
        """The model's name, as the client gave it."""
        return str(self.body.get("model", ""))

    @property
    def messages(self) -> list[Any]:
        """The conversation so far."""
        said = self.body.get(_MESSAGES[self.path])
        return cast("list[Any]", said) if isinstance(said, list) else [] if said is None else [said]


def asked_of(path: str, body: Mapping[str, Any]) -> Asked:
    """A request as a client sent it. `path` is one of PATHS, `body` is what JSON has made of it."""
    ids: dict[str, str] = {}
    kept = {name: value for name, value in body.items() if name not in _NOT_ASKED and value is not None}
    for name, value in kept.items():
        kept[name] = _numbered(value, ids, inside=name == _MESSAGES[path]) if name != "tools" else _same(value)
    return same_asked(path, kept)


def same_asked(path: str, body: Mapping[str, Any]) -> Asked:
    """A request whose body has this form already."""
    return Asked(path=path, body=body, key=hashlib.sha256(line_of({"path": path, "body": body})).hexdigest())


def line_of(value: Any) -> bytes:
    """JSON with sorted keys and no blanks: equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _same(value: Any) -> Any:
    """Numbers in one way: 0.0 is 0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _same(inner) for name, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_same(inner) for inner in cast("list[Any]", value)]
    return value


def _numbered(value: Any, ids: dict[str, str], *, inside: bool) -> Any:
    """Ids of calls and of items, which are chance, in the order in which they come first."""
    if isinstance(value, list):
        return [_numbered(inner, ids, inside=inside) for inner in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return _same(value)
    items = cast("dict[str, Any]", value)
    made: dict[str, Any] = {}
    for name, inner in items.items():
        if inner is None and inside:
            continue  # some clients write a field that says nothing, others leave it out
        is_id = name in _IDS or (name == "id" and inside and ("type" in items or "role" in items))
        if is_id and isinstance(inner, str):
            made[name] = ids.setdefault(inner, f"id-{len(ids) + 1}")
        else:
            made[name] = _numbered(inner, ids, inside=inside)
    return made
