"""Check what expressions refer to before anything runs: every name, param and task, and that the task comes before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from barbossad.document import Document, Path
from barbossad.errors import Fault
from barbossad.validation import RefusalError, proposal
from barbossad.workflows import graph, scope
from barbossad.workflows.expressions import ExpressionError, leaves, references


@dataclass(slots=True)
class Names:
    """What expressions of one file may refer to."""

    params: frozenset[str]
    positions: Mapping[str, int]
    """The position of each task by its id."""

    dependencies: Sequence[Sequence[int]]
    _ancestors: list[int] = field(default_factory=list)

    def is_before(self, other: int, position: int) -> bool:
        """Say whether ``position`` waits for ``other``, directly or not."""
        if other in self.dependencies[position]:
            return True
        if not self._ancestors:
            self._ancestors = graph.ancestors(self.dependencies)
        return bool(self._ancestors[position] >> other & 1)


@dataclass(slots=True)
class Checker:
    """Checks the expressions of one file; faults are added to ``faults``."""

    document: Document
    faults: list[Fault]
    names: Names

    max_faults: int
    """No more are looked for: a proposal for each of thousands would take minutes."""

    def check(self, value: object, path: Path, position: int | None) -> None:
        """Check every expression beneath ``value``.

        ``position`` is that of the task which the value belongs to, None where it belongs to all of them.
        """
        for leaf_path, text in leaves(value, path):
            if len(self.faults) > self.max_faults:
                return
            try:
                found = references(text)
            except ExpressionError as error:
                self.faults.append(self.document.fault(leaf_path, error.message, error.hint))
                continue
            for reference in found:
                try:
                    _check_reference(reference, self.names, position)
                except RefusalError as error:
                    self.faults.append(self.document.fault(leaf_path, str(error), error.hint))


def _check_reference(keys: tuple[str, ...], names: Names, position: int | None) -> None:
    root, *rest = keys
    if root in scope.LATER_ROOTS:
        hint = "name it under the task's secrets: it is an environment variable there" if root == "secrets" else ""
        raise RefusalError(f"{root!r} is not available in this version", hint)
    if root not in scope.ROOTS | scope.FUNCTIONS:
        raise RefusalError(f"there is no {root!r} in expressions", _root_hint(root, names))
    if not rest:
        return
    if root == "params" and rest[0] not in names.params:
        raise RefusalError(f"there is no param {rest[0]!r}", proposal(rest[0], names.params, noun="params"))
    if root == "tasks":
        _check_task(rest[0], names, position)
        if len(rest) > 1:
            _check_field("tasks", rest[1], scope.TASK_FIELDS, f"an output is tasks.{rest[0]}.outputs.{rest[1]}")
    if root in scope.FIELDS:
        _check_field(root, rest[0], scope.FIELDS[root])


def _root_hint(root: str, names: Names) -> str:
    if root in names.params:
        return f"write params.{root}"
    if root in names.positions:
        return f"write tasks.{root}.outputs, or another of its fields"
    return proposal(root, scope.ROOTS, noun="there are")


def _check_task(task: str, names: Names, position: int | None) -> None:
    if position is None:
        raise RefusalError("an expression here cannot look at tasks", "write it at the task that needs it")
    other = names.positions.get(task)
    if other is None:
        raise RefusalError(f"there is no task {task!r}", proposal(task, names.positions, noun="tasks"))
    if other == position:
        raise RefusalError(f"task {task!r} looks at itself, before it has run", "look at a task before it")
    if not names.is_before(other, position):
        raise RefusalError(
            f"task {task!r} may not have run yet: this one does not wait for it", f"add {task} to depends_on"
        )


def _check_field(root: str, key: str, fields: frozenset[str], hint: str = "") -> None:
    if key in fields:
        return
    if key in scope.LATER_FIELDS.get(root, ()):
        of_what = "a task" if root == "tasks" else root
        raise RefusalError(f"{key!r} of {of_what} is not available in this version")
    close = proposal(key, fields, noun="it has")
    what = "a task" if root == "tasks" else repr(root)
    raise RefusalError(f"{what} has no {key!r}", hint if hint and not close.startswith("did") else close)
