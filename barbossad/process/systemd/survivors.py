"""What an earlier daemon left in units: what became of its attempts, and the end of all that nobody goes on with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from barbossad.model.names import RunId
from barbossad.model.records import AttemptRecord
from barbossad.model.states import AttemptState
from barbossad.process.launcher import AttemptKey, Finding, Verdict, cut_off
from barbossad.process.systemd import units
from barbossad.process.systemd.bus import UNIT, Bus, object_path
from barbossad.process.systemd.kept import Keeper
from barbossad.process.systemd.unit_control import UnitControl
from barbossad.process.systemd.unit_files import UnitFiles

logger = logging.getLogger(__name__)


class Survivors:
    """Knows, once it has looked, which units are to be adopted. ``launcher`` is the name of ours."""

    def __init__(self, launcher: str, bus: Bus, control: UnitControl, keeper: Keeper, files: UnitFiles) -> None:
        self._launcher = launcher
        self._bus = bus
        self._control = control
        self._keeper = keeper
        self._files = files
        self._alive: set[str] = set()

    async def survey(self, attempts: Sequence[AttemptRecord]) -> Mapping[AttemptKey, Finding]:
        """See ``Launcher.survey``."""
        loaded = await self._control.loaded()
        keys = [AttemptKey(attempt.run_id, attempt.task_id, attempt.number) for attempt in attempts]
        settled = (self._settle(*each, loaded) for each in zip(attempts, map(units.unit_name, keys), strict=True))
        found = dict(zip(keys, await asyncio.gather(*settled), strict=True))
        self._alive = {units.unit_name(key) for key, finding in found.items() if finding.verdict is Verdict.LIVE}
        return found

    async def _settle(self, attempt: AttemptRecord, unit: str, loaded: set[str]) -> Finding:
        finding = await self._find(attempt, unit, loaded)
        if finding.verdict is Verdict.GONE and attempt.unit is not None:
            await self._end(attempt.unit)
        return finding

    async def _find(self, attempt: AttemptRecord, unit: str, loaded: set[str]) -> Finding:
        if attempt.launcher != self._launcher:
            return Finding(Verdict.GONE, cut_off("the daemon ended", attempt))
        if unit not in loaded:
            if attempt.state is AttemptState.STARTING and attempt.invocation_id is None:
                return Finding(Verdict.NEVER_STARTED)
            return Finding(Verdict.GONE, "its unit was removed by hand while the daemon was away")
        invocation = bytes(await self._bus.get(object_path(unit), UNIT, "InvocationID")).hex()
        if attempt.invocation_id not in {None, invocation}:
            return Finding(Verdict.GONE, "its unit was removed by hand, and another of its name started")
        if not self._keeper.has_all(unit):
            return Finding(
                Verdict.GONE, "the daemon's unit was stopped or failed while it ran, and nobody read its output"
            )
        return Finding(Verdict.LIVE, secrets=self._keeper.secrets(unit))

    async def end_strays(self, known: Callable[[RunId, str], bool], forsaken: Collection[AttemptKey]) -> Sequence[str]:
        """See ``Launcher.end_strays``."""
        strays = []
        unwanted = set(map(units.unit_name, forsaken))
        self._alive -= unwanted
        self._keeper.drop_all_but(self._alive)
        for unit in sorted(await self._control.loaded() - self._alive):
            if unit not in unwanted and await self._control.is_left_alone(unit):
                logger.info("%s: what its task left behind goes on", unit, extra={"action": "left_alone"})
                await self._control.unload(unit, is_failed=True)
                continue
            run_id = units.run_of(unit)
            if run_id is None or not known(run_id, unit):
                strays.append(unit)
            await self._end(unit)
        self._files.forget_all_but(self._alive)
        return strays

    async def _end(self, unit: str) -> None:
        await self._control.end(unit)
        self._files.forget(unit)
