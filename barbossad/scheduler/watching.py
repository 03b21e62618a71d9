"""What triggers watch besides time, each by its own means."""

from __future__ import annotations

from collections.abc import Callable

from barbossad.clock import Clock
from barbossad.model.schedules import ScheduleRecord
from barbossad.scheduler.files import FileEvent, FileWatcher
from barbossad.scheduler.happening import Happening, of_file, of_unit
from barbossad.scheduler.units import UnitEvent, UnitWatcher


class Watchers:
    """Watches for the triggers of all schedules."""

    def __init__(self, clock: Clock, happened: Callable[[str, Happening], None]) -> None:
        self._clock = clock
        self._happened = happened
        self._files = FileWatcher(clock, self._file_changed)
        self._units = UnitWatcher(clock, self._unit_changed)

    def watch(self, record: ScheduleRecord) -> None:
        """Watch for a schedule as it now is: not at all if it is disabled or fires otherwise."""
        file, unit = record.definition.file, record.definition.unit
        if file is not None and record.is_enabled:
            self._files.watch(record.id, file)  # which changes nothing where it is as before
        else:
            self._files.forget(record.id)
        if unit is not None and record.is_enabled:
            self._units.watch(record.id, unit)
        else:
            self._units.forget(record.id)

    def forget(self, schedule: str) -> None:
        """Watch no longer for a schedule."""
        self._files.forget(schedule)
        self._units.forget(schedule)

    def trouble(self, record: ScheduleRecord) -> str:
        """Return why a schedule cannot be watched for, in words; empty if it can."""
        return self._files.trouble(record.id) or self._units.trouble(record.id)

    async def close(self) -> None:
        """Watch nothing any more."""
        self._files.close()
        await self._units.close()

    def _file_changed(self, schedule: str, event: FileEvent) -> None:
        self._happened(schedule, of_file(event.path, event.change.value, event.at_ms, self._clock.now_ms()))

    def _unit_changed(self, schedule: str, event: UnitEvent) -> None:
        self._happened(schedule, of_unit(event.unit, event.state, event.before, event.at_ms))
