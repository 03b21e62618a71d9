"""A launcher without processes: the test says when each of them starts, what it leaves and how it ends."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from barbossad.engine.attempt import TICKS_A_SECOND
from barbossad.errors import UnavailableError
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.process.launcher import (
    AttemptKey,
    EndCause,
    Finding,
    Launcher,
    LaunchSpec,
    LiveLog,
    Process,
    ProcessEnd,
    Verdict,
    Watcher,
)
from tests.helpers.records import NOON_MS


def key_of(attempt: AttemptRecord) -> AttemptKey:
    """Return the attempt's key."""
    return AttemptKey(attempt.run_id, attempt.task_id, attempt.number)


class ScriptedLog:
    """The output of a process that has printed nothing yet."""

    def snapshot(self) -> LogRecord:
        return LogRecord()

    async def changed(self, size_bytes: int) -> None:
        await asyncio.Event().wait()


class ScriptedProcess:
    """One attempt. It runs until the test ends it, or it is stopped; a stubborn one does not care."""

    def __init__(self, spec: LaunchSpec, watcher: Watcher, launcher: ScriptedLauncher, number: int) -> None:
        self.spec = spec
        self.pid: int | None = None
        self.pid_started_ticks: int | None = None
        self.invocation_id: str | None = None
        self.is_released = False
        self.stops: list[float] = []
        """The grace of each call of ``stop``."""

        self.is_stubborn = False
        self.has_ended = False
        self._watcher = watcher
        self._launcher = launcher
        self._number = number

    @property
    def task(self) -> str:
        """The id of its task."""
        return self.spec.key.task_id

    @property
    def log(self) -> LiveLog:
        """See ``launcher.Process``."""
        return ScriptedLog()

    def stop(self, grace_seconds: float) -> None:
        """See ``launcher.Process``."""
        self.stops.append(grace_seconds)
        if not self.is_stubborn and len(self.stops) == 1:
            asyncio.get_running_loop().call_soon(partial(self._end, EndCause.SIGNALLED, signal=15))

    def release(self) -> None:
        """See ``launcher.Process``."""
        assert self.has_ended, "released before its end"
        self.is_released = True

    def begin(self) -> None:
        """Tell that the process exists."""
        self.pid = 40_000 + self._number
        self.pid_started_ticks = int(self._launcher.monotonic() * TICKS_A_SECOND)
        self._watcher.started(self, self._launcher.now_ms() if self._launcher.now_ms else NOON_MS)

    def exit(self, code: int = 0, **more: Any) -> None:
        """End with an exit code; ``output`` and ``log`` may be said."""
        self._end(EndCause.EXITED, exit_code=code, **more)

    def fail_to_start(self, message: str) -> None:
        """Tell that it never ran."""
        self._end(EndCause.START_FAILED, message=message)

    def _end(self, cause: EndCause, **more: Any) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        self._launcher.live.discard(self)
        now_ms = self._launcher.now_ms() if self._launcher.now_ms else NOON_MS + 1
        facts: dict[str, Any] = {"cause": cause, "finished_at_ms": now_ms, "log": LogRecord()}
        self._watcher.ended(self, ProcessEnd(**{**facts, **more}))


class ScriptedLauncher(Launcher):
    """Keeps what it is asked for."""

    name = "scripted"

    def __init__(self) -> None:
        self.launched: list[ScriptedProcess] = []
        self.live: set[ScriptedProcess] = set()
        self.most_live = 0
        self.leftovers: list[AttemptRecord] = []
        self.adopted: list[ScriptedProcess] = []
        self.findings: dict[AttemptKey, Finding] = {}
        self.otherwise = Finding(Verdict.GONE, "the daemon ended while it ran")
        """What ``survey`` says of an attempt that ``findings`` does not name."""

        self.monotonic: Callable[[], float] = time.monotonic
        """The clock by which the kernel notes when a process starts."""

        self.immortal: str | None = None
        """Why leftovers cannot be ended, if they cannot."""

        self.exit_codes: Callable[[LaunchSpec], int | None] = lambda _spec: None
        """With which code a process exits by itself, soon; None: it waits for the test."""

        self.in_force: Mapping[str, Any] | Exception | None = None
        """What it enforces for each attempt, or why it cannot."""

        self.now_ms: Callable[[], int] | None = None
        """The clock by which processes start and end; None: they take a millisecond, at noon."""

        self.on_launch: Callable[[LaunchSpec], None] = lambda _spec: None
        self._new: asyncio.Queue[ScriptedProcess] = asyncio.Queue()
        self._numbers = itertools.count(1)

    async def start(self) -> None:
        """See ``launcher.Launcher``."""

    def enforce(self, spec: LaunchSpec) -> Mapping[str, Any] | None:
        """See ``launcher.Launcher``."""
        if isinstance(self.in_force, Exception):
            raise self.in_force
        return self.in_force

    def launch(self, spec: LaunchSpec, watcher: Watcher) -> Process:
        """See ``launcher.Launcher``."""
        self.on_launch(spec)
        process = ScriptedProcess(spec, watcher, self, next(self._numbers))
        self.launched.append(process)
        self.live.add(process)
        self.most_live = max(self.most_live, len(self.live))
        self._new.put_nowait(process)
        code = self.exit_codes(spec)
        if code is not None:
            asyncio.get_running_loop().call_soon(partial(process.exit, code))
        return process

    async def next(self) -> ScriptedProcess:
        """Return the next one that is launched."""
        async with asyncio.timeout(30):
            return await self._new.get()

    @property
    def keys(self) -> list[AttemptKey]:
        """Every attempt that was launched, in order."""
        return [process.spec.key for process in self.launched]

    async def survey(self, attempts: Sequence[AttemptRecord]) -> Mapping[AttemptKey, Finding]:
        """See ``launcher.Launcher``."""
        if attempts and self.immortal:
            raise UnavailableError(self.immortal)
        self.leftovers.extend(attempts)
        return {key: self.findings.get(key, self.otherwise) for key in map(key_of, attempts)}

    def adopt(self, spec: LaunchSpec, watcher: Watcher) -> Process:
        """See ``launcher.Launcher``."""
        process = ScriptedProcess(spec, watcher, self, next(self._numbers))
        self.adopted.append(process)
        self.live.add(process)
        return process

    async def close(self, *, leave: bool = False) -> None:
        """See ``launcher.Launcher``."""
