"""What follows when tasks end: who begins, which groups end with them, what comes after the main part. Pure.

Nothing here recurses along the graph, so that a chain of thousands of tasks is nothing special. Each function changes
the progress and adds to a ``Decision``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from barbossad.engine import growth, outcomes, recordable, sizes, triggers
from barbossad.engine.decision import Decision, Stop
from barbossad.engine.progress import Cell, Evaluate, RunProgress
from barbossad.errors import BarbossaError
from barbossad.model.flow import Branch, TaskKind
from barbossad.model.records import TaskRecord, changed
from barbossad.model.states import TASK_MOVES, RunState, StopCause, TaskState
from barbossad.process.launcher import OUTPUT_LIMIT
from barbossad.store import changes


def move(progress: RunProgress, index: int, state: TaskState, **facts: Any) -> TaskRecord:
    """Change a task's state if its moves allow it; count it down when it ends; return its record."""
    cell = progress.cells[index]
    assert state in TASK_MOVES[cell.record.state], f"{cell.id}: {cell.record.state} -> {state}"
    cell.record = changed(cell.record, state=state, **facts)
    if cell.has_ended:
        progress.unended -= 1
    return cell.record


@dataclass(slots=True)
class Settling:
    """One fact's consequences, worked off one after another."""

    progress: RunProgress
    decision: Decision
    evaluate: Evaluate
    now_ms: int
    ended: deque[int] = field(default_factory=deque)
    """Those that have ended and of which nobody was told yet."""

    ready: deque[int] = field(default_factory=deque)
    """Those that may begin and were not looked at yet."""

    unstarted: list[TaskRecord] = field(default_factory=list)

    def settle(self) -> None:
        """Work off everything, and end the run after its last task."""
        while True:
            while self.ended or self.ready:
                if self.ended:
                    self._tell_end(self.ended.popleft())
                else:
                    self._consider(self.ready.popleft())
            self._flush()
            if self.progress.unended or self.progress.has_ended or not self._next_section():
                return

    def begin(self, indices: Sequence[int]) -> None:
        """Look at cells that were just made, or found: those that wait for nothing may begin."""
        cells = self.progress.cells
        self.ready.extend(index for index in indices if self._may_begin(cells[index]))

    def end_unstarted(self, index: int, state: TaskState, reason: str | None) -> None:
        """End a pending task, and all its members, which then never begin; that of a group that failed did not."""
        queue = [index]
        while queue:
            at = queue.pop()
            cell = self.progress.cells[at]
            if cell.record.state is TaskState.PENDING:
                self.unstarted.append(move(self.progress, at, state, reason=reason, finished_at_ms=self.now_ms))
                self.ended.append(at)
                if cell.members is not None:
                    queue.extend(reversed(cell.members.cells))
            if at == index and state is TaskState.FAILED:
                state, reason = TaskState.UPSTREAM_FAILED, triggers.upstream_reason(cell)

    def end_waiting(self, index: int, state: TaskState, reason: str | None, **facts: Any) -> None:
        """End a task that waits, or a group all of whose members have ended."""
        facts = {"waits_for": None, "waits_until_ms": None, "finished_at_ms": self.now_ms, **facts}
        record = move(self.progress, index, state, reason=reason, **facts)
        self._flush()
        self.decision.moved(record, self.now_ms, "task_finished")
        self.ended.append(index)

    def end_below(self, group: int, cause: StopCause, reason: str) -> None:
        """End everything below a group or loop that has not ended: what is live is stopped."""
        members = self.progress.cells[group].members
        queue = list(reversed(members.cells)) if members else []
        while queue:
            index = queue.pop()
            cell = self.progress.cells[index]
            self.cancel(index, cause, reason)
            if cell.members is not None and not cell.has_ended:
                queue.extend(reversed(cell.members.cells))

    def cancel(self, index: int, cause: StopCause, reason: str, *, is_again: bool = False) -> None:
        """Cancel one task: at once, or when its process has ended; a group ends after its members."""
        cell = self.progress.cells[index]
        if cell.record.state is TaskState.PENDING:
            self.end_unstarted(index, TaskState.CANCELLED, reason)
        elif cell.record.state is TaskState.WAITING:
            self.end_waiting(index, TaskState.CANCELLED, reason)
        elif cell.is_live:
            self.decision.stop.append(Stop(index, cause, reason, is_again))

    # -- one that has ended --------------------------------------------------------------------------------

    def _tell_end(self, index: int) -> None:
        cell = self.progress.cells[index]
        for dependant in cell.dependants:
            other = self.progress.cells[dependant]
            other.waits_for -= 1
            if other.waits_for == 0 and self._is_open(other):
                self.ready.append(dependant)
        if cell.parent is not None:
            self._tell_parent(cell, cell.parent)

    def _tell_parent(self, cell: Cell, parent: int) -> None:
        group = self.progress.cells[parent]
        members = group.members
        assert members is not None
        members.unended -= 1
        if cell.has_entered:
            members.entered -= 1
        if group.is_loop and recordable.may_exceed(len(members.cells)):
            with suppress(BarbossaError):  # told when the loop ends
                _measured(cell)  # now: all of them would hold everybody up
        if group.record.state is not TaskState.RUNNING:
            return
        if group.fails_fast and cell.has_failed:
            self._fail_fast(parent, cell)
        if members.unended == 0:
            self._close(parent)
            return
        while members.queue and (group.max_parallel is None or members.entered < group.max_parallel):
            waiting = members.queue.popleft()
            other = self.progress.cells[waiting]
            other.is_queued = False
            if other.record.state is TaskState.PENDING and not other.has_entered:
                self.ready.append(waiting)
                return

    def _fail_fast(self, group: int, failed: Cell) -> None:
        """End the other members of a group of which one failed, unless they are being ended already."""
        cell = self.progress.cells[group]
        assert cell.members is not None
        was = cell.members.verdict
        cell.members.verdict = outcomes.of_first_failures(self.progress, group) or was
        if was is None and cell.members.verdict is not None:
            self.end_below(group, StopCause.FAIL_FAST, f"task {failed.id!r} failed, and {cell.id!r} fails fast")

    def _close(self, index: int) -> None:
        """End a group whose members have all ended; of some of these ends it may have been heard late."""
        cell = self.progress.cells[index]
        assert cell.members is not None
        ended_ms = max([self.now_ms, *self._ends_ms(cell.members.cells)])
        state, reason = outcomes.of_group(self.progress, index, ended_ms)
        outputs: Mapping[str, Any] | Sequence[Any] | None = None
        if cell.is_loop:
            items = [self.progress.cells[item] for item in cell.members.cells]
            outputs = [item.record.outputs or {} for item in items]
            try:
                if recordable.may_exceed(len(items)):
                    recordable.check_sizes(map(_measured, items), recordable.LIST_LIMIT)
            except BarbossaError as error:
                outputs = None
                if state is TaskState.SUCCEEDED:
                    state, reason = TaskState.FAILED, f"the outputs of its items cannot be kept: {error}"
        elif cell.record.outputs is not None:
            outputs = cell.record.outputs
        self.end_waiting(index, state, reason, outputs=outputs, finished_at_ms=ended_ms)

    def _ends_ms(self, indices: Iterable[int]) -> Iterator[int]:
        for index in indices:
            yield self.progress.cells[index].record.finished_at_ms or 0

    # -- one that may begin --------------------------------------------------------------------------------

    def _may_begin(self, cell: Cell) -> bool:
        """Say whether nothing keeps a cell but, perhaps, its own trigger and a place; a queued one is called."""
        return cell.waits_for == 0 and not cell.is_queued and self._is_open(cell)

    def _is_open(self, cell: Cell) -> bool:
        """Say whether the group that a task is in, if any, has begun."""
        return cell.parent is None or self.progress.cells[cell.parent].record.state is TaskState.RUNNING

    def _consider(self, index: int) -> None:
        """Let a task begin whose dependencies have ended, end it unstarted, or have it wait for its place."""
        cell = self.progress.cells[index]
        if cell.record.state is not TaskState.PENDING:
            return
        if self.progress.is_stopping and not self.progress.goes_on(index):
            self.end_unstarted(index, TaskState.CANCELLED, self.progress.run.stop_reason)
            return
        refusal = triggers.refusal(cell, [self.progress.cells[other] for other in cell.depends_on])
        if refusal is not None:
            self.end_unstarted(index, *refusal)
        elif self._takes_place(index, cell):
            self._enter(index, cell)

    def _takes_place(self, index: int, cell: Cell) -> bool:
        """Take one of the places of its group, or queue up for it."""
        if cell.parent is None or cell.has_entered:
            return True
        group = self.progress.cells[cell.parent]
        assert group.members is not None
        limit = group.max_parallel
        if limit is not None and group.members.entered >= limit:
            group.members.queue.append(index)
            cell.is_queued = True
            return False
        group.members.entered += 1
        cell.has_entered = True
        return True

    def _enter(self, index: int, cell: Cell) -> None:
        try:
            begins = self._holds(index, cell)
        except BarbossaError as error:
            self._fail(index, f"its 'when' cannot be decided: {error}")
            return
        if not begins:
            self.end_unstarted(index, TaskState.SKIPPED, f"when: {cell.task.when} does not hold")
        elif cell.is_loop:
            self._open_loop(index, cell)
        elif cell.task.kind is TaskKind.GROUP:
            self._open_group(index, cell)
        else:
            self.decision.ready.append(index)

    def _holds(self, index: int, cell: Cell) -> bool:
        """Evaluate ``when``: of a loop once, or where it looks at the item, for each of them."""
        if cell.task.when is None:
            return True
        if (cell.is_loop or cell.is_item) and triggers.sees_item(cell.task.when) is not cell.is_item:
            return True
        return triggers.truth(self.evaluate(self.progress, index, cell.task.when))

    def _fail(self, index: int, reason: str) -> None:
        start_run(self.progress, self.decision, self.now_ms)
        self.end_unstarted(index, TaskState.FAILED, reason)

    def _open_group(self, index: int, cell: Cell) -> None:
        members = cell.members
        assert members is not None
        begins, outputs = members.cells, None
        if cell.task.condition is not None:
            try:
                holds = triggers.truth(self.evaluate(self.progress, index, cell.task.condition))
            except BarbossaError as error:
                self._fail(index, f"its 'if' cannot be decided: {error}")
                return
            taken = Branch.THEN if holds else Branch.ELSE
            outputs = {"branch": taken.value}
            begins = [at for at in members.cells if self.progress.cells[at].task.branch is taken]
        self._open(index, outputs=outputs)
        for member in members.cells:
            if cell.task.condition is not None and self.progress.cells[member].task.branch is not taken:
                self.end_unstarted(member, TaskState.SKIPPED, f"the branch {taken} of {cell.id!r} was taken")
        self.begin(begins)
        if not members.unended:  # it has none, or an earlier run has done them all
            self._close(index)

    def _open_loop(self, index: int, cell: Cell) -> None:
        try:
            items = self._items(index, cell)
        except BarbossaError as error:
            self._fail(index, f"its 'for_each' cannot be used: {error}")
            return
        self._open(index, items=items)
        growth.grow_items(self.progress, index)
        assert cell.members is not None
        self.begin(cell.members.cells)
        if not items:
            self._close(index)

    def _items(self, index: int, cell: Cell) -> tuple[Any, ...]:
        assert cell.task.for_each is not None
        given = cell.task.for_each.items
        sizes.check(self.progress.looped.get(cell.task.section, 0))  # before a list is made in vain: it takes its time
        items = triggers.items_of(
            self.evaluate(self.progress, index, list(given) if isinstance(given, tuple) else given)
        )
        growth.check_room(self.progress, index, len(items))
        recordable.check(items, recordable.LIST_LIMIT)
        return items

    def _open(self, index: int, **facts: Any) -> None:
        """Begin a group or a loop; the run begins with its first task."""
        start_run(self.progress, self.decision, self.now_ms)
        record = move(self.progress, index, TaskState.RUNNING, started_at_ms=self.now_ms, **facts)
        self.decision.entered(record, self.now_ms, "task_began")
        self.decision.timed.append(index)

    # -- the run -------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Have those recorded that ended without a start."""
        if self.unstarted:
            self.decision.changes.append(changes.TasksEndedUnstarted(self.unstarted))
            self.unstarted = []

    def _next_section(self) -> bool:
        """Decide on the outcome after the main part; begin what follows, or end the run; say if something began."""
        progress = self.progress
        if progress.run.outcome is None:
            outcome, reason, outputs = self._outcome()
            facts: dict[str, Any] = {"outcome": outcome, "outcome_reason": reason, "outputs": outputs}
            facts["warnings"] = progress.warnings()
            progress.sections = growth.sections_after(progress, outcome)
            if not progress.sections:
                self._finish(facts)
                return False
            progress.run = changed(progress.run, **facts)
            start_run(progress, self.decision, self.now_ms)
            self.decision.changes.append(changes.RunMoved(progress.run, "run_decided", self.now_ms))
        while progress.sections:
            made = growth.grow_section(progress, progress.sections.popleft())
            if made:
                self.begin(made)
                return True
        self._finish({})
        return False

    def _outcome(self) -> tuple[RunState, str | None, Mapping[str, Any] | None]:
        """Return how the main part ended, why if not well, and what the run hands to who called it."""
        outcome, reason = outcomes.of_run(self.progress)
        wanted = self.progress.definition.outputs
        if outcome is not RunState.SUCCEEDED or not wanted:
            return outcome, reason, None
        try:
            outputs = self.evaluate(self.progress, None, dict(wanted))
            recordable.check(outputs.items(), OUTPUT_LIMIT)
            return outcome, reason, outputs
        except BarbossaError as error:
            return RunState.FAILED, f"its outputs cannot be used: {error}", None

    def _finish(self, decided: Mapping[str, Any]) -> None:
        """End the run; ``decided`` is its outcome where that was not recorded before."""
        run = self.progress.run
        facts = {"outcome": run.outcome, "outcome_reason": run.outcome_reason, **decided}
        facts |= {"state": facts["outcome"], "reason": facts["outcome_reason"]}
        ended_ms = max([self.now_ms, *self._ends_ms(range(len(self.progress.cells)))])
        self.progress.run = changed(run, finished_at_ms=ended_ms, paused_at_ms=None, **facts)
        self.decision.changes.append(changes.RunMoved(self.progress.run, "run_finished", self.now_ms))


def _measured(item: Cell) -> int:
    """Return how large the outputs of an item that has ended are. Raise BarbossaError if they cannot be recorded."""
    if item.outputs_bytes is None:
        item.outputs_bytes = recordable.size_bytes(item.record.outputs or {})
    return item.outputs_bytes


def start_run(progress: RunProgress, decision: Decision, now_ms: int) -> None:
    """Move a queued run to running: its first task leaves the queue."""
    if progress.run.state is RunState.QUEUED:
        progress.run = changed(progress.run, state=RunState.RUNNING, started_at_ms=now_ms)
        decision.changes.append(changes.RunMoved(progress.run, "run_started", now_ms))
