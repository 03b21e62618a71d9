"""Check what expressions refer to before anything runs: every name, param and task, and that the task comes before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from barbossad.document import Document, Path
from barbossad.errors import Fault
from barbossad.model.flow import Section, TaskKind
from barbossad.validation import RefusalError, proposal
from barbossad.workflows import scope, secret_names
from barbossad.workflows.entries import Entry, Rendered
from barbossad.workflows.expressions import ExpressionError, leaves, references
from barbossad.workflows.lookup import Home, Lookup
from barbossad.workflows.order import Order

_OUTPUTS: Final = "look at its outputs, or its status"
_NO_PROCESS: Final = {
    TaskKind.GROUP: "is a group",
    TaskKind.CALL: "runs another workflow",
    TaskKind.APPROVAL: "waits for a person",
}
_INSTEAD: Final = {TaskKind.GROUP: "look at the tasks in it, or at its status"}
_IN_ALL: Final = "write it at the task that needs it"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """From where an expression looks."""

    position: int | None = None
    """The task that it belongs to; None: the workflow."""

    sees_tasks: bool = True
    """Whether it is evaluated when tasks have run."""

    sees_itself: bool = False
    sees_item: bool = False
    sees_end: bool = False


@dataclass(slots=True)
class Checker:
    """Checks the expressions of one file; faults are added to ``faults``."""

    document: Document
    faults: list[Fault]
    params: Collection[str]
    lookup: Lookup
    order: Order
    max_faults: int
    """No more are looked for: a proposal for each of thousands would take minutes."""

    stdout_of: set[int] = field(default_factory=set)
    """The tasks whose stdout an expression may look at."""

    def check_task(self, position: int) -> None:
        """Check every expression of a task."""
        entry = self.lookup.entries[position]
        for rendered in entry.rendered:
            self.check(rendered.value, rendered.path, self._view(position, entry, rendered))

    def _view(self, position: int, entry: Entry, rendered: Rendered) -> View:
        return View(
            position=position,
            sees_itself=rendered.sees_itself,
            sees_item=entry.place.is_in_loop or (rendered.sees_item and entry.is_loop),
            sees_end=entry.place.section is not Section.MAIN,
        )

    def check(self, value: object, path: Path, view: View) -> None:
        """Check every expression beneath ``value``."""
        kind = TaskKind.PROCESS if view.position is None else self.lookup.entries[view.position].kind
        for leaf_path, text in leaves(value, path):
            if len(self.faults) > self.max_faults:
                return
            if secret_names.may_stand(leaf_path) and secret_names.lone(text) is not None:
                continue
            try:
                found = references(text)
            except ExpressionError as error:
                self.faults.append(self.document.fault(leaf_path, error.message, error.hint))
                continue
            if any(keys[0] == "secrets" for keys in found):
                self.faults.append(self.document.fault(leaf_path, *secret_names.refusal(text, leaf_path, kind)))
                continue
            for keys in found:
                try:
                    self._check_reference(keys, view)
                except RefusalError as error:
                    self.faults.append(self.document.fault(leaf_path, str(error), error.hint))

    def _check_reference(self, keys: tuple[str, ...], view: View) -> None:
        root, *rest = keys
        if root in scope.LOOP_ROOTS and not view.sees_item:
            raise RefusalError(*_no_item(root, view))
        if root not in scope.ROOTS | scope.FUNCTIONS | scope.LOOP_ROOTS:
            raise RefusalError(f"there is no {root!r} in expressions", self._root_hint(root, view))
        if root == "tasks":
            self._check_tasks(rest, view)
        if not rest:
            return
        if root == "params" and rest[0] not in self.params and rest[0] not in scope.MAP_METHODS:
            raise RefusalError(f"there is no param {rest[0]!r}", proposal(rest[0], self.params, noun="params"))
        if root == "run" and rest[0] in scope.END_FIELDS:
            if not view.sees_end:
                raise RefusalError(
                    f"'run.{rest[0]}' is known when the run has ended, and not before",
                    "use it in on_success, on_failure, on_cancel, on_exit or a rollback",
                )
        elif root in scope.FIELDS:
            known = scope.FIELDS[root] | scope.END_FIELDS if root == "run" and view.sees_end else scope.FIELDS[root]
            _check_field(root, rest[0], known)

    def _root_hint(self, root: str, view: View) -> str:
        if root in self.params:
            return f"write params.{root}"
        if view.sees_tasks and self.lookup.find([root], self._homes(view)):
            return f"write tasks.{root}.outputs, or another of its fields"
        known = scope.ROOTS | scope.LOOP_ROOTS if view.sees_item else scope.ROOTS
        hint = proposal(root, known, noun="there are")
        return hint if hint.startswith("did you") else f"text is written in quotes: '{root}'; {hint}"

    def _homes(self, view: View) -> list[Home]:
        """Return the lists whose tasks are seen: those around it; in a rollback, what its task sees; and the run's."""
        homes = list(self.lookup.homes(view.position))
        taken_back = self.lookup.entries[view.position].place.rolls_back if view.position is not None else None
        return list(dict.fromkeys([*homes, *self.lookup.homes(taken_back)]))

    def _check_tasks(self, keys: Sequence[str], view: View) -> None:
        """Check which task a reference means, and that it has ended where that is evaluated."""
        if not view.sees_tasks:
            raise RefusalError("an expression here cannot look at tasks", _IN_ALL)
        if not keys:
            self.stdout_of.update(range(len(self.lookup.entries)))
            return
        homes = self._homes(view)
        found = self.lookup.find(keys, homes)
        if found is None:
            raise RefusalError(f"there is no task {keys[0]!r}", self._task_hint(keys[0], homes))
        other, count = found
        rest = keys[count:]
        if rest and rest[0] not in scope.TASK_FIELDS:
            self._refuse_field(other, ".".join(keys[:count]), rest[0])
        self._check_before(other, view)
        self._check_field_of(other, rest, view)
        if not rest or rest[0] == "stdout":
            self.stdout_of.update(range(other, other + self.lookup.entries[other].size) if not rest else (other,))

    def _task_hint(self, name: str, homes: list[Home]) -> str:
        if "." in name and self.lookup.by_id(name) is not None:
            return f"write tasks.{name}"
        return proposal(name, list(dict.fromkeys(self.lookup.names(homes))), noun="tasks")

    def _refuse_field(self, other: int, name: str, key: str) -> None:
        members = self.lookup.names([other]) if self.lookup.entries[other].members else []
        if members:
            known = [*members, *scope.TASK_FIELDS]
            raise RefusalError(
                f"the group {name!r} has no task and no field {key!r}", proposal(key, known, noun="it has")
            )
        if key.isdigit() and self.lookup.entries[other].is_loop:
            raise RefusalError(f"single items of {name!r} cannot be looked at", f"write tasks.{name}.outputs[{key}]")
        _check_field("tasks", key, scope.TASK_FIELDS, f"an output is tasks.{name}.outputs.{key}")

    def _check_field_of(self, other: int, keys: Sequence[str], view: View) -> None:
        """Refuse a field that a task of its kind does not have, and outputs that it does not declare."""
        task = self.lookup.entries[other]
        seen_from = self._stand_in(view.position)
        is_list = task.is_loop and other != seen_from and not self._is_inside(seen_from, other)
        if keys[:1] in (["stdout"], ["exit_code"]) and (is_list or task.kind is not TaskKind.PROCESS):
            what = "runs once for each item" if is_list else _NO_PROCESS[task.kind]
            raise RefusalError(f"task {task.id!r} {what} and has no {keys[0]!r}", _INSTEAD.get(task.kind, _OUTPUTS))
        known = None if is_list or keys[:1] != ["outputs"] else task.outputs
        for name in keys[1:2]:
            if known is not None and name not in known and name not in scope.MAP_METHODS:
                raise RefusalError(f"task {task.id!r} has no output {name!r}", proposal(name, known, noun="it has"))

    def _stand_in(self, position: int | None) -> int | None:
        """Return the task that one of the rollback takes back, from whose loop it looks; others look from their own."""
        rolls_back = self.lookup.entries[position].place.rolls_back if position is not None else None
        return position if rolls_back is None else rolls_back

    def _is_inside(self, position: int | None, other: int) -> bool:
        return position is not None and self.lookup.is_within(position, other)

    def _check_before(self, other: int, view: View) -> None:
        """Refuse a task that may not have ended yet. Raise RefusalError."""
        entries, lookup, position = self.lookup.entries, self.lookup, view.position
        own = entries[position] if position is not None else None
        task = entries[other]
        is_near = (
            own is not None
            and own.place.section is task.place.section
            and own.place.rolls_back == task.place.rolls_back
        )
        if other == position:
            if view.sees_itself:
                return
            raise RefusalError(
                f"task {task.id!r} looks at itself, before it has run",
                "look at a task before it; expect and repeat may",
            )
        seen_from = self._stand_in(position)
        loop = lookup.is_cut_off(seen_from if seen_from is not None else -1, other)
        if loop is not None:
            raise RefusalError(
                f"task {task.id!r} runs once for each item of {entries[loop].id!r}",
                f"tasks.{entries[loop].id}.outputs is the list of what they put out",
            )
        if own is None or position is None or not is_near:
            return
        if lookup.is_within(position, other):
            raise RefusalError(
                f"task {own.id!r} is part of {task.id!r}, which has not ended yet", "look at a task before it"
            )
        condition = lookup.branches_off(position, other)
        if condition is not None:
            raise RefusalError(
                f"task {task.id!r} stands in the other branch of {entries[condition].id!r}, of which one alone runs",
                "look at a task before the condition, or at this one after it",
            )
        if not self.order.is_before(other, position):
            if self.order.is_before(position, other):
                raise RefusalError(
                    f"task {task.id!r} comes after this one, which looks at it", "look at a task before it"
                )
            name = task.name if own.place.parent == task.place.parent else task.id
            raise RefusalError(
                f"task {task.id!r} may not have run yet: this one does not wait for it", f"add {name} to depends_on"
            )


def _no_item(root: str, view: View) -> tuple[str, str]:
    if view.position is None:
        return f"there is no {root!r} here: it belongs to a task with for_each", _IN_ALL
    return f"there is no {root!r} here: this task has no for_each", "add for_each: [one, two] to it, or to its group"


def _check_field(root: str, key: str, fields: Collection[str], hint: str = "") -> None:
    if key in fields:
        return
    close = proposal(key, fields, noun="it has")
    what = "a task" if root == "tasks" else repr(root)
    raise RefusalError(f"{what} has no {key!r}", hint if hint and not close.startswith("did") else close)
