"""The pipes of attempts, of which systemd keeps the read ends while the daemon is away."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import logging
import os
import re
import resource
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from barbossad.process import shortage
from barbossad.process.output import inflight
from barbossad.process.output.inflight import Inflight
from barbossad.process.systemd.asking import SharedQuestion
from barbossad.systemd import Manager

log = logging.getLogger(__name__)

STREAMS: Final = ("stdout", "stderr")
_OF_SECRETS: Final = "stdout"
"""In which stream's slot the secrets are."""

LONGEST_NAME: Final = 14
"""Of a pipe. systemd hands all names to a new daemon in one variable, and the kernel takes none of more than 128 KiB:
with longer names a daemon with many tasks could not be executed again.
"""

SPARE: Final = 16
"""Descriptors of which no pipes are made. A start that has its pipes needs one more for a moment: where all that are
left go into pipes, those starts wait for each other."""

_MARK_CHARACTERS: Final = 8
_NAME: Final = re.compile(rf"(?P<mark>[A-Za-z0-9_-]{{{_MARK_CHARACTERS}}})(?P<stream>[oe])(?P<slot>[0-9]{{1,5}})")
_LONG_NAME: Final = re.compile(r"(?P<unit>barbossa-.+\.service)\.std(?P<stream>out|err)\.(?P<slot>[0-9]{1,5})")
"""As earlier releases named them, whose tasks may run still."""


class _Kept(NamedTuple):
    """What the name of a pipe says."""

    name: str
    mark: str
    stream: str
    slot: int


def _kept(name: str) -> _Kept | None:
    """Return what a name says, None if it is not that of a pipe."""
    match = _NAME.fullmatch(name) or _LONG_NAME.fullmatch(name)
    if match is None:
        return None
    said = match.groupdict()
    stream = next(stream for stream in STREAMS if said["stream"] in {stream[3], stream[3:]})
    return _Kept(name, said.get("mark") or _mark(said["unit"]), stream, int(said["slot"]))


def _mark(unit: str) -> str:
    """Return what stands for a unit in the names of its pipes."""
    return base64.urlsafe_b64encode(hashlib.sha256(unit.encode()).digest())[:_MARK_CHARACTERS].decode()


def tasks_wait(manager: Manager) -> bool:
    """Say whether a daemon that cannot start leaves tasks of an earlier one to the next, and then tell of it.

    The daemon's unit sees to it that there is a next one: ``ExecStopPost=`` has it started so seldom that it is never
    given up while systemd keeps pipes of tasks.
    """
    if not any(map(_kept, manager.names_kept)):
        return False
    log.critical("tasks of the daemon before this one go on, and are taken over by one that starts; it is tried again",
                 extra={"action": "tasks_wait"})  # fmt: skip
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPipes:
    """The read ends of one attempt, their slots in the memory that outlives the daemon, and what systemd calls them.

    All of them by stream.
    """

    read_ends: Mapping[str, int]
    slots: Mapping[str, int]
    names: Mapping[str, str]
    arrived: asyncio.Task[None] | None = None
    """Done when systemd is known to have them; None for those that it gave us."""

    async def known(self) -> None:
        """Return when systemd is known to have them. Raise OSError if it cannot be asked."""
        if self.arrived is not None:
            await asyncio.shield(self.arrived)


class Keeper:
    """Makes pipes, has them kept, and knows those that an earlier daemon made."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._found: dict[str, int] = {}
        self._of: dict[str, list[_Kept]] = {}
        """What was found, by the mark of its unit."""

        self._barrier = SharedQuestion(self._ask_barrier, "pipes-barrier")
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
        for pipe in filter(None, map(_kept, self._found)):
            self._of.setdefault(pipe.mark, []).append(pipe)
            self.inflight.take_slot(pipe.slot)  # or what is launched before this one is adopted would be given it

    async def close(self) -> None:
        """Close what nobody adopted; what systemd keeps stays."""
        await self._barrier.close()
        for fd in self._found.values():
            os.close(fd)
        self.inflight.close()

    async def _ask_barrier(self) -> None:
        while True:
            try:
                return await self._manager.barrier()
            except OSError as error:
                if not shortage.is_one(error):
                    raise
            await asyncio.sleep(shortage.RETRY_SECONDS)

    def make(self, unit: str, secrets: Collection[str] = ()) -> tuple[KeptPipes, list[int]]:
        """Make the pipes of an attempt and have systemd keep their read ends; return them and the write ends.

        Its secrets are kept beside what is in flight.

        Only when they are ``known`` may their unit be started; those that are made in one turn of the loop share
        the question, which is asked in the next. Raise OSError.
        """
        ends: list[int] = []
        slots: dict[str, int] = {}
        try:
            for _ in STREAMS:
                ends += os.pipe2(os.O_CLOEXEC)
            if max(ends) >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE:  # all below it are taken
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            for stream in STREAMS:
                slots[stream] = self.inflight.take_slot()
            if secrets:
                self.inflight.keep_secrets(slots[_OF_SECRETS], secrets)
            read_ends = dict(zip(STREAMS, ends[::2], strict=True))
            names = {stream: f"{_mark(unit)}{stream[3]}{slot}" for stream, slot in slots.items()}
            self._manager.keep({names[stream]: fd for stream, fd in read_ends.items()})
        except OSError:
            for end in ends:
                os.close(end)
            for slot in slots.values():
                self.inflight.free_slot(slot)
            raise
        pipes = KeptPipes(read_ends=read_ends, slots=slots, names=names, arrived=self._barrier.ask())
        return pipes, ends[1::2]

    def let_go(self, pipes: KeptPipes) -> None:
        """Have systemd close the pipes of an attempt, and forget them."""
        self._manager.let_go(list(pipes.names.values()))
        for slot in pipes.slots.values():
            self.inflight.free_slot(slot)

    # -- what an earlier daemon made ---------------------------------------------------------------------------

    def has_all(self, unit: str) -> bool:
        """Say whether both pipes of a unit were kept, and no other's might be taken for them."""
        return sorted(pipe.stream for pipe in self._pipes(unit)) == sorted(STREAMS)

    def secrets(self, unit: str) -> frozenset[str] | None:
        """Return the secrets that a unit was given, None if none are kept."""
        slots = (pipe.slot for pipe in self._pipes(unit) if pipe.stream == _OF_SECRETS)
        return self.inflight.secrets(next(slots))

    def adopt(self, unit: str) -> KeptPipes:
        """Take over the pipes of a unit."""
        pipes = self._of.pop(_mark(unit))
        return KeptPipes(
            read_ends={pipe.stream: self._found.pop(pipe.name) for pipe in pipes},
            slots={pipe.stream: pipe.slot for pipe in pipes},
            names={pipe.stream: pipe.name for pipe in pipes},
        )

    def drop_all_but(self, units: Collection[str]) -> None:
        """Close the pipes that nobody will adopt, here and at systemd, and what was in flight of them."""
        marks, slots = set(map(_mark, units)), set()
        for name in tuple(self._found):
            pipe = _kept(name)
            if pipe is not None and pipe.mark in marks:
                slots.add(pipe.slot)
                continue
            os.close(self._found.pop(name))
            self._manager.let_go([name])
            if pipe is not None:
                self.inflight.free_slot(pipe.slot)
        if self.inflight.interrupted is not None and self.inflight.interrupted.slot not in slots:
            self.inflight.forget_interrupted()

    def _pipes(self, unit: str) -> list[_Kept]:
        return self._of.get(_mark(unit), [])
