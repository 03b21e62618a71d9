"""Where a run stands, in memory: its definition, its record and a cell for each task, loop item and group.

Cells are made by ``growth``: for the tasks of the file's main part when the run begins, for those of a loop's items, of
rollbacks and of hooks when it is known that they are needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from barbossad.model.definition import TaskDefinition, WorkflowDefinition
from barbossad.model.flow import Section, TaskKind, Trigger
from barbossad.model.names import TaskId
from barbossad.model.records import AttemptRecord, RunRecord, TaskRecord
from barbossad.model.states import RUN_ENDED, TASK_ENDED, AttemptState, TaskState
from barbossad.store.run_details import RunDetails
from barbossad.workflows import params

Evaluate = Callable[["RunProgress", int | None, Any], Any]
"""From a run, a cell (None: the run itself) and a value that may hold expressions to what it stands for.

Raises BarbossaError.
"""

FAILURES: Final = frozenset({TaskState.FAILED, TaskState.TIMED_OUT, TaskState.INTERRUPTED})
"""How a task ends that ran and did not do its work."""


@dataclass(frozen=True, slots=True)
class LoopFacts:
    """What expressions see of a loop: its item, which one that is, counted from 0, and how many there are."""

    item: Any
    index: int
    length: int


@dataclass(slots=True)
class Members:
    """The cells right below a group or loop that has begun, or may begin."""

    cells: list[int] = field(default_factory=list)
    unended: int = 0
    entered: int = 0
    """How many have begun and not ended: no more than ``max_parallel``."""

    queue: deque[int] = field(default_factory=deque)
    """Those that could begin but for that."""

    verdict: tuple[TaskState, str | None] | None = None
    """How it ends and why, where that was decided before its members ended."""


@dataclass(slots=True)
class Cell:
    """One task: its record, its attempts so far, and how many dependencies have not ended yet."""

    record: TaskRecord
    task: TaskDefinition
    waits_for: int = 0
    parent: int | None = None
    depends_on: Sequence[int] = ()
    dependants: list[int] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    members: Members | None = None
    loop: LoopFacts | None = None
    is_item: bool = False
    """Whether it is one item of a loop, whose ``for_each`` is not to be looked at again."""

    takes_back: int | None = None
    """For a task of the rollback: the cell that it takes back."""

    has_entered: bool = False
    """Whether it is counted among the members of its parent that have begun."""

    is_queued: bool = False
    """Whether it stands in its parent's ``queue``."""

    outputs_bytes: int | None = None
    """How large the outputs of an item are as JSON, once that was measured."""

    @property
    def id(self) -> TaskId:
        """The id of the task, of the item, of the member."""
        return self.record.task_id

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.record.state in TASK_ENDED

    @property
    def may_fail(self) -> bool:
        """Whether what it is a member of does not fail with it; an item's loop does, and is what may fail."""
        return self.task.continue_on_error and not self.is_item

    @property
    def has_failed(self) -> bool:
        """Whether it failed, and what it is a member of with it."""
        return self.record.state in FAILURES and not self.may_fail

    @property
    def is_done(self) -> bool:
        """Whether its work is done: it succeeded, or found that it was done already (``creates``, ``unless``)."""
        state = self.record.state
        has_begun = bool(self.attempts) or self.record.started_at_ms is not None  # in an earlier run, where it was kept
        return state is TaskState.SUCCEEDED or (state is TaskState.SKIPPED and has_begun)

    @property
    def is_live(self) -> bool:
        """Whether an attempt of it is starting or running."""
        return self.members is None and self.record.state in (TaskState.STARTING, TaskState.RUNNING)

    @property
    def is_asked_to_end(self) -> bool:
        """Whether it is live, and was to go on while its run was ended, and that was asked for again: it says why."""
        return self.is_live and self.record.reason is not None

    @property
    def is_loop(self) -> bool:
        """Whether its members are the items of a loop."""
        return self.task.for_each is not None and not self.is_item

    @property
    def max_parallel(self) -> int | None:
        """How many of its members may run at once."""
        return self.task.for_each.max_parallel if self.is_loop and self.task.for_each else self.task.max_parallel

    @property
    def fails_fast(self) -> bool:
        """Whether its other members are ended when one has failed."""
        return self.task.for_each.fail_fast if self.is_loop and self.task.for_each else self.task.fail_fast

    @property
    def is_group(self) -> bool:
        """Whether it is carried out by members: those of a group, or the items of a loop."""
        return self.is_loop or self.task.kind is TaskKind.GROUP


@dataclass(slots=True)
class RunProgress:
    """One run. Only ``transitions`` and what it stands on change it."""

    definition: WorkflowDefinition
    run: RunRecord
    cells: list[Cell] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)
    """The place of each cell by its id."""

    unended: int = 0
    """How many cells have not ended."""

    sections: deque[Section] = field(default_factory=deque)
    """What is still to come, once the outcome is known."""

    looped: dict[Section, int] = field(default_factory=dict)
    """How many tasks the loops of each section have come to (``sizes``)."""

    _variables: Mapping[str, str] | None = None

    @property
    def variables(self) -> Mapping[str, str]:
        """Its params as environment variables: made once, for a list of thousands takes as long as a task."""
        if self._variables is None:
            self._variables = params.environment(self.run.params)
        return self._variables

    @property
    def has_ended(self) -> bool:
        """Whether the run's state is final."""
        return self.run.state in RUN_ENDED

    @property
    def is_stopping(self) -> bool:
        """Whether its main part is being ended before its time."""
        return self.run.stop_cause is not None and self.run.outcome is None

    def ancestors(self, index: int) -> Iterable[Cell]:
        """Yield the groups and loops that a cell is in, the innermost first."""
        parent = self.cells[index].parent
        while parent is not None:
            cell = self.cells[parent]
            yield cell
            parent = cell.parent

    def goes_on(self, index: int) -> bool:
        """Say whether a cell still runs while its run is being ended: ``always`` holds for all that is in a group."""
        return any(
            cell.task.trigger is Trigger.ALWAYS
            and (cell.parent is None or self.cells[cell.parent].record.state is TaskState.RUNNING)
            for cell in (self.cells[index], *self.ancestors(index))
        )

    def is_being_ended(self, index: int) -> bool:
        """Say whether a cell is not tried again, because its run, or a group that it is in, is being ended."""
        if (self.is_stopping and not self.goes_on(index)) or self.cells[index].is_asked_to_end:
            return True
        return any(cell.members is not None and cell.members.verdict is not None for cell in self.ancestors(index))

    def is_allowed_to_fail(self, index: int) -> bool:
        """Say whether the run goes on, and may succeed, though this cell failed."""
        return self.cells[index].task.continue_on_error or any(
            cell.task.continue_on_error for cell in self.ancestors(index)
        )

    def failed(self) -> list[int]:
        """Return the cells of the main part that failed and were not allowed to, but for groups and loops."""
        return [index for index in self._failures() if not self.is_allowed_to_fail(index)]

    def warnings(self) -> int:
        """Count the tasks that failed and were allowed to."""
        return sum(1 for index in self._failures() if self.is_allowed_to_fail(index))

    def _failures(self) -> Iterable[int]:
        return (
            index
            for index, cell in enumerate(self.cells)
            if cell.record.state in FAILURES and cell.task.section is Section.MAIN and not _is_by_members(self, cell)
        )


def _is_by_members(progress: RunProgress, cell: Cell) -> bool:
    """Say whether a group failed because a member did that was not allowed to, which is told of instead."""
    if cell.members is None or cell.record.state is TaskState.TIMED_OUT:  # by its own timeout
        return False
    members = [progress.cells[member] for member in cell.members.cells]
    return any(member.has_failed for member in members)


def details(progress: RunProgress) -> RunDetails:
    """Return a run as the store would, were all of its progress recorded."""
    return RunDetails(
        run=progress.run,
        tasks={c.id: c.record for c in progress.cells if c.record.state is not TaskState.PENDING},
        attempts={c.id: tuple(c.attempts) for c in progress.cells if c.attempts},
    )


TASK_STATE_AFTER = {
    AttemptState.SUCCEEDED: TaskState.SUCCEEDED,
    AttemptState.SKIPPED: TaskState.SKIPPED,
    AttemptState.FAILED: TaskState.FAILED,
    AttemptState.TIMED_OUT: TaskState.TIMED_OUT,
    AttemptState.CANCELLED: TaskState.CANCELLED,
    AttemptState.INTERRUPTED: TaskState.INTERRUPTED,
}
"""What a task becomes when its last attempt ends."""
