"""What becomes of fires when an older state file was put back: they may have run since, so none is started.

Whatever waits or was due up to now is recorded with that reason, before the scheduler takes anything up: from then on
it goes on as ever.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from barbossad.model import boots
from barbossad.model.schedules import TIME_KINDS, Fire, FireOutcome, FireState, ScheduleKind, ScheduleRecord
from barbossad.model.states import RunState
from barbossad.recurrence import jitter
from barbossad.scheduler import happening as happenings
from barbossad.scheduler.due import passed_over
from barbossad.scheduler.firing import of_stretch
from barbossad.scheduler.following import missed
from barbossad.scheduler.happening import Happening
from barbossad.scheduler.parts import Parts
from barbossad.store.decisions import Decided
from barbossad.store.highwater import UNKNOWN

_ENDS: Final = {
    FireState.QUEUED: FireState.SKIPPED,
    FireState.RETRYING: FireState.FAILED,
    FireState.STARTED: FireState.FAILED,
}

log = logging.getLogger(__name__)


async def pass_over(parts: Parts) -> None:
    """Let every fire pass that waits, is to be tried again, or was due up to now."""
    records = await parts.schedules.all()
    failures = {record.id: record.failures for record in records}
    for fire in await parts.fires.active():
        if not _has_succeeded(parts, fire):
            then = FireOutcome(state=_ENDS[fire.state], reason=UNKNOWN, failures=failures.get(fire.schedule, 0))
            await parts.fires.settle(fire, then, at_ms=parts.clock.now_ms())
    count = 0
    for record in records:
        if record.is_enabled:
            decided = await _decided(parts, record)
            await parts.fires.decide([decided])  # one by one: a start that takes too long is not in vain
            count += sum(fire.count for fire in decided.passed)
    if count:
        log.warning("%d fires of schedules are not made up for: %s", count, UNKNOWN,
                    extra={"action": "fires_passed_over"})  # fmt: skip


def _has_succeeded(parts: Parts, fire: Fire) -> bool:
    """Say whether a fire is to be settled as any other: its run is known to have succeeded."""
    run = parts.runs.record(fire.run_id) if fire.state is FireState.STARTED and fire.run_id else None
    return run is not None and run.state is RunState.SUCCEEDED


async def _decided(parts: Parts, record: ScheduleRecord) -> Decided:
    """Return that everything which a schedule would fire for by now is let pass."""
    now_ms, kind = parts.clock.now_ms(), record.definition.kind
    if kind in TIME_KINDS:
        offset_ms = jitter.offset_ms(record.id, record.definition.jitter_seconds, parts.host_name)
        due = passed_over(record.definition, offset_ms, record.watermark, now_ms, reason=UNKNOWN)
        fires = [of_stretch(record.id, stretch, offset_ms, now_ms) for stretch in due.passed]
        return Decided(schedule=record.id, watermark=due.watermark, passed=fires)
    if kind is ScheduleKind.WORKFLOW:
        fires = [_missed(record, happening, now_ms) for happening in await missed(parts, record)]
        return Decided(schedule=record.id, watermark=await parts.events.newest(), passed=fires)
    if kind is ScheduleKind.BOOT and record.mark is not None and not boots.is_same(record.mark, parts.boot_id):
        boot = happenings.of_boot(parts.boot_id, parts.booted_at_ms(), record.definition.delay_seconds)
        return Decided(schedule=record.id, mark=parts.boot_id, passed=[_missed(record, boot, now_ms)])
    return Decided(schedule=record.id)


def _missed(record: ScheduleRecord, happening: Happening, now_ms: int) -> Fire:
    fire = happenings.fire(record.id, happening, None, now_ms)
    return replace(fire, state=FireState.MISSED, reason=UNKNOWN)
