"""Keep a reaper at work: start it, give it what it is to do, and when it dies end what it had before another starts."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from barbossad.clock import Clock
from barbossad.errors import UnavailableError
from barbossad.process import procfs
from barbossad.process.local import leftovers, supervisor
from barbossad.process.local.protocol import Report
from barbossad.process.local.supervisor import Supervisor

logger = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 1.0
_QUICK_DEATH_SECONDS: Final = 2.0
_QUICK_DEATHS: Final = 3

_INSTALL: Final = "it is built at installation, so install Barbossa again (make run, make install, pip install)"
_SHORT: Final = "others have used up what there may be of processes, open files or memory"


@dataclass(frozen=True, slots=True)
class Lost:
    """How the processes of attempts are known whose reaper died (``leftovers.Traces``).

    ``told`` hears why they ended when they are gone.
    """

    markers: Collection[str]
    firsts: Mapping[int, int]
    told: Callable[[str], None]


class News(Protocol):
    """Who hears what a reaper tells, and of its death."""

    def take_report(self, report: Report) -> None:
        """Hear of an attempt."""

    def lose(self) -> Lost:
        """Say what the reaper had that died."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a reaper is to do; a launch hands descriptors over, and hears why it failed if there is no reaper."""

    tell: Callable[[Supervisor], None]
    fds: tuple[int, ...] = ()
    failed: Callable[[str], None] = lambda _reason: None


class Reaping:
    """A reaper, and the next one where that died."""

    def __init__(self, clock: Clock, news: News, *, nofile_soft: int, tag: int) -> None:
        self._clock = clock
        self._news = news
        self._nofile_soft = nofile_soft
        self._tag = tag
        self._supervisor: Supervisor | None = None
        self._commands: deque[Command] = deque()
        self._cleaning: asyncio.Task[None] | None = None
        self._started_at = 0.0
        self._quick_deaths = 0
        self._has_worked = False

    @property
    def pid(self) -> int | None:
        """Return the process id of the reaper that runs now."""
        return self._supervisor.pid if self._supervisor else None

    async def start(self) -> None:
        """Start the first one. Raise UnavailableError if it cannot be started, or does not work."""
        trouble = await self._start().trouble()
        if trouble is not None:
            raise UnavailableError(f"{supervisor.PROGRAM} does not work here: {trouble}; {_INSTALL}")
        self._has_worked = True

    def command(self, command: Command) -> None:
        """Carry out a command now, or when there is a reaper again."""
        self._commands.append(command)
        if self._supervisor is None and self._cleaning is None:
            self._restart()
        self._carry_out()

    async def end_traces(self, markers: Collection[str], firsts: Mapping[int, int]) -> None:
        """Return when nothing is left of the processes that are known so; raise UnavailableError if some stay."""
        spared = {self._supervisor.pid} if self._supervisor else set()
        traces = leftovers.Traces(tag=self._tag, markers=markers, firsts=firsts, spared=spared)
        try:
            await asyncio.get_running_loop().run_in_executor(None, leftovers.end, traces)
        except RuntimeError:  # no thread can be made: it is they, perhaps, who have all that there may be
            leftovers.end(traces)

    async def cleaned(self) -> None:
        """Return when nothing is being ended that a dead reaper had."""
        if self._cleaning is not None:
            await self._cleaning

    async def close(self) -> None:
        """Let the reaper kill all that is left, and end."""
        if self._supervisor is not None:
            closing, self._supervisor = self._supervisor, None
            await closing.close()

    def _carry_out(self) -> None:
        while self._supervisor is not None and self._commands:
            self._commands.popleft().tell(self._supervisor)

    def _start(self) -> Supervisor:
        self._started_at = self._clock.monotonic()
        try:
            self._supervisor = Supervisor(
                nofile_soft=self._nofile_soft, tag=self._tag, on_report=self._news.take_report, on_lost=self._lose
            )
        except OSError as error:
            hint = _SHORT if error.errno in procfs.SHORTAGES | {errno.EAGAIN} else _INSTALL
            raise UnavailableError(f"{supervisor.PROGRAM} cannot be started: {error.strerror}; {hint}") from error
        return self._supervisor

    def _restart(self) -> None:
        """Start a reaper in place of one that died; where that cannot be, what waits for it cannot start either."""
        try:
            self._start()
        except UnavailableError as error:
            logger.error("%s", error, extra={"action": "supervisor_failed"})  # noqa: TRY400 (it is a sentence)
            waiting, self._commands = self._commands, deque()
            for command in waiting:
                supervisor.close_all(command.fds)
                asyncio.get_running_loop().call_soon(command.failed, str(error))

    def _lose(self) -> None:
        """End all that the reaper had, because it died, then start another."""
        lost, self._supervisor = self._supervisor, None
        assert lost is not None
        if not self._has_worked:
            return  # the start tells of it
        logger.error("The supervisor process of all tasks died: %s", lost.reap(), extra={"action": "supervisor_died"})
        is_quick = self._clock.monotonic() - self._started_at < _QUICK_DEATH_SECONDS
        self._quick_deaths = self._quick_deaths + 1 if is_quick else 0
        cleaning = self._clean(self._news.lose())
        self._cleaning = asyncio.get_running_loop().create_task(cleaning, name="local-launcher-clean")

    async def _clean(self, lost: Lost) -> None:
        reason = "its supervisor process died"
        try:
            await self._end_surely(lost)
        except UnavailableError as error:
            reason = f"{reason}; {error}"
            logger.error("%s", error, extra={"action": "leftovers_stay"})  # noqa: TRY400 (it is a sentence)
        self._cleaning = None
        lost.told(reason)
        if self._commands or self._quick_deaths < _QUICK_DEATHS:
            self._restart()
            self._carry_out()

    async def _end_surely(self, lost: Lost) -> None:
        """End what a dead reaper had; where nothing can be looked at, nothing is known to be gone: look again."""
        while True:
            try:
                await self.end_traces(lost.markers, lost.firsts)
                return
            except OSError as error:
                logger.error(  # noqa: TRY400 (it is a sentence)
                    "Cannot look for what the supervisor process had: %s", error, extra={"action": "leftovers_unknown"}
                )
                await asyncio.sleep(_RETRY_SECONDS)
