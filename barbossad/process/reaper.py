"""Be the parent of every task: start it, stop it, bury it, and leave nothing of it alive.

A program of its own that imports the standard library, ``procfs`` and ``spawn`` alone. The daemon starts it once
and speaks to it over an inherited socketpair, one marshalled message a packet. As a child subreaper (prctl(2)) it
inherits whatever its tasks leave behind, however they forked. When the socket closes, because the daemon ended in
whatever way, it kills everything below it and exits.

To the reaper: ``(LAUNCH, serial, marker, argv, env, working_dir)`` with the write ends of stdout and stderr,
or ``(LARGE,)`` with those and a memory file that holds the message; ``(STOP, serial, grace_seconds)``.
From it, in lists: ``(STARTED, serial, pid, start_ticks, started_ms)``, ``(FAILED, serial, stage, errno, path,
message)``, ``(ENDED, serial, pid, started_ms, finished_ms, wait_status, cpu_seconds, peak_kib, left_pids)``.

Whose is a process that has no parent but the reaper? Its tag says it, or where that cannot be set or was changed,
its environment or its session. Failing these it belongs to all attempts that were alive when it was made,
and dies with the last of them.
"""

from __future__ import annotations

import errno
import marshal
import os
import select
import signal
import socket
import sys
import time

from barbossad.process import procfs, spawn

LAUNCH, LARGE, STOP, STARTED, FAILED, ENDED = range(6)

PACKET_BYTES = 65536
"""The longest message that is sent as it is."""

ANNOUNCE_SECONDS = 0.05
"""A process that ends sooner is told of once, not twice."""

KILL_SECONDS = 10.0
"""How long a killed process may take to go before its attempt ends without it (it hangs in the kernel)."""

_RESCAN_SECONDS = 0.02
_REPORTS_A_PACKET = 100
_NEVER = float("inf")


class Attempt:
    """One attempt between its launch and its end."""

    __slots__ = (
        "announce_at",
        "boot_ticks",
        "cpu_seconds",
        "finished_ms",
        "is_alive",
        "kill_at",
        "killed_at",
        "marker",
        "peak_kib",
        "pid",
        "serial",
        "started_ms",
        "status",
    )

    def __init__(self, serial: int, marker: str, pid: int, boot_ticks: int) -> None:
        self.serial = serial
        self.marker = marker
        self.pid = pid
        self.boot_ticks = boot_ticks
        self.started_ms = time.time_ns() // 1_000_000
        self.finished_ms: int | None = None
        self.announce_at = time.monotonic() + ANNOUNCE_SECONDS
        self.is_alive = True
        self.kill_at = _NEVER
        self.killed_at = _NEVER
        self.status: int | None = None
        self.cpu_seconds = 0.0
        self.peak_kib = 0


class Reaper:
    """The loop: messages in, children in, reports out."""

    def __init__(self, control: socket.socket, tag: int) -> None:
        self._control = control
        self._tag = tag
        self._attempts: dict[int, Attempt] = {}
        self._mains: dict[int, Attempt] = {}
        self._unannounced: dict[int, Attempt] = {}
        self._stopping: set[Attempt] = set()
        self._ending: set[Attempt] = set()
        self._owners: dict[int, set[Attempt]] = {}
        self._reports: list[tuple[object, ...]] = []
        self._children = procfs.OwnChildren()
        self._ticks_a_second = os.sysconf("SC_CLK_TCK")

    def run(self, wake: int) -> None:
        """Serve until the daemon is gone; ``wake`` becomes readable when a child has ended."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            has_ended, has_children = False, True
            for fd, _ in poll.poll(self._timeout()):
                if fd == wake:
                    os.read(wake, 4096)
                    has_ended = True
                elif not self._receive():
                    return
            now = time.monotonic()
            if has_ended:
                has_children = self._reap(now)
            self._keep_times(now)
            if not has_children:  # so nothing is below them either
                for attempt in tuple(self._ending):
                    self._end(attempt, [])
            elif self._ending:
                self._sweep(now)
            if self._reports:
                self._report()

    def end_all(self) -> None:
        """Kill everything below until nothing is left."""
        while True:
            for pid in procfs.children(os.getpid()):
                procfs.kill_child(pid)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return

    # -- messages ------------------------------------------------------------------------------------------

    def _receive(self) -> bool:
        """Take one message; return False when the daemon is gone."""
        try:
            data, ancillary, flags, _ = self._control.recvmsg(PACKET_BYTES, 64, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return False
        fds = [fd for _, _, payload in ancillary for fd in memoryview(payload).cast("i")]
        try:
            if not data:
                return False
            message = marshal.loads(data)  # noqa: S302 (nobody but the daemon has the other end)
            if message[0] == LARGE:
                message = marshal.loads(os.pread(fds[2], os.fstat(fds[2]).st_size, 0))  # noqa: S302
            if message[0] == STOP:
                self._stop(message[1], message[2])
            else:
                self._launch(*message[1:], fds=fds, is_cut=bool(flags & socket.MSG_CTRUNC))
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _report(self) -> None:
        """Tell the daemon; wait while it is busy."""
        reports, self._reports = self._reports, []
        try:
            for start in range(0, len(reports), _REPORTS_A_PACKET):
                self._control.send(marshal.dumps(reports[start : start + _REPORTS_A_PACKET]), socket.MSG_NOSIGNAL)
        except ConnectionError:
            pass  # the next turn reads the end

    # -- starting ------------------------------------------------------------------------------------------

    def _launch(
        self,
        serial: int,
        marker: str,
        argv: tuple[str, ...],
        env: dict[str, str],
        working_dir: str,
        *,
        fds: list[int],
        is_cut: bool,
    ) -> None:
        boot_ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * self._ticks_a_second)
        try:
            if is_cut:
                raise spawn.SpawnError("files", errno.EMFILE, "", os.strerror(errno.EMFILE))
            pid = spawn.spawn(argv, env, working_dir, fds[0], fds[1], tag=self._tag and self._tag - serial)
        except spawn.SpawnError as error:
            self._reports.append((FAILED, serial, *error.args))
            return
        attempt = Attempt(serial, marker, pid, boot_ticks)
        self._attempts[serial] = self._mains[pid] = self._unannounced[serial] = attempt

    # -- time ----------------------------------------------------------------------------------------------

    def _timeout(self) -> float | None:
        """Return milliseconds until something is due, None for never."""
        if not (self._unannounced or self._stopping or self._ending):
            return None
        due, now = _NEVER, time.monotonic()
        for attempt in self._unannounced.values():
            due = attempt.announce_at
            break  # they are in the order of their launch
        for attempt in self._stopping | self._ending:
            due = min(due, attempt.kill_at if attempt.kill_at > now else now + _RESCAN_SECONDS)
        return None if due == _NEVER else max(0.0, due - now) * 1000 + 0.5

    def _keep_times(self, now: float) -> None:
        """Tell of processes that stay, kill those whose grace is over, give up on those that cannot be killed."""
        while self._unannounced:
            attempt = next(iter(self._unannounced.values()))
            if attempt.announce_at > now:
                break
            del self._unannounced[attempt.serial]
            found = procfs.stat(attempt.pid)
            ticks = found.start_ticks if found else 0
            self._reports.append((STARTED, attempt.serial, attempt.pid, ticks, attempt.started_ms))
        for attempt in tuple(self._stopping):
            if attempt.kill_at > now:
                continue
            if attempt.killed_at == _NEVER:
                attempt.killed_at = now
                procfs.kill_child(attempt.pid)
            elif now - attempt.killed_at > KILL_SECONDS:
                self._main_ended(attempt, now)

    # -- stopping ------------------------------------------------------------------------------------------

    def _stop(self, serial: int, grace_seconds: float) -> None:
        attempt = self._attempts.get(serial)
        if attempt is None:
            return
        is_first = attempt.kill_at == _NEVER
        attempt.kill_at = min(attempt.kill_at, time.monotonic() + grace_seconds)
        if attempt.is_alive:
            self._stopping.add(attempt)
            if is_first and grace_seconds > 0:
                self._ask(attempt)

    def _ask(self, attempt: Attempt) -> None:
        """Send SIGTERM to every process of an attempt, and SIGCONT so that stopped ones can act on it."""
        numbers = (signal.SIGTERM, signal.SIGCONT)
        outside = []
        queue = [pid for pid in self._strangers() if self._owners_of(pid) == {attempt}]
        queue.append(attempt.pid)
        for parent in queue:  # which grows meanwhile
            queue += procfs.children(parent)
            found = procfs.stat(parent)
            if found is not None and found.group != attempt.pid:
                outside.append((parent, found.start_ticks))
        for number in numbers:
            try:
                os.killpg(attempt.pid, number)
            except OSError:
                break  # nobody there who may be asked; the kill will tell
        for pid, start_ticks in outside:
            procfs.signal_checked(pid, start_ticks, numbers)

    # -- ending --------------------------------------------------------------------------------------------

    def _reap(self, now: float) -> bool:
        """Wait for every child that has ended; return whether there are others."""
        while True:
            try:
                child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if child is None:
                return True
            attempt = self._mains.get(child.si_pid)
            if attempt is None:
                self._bury(child.si_pid)
                continue
            if attempt.kill_at == _NEVER or attempt.kill_at <= now:
                procfs.kill_group(child.si_pid)  # while the dead leader keeps the number from being reused
            _, attempt.status, usage = os.wait4(child.si_pid, 0)
            attempt.cpu_seconds += usage.ru_utime + usage.ru_stime
            attempt.peak_kib = max(attempt.peak_kib, usage.ru_maxrss)
            self._main_ended(attempt, now)

    def _bury(self, pid: int) -> None:
        """Wait for a dead stranger; what it used is its attempt's (that of a PID namespace is its first process's)."""
        owners = self._owners_of(pid)
        _, _, usage = os.wait4(pid, 0)
        del self._owners[pid]
        for attempt in owners if len(owners) == 1 else ():
            attempt.cpu_seconds += usage.ru_utime + usage.ru_stime
            attempt.peak_kib = max(attempt.peak_kib, usage.ru_maxrss)

    def _main_ended(self, attempt: Attempt, now: float) -> None:
        """Go over from the first process to what is left of the others."""
        attempt.is_alive = False
        attempt.finished_ms = time.time_ns() // 1_000_000
        attempt.kill_at = now if attempt.kill_at == _NEVER else attempt.kill_at
        del self._mains[attempt.pid]
        self._unannounced.pop(attempt.serial, None)
        self._stopping.discard(attempt)
        self._ending.add(attempt)

    def _sweep(self, now: float) -> None:
        """Kill what ended attempts left behind; tell of the end of those that left nothing more."""
        killing = {attempt for attempt in self._ending if attempt.kill_at <= now}
        left: dict[Attempt, list[int]] = {}
        for pid in self._strangers():
            owners = self._owners_of(pid)
            if owners <= killing:
                procfs.kill_child(pid)
            else:
                owners -= killing
            for attempt in owners & self._ending:
                left.setdefault(attempt, []).append(pid)
        for attempt in tuple(self._ending):
            if attempt in killing and attempt.killed_at == _NEVER:
                attempt.killed_at = now
            if attempt not in left or now - attempt.killed_at > KILL_SECONDS:
                self._end(attempt, left.get(attempt, []))

    def _end(self, attempt: Attempt, left: list[int]) -> None:
        self._ending.discard(attempt)
        del self._attempts[attempt.serial]
        for owners in self._owners.values():
            owners.discard(attempt)
        self._reports.append(
            (
                ENDED,
                attempt.serial,
                attempt.pid,
                attempt.started_ms,
                attempt.finished_ms,
                attempt.status,
                attempt.cpu_seconds,
                attempt.peak_kib,
                left,
            )
        )

    def _strangers(self) -> list[int]:
        """Return the children that are no attempt's first process: orphans of the tasks."""
        return [pid for pid in self._children.find() if pid not in self._mains]

    def _owners_of(self, pid: int) -> set[Attempt]:
        """Return the attempts that a stranger may belong to; kept until it is waited for."""
        owners = self._owners.get(pid)
        if owners is None:
            owners = self._owners[pid] = self._find_owners(pid)
        return owners

    def _find_owners(self, pid: int) -> set[Attempt]:
        serial = self._tag - procfs.tag(pid) if self._tag else 0
        if 0 < serial < procfs.TAG_SERIALS:
            return {self._attempts[serial]} if serial in self._attempts else set()
        marker, found = procfs.marker(pid), procfs.stat(pid)
        if found is None:
            return set()
        for attempt in self._attempts.values():
            if attempt.marker == marker or attempt.pid == found.session:
                return {attempt}
        return {attempt for attempt in self._attempts.values() if attempt.boot_ticks <= found.start_ticks + 1}


def main() -> None:
    """Run the program: ``FD NOFILE TAG NAME``."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    procfs.become_subreaper()
    reaper = Reaper(control, spawn.take_tag(int(sys.argv[3])))
    spawn.reset_process(int(sys.argv[2]))
    wake = procfs.child_signals()
    try:
        reaper.run(wake)
    finally:
        reaper.end_all()
