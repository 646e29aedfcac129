"""Lines of JSON-RPC over pipes, bounded on both sides: an MCP server in a process, and our own standard streams.

The official SDK has transports of its own for both. Theirs read a line however long it is, and print what is none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from anyio.abc import Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage

from roadworthy.core.errors import UsageError
from roadworthy.core.visible import visible

logger = logging.getLogger("roadworthy.adapters")

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]

MOST_BYTES: Final = 16 * 1024 * 1024
"""The longest message that is read, in bytes, unless told."""
MOST_GARBAGE: Final = 100
"""So many lines that are no messages are passed over; then whoever writes them is no MCP peer."""
_LEAVES_S: Final = 2.0
"""How long a server may take to end once nobody writes to it any more, and again once it was told to."""


class Broken(Exception):
    """A peer writes what no reader can or should follow."""


@dataclass(slots=True)
class Lines:
    """Makes messages of bytes as they come. Raises Broken."""

    whose: str
    most: int = MOST_BYTES
    _rest: bytearray = field(default_factory=bytearray)
    _garbage: int = 0

    def feed(self, data: bytes) -> Sequence[SessionMessage]:
        """The messages that have come to their end with these bytes."""
        self._rest += data
        if b"\n" not in data:
            self._check(len(self._rest))
            return ()
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        self._check(len(rest))
        return [message for line in lines if (message := self._message(bytes(line))) is not None]

    def _check(self, length: int) -> None:
        if length > self.most:
            raise Broken(f"{self.whose} sent a message of more than {self.most} bytes")

    def _message(self, line: bytes) -> SessionMessage | None:
        self._check(len(line))
        if not line.strip():
            return None
        try:
            return SessionMessage(JSONRPCMessage.model_validate_json(line))
        except ValueError:
            self._garbage += 1
            if self._garbage > MOST_GARBAGE:
                raise Broken(f"{self.whose} writes lines that are no JSON-RPC messages") from None
            start = visible(line[:120].decode("utf-8", "replace"))
            logger.warning("%s wrote a line that is no JSON-RPC message: %s", self.whose, start)
            return None


def _written(message: SessionMessage) -> bytes:
    return message.message.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n"


@asynccontextmanager
async def process_streams(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    ended: Callable[[str], None],
    most: int = MOST_BYTES,
) -> AsyncGenerator[tuple[Incoming, Outgoing]]:
    """Run a server, and talk to it over its standard streams. It ends when the block does, gently or not.

    `ended` is told why, where the server leaves by itself or cannot be followed. Raises UsageError where it cannot be
    started. Its standard error goes to ours.
    """
    try:
        # A group of its own: Ctrl-C at a terminal is for us, and whatever it has started ends with it.
        process = await anyio.open_process(list(words), env=env, stderr=None, start_new_session=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"the MCP server cannot be started: {error}; give its command after `--`") from error
    in_writer, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, out_reader = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        assert process.stdout is not None
        lines, why = Lines("the MCP server", most), "the MCP server has ended"
        async with in_writer:
            try:
                async for data in process.stdout:
                    for message in lines.feed(data):
                        await in_writer.send(message)
            except Broken as broken:
                why = f"{broken}, and was stopped"
                _kill(process, signal.SIGKILL)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
            finally:
                ended(why)

    async def write() -> None:
        assert process.stdin is not None
        async with out_reader:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                async for message in out_reader:
                    await process.stdin.send(_written(message))

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            group.start_soon(write)
            try:
                yield incoming, outgoing
            finally:
                with anyio.CancelScope(shield=True):
                    await _end(process)
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            for stream in (incoming, outgoing, in_writer, out_reader):
                await stream.aclose()
            _kill(process, signal.SIGKILL)
            await process.aclose()


async def _end(process: Process) -> None:
    """Close the server's input; then ask it to leave; then make it."""
    if process.stdin is not None:
        with suppress(Exception):
            await process.stdin.aclose()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with anyio.move_on_after(_LEAVES_S):
            await process.wait()
            return
        _kill(process, number)
    await process.wait()


def _kill(process: Process, number: signal.Signals) -> None:
    """Signal the server and whatever it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@asynccontextmanager
async def standard_streams(*, most: int = MOST_BYTES) -> AsyncGenerator[tuple[Incoming, Outgoing]]:
    """Talk to a client over our own standard input and output, as nothing else in this process can from here on.

    Threads wait for the client, and nobody waits for them: a read that never ends keeps no process alive.
    """
    loop = asyncio.get_running_loop()
    source, target = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # whatever prints goes to standard error from now on, and spoils no message
    in_writer, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, out_reader = anyio.create_memory_object_stream[SessionMessage](0)
    came: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(4)
    waiting: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()

    def reads() -> None:
        data = b"?"
        while data:
            room.acquire()
            try:
                data = os.read(source, 65_536)
            except OSError:
                data = b""
            with suppress(RuntimeError):  # the loop is closed: nobody reads any more
                loop.call_soon_threadsafe(came.put_nowait, data)

    def writes() -> None:
        while True:
            data, done = waiting.get()
            error: OSError | None = None
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(target, view) :]
            except OSError as broken:
                error = broken
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, done, error)

    async def read() -> None:
        lines = Lines("the client", most)
        async with in_writer:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                while data := await came.get():
                    room.release()
                    try:
                        messages = lines.feed(data)
                    except Broken as broken:
                        logger.error("%s; the session is over", broken)
                        return
                    for message in messages:
                        await in_writer.send(message)

    async def write() -> None:
        async with out_reader:
            with suppress(OSError, anyio.ClosedResourceError):
                async for message in out_reader:
                    done: asyncio.Future[Any] = loop.create_future()
                    waiting.put((_written(message), done))
                    await done

    threading.Thread(target=reads, name="roadworthy-mcp-in", daemon=True).start()
    threading.Thread(target=writes, name="roadworthy-mcp-out", daemon=True).start()
    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(write)
        try:
            yield incoming, outgoing
        finally:
            group.cancel_scope.cancel()
            for stream in (incoming, outgoing, in_writer, out_reader):
                await stream.aclose()


def _settle(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
