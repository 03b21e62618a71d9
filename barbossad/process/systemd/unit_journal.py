"""Ask the journal whether the program of a unit was executed, which systemd does not always get to know.

systemd hears of an exit before it hears that the program was executed, where both come at once; and what it cannot set
up ends with an exit status that a program may have as well. Who could not execute a program says so in the journal
before it exits, and systemd writes there of the exit after that: the second without the first proves the execution,
unless it may not reach the journal (``unit_reasons.hides_journal``).

Sources: systemd.exec(5), "Process Exit Codes"; sd-messages(3); systemd.journal-fields(7).
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from barbossad.process import programs

_SECONDS: Final = 5.0
_AT_ONCE: Final = 2
_SPAWN_FAILED: Final = "641257651c1b4ec9a8624d7a40a9e1e7"
_PROCESS_EXITED: Final = "98e322203f7a4ed290d09fe03c09fe15"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the journal says of the start of a program; ``error_number`` is why it failed, 0 if that is not said."""

    was_executed: bool
    error_number: int = 0


class Journal:
    """Reads it with ``journalctl``, for few units at once."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def start_of(self, unit: str, invocation_id: str) -> Start | None:
        """Return what became of the start of a unit whose process has ended; None if the journal does not say.

        A task may write what it likes there, and so deny its own start; that harms nobody else.
        """
        program = programs.tool("journalctl")
        if program is None:
            return None
        wanted = (f"UNIT={unit}", f"INVOCATION_ID={invocation_id}")
        kinds = (f"MESSAGE_ID={_SPAWN_FAILED}", f"MESSAGE_ID={_PROCESS_EXITED}")
        async with self._places:
            try:
                with suppress(OSError, subprocess.SubprocessError):  # what is there is read all the same
                    await asyncio.to_thread(_run, program, "--sync")
                found = await asyncio.to_thread(_run, program, "--quiet", "--output=json", *wanted, *kinds)
                return read(found)
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                logger.debug("the journal does not tell of the start of %s: %s", unit, error)
                return None


def _run(*words: str) -> bytes:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=True, cwd="/", env={}
    )
    return done.stdout


def read(lines: bytes) -> Start | None:
    """Return what entries of the journal, a line of JSON each, say of one start. Raise ValueError."""
    found = [json.loads(line) for line in lines.splitlines()]
    if not all(isinstance(entry, dict) for entry in found):
        raise ValueError("no entries of the journal")
    entries = {str(entry.get("MESSAGE_ID")): entry for entry in found}
    failure = entries.get(_SPAWN_FAILED)
    if failure is not None:
        number = str(failure.get("ERRNO"))
        return Start(was_executed=False, error_number=int(number) if number.isdecimal() else 0)
    return Start(was_executed=True) if _PROCESS_EXITED in entries else None
