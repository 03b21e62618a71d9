"""What may be looked at of the scheduler: schedules as they stand, what comes next of them, what holds them."""

from __future__ import annotations

from barbossad.clock import Clock
from barbossad.model.holds import Hold
from barbossad.model.schedules import Fire, ScheduleRecord
from barbossad.scheduler.book import Book, Coming
from barbossad.scheduler.watching import Watchers


class Board:
    """Shows the book; changes nothing and waits for nothing."""

    def __init__(self, book: Book, watchers: Watchers, clock: Clock) -> None:
        self._book = book
        self._watchers = watchers
        self._clock = clock

    def records(self) -> list[ScheduleRecord]:
        """Return every schedule, by id."""
        return self._book.records()

    def of(self, workflow: str) -> list[ScheduleRecord]:
        """Return the schedules of a workflow, by id."""
        return [entry.record for entry in self._book.of(workflow)]

    def find(self, name: str) -> ScheduleRecord:
        """Return the schedule with an id, or the only one of a workflow.

        Raise NotFoundError with the nearest known name, or ConflictError that names those of the workflow.
        """
        return self._book.find(name).record

    @property
    def counts(self) -> tuple[int, int]:
        """How many schedules there are, and how many of them are enabled."""
        entries = self._book.entries.values()
        return len(entries), sum(1 for entry in entries if entry.record.is_enabled)

    @property
    def next_due_ms(self) -> int | None:
        """When the next fire of all is due; None if none is."""
        return min((entry.coming.due_ms for entry in self._book.entries.values() if entry.coming), default=None)

    def coming(self, record: ScheduleRecord) -> Coming | None:
        """Return the next fire of a schedule; None if it has none, is disabled, or fires by events."""
        entry = self._book.entries.get(record.id)
        return entry.coming if entry else None

    def offset_ms(self, record: ScheduleRecord) -> int:
        """Return the jitter of a schedule: how long after its nominal time a fire is due."""
        entry = self._book.entries.get(record.id)
        return entry.offset_ms if entry else 0

    def active(self, record: ScheduleRecord) -> list[Fire]:
        """Return the fires of a schedule that are not over, oldest first."""
        entry = self._book.entries.get(record.id)
        return list(entry.active) if entry else []

    def holds(self) -> list[Hold]:
        """Return what is held now, by label."""
        now_ms = self._clock.now_ms()
        holds = (self._book.holds[label] for label in sorted(self._book.holds))
        return [hold for hold in holds if not hold.is_over(now_ms)]

    def held_by(self, record: ScheduleRecord, at_ms: int | None = None) -> Hold | None:
        """Return what holds a schedule now, or will at an instant if nobody changes it."""
        return self._book.hold_of(record, self._clock.now_ms() if at_ms is None else at_ms)

    def state_of(self, record: ScheduleRecord) -> str:
        """Return why a schedule cannot fire though it is enabled, in words; empty if it can."""
        return self._watchers.trouble(record)
