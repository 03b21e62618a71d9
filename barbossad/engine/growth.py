"""Make the cells of a run: of its main part when it begins, of loops, rollback and hooks when they are needed.

Always in the same way, so that a run can be rebuilt from its rows.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from barbossad.engine import completion, outcomes, sizes
from barbossad.engine.progress import Cell, LoopFacts, Members, RunProgress
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Section
from barbossad.model.names import TaskId
from barbossad.model.records import RunRecord, TaskRecord
from barbossad.model.states import RunState, TaskState
from barbossad.store.run_details import RunDetails


def create(definition: WorkflowDefinition, run: RunRecord) -> RunProgress:
    """Return the progress of a run none of whose tasks has started."""
    progress = RunProgress(definition, run)
    grow(progress, definition.sections.get(Section.MAIN, ()))
    return progress


def grow(progress: RunProgress, positions: Iterable[int]) -> list[int]:
    """Make the cells of some tasks of the file, with all their members; return those cells."""
    first = len(progress.cells)
    growth = _Growth(progress, {})
    for position in positions:
        growth.add(position)
    growth.connect()
    return list(range(first, len(progress.cells)))


def grow_item(progress: RunProgress, loop: int, facts: LoopFacts) -> int:
    """Make the cells of one item of a loop; return that of the item."""
    first = len(progress.cells)
    cell = progress.cells[loop]
    start = progress.definition.positions[cell.task.id]
    growth = _Growth(progress, {}, TaskId(f"{cell.id}[{facts.index}]"), loop, facts)
    for position in range(start, start + cell.task.size):
        growth.add(position)
    growth.connect()
    return first


@dataclass(slots=True)
class _Growth:
    """Cells on their way from positions in the file; ``item_id`` is that of the item whose cells they are."""

    progress: RunProgress
    made: dict[int, int]
    item_id: TaskId | None = None
    loop: int | None = None
    facts: LoopFacts | None = None
    rolled_back: Cell | None = None
    skip_until: int = 0

    def add(self, position: int) -> None:
        """Make the cell of a task; the members of a loop are made when its items are known."""
        if position < self.skip_until:
            return
        progress, task = self.progress, self.progress.definition.tasks[position]
        is_item = self.item_id is not None and not self.made
        parent = self.loop if is_item else self.made.get(task.parent) if task.parent is not None else None
        task_id = task.id
        if is_item:
            task_id = self.item_id or task.id
        elif parent is not None:
            task_id = TaskId(f"{progress.cells[parent].id}.{task.name}")
        elif self.rolled_back is not None:
            suffix = task.id.removeprefix(f"rollback.{self.rolled_back.task.id}")
            task_id = TaskId(f"rollback.{self.rolled_back.id}{suffix}")
        loop = self.facts or (progress.cells[parent].loop if parent is not None else None)
        if loop is None and self.rolled_back is not None:
            loop = self.rolled_back.loop
        cell = Cell(
            TaskRecord(run_id=progress.run.id, task_id=task_id, state=TaskState.PENDING),
            task,
            parent=parent,
            loop=loop,
            is_item=is_item,
            takes_back=self._takes_back(),
        )
        index = self.made[position] = len(progress.cells)
        progress.cells.append(cell)
        progress.index[task_id] = index
        progress.unended += 1
        if cell.is_group:
            cell.members = Members()
        if cell.is_loop:
            self.skip_until = position + task.size
        if parent is not None:
            self._join(parent, index)

    def _takes_back(self) -> int | None:
        """Return what the new cells take back, also those of a loop within a rollback."""
        if self.rolled_back is not None:
            return self.progress.index[self.rolled_back.id]
        return self.progress.cells[self.loop].takes_back if self.loop is not None else None

    def _join(self, parent: int, index: int) -> None:
        members = self.progress.cells[parent].members
        assert members is not None
        members.cells.append(index)
        members.unended += 1

    def connect(self) -> None:
        """Count what each new cell waits for: of the other new cells, and of those that were there before."""
        progress = self.progress
        definition = progress.definition
        for index in self.made.values():
            cell = progress.cells[index]
            if cell.is_item or not cell.task.depends_on:
                continue
            found = []
            for name in cell.task.depends_on:
                other = self.made.get(definition.positions[name])
                if other is None:
                    other = self._around(index, definition.positions[name])
                found.append(other)
                if not progress.cells[other].has_ended:
                    cell.waits_for += 1
                    progress.cells[other].dependants.append(index)
            cell.depends_on = found

    def _around(self, index: int, position: int) -> int:
        """Return the cell of a task outside of those that are being made, as a cell sees it.

        What is inside an item of a loop around sees that of the same item.
        """
        progress = self.progress
        task = progress.definition.tasks[position]
        for around in progress.ancestors(index):
            if task.parent is not None and around.task is progress.definition.tasks[task.parent]:
                return progress.index[f"{around.id}.{task.name}"]
        return progress.index[task.id]


HOOKS: Final = {
    RunState.SUCCEEDED: Section.ON_SUCCESS,
    RunState.CANCELLED: Section.ON_CANCEL,
    RunState.FAILED: Section.ON_FAILURE,
    RunState.TIMED_OUT: Section.ON_FAILURE,
    RunState.INTERRUPTED: Section.ON_FAILURE,
}
"""Which hooks follow upon an outcome."""


def sections_after(progress: RunProgress, outcome: RunState) -> deque[Section]:
    """Return what follows upon an outcome: rollback, the hooks of that outcome, and those of every run.

    Nothing follows upon the end of a run that was ended before anything of it began.
    """
    if progress.run.started_at_ms is None and progress.run.stop_cause is not None:
        return deque()
    definition = progress.definition
    wanted = (*((Section.ROLLBACK,) if outcome is not RunState.SUCCEEDED else ()), HOOKS[outcome], Section.ON_EXIT)
    return deque(section for section in wanted if section in definition.sections)


def grow_section(progress: RunProgress, section: Section) -> list[int]:
    """Make the cells of a section; return them.

    Of the rollback those of tasks that had succeeded, one after another, in reverse order of their end.
    """
    if section is not Section.ROLLBACK:
        return grow(progress, progress.definition.sections[section])
    rollbacks = progress.definition.rollbacks
    first = len(progress.cells)
    chain: list[int] = []
    for cell in reversed(completion.order(progress)):
        position = progress.definition.positions[cell.task.id]
        if cell.record.state is TaskState.SUCCEEDED and not cell.is_loop and position in rollbacks:
            chain += _grow_rollback(progress, cell, rollbacks[position])
    for before, after in itertools.pairwise(chain):
        progress.cells[before].dependants.append(after)
        progress.cells[after].waits_for = 1
        if not progress.cells[after].depends_on:
            progress.cells[after].depends_on = (before,)
    return list(range(first, len(progress.cells)))


def _grow_rollback(progress: RunProgress, done: Cell, positions: Iterable[int]) -> list[int]:
    """Make the cells that take back one task, or one item of a loop, by whose id they go; return the outermost."""
    growth = _Growth(progress, {}, rolled_back=done)
    for position in positions:
        growth.add(position)
    growth.connect()
    left = [index for index in growth.made.values() if progress.cells[index].parent is None]
    outermost: list[int] = []  # they are done one after another, also across tasks, each after those that it names
    while left:
        index = next(at for at in left if not set(progress.cells[at].depends_on) & set(left))
        left.remove(index)
        outermost.append(index)
    for index in outermost:
        cell = progress.cells[index]
        for before in cell.depends_on:
            progress.cells[before].dependants.remove(index)
        cell.waits_for = 0
    return outermost


def restore(definition: WorkflowDefinition, details: RunDetails) -> RunProgress:
    """Return the progress of a run as the store knows it."""
    progress = create(definition, details.run)
    take_over(progress, 0, details)
    if details.run.outcome is not None:
        progress.sections = sections_after(progress, details.run.outcome)
        while progress.sections and (not progress.unended or _has_begun(progress, details)):
            first = len(progress.cells)
            grow_section(progress, progress.sections.popleft())
            take_over(progress, first, details)
    return progress


def _has_begun(progress: RunProgress, details: RunDetails) -> bool:
    """Say whether the next section has rows, though others have not ended: those of a run that was ended again."""
    prefix = f"{progress.sections[0]}."
    return any(task_id.startswith(prefix) for task_id in details.tasks)


def take_over(progress: RunProgress, first: int, details: RunDetails) -> None:
    """Bring the cells from ``first`` on, those of loops' items included, to where their rows say that they are."""
    index = first
    while index < len(progress.cells):  # which grows meanwhile
        cell = progress.cells[index]
        record = details.tasks.get(cell.id)
        if record is not None:
            cell.record = record
            cell.attempts = list(details.attempts.get(cell.id, ()))
            if cell.is_loop:
                grow_items(progress, index)
                if sizes.is_refusal(record.reason):
                    progress.looped[cell.task.section] = sizes.MAX_ITEMS_IN_ALL + 1
            _count(progress, cell)
        index += 1
    for group in range(first, len(progress.cells)):  # one that was being ended for a failure goes on being ended
        cell = progress.cells[group]
        if cell.members is not None and cell.fails_fast and not cell.has_ended:
            cell.members.verdict = outcomes.of_first_failures(progress, group)


def check_room(progress: RunProgress, loop: int, count: int) -> None:
    """Raise BarbossaError if a loop with so many items is more than its run may have: then so is every later one."""
    total = _size_with(progress, loop, count)
    if total > sizes.MAX_ITEMS_IN_ALL:
        progress.looped[progress.cells[loop].task.section] = total
    sizes.check(total)


def _size_with(progress: RunProgress, loop: int, count: int) -> int:
    """Return how many tasks the loops of a section are with so many items of one more of them."""
    task = progress.cells[loop].task
    items = sizes.of_items(progress.definition, progress.definition.positions[task.id], count)
    return progress.looped.get(task.section, 0) + items


def grow_items(progress: RunProgress, loop: int) -> None:
    """Make the cells of all items of a loop whose record has them."""
    items = progress.cells[loop].record.items or ()
    progress.looped[progress.cells[loop].task.section] = _size_with(progress, loop, len(items))
    for number, item in enumerate(items):
        grow_item(progress, loop, LoopFacts(item, number, len(items)))


def _count(progress: RunProgress, cell: Cell) -> None:
    """Count a cell that was taken over where its parent and its dependants look."""
    members = progress.cells[cell.parent].members if cell.parent is not None else None
    if not cell.has_ended:
        if members is not None:
            members.entered += 1
            cell.has_entered = True
        return
    progress.unended -= 1
    if members is not None:
        members.unended -= 1
    for dependant in cell.dependants:
        progress.cells[dependant].waits_for -= 1
