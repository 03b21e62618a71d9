"""A blocking client of the control socket: one connection, many calls in flight, answers in any order."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from barbossactl.exits import DaemonError, Exit, LostError, StrangerError, UnreachableError
from barbossad import wire

if TYPE_CHECKING:
    from barbossactl.ahead import ReadAhead

ANSWER_TIMEOUT_SECONDS: Final = 30.0
"""How long an ordinary call may take before the daemon counts as not answering."""

PATIENCE_SECONDS: Final = 30.0
"""How long a daemon may be away (a restart, an upgrade) before a command that waits gives up."""

UNIT_FOLDERS: Final = tuple(
    map(Path, ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"))
)
"""Where units are that systemd loads (man systemd.unit) and an installation may have put there."""

LOST: Final = "the connection to the daemon is lost; waiting until it answers again"
"""What is told where a command does not give up. Whether the daemon has gone is not known then."""

_END_SECONDS: Final = 1.0
"""How long the end of a connection to which nothing can be sent may take to be read."""

_CHUNK_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for the call ``identity``: a value, or the error that it ended with."""

    identity: int
    value: Any
    error: DaemonError | None = None

    def result(self) -> Any:
        """Return the value. Raise the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value


class Client:
    """One connection to the daemon. Use it in a ``with``, or ``close`` it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next_identity = 0
        self._answers: dict[int, Answer] = {}
        self._buffer = bytearray()
        self._searched = 0
        self._socket = _connect(path)
        self._incoming: socket.socket | ReadAhead = self._socket
        self._is_read_ahead = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; calls in flight are forgotten."""
        self._incoming.close()
        self._incoming = self._socket  # which may be closed again

    def read_ahead(self) -> None:
        """From now on take answers as they come, also while the caller is busy with something else."""
        from barbossactl.ahead import ReadAhead

        self._is_read_ahead = True
        self._incoming = ReadAhead(self._socket)

    def reconnect(
        self, patience_seconds: float = PATIENCE_SECONDS, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """Connect again, waiting for the daemon to come back. Raise ``UnreachableError`` if it does not.

        ``pause`` waits that many seconds between two tries; it may raise to give up.
        """
        self.close()
        self._answers.clear()
        self._buffer.clear()
        self._searched = 0
        deadline = time.monotonic() + patience_seconds
        wait_seconds = 0.05
        while True:
            try:
                self._socket = _connect(self.path)
            except UnreachableError as error:
                if error.exit_code is not Exit.UNREACHABLE or time.monotonic() + wait_seconds > deadline:
                    raise
                pause(wait_seconds)
                wait_seconds = min(wait_seconds * 2, 1.0)
            else:
                self._incoming = self._socket
                if self._is_read_ahead:
                    self.read_ahead()
                return

    def call(self, method: str, params: dict[str, Any], *, timeout: float | None = None) -> Any:
        """Return the answer to one call. Raise ``DaemonError``, ``LostError`` or ``UnreachableError``.

        ``timeout`` is in seconds, ``ANSWER_TIMEOUT_SECONDS`` if not given.
        """
        identity = self.send(method, params)
        limit = ANSWER_TIMEOUT_SECONDS if timeout is None else timeout
        deadline = time.monotonic() + limit
        while identity not in self._answers:
            answer = self._read_answer(deadline - time.monotonic())
            if answer is None:
                raise UnreachableError(
                    f"barbossad at {self.path} did not answer {method} within {limit:g} s",
                    hint=f"see what it does: {_log_of(self.path)}",
                )
            self._answers[answer.identity] = answer
        return self._answers.pop(identity).result()

    def call_patiently(
        self, method: str, params: dict[str, Any], *, timeout: float | None = None, on_loss: Callable[[], None]
    ) -> Any:
        """Make a call that may be made twice, again after a restart of the daemon if need be."""
        while True:
            try:
                return self.call(method, params, timeout=timeout)
            except LostError:
                on_loss()
                self.reconnect()

    def send(self, method: str, params: dict[str, Any]) -> int:
        """Send a call without waiting for its answer; return its identity."""
        self._next_identity += 1
        try:
            message = wire.encode(wire.call(method, params, self._next_identity), is_exact=True)
        except ValueError as error:
            raise _unsendable(method, params) from error
        if len(message) > wire.MAX_MESSAGE_BYTES:
            raise DaemonError("invalid_params", f"{method}: more than 16 MiB cannot be sent", {})
        self._socket.settimeout(ANSWER_TIMEOUT_SECONDS)
        try:
            self._socket.sendall(message)
        except TimeoutError:
            raise UnreachableError(f"barbossad at {self.path} does not read what it is sent") from None
        except OSError as error:
            if not self._has_answer_waiting():  # cut off with a reason: the reason is the better message
                raise _lost(self.path) from error
        return self._next_identity

    def receive(self, timeout: float | None, wake: int | None = None) -> Answer | None:
        """Return the next answer to any call, or None after ``timeout`` seconds or once ``wake`` is readable.

        A ``timeout`` of None waits without limit; ``wake`` is a file descriptor.
        """
        if self._answers:
            return self._answers.pop(next(iter(self._answers)))
        return self._read_answer(timeout, wake)

    def _read_answer(self, timeout: float | None, wake: int | None = None) -> Answer | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (line := self._take_line()) is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            watched = [self._incoming.fileno()] if wake is None else [self._incoming.fileno(), wake]
            readable, _, _ = select.select(watched, [], [], left)
            if self._incoming.fileno() not in readable:
                return None
            self._fill()
        return _parse_answer(line, self.path)

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _fill(self) -> None:
        try:
            chunk = self._incoming.recv(_CHUNK_BYTES)
        except OSError as error:
            raise _lost(self.path) from error
        if not chunk:
            raise _lost(self.path)
        self._buffer += chunk
        if len(self._buffer) > wire.MAX_MESSAGE_BYTES + _CHUNK_BYTES and b"\n" not in self._buffer:
            raise _stranger(self.path)

    def _has_answer_waiting(self) -> bool:
        return b"\n" in self._buffer or bool(select.select([self._incoming.fileno()], [], [], _END_SECONDS)[0])


def _unsendable(method: str, params: dict[str, Any]) -> DaemonError:
    """Name what JSON in UTF-8 cannot hold: bytes of another encoding, which would arrive as something else, or NaN."""
    for name, value in params.items():
        try:
            wire.encode(value, is_exact=True)
        except UnicodeEncodeError:
            why = f"{method}: {name!r} is no text in UTF-8: {value!r}"[:500]
            return DaemonError("invalid_params", why, {"hint": "write it in UTF-8"})
        except ValueError:
            return DaemonError("invalid_params", f"{method}: {name!r} is no number of JSON: {value!r}"[:500], {})
    return DaemonError("invalid_params", f"{method}: what it is given is no text in UTF-8", {})


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(ANSWER_TIMEOUT_SECONDS)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise (_why_hidden(path) or _why_unreachable(path, error)) from error
    return connection


def _why_unreachable(path: Path, error: OSError) -> UnreachableError:
    start = "start it: systemctl start barbossad (or your own: barbossad --user)"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        if path == wire.SYSTEM_SOCKET_PATH and not path.parent.exists() and _is_unit_installed():
            # also while the daemon runs, which cannot know
            start = f"{path.parent} is gone, and is made again by: systemctl restart barbossad.socket barbossad"
        return UnreachableError(f"barbossad is not running: there is no socket {path}", hint=start)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return UnreachableError(
            f"permission denied on {path}",
            hint=f"join its group and log in again: sudo usermod -aG {_group_of(path)} $USER",
            exit_code=Exit.REFUSED,
        )
    if error.errno == errno.ECONNREFUSED and path.is_socket():
        return UnreachableError(f"barbossad is not running: nobody listens on {path}", hint=start)
    if error.errno in {errno.ECONNREFUSED, errno.ENOTSOCK, errno.EPROTOTYPE}:
        return UnreachableError(f"{path} is not the socket of a daemon", hint="name it: --socket PATH")
    if isinstance(error, TimeoutError):
        return UnreachableError(f"barbossad at {path} accepts no connection", hint=f"see: {_log_of(path)}")
    return UnreachableError(f"cannot connect to {path}: {error.strerror or error}", hint="name it: --socket PATH")


def _why_hidden(path: Path) -> UnreachableError | None:
    """Return why a task in a sandbox reaches no socket: systemd puts a folder that nobody may enter in its place."""
    try:
        is_hidden = stat.S_IMODE(path.parent.stat().st_mode) == 0
    except OSError:
        return None
    if not is_hidden:
        return None
    hint = "a task that asks the daemon says sandbox: none"
    return UnreachableError(f"{path} is hidden from this process by its sandbox", hint=hint)


def _is_unit_installed() -> bool:
    return any((folder / "barbossad.socket").exists() for folder in UNIT_FOLDERS)


def _group_of(path: Path) -> str:
    """Return the group that may use the socket, as far as the file system tells us."""
    import grp

    for place in (path, path.parent):
        try:
            group = grp.getgrgid(os.stat(place).st_gid).gr_name  # noqa: PTH116 (a stat that says why it failed)
        except (OSError, KeyError):
            continue
        if group != "root":
            return group
    return "barbossa"


def _lost(path: Path) -> LostError:
    return LostError(
        f"barbossad at {path} closed the connection before it answered",
        hint=f"see why: {_log_of(path)}; then try again",
    )


def _log_of(path: Path) -> str:
    """Return where the log of a daemon is; one that is not the system's logs to its standard error."""
    return "journalctl -u barbossad" if path == wire.SYSTEM_SOCKET_PATH else "its log, where it was started"


def _stranger(path: Path) -> StrangerError:
    return StrangerError(f"what listens on {path} is not barbossad", hint="name its socket: --socket PATH")


def _parse_answer(line: bytes, path: Path) -> Answer:
    try:
        message = wire.decode(line)
    except wire.WireError as error:
        raise _stranger(path) from error
    if not isinstance(message, dict):
        raise _stranger(path)
    identity = message.get("id")
    failure = _parse_error(message.get("error"))
    if isinstance(identity, int) and ("result" in message or failure):
        return Answer(identity, message.get("result"), failure)
    if failure is not None:  # an answer to no call in particular: what we sent could not be read
        raise failure
    raise _stranger(path)


def _parse_error(body: object) -> DaemonError | None:
    if not isinstance(body, dict):
        return None
    data = body.get("data")
    details = data if isinstance(data, dict) else {}
    kind = details.get("kind")
    message = body.get("message")
    return DaemonError(
        kind if isinstance(kind, str) else "error",
        message if isinstance(message, str) and message else "the daemon gave no reason",
        details,
    )
