"""Whether a new run may come into its concurrency group, and which runs make room for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from barbossad.engine.active import ActiveRun
from barbossad.engine.runqueue import RunQueue
from barbossad.errors import ConflictError
from barbossad.model.flow import Policy
from barbossad.model.names import RunId


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
        found = [other for other in found if other.progress.run.stop_cause is None
                 and (other.progress.run.id, None) not in active.lineage]  # fmt: skip
        found += queue.replacing(concurrency.group)
        return found[: max(len(found) - concurrency.limit + 1, 0)]
    names = ", ".join(other.run_id for other in others[:3])
    raise ConflictError(
        f"{len(others)} of {concurrency.limit} in group {concurrency.group} are running ({names}) and its "
        "policy is skip; nothing is started"
    )
