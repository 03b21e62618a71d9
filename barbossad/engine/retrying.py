"""Which tasks of a run that has ended need not run again when it is retried. Pure.

A task is kept if it had done its work, or was skipped, and all that it depends on is kept: directly, and through the
groups that it is in. What was rolled back is not done any more. A group is kept with all of its members or not at all.
A loop of which some items failed goes on with the same list, if all that it and its members depend on is kept; in a
group it runs again as a whole. What was skipped, a branch that was chosen, and the list of a loop that goes on are
found anew where they come of a param that is edited; what was done stays done.

An approval lets what comes after it run once, with the params that it was given for. It is asked again, and all that
comes after it runs again, where something after it runs with an edited param, does a second time what it had done, or
may have run in another retry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from barbossad.errors import ConflictError, NotFoundError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Section, TaskKind
from barbossad.model.names import RunId
from barbossad.model.records import AttemptRecord, TaskRecord, changed
from barbossad.model.states import TaskState
from barbossad.validation import proposal
from barbossad.workflows.expressions import leaves
from barbossad.workflows.scope import MAP_METHODS

FAILED: Final = "failed"
"""From what had not succeeded."""

START: Final = "start"
"""From the start: nothing is kept."""

_PARAM: Final = re.compile(r"""\bparams\b(?:\s*\.\s*(\w+)|\s*\[\s*["'](\w+)["']\s*\])?""")
_ANY: Final = MAP_METHODS | {""}
"""What stands behind ``params`` where not one of them is looked at but any."""

_ENV: Final = re.compile(r"\benv\b")
_ITEM: Final = re.compile(r"\[\d+\]")
_DONE: Final = frozenset({TaskState.SUCCEEDED, TaskState.SKIPPED})


def kept(
    definition: WorkflowDefinition,
    run_id: RunId,
    tasks: Mapping[str, TaskRecord],
    since: str,
    edited: Set[str] = frozenset(),
    *,
    is_first: bool = True,
) -> dict[str, TaskRecord]:
    """Return the rows of a run, by id, that a retry of it takes over as done, those of members and items with them.

    ``tasks`` are all of its rows. ``since`` is ``failed``, ``start`` or the id of a task, which then runs again with
    all that depends on it. ``edited`` are the params that have another value in the retry: what one of them decided is
    decided anew. ``is_first`` is false where another retry of the run may have used what was approved in it. Raise
    NotFoundError for a task that is not there, ConflictError for one that is not of the run proper, and if nothing is
    left that had failed.
    """
    main = definition.sections.get(Section.MAIN, ())
    if since == START:
        return {}
    forced = None if since == FAILED else _position(definition, run_id, since)
    again = _Again(definition, tasks, forced, edited, is_first)
    positions = [position for position in main if not again.runs(position)]
    if forced is None and len(positions) == len(main):
        raise ConflictError(
            f"every task of run {run_id} has done its work, so there is nothing to retry from: "
            "retry it from the start (--from start), or from a task (--from TASK)"
        )
    ids = [definition.tasks[position].id for position in positions]
    found: dict[str, TaskRecord] = {task_id: tasks[task_id] for task_id in ids if task_id in tasks}
    loops = [task.id for task in map(definition.tasks.__getitem__, positions) if task.for_each is not None]
    found |= {task_id: tasks[task_id] for loop in loops for task_id in _items(loop, tasks)}
    for position in main:
        if again.goes_on(position):
            found |= _rest_of(definition.tasks[position].id, tasks, again.undecided(position))
    return found


def with_attempts(
    rows: Mapping[str, TaskRecord], attempts: Mapping[str, Sequence[AttemptRecord]]
) -> dict[str, TaskRecord]:
    """Return the rows that a retry takes over, each with what expressions ask about its attempts, which stay behind.

    What a run had itself taken over has none there, and goes on as it is.
    """
    return {
        task_id: changed(row, kept_attempts=len(tries), kept_exit_code=tries[-1].exit_code)
        if (tries := attempts.get(task_id))
        else row
        for task_id, row in rows.items()
    }


def _rest_of(loop: str, tasks: Mapping[str, TaskRecord], undecided: Set[str]) -> dict[str, TaskRecord]:
    """Return the row of a loop that goes on with the same items, and those of the items that are done.

    Nothing where all of them are: the loop failed for another reason, and runs again whole.
    """
    begun = changed(tasks[loop], state=TaskState.RUNNING, reason=None, outputs=None, finished_at_ms=None)
    rows = _items(loop, tasks)
    undone = {_item_of(row) for row in rows if tasks[row].state not in _DONE or row in undecided}
    done = {_item_of(row) for row in rows} - undone
    if not done or len(done) == len(tasks[loop].items or ()):
        return {}
    return {loop: begun, **{row: tasks[row] for row in rows if _item_of(row) in done}}


def _item_of(row: str) -> str:
    return row[: row.index("]") + 1]


def _position(definition: WorkflowDefinition, run_id: RunId, since: str) -> int:
    main = definition.sections.get(Section.MAIN, ())
    names = [definition.tasks[position].id for position in main]
    position = definition.positions.get(since)
    if position in main:
        return position
    if position is not None or since.partition(".")[0] in set(Section):
        raise ConflictError(f"task {since!r} of run {run_id} comes at its end; a retry begins at one of: "
                            f"{', '.join(names[:10])}")  # fmt: skip
    if "[" in since:
        loop = since.partition("[")[0]
        if loop in names:
            raise ConflictError(f"{since!r} is one item of a loop: retry from {loop!r}, or from what failed")
    raise NotFoundError(f"task of run {run_id}", since, proposal(since, names, noun="its tasks"))


@dataclass(slots=True)
class _Again:
    """What runs again, found out once for each task of the file."""

    definition: WorkflowDefinition
    tasks: Mapping[str, TaskRecord]
    forced: int | None
    edited: Set[str]
    is_first: bool = True
    found: dict[int, bool] = field(default_factory=dict)
    rolled_back: frozenset[int] = frozenset()
    asked_again: set[int] = field(default_factory=set)
    """The approvals that were given and do not hold for what runs again."""

    def __post_init__(self) -> None:
        rows = {_ITEM.sub("", row) for row in self.tasks if row.startswith("rollback.")}
        rollbacks = (task for task in self.definition.tasks if task.rolls_back is not None and task.id in rows)
        self.rolled_back = frozenset(task.rolls_back for task in rollbacks if task.rolls_back is not None)
        main = self.definition.sections.get(Section.MAIN, ())
        self.found = dict.fromkeys(main, False)
        self._spread(position for position in main if self._must_run(position))
        self._ask_again()

    def runs(self, position: int) -> bool:
        """Say whether a task runs again."""
        return self.found[position]

    def goes_on(self, position: int) -> bool:
        """Say whether a loop runs again for the sake of some of its items alone: the list of them is the same."""
        task, record = self.definition.tasks[position], self.tasks.get(self.definition.tasks[position].id)
        if task.for_each is None or task.parent is not None or record is None or record.items is None:
            return False
        if self._is_decided_by_edited(task.for_each.items):
            return False
        if not self.runs(position) or self._is_forced(position) or position in self.rolled_back:
            return False
        inside = range(position, position + task.size)
        if any(self._is_forced(member) or member in self.rolled_back | self.asked_again for member in inside):
            return False
        needed = {self.definition.positions[name] for at in inside for name in self.definition.tasks[at].depends_on}
        return not any(self.runs(other) for other in needed if other not in inside)

    def _spread(self, first: Iterable[int]) -> None:
        """Begin with what cannot be kept for its own sake, then go on to all that hangs on that."""
        waiting = list(first)
        self.found.update(dict.fromkeys(waiting, True))
        while waiting:
            position = waiting.pop()
            for other in (*self._hanging_on(position), *self._undecided_members(position)):
                if not self.found[other]:
                    self.found[other] = True
                    waiting.append(other)

    def _ask_again(self) -> None:
        """Have approvals asked again that do not hold for what comes after them, and all that comes after those."""
        given = self._approved()
        is_same = self.is_first and not self.edited
        if not given or (is_same and self.forced is None):
            return
        plain = _Again(self.definition, self.tasks, None, self.edited).found if is_same else {}
        while True:
            anew = {position for position in self._working() if self.found[position] and not plain.get(position)}
            more = [one for one in given if one not in self.asked_again and not anew.isdisjoint(self._after(one))]
            if not more:
                return
            self.asked_again.update(more)
            self._spread(more)

    def _working(self) -> Iterable[int]:
        """Return the tasks that are not carried out by others."""
        return (position for position in self.found if self.definition.tasks[position].kind is not TaskKind.GROUP)

    def _approved(self) -> list[int]:
        """Return the approvals that were given, in a loop to one of its items at least."""
        asking = [one for one in self.found if self.definition.tasks[one].kind is TaskKind.APPROVAL]
        if not asking:
            return []
        done = {_ITEM.sub("", row) for row, record in self.tasks.items() if record.state is TaskState.SUCCEEDED}
        return [one for one in asking if self.definition.tasks[one].id in done]

    def _after(self, position: int) -> set[int]:
        """Return all that hangs on a task, directly or not."""
        after: set[int] = set()
        waiting = [position]
        while waiting:
            more = set(self._hanging_on(waiting.pop())) - after
            after |= more
            waiting += more
        return after

    def _must_run(self, position: int) -> bool:
        task = self.definition.tasks[position]
        record = self.tasks.get(task.id)
        is_in_loop = self._loop_around(position) is not None
        if self._is_forced(position) or position in self.rolled_back:
            return True
        if record is None:
            return not is_in_loop  # a member of a loop has rows of its items alone
        items = _items(task.id, self.tasks) if task.for_each is not None else []
        is_done = record.state in _DONE and all(self.tasks[item].state in _DONE for item in items)
        return not is_done or bool(self.undecided(position))

    def undecided(self, position: int) -> set[str]:
        """Return the rows of a task, or of its items, that were skipped for the sake of a param that is edited."""
        task = self.definition.tasks[position]
        if not self._is_decided_by_edited(task.when):
            return set()
        rows = [task.id, *(row for row in _items(task.id, self.tasks) if row.endswith("]"))]
        found = (row for row in rows if row in self.tasks and self.tasks[row].state is TaskState.SKIPPED)
        return {row for row in found if self.tasks[row].started_at_ms is None}

    def _undecided_members(self, position: int) -> Iterable[int]:
        """Return the members of a group that runs again, if a param that is edited decides whether and which begin."""
        task = self.definition.tasks[position]
        is_open = self._is_decided_by_edited(task.condition) or bool(self.undecided(position))
        inside = range(position + 1, position + task.size) if is_open else ()
        return (member for member in inside if member in self.found)

    def _is_decided_by_edited(self, value: object) -> bool:
        """Say whether an expression looks at a param that is edited; what comes of ``env`` may come of any.

        ``value`` may also be a list with expressions anywhere in it.
        """
        if not self.edited:
            return False
        texts = [text for _, text in leaves(list(value) if isinstance(value, tuple) else value)]
        looked_at = {dotted or quoted for text in texts for dotted, quoted in _PARAM.findall(text)}
        return bool(looked_at & self.edited or looked_at & _ANY or any(map(_ENV.search, texts)))

    def _is_forced(self, position: int) -> bool:
        if self.forced is None:
            return False
        return self.forced <= position < self.forced + self.definition.tasks[self.forced].size

    def _loop_around(self, position: int) -> int | None:
        """Return the loop that a task is a member of, directly or not."""
        parent = self.definition.tasks[position].parent
        while parent is not None:
            if self.definition.tasks[parent].for_each is not None:
                return parent
            parent = self.definition.tasks[parent].parent
        return None

    def _hanging_on(self, position: int) -> list[int]:
        """Return what cannot be kept where this one is not: its dependants with their members, and its groups.

        Of a loop that is its members too, which are done again for each of its items.
        """
        definition = self.definition
        found: list[int] = []
        for dependant in definition.dependants[position]:
            found += range(dependant, dependant + definition.tasks[dependant].size)
        task = definition.tasks[position]
        if task.parent is not None:
            found.append(task.parent)
        if task.for_each is not None:
            found += range(position, position + task.size)
        return [other for other in found if other in self.found]


def _items(loop: str, tasks: Mapping[str, TaskRecord]) -> list[str]:
    """Return the ids of the rows of a loop's items and their members."""
    return [task_id for task_id in tasks if task_id.startswith(f"{loop}[")]
