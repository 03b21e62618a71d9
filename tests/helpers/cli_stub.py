"""A small real server on a Unix socket with canned behaviours, for tests of the command line.

It speaks the wire protocol of the daemon; each call is answered in a thread of its own, so that answers come
out of order as the daemon's do.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from barbossad import wire

Handler = Callable[[dict[str, Any]], object]


class StubError(Exception):
    """Raised by a handler to answer with an error of this kind."""

    def __init__(self, kind: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.kind, self.details = kind, details


class HangUpError(Exception):
    """Raised by a handler to close the connection without an answer."""


class StubDaemon:
    """Listens while entered. ``handlers`` may be changed at any time; ``calls`` tells what was asked."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler] | None = None) -> None:
        self.path = path
        self.handlers: dict[str, Handler] = dict(handlers or {})
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.stopping = threading.Event()
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def __enter__(self) -> StubDaemon:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._spawn(self._accept, self._listener)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        assert self._listener is not None
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(30)  # no connection comes after this
        self.drop_connections()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a handler of the stub did not end"
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def drop_connections(self) -> None:
        """Close every connection, as a daemon that is killed does; it listens on."""
        with self._changed:
            for connection in self._connections:
                _shut(connection)

    def asked(self, method: str) -> list[dict[str, Any]]:
        """Return the params of every call of ``method`` so far."""
        with self._changed:
            return [params for name, params in self.calls if name == method]

    def wait_for_call(self, method: str, times: int = 1, seconds: float = 40.0) -> dict[str, Any]:
        """Return the params of the call of ``method``, waiting until it was made so often."""
        with self._changed:
            made = self._changed.wait_for(
                lambda: sum(name == method for name, _ in self.calls) >= times, timeout=seconds
            )
            assert made, f"{method} was not called {times} times, but: {[name for name, _ in self.calls]}"
            return [params for name, params in self.calls if name == method][times - 1]

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._changed:
                self._connections.add(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        writing = threading.Lock()
        with connection.makefile("rb") as lines:
            try:
                for line in lines:
                    self._spawn(self._answer, connection, writing, line)
            except OSError:
                pass
        with self._changed:
            self._connections.discard(connection)
        with writing:
            connection.close()

    def _answer(self, connection: socket.socket, writing: threading.Lock, line: bytes) -> None:
        request = wire.parse_request(wire.decode(line))
        assert isinstance(request.params, dict)
        with self._changed:
            self.calls.append((request.method, request.params))
            self._changed.notify_all()
        try:
            answer = wire.result(request.id, self.handlers[request.method](request.params))
        except HangUpError:
            _shut(connection)
            return
        except StubError as error:
            answer = wire.error(request.id, error.kind, str(error), error.details)
        except KeyError:
            answer = wire.error(request.id, "method_not_found", f"there is no method {request.method}")
        with writing:
            try:
                connection.sendall(wire.encode(answer))
            except OSError:
                return  # the client has left


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed already
