"""Listen on the Unix socket, one that was handed over or one of our own, and serve its clients."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from barbossad.config import MAX_SOCKET_PATH_BYTES
from barbossad.errors import ConflictError
from barbossad.operations import registry
from barbossad.operations.services import Call, Services
from barbossad.rpc import members, peer
from barbossad.rpc.connection import STALL_SECONDS, Connection
from barbossad.rpc.dispatch import Dispatcher, refusal
from barbossad.rpc.members import Members
from barbossad.security.access import AccessTable

BACKLOG: Final = 4096
ACCEPTS_A_TURN: Final = 64

log = logging.getLogger(__name__)


class Server:
    """The control socket."""

    def __init__(
        self,
        services: Services,
        dispatcher: Dispatcher,
        access: AccessTable,
        *,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._access = access
        self._services = services
        self._dispatcher = dispatcher
        self._stall_seconds = stall_seconds
        self._descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._clients: Members[Connection] = Members()
        self._arriving: set[asyncio.Task[None]] = set()
        self._sockets: list[socket.socket] = []
        self._is_accepting = False

    def admit_by(self, access: AccessTable) -> None:
        """Let roles be those of another table from now on, of open connections too.

        A client that has none any more is told so and cut off; what it asked to change goes on.
        """
        self._access = access
        for client in self._clients:
            client.have_role(access.role(client.caller.uid, client.caller.groups))

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Accept clients on listening sockets."""
        loop = asyncio.get_running_loop()
        wanted = self._services.config.clients.limit
        if self._most_clients < wanted:
            log.warning(
                "%d clients may connect, not %d (clients.limit): this process may open %d files, and tasks need some"
                " (LimitNOFILE= of the unit, or ulimit -n, is the limit)",
                self._most_clients, wanted, self._descriptors, extra={"action": "clients_limited"},
            )  # fmt: skip
        for listening in sockets:
            listening.setblocking(False)
            self._sockets.append(listening)
            loop.add_reader(listening.fileno(), self._accept, listening)
        self._is_accepting = True

    @property
    def _most_clients(self) -> int:
        config = self._services.config
        return members.most(config.clients.limit, self._descriptors, config.tasks.limit)

    def stop_accepting(self) -> None:
        """Take no new clients; those who connect wait in the kernel's queue."""
        if self._is_accepting:
            self._is_accepting = False
            for listening in self._sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())

    async def close(self, limit_seconds: float) -> None:
        """Let calls under way be answered for a moment, then hang up on everybody."""
        self.stop_accepting()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_seconds):
                await asyncio.gather(*(client.answered() for client in self._clients))
        for client in self._clients:
            client.close()
        await asyncio.sleep(0)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                connection, _ = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._rest(listening, error)
                return
            self._welcome(connection)

    def _rest(self, listening: socket.socket, error: OSError) -> None:
        """Stop accepting for a moment where there are no descriptors left, rather than spin."""
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            log.warning("cannot accept clients: %s; trying again in a second", error, extra={"action": "accept_failed"})
            loop = asyncio.get_running_loop()
            loop.remove_reader(listening.fileno())
            loop.call_later(1.0, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if self._is_accepting:
            asyncio.get_running_loop().add_reader(listening.fileno(), self._accept, listening)

    def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            uid, groups = peer.identity(connection)
        except OSError:
            connection.close()  # it is gone already
            return
        caller = self._access.caller(uid, groups)
        if caller.role is None:
            _turn_away(connection, "permission_denied", registry.no_role(caller))
            return
        crowd = self._clients.no_room(caller, self._most_clients)
        if crowd:
            _turn_away(connection, "too_many_requests", crowd)
            return
        call = Call(self._services, caller)
        client = Connection(self._dispatcher, call, self._clients, stall_seconds=self._stall_seconds)
        arriving = asyncio.get_running_loop().create_task(self._attach(connection, client), name="rpc-client")
        self._arriving.add(arriving)
        arriving.add_done_callback(self._arriving.discard)

    async def _attach(self, connection: socket.socket, client: Connection) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: client, connection)
        except OSError:
            self._clients.discard(client)
            connection.close()


def _turn_away(connection: socket.socket, kind: str, why: str) -> None:
    with contextlib.suppress(OSError):
        connection.send(refusal(None, kind, why))
    connection.close()


@contextlib.asynccontextmanager
async def own_socket(path: Path, *, mode: int, group: int | None) -> AsyncIterator[socket.socket]:
    """Listen at ``path``; the socket is removed on leaving.

    A socket that nobody answers on is replaced. Anything else at that path is left as it is: ConflictError.
    """
    raw = os.fsencode(path)
    if len(raw) > MAX_SOCKET_PATH_BYTES:
        raise ConflictError(
            f"the path of the socket has {len(raw)} bytes, and at most {MAX_SOCKET_PATH_BYTES} work: {path}"
        )
    _make_way(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        before = os.umask(0o177)  # bind(2) makes it with the umask of this moment
        try:
            listening.bind(raw)
        except OSError as error:
            raise ConflictError(f"cannot listen at {path}: {error.strerror}") from error
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(mode)
        listening.listen(BACKLOG)
        ours = path.stat()
        try:
            yield listening
        finally:
            with contextlib.suppress(OSError):
                found = path.lstat()
                if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                    path.unlink()
    finally:
        listening.close()


def _make_way(path: Path) -> None:
    """Remove a stale socket at ``path``. Raise ConflictError if something else is there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConflictError(f"there is something at {path} that is not a socket; it is left as it is. Move it away")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(2.0)
        probe.connect(os.fsencode(path))
    except ConnectionRefusedError:
        path.unlink()
        log.info("replaced the stale socket %s", path, extra={"action": "socket_replaced"})
        return
    except OSError as error:
        raise ConflictError(f"the socket {path} is in use, or cannot be tried: {error}") from error
    finally:
        probe.close()
    raise ConflictError(f"another program listens at {path}; it is left as it is. Name another socket in the config")
