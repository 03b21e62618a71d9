"""Have systemd make the unit of an attempt, once it is known to keep the pipes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial

from barbossad import crashpoints
from barbossad.process.output import pipes
from barbossad.process.output.capture import Recorder
from barbossad.process.shortage import GivenUpError, Shortage
from barbossad.process.systemd import unit_files, units
from barbossad.process.systemd.asking import SharedQuestion
from barbossad.process.systemd.bus import MANAGER, PATH, Bus
from barbossad.process.systemd.kept import Keeper
from barbossad.process.systemd.unit_control import UnitControl
from barbossad.process.systemd.unit_files import UnitFiles
from barbossad.process.systemd.unit_process import UnitProcess


class Starts:
    """Knows what a start takes. ``hidden`` is what else no sandboxed task sees."""

    def __init__(self, bus: Bus, control: UnitControl, keeper: Keeper, files: UnitFiles, hidden: Sequence[str]) -> None:
        self._bus = bus
        self._control = control
        self._keeper = keeper
        self._files = files
        self._hidden = hidden
        self._shortage = Shortage()
        self._foreign = SharedQuestion(self._ask_foreign, "manager-environment")

    async def close(self) -> None:
        """Wait for no answers any more."""
        await self._foreign.close()

    def ask(self) -> asyncio.Task[list[str]]:
        """Ask for what a start has to know of systemd itself."""
        return self._foreign.ask()

    def make_pipes(self, process: UnitProcess, recorder: Recorder, *, is_late: bool = False) -> list[int]:
        """Make the pipes of an attempt and have them captured; return the write ends. Raise OSError.

        One that is late has a capture.
        """
        spec = process.spec
        kept, write_ends = self._keeper.make(process.unit, spec.secrets)
        process.pipes = kept
        if is_late:
            process.capture.take(kept.read_ends, spec.make_mask, kept.slots)
            recorder.bring_up(process.capture)
        else:
            process.capture = recorder.capture(spec.key, kept.read_ends, spec.make_mask, kept.slots)
        return write_ends

    async def make(
        self,
        process: UnitProcess,
        recorder: Recorder,
        write_ends: list[int] | None,
        foreign: asyncio.Task[list[str]],
        *,
        is_wanted: Callable[[], bool],
    ) -> None:
        """Make the unit; what that needs is made while systemd takes the pipes (None: there are none yet).

        ``foreign`` is what was asked (``ask``). Where there are no descriptors for it, it waits until there are again.
        Raise SystemdError if systemd refuses, GivenUpError if the attempt is not wanted any more before it is asked,
        OSError, BarbossaError or ValueError if it cannot be asked.
        """
        spec = process.spec
        try:
            if write_ends is None:
                make = partial(self.make_pipes, process, recorder, is_late=True)
                write_ends = await self._shortage.over(make, is_wanted=is_wanted)
            assert process.pipes is not None
            owner = unit_files.owner_of(spec)
            pipes.give(write_ends, owner)
            write = partial(self._files.write, spec, process.unit, owner)
            argv, files = await self._shortage.over(write, is_wanted=is_wanted)
            crashpoints.reach("files-written")
            properties = units.properties(spec, argv, files, self._hidden)
            properties.append(units.without(spec, await asyncio.shield(foreign)))
            await process.pipes.known()
            crashpoints.reach("pipes-kept")
            if not is_wanted():
                raise GivenUpError
            await self._control.make(process.unit, properties, write_ends, is_wanted=is_wanted)
            crashpoints.reach("unit-started")
        finally:
            for end in write_ends or ():
                os.close(end)

    async def _ask_foreign(self) -> list[str]:
        """Return the variables of the manager's own environment, which every service gets; it tells of no change.

        What somebody sets between this answer and the start of a unit, a few milliseconds at most, gets through.
        """
        environment = await self._bus.surely(partial(self._bus.get, PATH, MANAGER, "Environment"))
        return [entry.partition("=")[0] for entry in environment]
