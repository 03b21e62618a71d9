"""What follows from a fact: what is to be recorded, and what is to be done after that."""

from __future__ import annotations

from dataclasses import dataclass, field

from barbossad.model.records import TaskRecord
from barbossad.model.states import StopCause
from barbossad.store import changes
from barbossad.store.changes import Change
from barbossad.store.task_changes import TaskNews


@dataclass(frozen=True, slots=True)
class Stop:
    """A live attempt that is to be ended, and why."""

    index: int
    cause: StopCause
    reason: str
    is_again: bool = False
    """Whether it is asked for once more, of what tidies up by now: then that ends too."""


@dataclass(slots=True)
class Decision:
    """What follows from a fact. Tasks are named by the index of their cell."""

    changes: list[Change] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    """Those that may begin an attempt when there is a slot and what else they need."""

    stop: list[Stop] = field(default_factory=list)
    timed: list[int] = field(default_factory=list)
    """Those to which something happens at an instant (``timing.due``)."""

    def entered(self, record: TaskRecord, now_ms: int, kind: TaskNews) -> None:
        """Have the first row of a task recorded."""
        last = self.changes[-1] if self.changes else None
        if isinstance(last, changes.TasksEntered) and last.kind == kind and isinstance(last.tasks, list):
            last.tasks.append(record)
        else:
            self.changes.append(changes.TasksEntered([record], now_ms, kind))

    def moved(self, record: TaskRecord, now_ms: int, kind: TaskNews) -> None:
        """Have a change of a task's row recorded."""
        self.changes.append(changes.TasksMoved([record], now_ms, kind))
