"""What expressions see of tasks, made when they ask: most tasks have no expression at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from barbossad.clock import seconds_between
from barbossad.engine.attempt import OUTPUTS_UNKNOWN
from barbossad.engine.progress import Cell, RunProgress
from barbossad.model.flow import Section
from barbossad.workflows import scope


class TasksByName(Mapping[str, Mapping[str, Any]]):
    """The tasks of a run by name, as one of them sees them.

    A name is looked for among those beside the task, then beside the group that it is in, and so on outward; so a
    member of a loop's item sees those of its own item. After the main part, that part is what is outermost; a rollback
    sees what its task sees, and that task. The one task of a rollback has no name of its own.
    """

    def __init__(self, progress: RunProgress, index: int | None) -> None:
        self._progress = progress
        around = [progress.cells[index], *progress.ancestors(index)] if index is not None else []
        taken_back = around[0].takes_back if around else None
        beyond: list[Cell] = []
        named = around
        if taken_back is not None:
            beyond = [progress.cells[taken_back], *progress.ancestors(taken_back)]
            named = [cell for cell in around if cell.task.id != f"rollback.{beyond[0].task.id}"]
        self._items = {cell.task.name: cell for cell in reversed([*named, *beyond]) if cell.is_item}
        """Those that the task is, or is in: what they look at under their name is the item, not the loop."""

        self._prefixes = [f"{cell.id}." for cell in around[1:]]
        if beyond:
            self._prefixes += [f"rollback.{beyond[0].id}.", *(f"{cell.id}." for cell in beyond[1:])]
        elif around and around[0].task.section is not Section.MAIN:
            self._prefixes.append(f"{around[0].task.section}.")
        self._prefixes.append("")
        self._made: dict[str, Mapping[str, Any]] = {}

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        if name not in self._made:
            self._made[name] = facts(self._progress, self._find(name))
        return self._made[name]

    def _find(self, name: str) -> Cell:
        if name in self._items:
            return self._items[name]
        for prefix in self._prefixes:
            index = self._progress.index.get(prefix + name)
            if index is not None:
                return self._progress.cells[index]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._progress.index)

    def __len__(self) -> int:
        return len(self._progress.index)


class _Facts(Mapping[str, Any]):
    """The facts of a task, and under the names of its members theirs."""

    def __init__(self, progress: RunProgress, cell: Cell) -> None:
        self._progress = progress
        self._cell = cell
        self._facts = _own_facts(cell)

    def __getitem__(self, name: str) -> Any:
        if name in self._facts:
            return self._facts[name]
        index = self._progress.index.get(f"{self._cell.id}.{name}")
        if index is None:
            raise KeyError(name)
        return facts(self._progress, self._progress.cells[index])

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


def facts(progress: RunProgress, cell: Cell) -> Mapping[str, Any]:
    """Return what expressions may read of a task."""
    return _Facts(progress, cell) if cell.members is not None else _own_facts(cell)


class _Unknown(Mapping[str, Any]):
    """Outputs that nobody may look at: whoever does is told why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getitem__(self, name: str) -> Any:
        raise ValueError(self._reason)

    def __iter__(self) -> Iterator[str]:
        raise ValueError(self._reason)

    def __len__(self) -> int:
        raise ValueError(self._reason)


def _own_facts(cell: Cell) -> dict[str, Any]:
    record = cell.record
    last = cell.attempts[-1] if cell.attempts else None
    return scope.task_facts(
        status=record.state.value,
        exit_code=last.exit_code if last else record.kept_exit_code,
        stdout=record.stdout,
        outputs=_Unknown(OUTPUTS_UNKNOWN) if record.reason == OUTPUTS_UNKNOWN else record.outputs,
        attempts=len(cell.attempts) or record.kept_attempts or 0,
        duration_seconds=seconds_between(record.started_at_ms, record.finished_at_ms),
        error=record.reason,
    )
