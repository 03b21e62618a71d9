"""Make runs of fires, or record why there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from barbossad import crashpoints
from barbossad.clock import rfc3339
from barbossad.errors import ConflictError, InvalidParamsError, InvalidWorkflowError, NotFoundError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.model.schedules import TIME_KINDS, Fire, FireOutcome, FireState, Overlap, ScheduleKind
from barbossad.model.states import TriggerType
from barbossad.scheduler import expecting, outcome
from barbossad.scheduler.book import Book, Entry, Why, oldest
from barbossad.scheduler.overlap import Admission
from barbossad.scheduler.overlap import Entry as Way
from barbossad.scheduler.parts import Parts
from barbossad.store.decisions import Decided
from barbossad.store.fire_changes import FireStarted
from barbossad.workflows import params as workflow_params

log = logging.getLogger(__name__)

MOST_CHAINED: Final = 20
"""How many runs may be started by the ends of others, one after another."""

_PASSED: Final = frozenset({FireState.MISSED, FireState.SKIPPED})
_REFUSALS: Final = (NotFoundError, InvalidWorkflowError, InvalidParamsError)


class Starter:
    """Starts fires, one after another of each schedule."""

    def __init__(self, parts: Parts, book: Book) -> None:
        self._parts = parts
        self._book = book

    async def enter(self, entry: Entry, fire: Fire, admission: Admission, watermark: int | None) -> Fire:
        """Do with a new fire what was decided; return it as it then is.

        One that was recorded before, as after a clock was set back, goes on as it does and makes way for nothing.
        """
        waits = admission.entry is Way.QUEUE and entry.record.definition.kind in TIME_KINDS
        if waits or admission.dropped or admission.cancelled:
            known = await self._recorded(entry, fire, watermark)
            if known is not None:
                return known
        if admission.entry is Way.START:
            fire = await self.start(entry, fire, watermark)
            for other in admission.dropped if fire.state is FireState.STARTED else ():
                await self.drop(entry, other)
            return fire
        state = FireState.QUEUED if admission.entry is Way.QUEUE else FireState.SKIPPED
        fire = replace(fire, state=state, reason=admission.reason or None)
        known_keys = await self.record(entry, [fire], watermark)
        if state is FireState.SKIPPED and fire.key not in known_keys:
            await self._tell_unstarted(entry, fire)
        if admission.dropped or admission.cancelled:
            crashpoints.reach("replacing-fire-recorded")
            await self.make_room(entry, admission)
        return fire

    async def make_room(self, entry: Entry, admission: Admission) -> None:
        """Have others make room for a fire that is recorded; runs that end by now are left to that."""
        for other in admission.dropped:
            await self.drop(entry, other)
        for other in admission.cancelled:
            assert other.run_id is not None
            reason = f"replaced by a newer fire of schedule {entry.record.id}"
            await self._parts.runner.cancel(other.run_id, reason, unless_ending=True)

    async def record(self, entry: Entry, fires: list[Fire], watermark: int | None) -> set[str]:
        """Record fires that have no run, and what is decided with them.

        Return the keys of those that were known, which go on as they do.
        """
        decided = Decided(schedule=entry.record.id, watermark=watermark, passed=fires)
        known = {key for _, key in await self._parts.fires.decide([decided])}
        for fire in fires:
            if fire.key in known:
                continue
            entry.keep(fire)
            expecting.watch(self._book, entry, fire)
            _say(entry, fire)
        return known

    async def start(self, entry: Entry, fire: Fire, watermark: int | None = None) -> Fire:
        """Make a run of a fire, new, queued or to be tried again. A refusal is recorded, and counts as a failure."""
        record = entry.record
        kept = self._kept_from(entry, fire)
        if kept is not None:
            return await self._ended(entry, fire, FireState.SKIPPED, kept, watermark)
        chain = await self._chain(entry, fire)
        if chain > MOST_CHAINED:
            reason = f"{MOST_CHAINED} ends of runs, one after another, led to it; do triggers go round in a circle?"
            return await self._ended(entry, fire, FireState.REFUSED, reason, watermark)
        try:
            definition, params, first = await self._runnable(entry, fire)
        except ConflictError as error:  # the workflow is disabled
            return await self._ended(entry, fire, FireState.SKIPPED, str(error), watermark)
        except _REFUSALS as error:
            return await self._ended(entry, fire, FireState.REFUSED, str(error), watermark)
        started = replace(
            fire, state=FireState.STARTED, reason=None, retry_at_ms=None, tries=fire.tries + 1,
            decided_at_ms=fire.decided_at_ms if fire.tries else self._parts.clock.now_ms(),
        )  # fmt: skip
        is_new = fire.state not in {FireState.QUEUED, FireState.RETRYING}
        made: list[RunRecord] = []

        def also(run: RunRecord) -> FireStarted:
            made.append(run)
            return FireStarted(run=run, fire=replace(started, run_id=run.id), watermark=watermark, is_new=is_new)

        is_timed = record.definition.kind in TIME_KINDS
        try:
            await self._parts.runner.start_run(
                definition,
                params=params,
                trigger=TriggerType.SCHEDULE if is_timed else TriggerType.EVENT,
                requested_by=f"schedule {record.id}",
                retry_of=first,
                schedule=record.id,
                scheduled_for_ms=fire.nominal_ms,
                chain=chain,
                also=also,
            )
        except ConflictError as error:
            return await self._conflict(entry, fire, str(error), watermark)
        started = replace(started, run_id=made[0].id)
        entry.keep(started)
        expecting.watch(self._book, entry, started)
        return started

    async def refuse(self, entry: Entry, fire: Fire, reason: str, watermark: int | None) -> None:
        """Record that a new fire cannot have a run; it counts as a failure."""
        await self._ended(entry, fire, FireState.REFUSED, reason, watermark)

    async def start_next(self, entry: Entry) -> None:
        """Start the fire that has waited longest for the end of the run before it, if nothing runs any more.

        Where runs may overlap, those that wait were left by an earlier daemon, and all start.
        """
        overlaps = entry.record.definition.overlap is Overlap.ALLOW
        while overlaps or oldest(entry.active, FireState.STARTED) is None:
            fire = oldest(entry.active, FireState.QUEUED)
            if fire is None:
                return
            await self.start(entry, fire)

    def _kept_from(self, entry: Entry, fire: Fire) -> str | None:
        """Return what keeps a fire from having its run by now, None if nothing does: its time was before."""
        if fire.is_by_hand:
            return None
        if not entry.record.is_enabled:
            return "the schedule is disabled"
        has_waited = fire.state in {FireState.QUEUED, FireState.RETRYING}
        hold = self._book.hold_of(entry.record, self._parts.clock.now_ms()) if has_waited else None
        return None if hold is None else hold.words

    async def _chain(self, entry: Entry, fire: Fire) -> int:
        """Return how many ends of runs led to a fire, one after another; it is called by the last of them."""
        if entry.record.definition.kind is not ScheduleKind.WORKFLOW or fire.is_by_hand:
            return 0
        return 1 + await self._parts.runs.chain(RunId(fire.key))

    async def _runnable(self, entry: Entry, fire: Fire) -> tuple[WorkflowDefinition, Mapping[str, Any], RunId | None]:
        """Return what is run, with what, and the run that it is a retry of."""
        if fire.run_id is not None:
            before = self._parts.runs.record(fire.run_id)
            if before is not None:
                self._parts.workflows.check_enabled(before.workflow)
                definition = await self._parts.workflows.definition(before.workflow, before.version)
                return definition, before.params, before.id
        definition = await self._parts.workflows.runnable(entry.record.workflow)
        given = {**entry.record.definition.params, **(fire.params or {})}
        return definition, workflow_params.bind(definition, given), None

    async def _conflict(self, entry: Entry, fire: Fire, reason: str, watermark: int | None) -> Fire:
        """Tell a fire that was recorded before, as after a clock was set back, from a full concurrency group."""
        has_waited = fire.state in {FireState.QUEUED, FireState.RETRYING}
        known = None if has_waited else await self._parts.fires.get(entry.record.id, fire.key)
        if known is None:
            return await self._ended(entry, fire, FireState.SKIPPED, reason, watermark)
        return await self._recorded(entry, fire, watermark) or await self.start(entry, fire, watermark)

    async def _recorded(self, entry: Entry, fire: Fire, watermark: int | None) -> Fire | None:
        """Return a new fire as it was recorded before, and note that it is decided; None if it is to be made.

        So is one that was let pass by a clock that was ahead of what it shows now: its time has only come.
        """
        known = await self._parts.fires.get(entry.record.id, fire.key)
        if known is None:
            return None
        is_ahead = known.decided_at_ms > self._parts.clock.now_ms()
        if is_ahead and known.state in _PASSED and entry.record.definition.kind in TIME_KINDS:
            await self._parts.fires.set_aside(known)
            return None
        if watermark is not None:
            await self._parts.fires.decide([Decided(schedule=entry.record.id, watermark=watermark)])
        if all(other.key != known.key for other in entry.active):  # which know better when they are tried again
            entry.keep(known)
        return known

    async def _ended(self, entry: Entry, fire: Fire, state: FireState, reason: str, watermark: int | None) -> Fire:
        """Record that no run comes of a fire, whether it is new or waited."""
        if fire.state is FireState.RETRYING:
            state, reason = FireState.FAILED, f"{fire.reason}; it is not tried again: {reason}"
        ended = replace(fire, state=state, reason=reason, retry_at_ms=None)
        failures = entry.record.failures
        then = FireOutcome(state=state, reason=reason, failures=failures)
        if state is not FireState.SKIPPED:
            then = outcome.failed(entry.record.definition, reason, failures, state)
        if fire.state in {FireState.QUEUED, FireState.RETRYING}:
            if await self.settle(entry, fire, then):
                await self._tell_unstarted(entry, ended)
            return ended
        await self.record(entry, [ended], watermark)
        await self._tell_unstarted(entry, ended)
        if state is not FireState.SKIPPED:
            await self._count(entry, then)
        return ended

    async def _tell_unstarted(self, entry: Entry, fire: Fire) -> None:
        """Tell that a fire never has a run, if it had none before and that was not to be."""
        if not fire.tries:
            await self.tell(entry, fire, expecting.unstarted(entry.record.definition, fire))

    async def tell(self, entry: Entry, fire: Fire, news: Iterable[expecting.Alarming]) -> None:
        """Tell what is not as it was expected, once for each run."""
        for one in news:
            facts = {"words": one.words, "nominal_at": rfc3339(fire.nominal_ms), **one.facts}
            is_new = await self._parts.events.tell(
                one.kind, at_ms=self._parts.clock.now_ms(), run_id=fire.run_id,
                facts={"schedule": entry.record.id, **facts},
            )  # fmt: skip
            if is_new:
                log.warning("schedule %s: %s", entry.record.id, one.words,
                            extra={"action": one.kind, "schedule": entry.record.id, "run_id": fire.run_id})  # fmt: skip

    async def settle(self, entry: Entry, fire: Fire, then: FireOutcome) -> bool:
        """Record what became of a fire that was recorded before, and what that means for its schedule.

        Return False if it has ended with its schedule, of which nobody has told the scheduler yet.
        """
        is_settled = await self._parts.fires.settle(fire, then, at_ms=self._parts.clock.now_ms())
        after = replace(fire, state=then.state, reason=then.reason, retry_at_ms=then.retry_at_ms)
        entry.keep(after)
        if not is_settled:
            return False
        if then.retry_at_ms is not None:
            self._book.wake_at(then.retry_at_ms, Why.RETRY, entry.record.id, fire.key)
        self._counted(entry, then)
        _say(entry, after)
        return True

    async def _count(self, entry: Entry, then: FireOutcome) -> None:
        """Record a failure that came of no run."""
        await self._parts.schedules.count_failures(entry.record.id, then, at_ms=self._parts.clock.now_ms())
        self._counted(entry, then)

    def _counted(self, entry: Entry, then: FireOutcome) -> None:
        entry.record = replace(entry.record, failures=then.failures)
        if then.disable_reason is not None:
            entry.record = replace(entry.record, is_enabled=False, disabled_reason=then.disable_reason)
            self._book.arm(entry)
            log.error("schedule %s is disabled: %s", entry.record.id, then.disable_reason,
                      extra={"action": "schedule_disabled", "schedule": entry.record.id})  # fmt: skip

    async def drop(self, entry: Entry, fire: Fire) -> None:
        """End a fire that waits, for the sake of a newer one."""
        state = FireState.FAILED if fire.state is FireState.RETRYING else FireState.SKIPPED
        reason = f"{fire.reason or 'it had not begun'}; a newer fire takes its place"
        then = FireOutcome(state=state, reason=reason, failures=entry.record.failures)
        if await self.settle(entry, fire, then):
            await self._tell_unstarted(entry, replace(fire, state=state, reason=reason))


_SAID: Final = {
    FireState.SKIPPED: logging.INFO,
    FireState.MISSED: logging.WARNING,
    FireState.REFUSED: logging.ERROR,
    FireState.FAILED: logging.WARNING,
    FireState.RETRYING: logging.INFO,
}


def _say(entry: Entry, fire: Fire) -> None:
    level = _SAID.get(fire.state)
    if level is not None:
        many = f" ({fire.count} fires)" if fire.count > 1 else ""
        log.log(level, "schedule %s: %s%s: %s", entry.record.id, fire.state, many, fire.reason,
                extra={"action": f"fire_{fire.state}", "schedule": entry.record.id})  # fmt: skip
