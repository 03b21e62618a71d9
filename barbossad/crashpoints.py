"""Places between two effects at which a test can have the daemon killed, to see what the next one makes of it.

``BARBOSSA_CRASH_AT=NAME:FILE`` in the daemon's environment kills it (SIGKILL) at the point ``NAME``, if ``FILE`` can be
removed: so it happens once for each time that somebody makes the file. Without the variable a point costs a call.
"""

from __future__ import annotations

import os
import signal
from typing import Final

POINTS: Final = (
    "starting-recorded",
    "pipes-made",
    "files-written",
    "pipes-kept",
    "unit-started",
    "running-recorded",
    "chunk-taken",
    "chunk-written",
    "stop-asked",
    "end-seen",
    "leftovers-ended",
    "output-drained",
    "end-recorded",
    "unit-released",
    "pipes-let-go",
)
"""In the order in which an attempt passes them."""

OF_REPLACING: Final = ("replacing-recorded", "replacing-fire-recorded")
"""Where a run, or the fire of a schedule, is recorded that takes the place of others, before those are told."""

_VARIABLE: Final = "BARBOSSA_CRASH_AT"
_WANTED, _, _FILE = os.environ.pop(_VARIABLE, "").partition(":")
if _WANTED and _WANTED not in POINTS + OF_REPLACING:
    raise ValueError(f"{_VARIABLE} names no point: {_WANTED!r}; there are {', '.join(POINTS + OF_REPLACING)}")


def reach(point: str) -> None:
    """Die here if a test wants it."""
    if point == _WANTED:
        try:
            os.unlink(_FILE)  # noqa: PTH108 (it is a flag; a Path would say no more)
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
