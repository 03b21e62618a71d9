"""The pipes of attempts, of which systemd keeps the read ends while the daemon is away."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from barbossad.process.output import inflight
from barbossad.process.output.inflight import Inflight
from barbossad.process.systemd.asking import SharedQuestion
from barbossad.systemd import Manager

log = logging.getLogger(__name__)

STREAMS: Final = ("stdout", "stderr")
_OF_SECRETS: Final = "stdout"
"""In which stream's slot the secrets are."""

_NAME: Final = re.compile(r"(?P<unit>barbossa-.+\.service)\.(?P<stream>stdout|stderr)\.(?P<slot>[0-9]{1,5})")


def tasks_wait(manager: Manager) -> bool:
    """Say whether a daemon that cannot start leaves tasks of an earlier one to the next, and then tell of it.

    The daemon's unit sees to it that there is a next one: ``ExecStopPost=`` has it started so seldom that it is never
    given up while systemd keeps pipes of tasks.
    """
    if not any(map(_NAME.fullmatch, manager.names_kept)):
        return False
    log.critical("tasks of the daemon before this one go on, and are taken over by one that starts; it is tried again",
                 extra={"action": "tasks_wait"})  # fmt: skip
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPipes:
    """The read ends of one attempt and their slots in the memory that outlives the daemon, by stream."""

    unit: str
    read_ends: Mapping[str, int]
    slots: Mapping[str, int]
    arrived: asyncio.Task[None] | None = None
    """Done when systemd is known to have them; None for those that it gave us."""

    @property
    def names(self) -> dict[str, str]:
        """Return under which names systemd keeps them, by stream."""
        return {stream: f"{self.unit}.{stream}.{slot}" for stream, slot in self.slots.items()}

    async def known(self) -> None:
        """Return when systemd is known to have them. Raise OSError if it cannot be asked."""
        if self.arrived is not None:
            await asyncio.shield(self.arrived)


class Keeper:
    """Makes pipes, has them kept, and knows those that an earlier daemon made."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._found: dict[str, int] = {}
        self._barrier = SharedQuestion(manager.barrier, "pipes-barrier")
        self.inflight: Inflight

    async def start(self) -> None:
        """Take over what an earlier daemon had kept. Raise OSError if systemd does not take descriptors."""
        self._found = dict(self._manager.kept)
        self._manager.kept.clear()
        fd = self._found.pop(inflight.NAME, None)
        self.inflight = Inflight.create() if fd is None else Inflight.reopen(fd)
        if self.inflight.fd != fd:
            self._manager.let_go([inflight.NAME])
            self._manager.keep({inflight.NAME: self.inflight.fd})
            await self._manager.barrier()

    async def close(self) -> None:
        """Close what nobody adopted; what systemd keeps stays."""
        await self._barrier.close()
        for fd in self._found.values():
            os.close(fd)
        self.inflight.close()

    def make(self, unit: str, secrets: Collection[str] = ()) -> tuple[KeptPipes, list[int]]:
        """Make the pipes of an attempt and have systemd keep their read ends; return them and the write ends.

        Its secrets are kept beside what is in flight.

        Only when they are ``known`` may their unit be started; those that are made in one turn of the loop share
        the question, which is asked in the next. Raise OSError.
        """
        ends: list[int] = []
        try:
            for _ in STREAMS:
                ends += os.pipe2(os.O_CLOEXEC)
            slots = {stream: self.inflight.take_slot() for stream in STREAMS}
            if secrets:
                self.inflight.keep_secrets(slots[_OF_SECRETS], secrets)
            read_ends = dict(zip(STREAMS, ends[::2], strict=True))
            pipes = KeptPipes(unit=unit, read_ends=read_ends, slots=slots, arrived=self._barrier.ask())
            self._manager.keep({pipes.names[stream]: fd for stream, fd in pipes.read_ends.items()})
        except OSError:
            for end in ends:
                os.close(end)
            raise
        return pipes, ends[1::2]

    def let_go(self, pipes: KeptPipes) -> None:
        """Have systemd close the pipes of an attempt, and forget them."""
        self._manager.let_go(list(pipes.names.values()))
        for slot in pipes.slots.values():
            self.inflight.free_slot(slot)

    # -- what an earlier daemon made ---------------------------------------------------------------------------

    def has_all(self, unit: str) -> bool:
        """Say whether both pipes of a unit were kept."""
        return {match["stream"] for match in self._matches(unit).values()} == set(STREAMS)

    def secrets(self, unit: str) -> frozenset[str] | None:
        """Return the secrets that a unit was given, None if none are kept."""
        slots = (match["slot"] for match in self._matches(unit).values() if match["stream"] == _OF_SECRETS)
        return self.inflight.secrets(int(next(slots)))

    def adopt(self, unit: str) -> KeptPipes:
        """Take over the pipes of a unit."""
        matches = self._matches(unit)
        slots = {match["stream"]: self.inflight.take_slot(int(match["slot"])) for match in matches.values()}
        read_ends = {match["stream"]: self._found.pop(name) for name, match in matches.items()}
        return KeptPipes(unit=unit, read_ends=read_ends, slots=slots)

    def drop_all_but(self, units: Collection[str]) -> None:
        """Close the pipes that nobody will adopt, here and at systemd, and what was in flight of them."""
        for name in tuple(self._found):
            match = _NAME.fullmatch(name)
            if match is None or match["unit"] not in units:
                os.close(self._found.pop(name))
                self._manager.let_go([name])
                if match is not None:
                    self.inflight.wipe(int(match["slot"]))
        interrupted = self.inflight.interrupted
        if interrupted is not None and not any(name.endswith(f".{interrupted.slot}") for name in self._found):
            self.inflight.forget_interrupted()

    def _matches(self, unit: str) -> dict[str, re.Match[str]]:
        matches = ((name, _NAME.fullmatch(name)) for name in self._found)
        return {name: match for name, match in matches if match and match["unit"] == unit}
