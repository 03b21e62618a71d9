"""Faults of Barbossa itself, kept to the task or the run at which they come to light."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from barbossad.errors import BarbossaError
from barbossad.model.names import RunId

log = logging.getLogger(__name__)


class UnforeseenError(BarbossaError):
    """Something went wrong that nobody thought of; the daemon's log has all of it."""

    kind = "internal_error"


@contextlib.contextmanager
def contained(run_id: RunId, task_id: str = "") -> Iterator[None]:
    """Have whatever is raised within raised as a BarbossaError: it must cost this task or run and nothing else.

    Only around what works something out and changes nothing: what has had effects must not count as not done.
    """
    try:
        yield
    except BarbossaError:
        raise
    except Exception as error:
        log.exception("a fault of Barbossa itself in run %s%s", run_id, f", task {task_id}" if task_id else "",
                      extra={"action": "fault_contained", "run_id": run_id, "task": task_id})  # fmt: skip
        raise UnforeseenError(f"a fault of Barbossa itself: {error!r}; the daemon's log says more") from error
