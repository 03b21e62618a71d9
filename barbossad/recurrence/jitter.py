"""A delay of its own for each schedule of each host, the same every time: those of one time do not all come at once."""

from __future__ import annotations

import hashlib


def offset_ms(schedule: str, jitter_seconds: float, host: str = "") -> int:
    """Return how long after its nominal times a schedule is due: from 0 up to the jitter, without that itself.

    ``host`` is the name of the host: many may have the same schedule.
    """
    jitter_ms = round(jitter_seconds * 1000)
    if jitter_ms <= 0:
        return 0
    return int.from_bytes(hashlib.sha256(f"{host} {schedule}".encode()).digest()[:8], "big") % jitter_ms
