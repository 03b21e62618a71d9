"""Delete what the settings no longer keep, a small piece after the other, and give the room back to the disk.

Files of logs go after the commit that forgot their runs. A crash in between leaves files that belong to no run: the
first pass after a start finds and removes them, but not those of runs that were lost because an older state file was
put back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from barbossad.clock import Clock
from barbossad.config import Retention
from barbossad.errors import StoreError
from barbossad.model.names import TaskId, run_id_from_number
from barbossad.process.launcher import AttemptKey
from barbossad.process.output import logspace
from barbossad.process.output.logs import LogFolder
from barbossad.retention import rules
from barbossad.store.database import Database
from barbossad.store.fire_retention import YOUNG_MS, FireHistory
from barbossad.store.retention import History

Result = TypeVar("Result")
NextRuns = Callable[[int], Awaitable[list[int]]]
"""Give the next runs that are due, behind the number of the last."""

WIPE_TRIES: Final = 20
WIPE_SECONDS: Final = 0.05
"""How often, and how long after each other, it is tried to empty the log of the state file while readers need it."""

AT_A_TIME: Final = 64
"""Runs that are looked up at once."""

EVENTS_AT_A_TIME: Final = 500
FIRES_AT_A_TIME: Final = 500
PAGES_AT_A_TIME: Final = 64

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Pruned:
    """What a pass did."""

    runs: int = 0
    events: int = 0
    fires: int = 0
    log_bytes: int = 0
    pages: int = 0


class Pruner:
    """Keeps to the settings, which may be replaced between two passes."""

    def __init__(
        self,
        clock: Clock,
        database: Database,
        logs: LogFolder,
        settings: Retention,
        *,
        lost_runs: tuple[int, int] = (0, 0),
    ) -> None:
        self.settings = settings
        self._lost_runs = lost_runs
        self._clock = clock
        self._database = database
        self._logs = logs
        self._history = History(database)
        self._fires = FireHistory(database)
        self._has_swept = False
        self._has_remains = False
        """Whether what was deleted may be in the log of the state file still."""

        self._done = Pruned()

    @property
    def is_tight(self) -> bool:
        """Whether the store refuses changes, most often for want of room: then nothing is as urgent."""
        return self._database.fault is not None

    async def prune(self) -> Pruned:
        """Make one pass. Raise StoreError if the store takes no changes, OSError if a log cannot be removed."""
        self._done = Pruned()
        settings, now_ms = self.settings, self._clock.now_ms()
        if self.is_tight:
            await self._free_the_wal()
        if not self._has_swept:
            await self._sweep()
            self._has_swept = True
        if settings.max_age is not None:
            await self._prune_age(now_ms - round(settings.max_age * 1000))
        if settings.max_runs is not None:
            await self._prune_count(settings.max_runs)
        await self._prune_fires(now_ms)
        if settings.max_log_size is not None:
            await self._prune_logs(settings.max_log_size)
        if settings.max_event_age is not None:
            await self._prune_events(now_ms - round(settings.max_event_age * 1000))
        await self._give_back()
        return self._done

    async def delete_run(self, number: int, *, by: str) -> bool:
        """Delete one run that has ended, with its logs; return whether it was there and had ended.

        Nothing of it can be read any more from the state file or its log, unless somebody reads for so long that the
        next pass has to see to that.
        """
        states = await self._history.known([number])
        if not states.get(number):
            return False
        await self._delete([number], by)
        self._has_remains = True
        for _ in range(WIPE_TRIES):
            await self._free_the_wal()
            if not self._has_remains:
                break
            await asyncio.sleep(WIPE_SECONDS)
        return True

    # -- the rules -------------------------------------------------------------------------------------------

    async def _prune_age(self, before_ms: int) -> None:
        async def due(after: int) -> list[int]:
            return await self._history.ended_before(before_ms, after=after, limit=AT_A_TIME)

        await self._delete_all(due, "max_age")

    async def _prune_count(self, kept: int) -> None:
        for workflow in await self._history.workflows():
            last = await self._history.first_too_many(workflow, kept)
            if last is not None:
                await self._delete_all(self._too_many(workflow, last), "max_runs")

    def _too_many(self, workflow: str, last: int) -> NextRuns:
        async def due(after: int) -> list[int]:
            return await self._history.ended_up_to(workflow, last, after=after, limit=AT_A_TIME)

        return due

    async def _prune_logs(self, most_bytes: int) -> None:
        """Delete the oldest of the runs that have files of logs until the others fit; files of lost runs go first."""
        root = self._logs.root
        days = await asyncio.to_thread(logspace.days, root)
        excess = await self._prune_lost_logs(days, sum(size for _, size in days) - most_bytes)
        for day, _ in days:
            if excess <= 0:
                break
            sizes = await asyncio.to_thread(logspace.runs_of, root, day)
            for runs in _batches(sorted(sizes)):
                has_ended = await self._history.known(runs)
                unneeded = await self._unneeded([run for run in runs if has_ended.get(run)])
                chosen, excess = rules.enough([(run, sizes[run]) for run in unneeded], excess)
                await self._delete(chosen, "max_log_size")

    async def _prune_lost_logs(self, days: Sequence[tuple[str, int]], excess: int) -> int:
        """Remove files of runs that were lost, the oldest first; return the excess that is left then."""
        root = self._logs.root
        for day, _ in days if self._lost_runs[1] else ():
            if excess <= 0:
                break
            sizes = await asyncio.to_thread(logspace.runs_of, root, day)
            for runs in _batches([run for run in sorted(sizes) if self._may_be_lost(run)]):
                known = await self._history.known(runs)
                chosen, excess = rules.enough([(run, sizes[run]) for run in runs if run not in known], excess)
                paths = await asyncio.to_thread(logspace.files_of, root, day, chosen)
                await self._remove(paths)
                if paths:
                    log.warning(
                        "%d files of logs in %s, of runs that an older state file forgot, were removed by max_log_size",
                        len(paths), day, extra={"action": "lost_logs_pruned"},
                    )  # fmt: skip
        return excess

    async def _prune_events(self, before_ms: int) -> None:
        after: int | None = 0
        while after is not None:
            looking = self._history.delete_events(before_ms, after=after, limit=EVENTS_AT_A_TIME)
            count, after = await self._in_turn(looking)
            self._done.events += count

    async def _prune_fires(self, now_ms: int) -> None:
        """Keep fires of schedules as long, and of each schedule as many, as runs; young ones are always kept."""
        if self.settings.max_age is not None:
            before_ms = now_ms - max(round(self.settings.max_age * 1000), YOUNG_MS)
            after: int | None = 0
            while after is not None:
                after = await self._count_fires(self._fires.delete_old(before_ms, after=after, limit=FIRES_AT_A_TIME))
        if self.settings.max_runs is None:
            return
        for schedule in await self._fires.schedules():
            last = await self._fires.first_too_many(schedule, self.settings.max_runs)
            after = 0 if last is not None else None
            while last is not None and after is not None:
                after = await self._count_fires(
                    self._fires.delete_of(schedule, now_ms - YOUNG_MS, after=after, last=last, limit=FIRES_AT_A_TIME)
                )

    async def _count_fires(self, deleting: Awaitable[tuple[int, int | None]]) -> int | None:
        count, after = await self._in_turn(deleting)
        self._done.fires += count
        return after

    async def _sweep(self) -> None:
        """Remove files of runs that are not in the store; what is listed belongs to runs that were committed before."""
        root = self._logs.root
        for day, _ in await asyncio.to_thread(logspace.days, root):
            unknown: list[int] = []
            for runs in _batches(sorted(await asyncio.to_thread(logspace.runs_of, root, day))):
                known = await self._history.known(runs)
                unknown += [run for run in runs if run not in known and not self._is_lost(run)]
            if unknown:
                paths = await asyncio.to_thread(logspace.files_of, root, day, unknown)
                await self._remove(paths)
                log.warning(
                    "%d files of logs in %s belonged to no run and were removed", len(paths), day,
                    extra={"action": "logs_swept"},
                )  # fmt: skip
            await asyncio.to_thread(logspace.remove_empty_day, root, day)

    def _is_lost(self, run: int) -> bool:
        """Return whether a run was forgotten with the state file, so that its logs are worth as much as a run."""
        max_age = self.settings.max_age
        is_old = max_age is not None and run < self._clock.now_ms() - max_age * 1000
        return self._may_be_lost(run) and not is_old

    def _may_be_lost(self, run: int) -> bool:
        """Return whether a run that is not in the store was forgotten with it."""
        first, last = self._lost_runs
        return first < run <= last

    # -- deleting --------------------------------------------------------------------------------------------

    async def _delete_all(self, due: NextRuns, by: str) -> None:
        after = 0
        while runs := await due(after):
            await self._delete(await self._unneeded(runs), by)
            after = runs[-1]

    async def _unneeded(self, runs: Sequence[int]) -> list[int]:
        """Return the runs that no fire of a schedule still needs: what is tried again is what was tried before."""
        needed = await self._fires.needed_runs()
        return [run for run in runs if run not in needed]

    async def _delete(self, runs: Sequence[int], by: str) -> None:
        """Delete runs that have ended, in as many transactions as it takes."""
        left = sorted(runs)
        paths: list[str] = []
        while left and (weights := await self._history.weights(left)):
            piece = rules.first_piece(weights, self._most_bytes())
            paths += await self._paths(piece or [weights[0].run])
            if not piece:
                await self._remove(paths)  # while its attempts still name them
                paths = []
                await self._peel(weights[0].run)
                continue
            try:
                count = await self._in_turn(self._history.delete(piece, at_ms=self._clock.now_ms(), by=by))
            except StoreError:
                if not self._database.is_out_of_room:
                    raise
                await self._remove(paths)  # which needs no room, and makes some
                count = await self._in_turn(self._history.delete(piece, at_ms=self._clock.now_ms(), by=by))
            self._done.runs += count
            await self._remove(paths)
            paths = []
            left = [run for run in left if run > piece[-1]]

    async def _peel(self, run: int) -> None:
        most_bytes = self._most_bytes()
        while await self._in_turn(self._history.peel(run, rules.peel_rows(most_bytes), most_bytes)):
            pass

    async def _paths(self, runs: Sequence[int]) -> list[str]:
        """Return where the files of the attempts of these runs are, if they have any."""
        return [
            self._logs.path_of(AttemptKey(run_id_from_number(run), TaskId(task), number))
            for run, task, number in await self._history.attempts(runs)
        ]

    async def _remove(self, paths: Sequence[str]) -> None:
        try:
            self._done.log_bytes += await asyncio.to_thread(logspace.remove, self._logs.root, paths)
        except OSError:
            self._has_swept = False
            raise

    # -- giving the room back --------------------------------------------------------------------------------

    async def _give_back(self) -> None:
        """Cut free pages off the state file, and have the disk see that."""
        free = await self._history.free_pages()
        start = free
        while surplus := rules.surplus_pages(free, is_tight=self.is_tight):
            await self._in_turn(self._history.give_back(min(surplus, PAGES_AT_A_TIME)))
            before, free = free, await self._history.free_pages()
            if free >= before:  # the file was made before this could be done
                break
        self._done.pages = start - free
        self._has_remains = self._has_remains or bool(self._done.runs or self._done.events or self._done.fires)
        if self._done.pages or self._has_remains or self.is_tight:
            await self._free_the_wal()

    async def _free_the_wal(self) -> None:
        """Empty the log of the state file, for its room and what it tells; a full disk may have no room for that."""
        try:
            if await self._history.checkpoint():
                self._has_remains = False
        except StoreError as error:
            log.debug("the log of the state file stays as it is: %s", error)

    async def _in_turn(self, work: Awaitable[Result]) -> Result:
        """Do a piece of work, then leave the writer to others for as long."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        result = await work
        await asyncio.sleep(rules.pause_seconds(loop.time() - start, is_tight=self.is_tight))
        return result

    def _most_bytes(self) -> int:
        return rules.TIGHT_BYTES if self.is_tight else rules.MOST_BYTES


def _batches(runs: Sequence[int]) -> list[Sequence[int]]:
    return [runs[start : start + AT_A_TIME] for start in range(0, len(runs), AT_A_TIME)]
