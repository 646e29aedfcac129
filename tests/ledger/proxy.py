"""A wire between a ledger and its server that can be cut at a moment of the test's choosing."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit


class Wire:
    """Passes bytes on to a server, until it is told not to. `url` is the server's address by way of it.

    `cut_before`: hang up instead of passing on what the client sends, the first time that this is true of it.
    `cut_after`: pass it on, and hang up before the server's answer comes back.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{self._listening.getsockname()[1]}").geturl()
        self.cut_before: Callable[[bytes], bool] | None = None
        self.cut_after: Callable[[bytes], bool] | None = None
        self.cuts = 0
        self.refusing = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            server = socket.create_connection(self._server)
            with self._lock:
                self._sockets += [client, server]
            silent = threading.Event()
            threading.Thread(target=self._to_server, args=(client, server, silent), daemon=True).start()
            threading.Thread(target=self._to_client, args=(client, server, silent), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.cut_before is not None and self.cut_before(data):
                    self.cut_before = None
                    self.cuts += 1
                    break
                if self.cut_after is not None and self.cut_after(data):
                    self.cut_after = None
                    self.cuts += 1
                    silent.set()
                server.sendall(data)
        _close(server)
        if not silent.is_set():
            _close(client)

    def _to_client(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if silent.is_set():  # the server has done it, and nobody hears
                    break
                client.sendall(data)
        _close(client)
        if not silent.is_set():
            _close(server)

    def hang_up(self) -> None:
        """Cut all connections that there are."""
        with self._lock:
            for one in self._sockets:
                _close(one)
            self._sockets.clear()

    def close(self) -> None:
        """Cut all, and take no more."""
        _close(self._listening)
        self.hang_up()


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
