"""What models answered, in a file of JSON lines that is small and says the same in the same bytes.

What carries a label of the contract, or looks like a credential, stands in it under another name.

The first line names the format. A `part` is a message or a tool's schema, written once, however many requests hold it.
Every other line is one recording: the request with its parts by name, its key, and the answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from roadworthy.adapters.model.asked import PATHS, Asked, line_of, same_asked
from roadworthy.adapters.model.difference import likeness
from roadworthy.adapters.model.labelled import Value, credentials_in
from roadworthy.adapters.model.pseudonyms import Bound, Pseudonyms, holds_names, laid_over, revealed, texts_of
from roadworthy.core.errors import UsageError, told_why

FORMAT: Final = "roadworthy-cassette"
VERSION: Final = 1
_HEAD: Final = {"format": FORMAT, "version": VERSION}
_SHARED: Final = ("messages", "input", "tools")
"""Lists whose items are written once."""
_MODE: Final = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One answer of a model."""

    asked: Asked
    trial: int
    """Which of several trials of the same conversation it belongs to."""
    nth: int
    """How often the same was asked before in that trial."""
    status: int
    """The HTTP status."""
    answer: Mapping[str, Any]
    """The answer in whole, also where it came piece by piece."""

    @property
    def place(self) -> tuple[str, int, int]:
        """What it is found by."""
        return self.asked.key, self.trial, self.nth


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A recording that answers a request."""

    recording: Recording
    bound: Bound
    """What names stand for in the conversation by now."""

    @property
    def answer(self) -> Mapping[str, Any]:
        """The answer, with values in the place of names."""
        return revealed(self.recording.answer, self.bound)


class Cassette:
    """Recordings, in memory and in a file. Safe to share between threads; one process writes it at a time."""

    def __init__(self, path: Path, recordings: Mapping[tuple[str, int, int], Recording], parts: set[str]) -> None:
        self.path = path
        self._recordings = dict(recordings)
        """Those that were made here hold values, those that were read hold names in their place."""
        self._parts = parts
        self._names = Pseudonyms()
        self._with_names: list[Recording] = []
        for one in recordings.values():
            self._names.known([one.asked.body, one.answer])
            if holds_names(one.asked.body):
                self._with_names.append(one)
        self._lock = threading.Lock()

    @classmethod
    def read(cls, path: Path) -> Cassette:
        """A cassette that is there. Raises UsageError with file and line for what is none."""
        recordings: dict[tuple[str, int, int], Recording] = {}
        parts: dict[str, Any] = {}
        for number, line in _lines(path):
            try:
                _take(line, number, parts, recordings)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
                told = f"{type(error).__name__}: {error}"
                raise UsageError(
                    f"{path}:{number}: this is no line of a cassette ({told}); record it anew, or take it out"
                ) from error
        return cls(path, recordings, set(parts))

    @classmethod
    def new(cls, path: Path) -> Cassette:
        """An empty one, written at once, for its owner's eyes alone. Raises UsageError where there is a file."""
        made = cls(path, {}, set())
        try:
            made._append([_HEAD], flags=os.O_CREAT | os.O_EXCL)
        except FileExistsError as error:
            raise UsageError(f"{path} is there already: extend it, or remove it first") from error
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        return made

    def __len__(self) -> int:
        return len(self._recordings)

    def __iter__(self) -> Iterator[Recording]:
        return iter(list(self._recordings.values()))

    def find(self, asked: Asked, trial: int, nth: int, bound: Bound) -> Found | None:
        """The recording of what is asked for the `nth` time in a trial; both count from 0.

        `bound`: what names stand for in this conversation. None for none, and where several would do.
        """
        exact = self._recordings.get((asked.key, trial, nth))
        if exact is not None:
            return Found(recording=exact, bound=bound)
        fitting: list[Found] = []
        for one in self._with_names:
            if (one.asked.path, one.trial, one.nth) == (asked.path, trial, nth):
                values = laid_over(one.asked.body, asked.body, bound)
                if values is not None:
                    fitting.append(Found(recording=one, bound=values))
        if len(fitting) != 1:
            return None
        with self._lock:
            self._names.bind(fitting[0].bound)
        return fitting[0]

    def nearest(self, asked: Asked) -> Recording | None:
        """The recording whose request is most like one; None in an empty cassette."""
        return max(self, key=lambda one: likeness(one.asked, asked), default=None)

    def add(self, recording: Recording, labelled: Iterable[Value] = ()) -> None:
        """Keep a recording, on disk before this returns; `labelled` values get names, in all that was written here.

        What looks like a credential gets one, too. Raises UsageError where the file cannot be written.
        """
        with self._lock:
            values = [*labelled]
            for text in texts_of([recording.asked.body, recording.answer]):
                values += credentials_in(text)
            told_before = self._learn(values)
            self._recordings[recording.place] = recording
            if told_before:
                self._write_anew()
            else:
                self._written(lambda: self._append(self._lines(recording)))

    def hide(self, labelled: Iterable[Value]) -> None:
        """Give names to values that are known only now. Raises UsageError where the file cannot be written."""
        with self._lock:
            if self._learn(labelled):
                self._write_anew()

    def _learn(self, values: Iterable[Value]) -> bool:
        """Whether a value that is new has been written before."""
        new = self._names.learn(values)
        if not new:
            return False
        return any(self._names.hides(new, [one.asked.body, one.answer]) for one in self._recordings.values())

    def _lines(self, recording: Recording) -> list[Mapping[str, Any]]:
        """A recording as it is written, after its parts that are not written yet."""
        asked = same_asked(recording.asked.path, self._names.hide(recording.asked.body))
        lines: list[Mapping[str, Any]] = []
        request = dict(asked.body)
        for name in _SHARED:
            if isinstance(request.get(name), list):
                request[name] = [self._part(item, lines) for item in request[name]]
        lines.append(
            {
                "key": asked.key,
                "path": asked.path,
                "trial": recording.trial,
                "nth": recording.nth,
                "request": request,
                "status": recording.status,
                "answer": self._names.hide(recording.answer),
            }
        )
        return lines

    def _write_anew(self) -> None:
        """Write all of it again, in one step, for something in it has a name now."""
        self._parts.clear()
        lines: list[Mapping[str, Any]] = [_HEAD]
        for one in self._recordings.values():
            lines += self._lines(one)
        beside = self.path.with_name(f"{self.path.name}.new")

        def write() -> None:
            beside.unlink(missing_ok=True)
            self._append(lines, flags=os.O_CREAT | os.O_EXCL, path=beside)
            beside.replace(self.path)

        self._written(write)

    def _written(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}") from error

    def _part(self, item: Any, lines: list[Mapping[str, Any]]) -> str:
        name = hashlib.sha256(line_of(item)).hexdigest()[:16]
        if name not in self._parts:
            lines.append({"part": name, "value": item})
            self._parts.add(name)
        return name

    def _append(self, lines: list[Mapping[str, Any]], *, flags: int = 0, path: Path | None = None) -> None:
        data = b"".join(line_of(line) + b"\n" for line in lines)
        file = os.open(path or self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | flags, _MODE)
        try:
            with suppress(OSError):  # a file system that knows no modes
                os.fchmod(file, _MODE)
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        text = path.read_bytes().decode("utf-8", "surrogatepass")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the cassette {path} cannot be read: {told_why(error)}") from error
    header = False
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            read: object = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{number}: this is no JSON ({error}); a cassette has one value a line") from error
        if not isinstance(read, dict):
            raise UsageError(f"{path}:{number}: a line of a cassette is a JSON object, and this is none")
        items = cast("dict[str, Any]", read)
        if not header:
            if items.get("format") != FORMAT:
                raise UsageError(f"{path}:{number}: this is no cassette, which begins with its format")
            if items.get("version") != VERSION:
                raise UsageError(
                    f"{path}:{number}: a cassette of version {items.get('version')}, and this reads {VERSION}: record "
                    "it anew"
                )
            header = True
            continue
        yield number, items
    if not header:
        raise UsageError(f"{path} is empty, and no cassette: record it anew")


def _take(
    line: Mapping[str, Any], number: int, parts: dict[str, Any], into: dict[tuple[str, int, int], Recording]
) -> None:
    if "part" in line:
        parts[line["part"]] = line["value"]
        return
    request = dict(line["request"])
    for name in _SHARED:
        if isinstance(request.get(name), list):
            request[name] = [parts[part] for part in request[name]]
    if line["path"] not in PATHS:
        raise ValueError("it asks for something else than a model")
    asked = same_asked(line["path"], request)
    if asked.key != line["key"]:
        raise ValueError("its request was changed, for its key is another")
    status, answer = line["status"], line["answer"]
    if not isinstance(status, int) or not 200 <= status < 600 or not isinstance(answer, dict):
        raise TypeError("its answer is none")
    made = Recording(
        asked=asked,
        trial=int(line["trial"]),
        nth=int(line["nth"]),
        status=status,
        answer=cast("dict[str, Any]", answer),
    )
    into[made.place] = made
