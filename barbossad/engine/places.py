"""Whether a new run may come into its concurrency group, and which runs make room for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from barbossad.engine.active import ActiveRun
from barbossad.engine.runqueue import RunQueue
from barbossad.errors import ConflictError
from barbossad.model.flow import Policy
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord


def replaced(queue: RunQueue, runs: Mapping[RunId, ActiveRun], active: ActiveRun) -> list[ActiveRun]:
    """Return the runs that a new one replaces in its group. Raise ConflictError if it is to be skipped."""
    concurrency = active.progress.definition.concurrency
    if concurrency is None or concurrency.policy is Policy.QUEUE or not queue.is_full(active):
        return []
    others = queue.in_group(active)
    if len(others) < concurrency.limit:
        return []
    if concurrency.policy is Policy.REPLACE:
        found = [runs[other.run_id] for other in others if other.run_id in runs]
        found = [other for other in found if _may_go(other, active)] + queue.replacing(concurrency.group)
        return found[: max(len(found) - concurrency.limit + 1, 0)]
    names = ", ".join(other.run_id for other in others[:3])
    raise ConflictError(
        f"{len(others)} of {concurrency.limit} in group {concurrency.group} are running ({names}) and its "
        "policy is skip; nothing is started"
    )


def unreplaced(active: ActiveRun, left: Iterable[ActiveRun]) -> list[ActiveRun]:
    """Return the runs that are still to make room for one of those that an earlier daemon ``left``.

    It waits, so its group was full when it came. Of those that had begun by then, or were to replace others, as many go
    as ``replaced`` told: none, if that is recorded of them.
    """
    run, concurrency = active.progress.run, active.progress.definition.concurrency
    if concurrency is None or not _waits_to_replace(active) or is_ending(run):
        return []
    same = [other for other in left if other.progress.run.id < run.id and _may_go(other, active)
            and _group(other) == concurrency.group]  # fmt: skip
    begun = [other for other in same if 0 < _began_ms(other) <= run.created_at_ms]
    found = [*sorted(begun, key=_began_ms), *filter(_waits_to_replace, same)]
    return found[: max(len(found) - concurrency.limit + 1, 0)]


def is_ending(run: RunRecord) -> bool:
    """Say whether a run ends already, and tidies up maybe: it makes room without being asked."""
    return run.stop_cause is not None or run.outcome is not None or run.finished_at_ms is not None


def _may_go(other: ActiveRun, active: ActiveRun) -> bool:
    """Say whether a run may be cancelled for another: not if that is called by it, directly or not."""
    return not is_ending(other.progress.run) and (other.progress.run.id, None) not in active.lineage


def _group(active: ActiveRun) -> str | None:
    concurrency = active.progress.definition.concurrency
    return concurrency.group if concurrency is not None else None


def _waits_to_replace(active: ActiveRun) -> bool:
    concurrency = active.progress.definition.concurrency
    return concurrency is not None and concurrency.policy is Policy.REPLACE and not _began_ms(active)


def _began_ms(active: ActiveRun) -> int:
    return active.progress.run.started_at_ms or 0
