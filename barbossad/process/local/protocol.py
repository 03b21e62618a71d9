"""What the daemon and the reaper say to each other, as ``native/protocol.h`` has it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

PACKET_BYTES: Final = 65536
"""The longest packet, both ways."""

_REQUEST: Final = struct.Struct("@IIIIQd")
_REPORT: Final = struct.Struct("@QqqqqQIiiIiI")
_NO_STATUS: Final = -1


class RequestKind(IntEnum):
    """What the reaper may be asked for."""

    LAUNCH = 1
    STOP = 2


class ReportKind(IntEnum):
    """What the reaper tells."""

    STARTED = 1
    FAILED = 2
    ENDED = 3
    READY = 4


class Launch(NamedTuple):
    """The two parts of a launch: the text follows the header, or lies in a memory file."""

    header: bytes
    text: bytes


class Report(NamedTuple):
    """What the reaper told of one attempt; which fields mean something, its kind says."""

    serial: int
    started_ms: int
    finished_ms: int
    cpu_microseconds: int
    peak_kib: int
    start_ticks: int
    kind: int
    pid: int
    wait_status: int | None
    """As ``os.waitstatus_to_exitcode`` takes it, None if the process could not be waited for."""

    stage: int
    error: int
    """The errno of a failure."""

    text: str
    """The path that a failure concerns, or the pids of what could not be killed."""


def launch(serial: int, marker: str, working_dir: str, argv: Sequence[str], variables: Mapping[str, str]) -> Launch:
    """Return the request to start a process. Raise ValueError if a word of it holds a NUL, or is no text."""
    words = [marker, working_dir, *argv, *[f"{name}={value}" for name, value in variables.items()], ""]
    text = os.fsencode("\0".join(words))
    if text.count(b"\0") != len(words) - 1:
        raise ValueError("a word holds a NUL")
    return Launch(_REQUEST.pack(RequestKind.LAUNCH, len(argv), len(variables), len(text), serial, 0.0), text)


def stop(serial: int, grace_seconds: float) -> bytes:
    """Return the request to end an attempt."""
    return _REQUEST.pack(RequestKind.STOP, 0, 0, 0, serial, grace_seconds)


def reports(packet: bytes) -> Iterator[Report]:
    """Return what the reaper told in one packet."""
    place = 0
    while place < len(packet):
        *facts, text_bytes = _REPORT.unpack_from(packet, place)
        if facts[8] == _NO_STATUS:
            facts[8] = None
        place += _REPORT.size
        text = os.fsdecode(packet[place : place + text_bytes]) if text_bytes else ""
        yield Report._make((*facts, text))
        place += (text_bytes + 7) // 8 * 8
