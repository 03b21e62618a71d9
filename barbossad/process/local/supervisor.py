"""The daemon's end of the reaper: start it, speak to it, notice its death."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from barbossad.process import procfs
from barbossad.process.local import protocol
from barbossad.process.local.protocol import Launch, Report

logger = logging.getLogger(__name__)

PROGRAM_NAME: Final = "barbossa-reaper"
PROGRAM: Final = Path(__file__).with_name(PROGRAM_NAME)
"""Built from ``native`` when Barbossa is installed."""

_EXIT_SECONDS: Final = 15.0
_READY_SECONDS: Final = 15.0
_DEATH_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 2.0
"""How often it is looked whether somebody has stopped the reaper: no task begins or ends then."""

_SHORTAGES: Final = procfs.SHORTAGES | {errno.ETOOMANYREFS, errno.ENOBUFS}
"""Why a message may not get through now, and may later: others hold too much."""

REPORTS_A_TURN: Final = 4


class Supervisor:
    """A running reaper. ``on_report`` gets what it tells, ``on_lost`` is called when it has died unasked.

    Raise OSError if the program cannot be started.
    """

    def __init__(
        self, *, nofile_soft: int, tag: int, on_report: Callable[[Report], None], on_lost: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[bool] = self._loop.create_future()
        self._on_report = on_report
        self._on_lost = on_lost
        self._outbox: deque[tuple[bytes, Sequence[int]]] = deque()
        self._reports: deque[Report] = deque()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        number = theirs.fileno()
        try:
            self._program = subprocess.Popen(
                (PROGRAM_NAME, str(number), str(nofile_soft), str(tag)),
                executable=PROGRAM,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={},
                cwd="/",
                pass_fds=(number,),
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            raise
        finally:
            theirs.close()
        self._loop.add_reader(self._control, self._receive)
        self._looking = self._loop.call_later(_LOOK_SECONDS, self._look)

    @property
    def pid(self) -> int:
        """Return the process id of the reaper."""
        return self._program.pid

    async def trouble(self) -> str | None:
        """Return None once it has said that it works, or what it did instead: end, or say nothing for long."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                if await self._ready:
                    return None
        except TimeoutError:
            self.reap()
            return f"it said nothing for {_READY_SECONDS:.0f} s"
        return f"it ended at once ({self.reap()})"

    def launch(self, packet: bytes, fds: Sequence[int]) -> None:
        """Send a launch with the write ends of its pipes, and its memory file, which are closed here in any case."""
        self._send(packet, fds)

    def stop(self, serial: int, grace_seconds: float) -> None:
        """Ask for the end of an attempt."""
        self._send(protocol.stop(serial, grace_seconds), [])

    async def close(self) -> None:
        """Let the reaper kill all that is left and end; return when it has."""
        self._release()
        self._program.send_signal(signal.SIGCONT)
        waiting = self._loop.run_in_executor(None, self._program.wait, _EXIT_SECONDS)
        try:
            await asyncio.shield(waiting)
        except subprocess.TimeoutExpired:
            logger.error(  # noqa: TRY400 (the traceback would say less)
                "The reaper (pid %d) still waits for processes that cannot be killed",
                self.pid,
                extra={"action": "reaper_stuck"},
            )

    def _send(self, data: bytes, fds: Sequence[int]) -> None:
        if self._outbox or not self._try_send(data, fds):
            self._outbox.append((data, fds))

    def _try_send(self, data: bytes, fds: Sequence[int]) -> bool:
        """Send one message and close its descriptors; return False when it has to be tried again."""
        try:
            if fds:
                socket.send_fds(self._control, (data,), fds, socket.MSG_NOSIGNAL)
            else:
                self._control.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            self._loop.add_writer(self._control, self._flush_writable)
            return False
        except OSError as error:
            if error.errno in _SHORTAGES:
                self._loop.call_later(_RETRY_SECONDS, self._flush)
                return False
            # it is dead, which is noticed on reading; what was to be launched is lost with the rest
        close_all(fds)
        return True

    def _flush_writable(self) -> None:
        self._loop.remove_writer(self._control)
        self._flush()

    def _flush(self) -> None:
        while self._outbox:
            if not self._try_send(*self._outbox[0]):
                return
            self._outbox.popleft()

    def _receive(self) -> None:
        try:
            data = self._read()
        except BlockingIOError:
            return
        if not self._ready.done():
            self._ready.set_result(bool(data))
        if not data:
            self._release()
            while self._reports:  # what it still told, before it is said to have told nothing
                self._on_report(self._reports.popleft())
            self._on_lost()
            return
        is_idle = not self._reports
        self._reports.extend(protocol.reports(data))
        if is_idle:
            self._tell()

    def _read(self) -> bytes:
        """Return a packet, nothing if there will be none. Raise BlockingIOError."""
        try:
            return self._control.recv(protocol.PACKET_BYTES)
        except ConnectionError:  # said once, where it died with requests unread; what it told before comes after that
            return self._control.recv(protocol.PACKET_BYTES)

    def _tell(self) -> None:
        """Pass some reports on in this turn of the loop and the rest in later ones: each has much to do."""
        for _ in range(min(len(self._reports), REPORTS_A_TURN)):
            self._on_report(self._reports.popleft())
        if self._reports:
            self._loop.call_soon(self._tell)

    def _look(self) -> None:
        """Let a reaper go on that was stopped: the kernel tells that its parent, by a signal that may be another's."""
        with contextlib.suppress(ChildProcessError):
            if stop := os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG):
                logger.warning(
                    "The supervisor process of all tasks (pid %d) was stopped by signal %d, and is told to go on",
                    *(self.pid, stop.si_status),
                    extra={"action": "supervisor_stopped"},
                )
                self._program.send_signal(signal.SIGCONT)
        self._looking = self._loop.call_later(_LOOK_SECONDS, self._look)

    def _release(self) -> None:
        self._looking.cancel()
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control)
            self._loop.remove_writer(self._control)
            self._control.close()
        for _, fds in self._outbox:
            close_all(fds)
        self._outbox.clear()

    def reap(self) -> str:
        """Make sure that a reaper which was lost is dead; return how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._program.wait(_DEATH_SECONDS)  # its socket is closed a moment before it can be waited for
        self._program.kill()
        code = self._program.wait()
        return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"


def packet_of(message: Launch) -> tuple[bytes, tuple[int, ...]]:
    """Return a launch as it is sent, and the memory file that holds its text if that is long. Raise OSError."""
    if len(message.header) + len(message.text) <= protocol.PACKET_BYTES:
        return message.header + message.text, ()
    fd = os.memfd_create("launch", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(message.text)
    except OSError:
        os.close(fd)
        raise
    return message.header, (fd,)


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)
