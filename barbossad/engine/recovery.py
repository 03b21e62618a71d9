"""What a new daemon does with the runs that an earlier one left: each attempt is settled, each run goes on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from barbossad.engine import progress as progresses
from barbossad.engine import transitions
from barbossad.engine.engine import Engine, Parts
from barbossad.engine.live import tell_end
from barbossad.engine.progress import RunProgress
from barbossad.errors import BarbossaError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId, VersionId, WorkflowName
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.model.states import ATTEMPT_ENDED, RunState
from barbossad.process.launcher import AttemptKey
from barbossad.store import changes
from barbossad.store.changes import Change
from barbossad.store.runs import RunDetails

log = logging.getLogger(__name__)

FindDefinition = Callable[[WorkflowName, VersionId], Awaitable[WorkflowDefinition]]
RecoverLog = Callable[[AttemptKey], LogRecord | None]


@dataclass(frozen=True, slots=True)
class _Left:
    """A run that an earlier daemon left unended."""

    details: RunDetails
    definition: WorkflowDefinition | None

    @property
    def live(self) -> list[AttemptRecord]:
        return [tries[-1] for tries in self.details.attempts.values() if tries[-1].state not in ATTEMPT_ENDED]


async def recover(engine: Engine, parts: Parts, find: FindDefinition, recover_log: RecoverLog) -> None:
    """Settle every run that has not ended.

    First all processes that are left of them are ended, then their attempts are recorded as interrupted, and
    only then does anything new start. Raise UnavailableError if a process will not die: a second one of the
    same task must never run beside it.
    """
    engine.seed_ids(await parts.runs.newest_number())
    left = [await _look_up(parts, record.id, find) for record in await parts.runs.unended()]
    live = [attempt for run in left for attempt in run.live]
    of_this_boot = [attempt for attempt in live if attempt.boot_id == parts.boot_id]
    if of_this_boot:
        await parts.launcher.end_leftovers(of_this_boot)
    for run in left:
        interrupted = [_interrupted(attempt, parts, recover_log) for attempt in run.live]
        for attempt in interrupted:
            tell_end(attempt, run.details.run.workflow)
        if run.definition is None:
            await _give_up(parts, run.details, interrupted)
        else:
            progress = progresses.restore(run.definition, run.details)
            engine.resume(progress, {_position(progress, attempt): attempt for attempt in interrupted})
    if left:
        log.warning(
            "%d unfinished runs found; %d tasks were interrupted", len(left), len(live), extra={"action": "recovered"}
        )


async def _look_up(parts: Parts, run_id: RunId, find: FindDefinition) -> _Left:
    details = parts.runs.get(run_id)
    assert details is not None
    run = details.run
    try:
        return _Left(details, await find(run.workflow, run.version))
    except BarbossaError as error:
        log.error(  # noqa: TRY400 (the sentence says it all)
            "run %s cannot go on: version %s of %s is not understood: %s", run.id, run.version, run.workflow, error,
            extra={"action": "run_given_up", "run_id": run.id},
        )  # fmt: skip
        return _Left(details, None)


def _interrupted(attempt: AttemptRecord, parts: Parts, recover_log: RecoverLog) -> AttemptRecord:
    same_boot = attempt.boot_id == parts.boot_id
    reason = "the daemon ended while it ran" if same_boot else "the host was restarted while it ran"
    output = recover_log(AttemptKey(attempt.run_id, attempt.task_id, attempt.number))
    return transitions.attempt_interrupted(replace(attempt, log=output), reason, parts.clock.now_ms())


def _position(progress: RunProgress, attempt: AttemptRecord) -> int:
    return progress.definition.positions[attempt.task_id]


async def _give_up(parts: Parts, details: RunDetails, interrupted: list[AttemptRecord]) -> None:
    """End a run whose definition this version of Barbossa does not understand: nobody knows what would follow."""
    now_ms = parts.clock.now_ms()
    steps: list[Change] = [
        changes.AttemptEnded(
            replace(
                details.tasks[attempt.task_id],
                state=progresses.TASK_STATE_AFTER[attempt.state],
                reason=attempt.reason,
                finished_at_ms=now_ms,
            ),
            attempt,
        )
        for attempt in interrupted
    ]
    reason = "this version of Barbossa does not understand its workflow; apply the workflow again and start anew"
    ended = replace(details.run, state=RunState.INTERRUPTED, reason=reason, finished_at_ms=now_ms)
    await parts.database.record([*steps, changes.RunMoved(ended)], is_fact=True)
    for attempt in interrupted:
        if attempt.log is not None:
            parts.discard_log(attempt.log)
