"""The model's own endpoint, which answers when nothing is replayed."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

from roadworthy.adapters.model.streams import Event, event_of
from roadworthy.core.errors import UsageError

_LARGEST: Final = 64 * 1024 * 1024
"""The most bytes of an answer."""


class Unanswered(Exception):
    """The upstream cannot be reached, breaks off, or says what is no answer. Its text holds no credential."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key is for the address that was given, and for no other."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where a model is, and the name of the environment variable that holds its key."""

    url: str
    """The base URL, with its `/v1` where it has one."""
    key_env: str | None = None
    timeout_s: float = 600.0
    """Seconds that it may take until something comes."""
    _key: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str, *, key_env: str | None = None, timeout_s: float = 600.0) -> Upstream:
        """Checked. Raises UsageError for what is no URL, for a key that is not there, or one that would go in plain."""
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            known, parts = False, urlsplit("")
        if not known or parts.query or parts.fragment:
            raise UsageError(f"the upstream {url!r} is no base URL; write one such as http://127.0.0.1:8000/v1")
        if parts.username is not None or parts.password is not None:
            raise UsageError("the upstream's URL holds a credential: put it into an environment variable and name that")
        key = None
        if key_env is not None:
            key = os.environ.get(key_env, "").strip()
            if not key:
                raise UsageError(f"the environment variable {key_env} holds no key: set it, or leave --key-env out")
            if re.fullmatch(r"[\x21-\x7e]+", key) is None:
                raise UsageError(f"what {key_env} holds is no key: it has blanks or letters that no header can carry")
            if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
                raise UsageError(f"the key in {key_env} would go to {parts.hostname} unencrypted: use https")
        return cls(url=url.rstrip("/"), key_env=key_env, timeout_s=timeout_s, _key=key)

    def send(self, path: str, body: bytes | None) -> Reply:
        """Ask it; `body` None is a GET. Raises Unanswered."""
        headers = {"Accept-Encoding": "identity", "User-Agent": "roadworthy"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(f"{self.url}/{path}", data=body, headers=headers)
        near = is_loopback(urlsplit(self.url).hostname or "")
        proxies = urllib.request.ProxyHandler({}) if near else urllib.request.ProxyHandler()
        try:
            return Reply(urllib.request.build_opener(proxies, _Stay()).open(request, timeout=self.timeout_s), self)
        except urllib.error.HTTPError as error:
            return Reply(error, self)
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"the upstream cannot be reached: {self.blank(_said(error))}") from error

    def blank(self, text: str) -> str:
        """A text without the key."""
        return text.replace(self._key, "[redacted]") if self._key else text


class Reply:
    """What an upstream says; close it."""

    def __init__(self, response: Any, upstream: Upstream) -> None:
        self._response = response
        self._upstream = upstream
        self.status: int = response.status
        self.retry_after: str | None = response.headers.get("Retry-After")

    @property
    def streams(self) -> bool:
        """Whether it comes as server-sent events."""
        return str(self._response.headers.get("Content-Type", "")).partition(";")[0].strip() == "text/event-stream"

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()

    def json(self) -> dict[str, Any]:
        """The whole answer. Raises Unanswered for what is no JSON object."""
        try:
            data: bytes = self._response.read(_LARGEST + 1)
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"the upstream broke off: {self._upstream.blank(_said(error))}") from error
        if len(data) > _LARGEST:
            raise Unanswered(f"the upstream's answer has more than {_LARGEST} bytes")
        try:
            read: object = json.loads(self._upstream.blank(data.decode("utf-8")))
        except (ValueError, RecursionError) as error:
            raise Unanswered(f"the upstream answered {self.status} with what is no JSON") from error
        if not isinstance(read, dict):
            raise Unanswered(f"the upstream answered {self.status} with JSON that is no object")
        return cast("dict[str, Any]", read)

    def events(self) -> Iterator[Event]:
        """The events of an answer that streams. Raises Unanswered where it breaks off."""
        lines: list[bytes] = []
        size = 0
        try:
            while line := self._response.readline(_LARGEST + 1):
                size += len(line)
                if size > _LARGEST:
                    raise Unanswered(f"the upstream's answer has more than {_LARGEST} bytes")
                line = line.rstrip(b"\r\n")
                if line:
                    lines.append(self._upstream.blank(line.decode("utf-8", "replace")).encode())
                elif lines:
                    yield event_of(lines)
                    lines = []
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unanswered(f"the upstream broke off: {self._upstream.blank(_said(error))}") from error
        if lines:
            yield event_of(lines)


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _said(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {reason}"
