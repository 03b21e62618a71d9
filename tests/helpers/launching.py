"""Run real processes through a launcher and look at what became of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from barbossad.clock import SystemClock
from barbossad.model.isolation import UNCONFINED, Isolation
from barbossad.model.names import RunId, TaskId, run_id_from_number
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.model.states import AttemptState
from barbossad.process import procfs
from barbossad.process.launcher import SCRIPT, AttemptKey, Launcher, LaunchSpec, Mask, Process, ProcessEnd
from barbossad.process.local.launcher import LocalLauncher
from barbossad.process.output import logs
from barbossad.process.output.logs import LogFolder
from barbossad.process.systemd.launcher import SystemdLauncher
from barbossad.systemd import Manager
from tests.helpers.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
SECRETS_DIR = Path("/var/lib/barbossa-test-secrets")
"""Covered by profiles: not in a temporary folder, which they cover anyway."""

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


class Watched:
    """A watcher that keeps what it is told, and the process that it watches."""

    def __init__(self) -> None:
        self.process: Process
        self.started_at_ms: int | None = None
        self.ends: list[ProcessEnd] = []
        self._started = asyncio.Event()
        self._ended = asyncio.Event()

    def started(self, process: Process, started_at_ms: int) -> None:
        assert process is self.process
        assert not self.ends, "told of a start after the end"
        self.started_at_ms = started_at_ms
        self._started.set()

    def ended(self, process: Process, end: ProcessEnd) -> None:
        assert process is self.process
        self.ends.append(end)
        process.release()
        self._ended.set()

    async def start(self) -> Process:
        """Wait for the news of its start."""
        async with asyncio.timeout(30):
            await self._started.wait()
        return self.process

    async def end(self, seconds: float = 30) -> ProcessEnd:
        """Wait for the news of its end."""
        async with asyncio.timeout(seconds):
            await self._ended.wait()
        assert len(self.ends) == 1, "told of more than one end"
        return self.ends[0]


class Bench:
    """A started launcher with the folders that it works in."""

    def __init__(
        self, launcher: Launcher, folder: LogFolder, runtime_dir: Path, manager: Manager | None = None
    ) -> None:
        self.launcher = launcher
        self._manager = manager
        self.folder = folder
        self.runtime_dir = runtime_dir
        self._run_id: RunId = run_id_from_number(time.time_ns() // 1_000_000)
        self._numbers = itertools.count(1)

    async def close(self) -> None:
        """End what runs and release everything."""
        await self.launcher.close()
        if self._manager is not None:
            self._manager.close()

    def spec(
        self,
        script: str | None = None,
        *,
        argv: tuple[str, ...] | None = None,
        env: Mapping[str, str] = ENV,
        working_dir: str = "/",
        isolation: Isolation = UNCONFINED,
        detach: bool = False,
        make_mask: Callable[[], Mask] | None = None,
    ) -> LaunchSpec:
        """Return how to run a shell script, or a list of arguments."""
        return LaunchSpec(
            key=AttemptKey(self._run_id, TaskId("task"), next(self._numbers)),
            argv=argv or ("/bin/sh", SCRIPT),
            script=None if script is None else script.encode(),
            env=env,
            working_dir=working_dir,
            isolation=isolation,
            detach=detach,
            make_mask=make_mask,
        )

    def launch(self, script: str | None = None, **more: object) -> Watched:
        """Start one; its ``Watched`` tells the rest."""
        watched = Watched()
        watched.process = self.launcher.launch(self.spec(script, **more), watched)  # type: ignore[arg-type]
        return watched

    async def run(self, script: str | None = None, **more: object) -> ProcessEnd:
        """Start one and wait for its end."""
        return await self.launch(script, **more).end()

    def text(self, log: LogRecord, stream: str | None = None) -> str:
        """Return what a log holds, lines put together again."""
        parts: list[str] = []
        cursor = 0
        while True:
            page = logs.read(self.folder, log, cursor, 1000, stream)
            for entry in page.items:
                parts += (entry.text, "" if entry.is_partial else "\n")
            if page.next_cursor == cursor:
                return "".join(parts)
            cursor = page.next_cursor


def make_local(folder: Path) -> Bench:
    """Return a bench with the local launcher; start and close it yourself."""
    log_folder = LogFolder(folder / "logs")
    runtime_dir = folder / "run"
    launcher = LocalLauncher(SystemClock(), log_folder, runtime_dir, nofile_soft=1024, hidden=[SECRETS_DIR])
    return Bench(launcher, log_folder, runtime_dir)


_NOTIFY_SOCKET = os.environ.get("NOTIFY_SOCKET")


def has_systemd() -> bool:
    """Say whether this process is a service of a real systemd, whose descriptor store it may use."""
    return _NOTIFY_SOCKET is not None and os.geteuid() == 0 and Path("/run/systemd/system").is_dir()


def make_systemd(folder: Path) -> Bench:
    """Return a bench with the launcher of units; start and close it yourself."""
    os.environ["NOTIFY_SOCKET"] = _NOTIFY_SOCKET or ""
    log_folder = LogFolder(folder / "logs")
    runtime_dir = folder / "run"
    manager = Manager()
    launcher = SystemdLauncher(
        SystemClock(), log_folder, manager, runtime_dir, Path("/run/barbossa-tasks"), hidden=[SECRETS_DIR]
    )
    return Bench(launcher, log_folder, runtime_dir, manager)


class Needle:
    """A program that can be found wherever it hides: ``sleep`` with a time that nobody else sleeps."""

    def __init__(self) -> None:
        self._seconds = f"{1000 + secrets.randbelow(8000)}.{secrets.randbelow(10**12):012d}"

    @property
    def command(self) -> str:
        """Return the shell command that makes one."""
        return f"sleep {self._seconds}"

    @property
    def pids(self) -> list[int]:
        """Return those that live."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if words[:2] == [b"sleep", self._seconds.encode()]:
                    found.append(int(entry.name))
        return found


def open_files() -> set[str]:
    """Return what this process has open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{link.name} {link.readlink()}")
        except OSError:
            continue
    return found


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave this process none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, waited for or not."""
    stat = procfs.stat(pid)
    return stat is None or stat.is_dead


class Host:
    """The miniature daemon in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.program = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.launcher_host", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.reaper_pid = int(self.read()[1])

    def read(self) -> list[str]:
        assert self.program.stdout is not None
        return self.program.stdout.readline().split()

    def launch(self, command: str) -> AttemptRecord:
        assert self.program.stdin is not None
        print(command, file=self.program.stdin, flush=True)
        _, run_id, task_id, number, pid, ticks = self.read()
        return AttemptRecord(
            run_id=RunId(run_id),
            task_id=TaskId(task_id),
            number=int(number),
            state=AttemptState.RUNNING,
            launcher="local",
            boot_id=BOOT_ID,
            pid=int(pid),
            pid_started_ticks=int(ticks),
        )

    def close(self) -> None:
        self.program.kill()
        self.program.communicate()
        eventually(lambda: is_gone(self.reaper_pid), 30, "the reaper ends")
        with suppress(ChildProcessError):  # it falls to this process where a launcher made it a subreaper
            os.waitpid(self.reaper_pid, 0)
