"""Turn a task of a run into what a launcher starts: its command, its environment, its folder. No I/O."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping

from barbossad.clock import rfc3339
from barbossad.engine.progress import RunProgress, TaskProgress
from barbossad.process.launcher import AttemptKey, LaunchSpec
from barbossad.tasks import _environment as environments
from barbossad.tasks._api import TaskContext
from barbossad.tasks._environment import AttemptFacts
from barbossad.tasks._types import TaskType
from barbossad.workflows import params, scope


class Preparation:
    """Knows the task types, and what every task's environment starts from."""

    def __init__(self, task_types: Mapping[str, TaskType], configured: Mapping[str, str], host_name: str) -> None:
        self._task_types = task_types
        self._host_name = host_name
        self._user = pwd.getpwuid(os.geteuid())
        self._base: dict[str, str] = {}
        self.set_environment(configured)

    def set_environment(self, configured: Mapping[str, str]) -> None:
        """Change what the settings give to every task; attempts that are prepared later have it."""
        self._base = environments.base(self._user, configured)

    def launch_spec(self, progress: RunProgress, position: int, number: int) -> LaunchSpec:
        """Return what to launch for attempt ``number`` of a task.

        Raise BarbossaError if an expression of it has no value, or one that cannot be used.
        """
        run, definition = progress.run, progress.definition
        task = definition.tasks[position]
        names = scope.make(
            definition,
            params=run.params,
            tasks=_TasksByName(progress),
            run_id=run.id,
            trigger=run.trigger.value,
            started_at=rfc3339(run.started_at_ms),
            host_name=self._host_name,
        )
        start = {**self._base, **params.environment(run.params)} if run.params else self._base
        environment = environments.build(start, definition, task, AttemptFacts(run_id=run.id, number=number), names)
        context = TaskContext(
            run_id=run.id,
            task_id=task.id,
            attempt=number,
            params=run.params,
            scope={**names, "env": environment},
        )
        command = self._task_types[task.type].command(context, task.params)
        return LaunchSpec(
            key=AttemptKey(run.id, task.id, number),
            argv=command.argv,
            script=command.script,
            env={**environment, **command.env} if command.env else environment,
            working_dir=environments.working_dir(task, environment, names),
        )


class _TasksByName(Mapping[str, Mapping[str, object]]):
    """What expressions see of tasks, made when they ask: most tasks have no expression at all."""

    def __init__(self, progress: RunProgress) -> None:
        self._progress = progress
        self._made: dict[str, Mapping[str, object]] = {}

    def __getitem__(self, task_id: str) -> Mapping[str, object]:
        if task_id not in self._made:
            self._made[task_id] = _facts(self._progress.tasks[self._progress.definition.positions[task_id]])
        return self._made[task_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._progress.definition.positions)

    def __len__(self) -> int:
        return len(self._progress.definition.positions)


def _facts(cell: TaskProgress) -> Mapping[str, object]:
    record = cell.record
    last = cell.attempts[-1] if cell.attempts else None
    seconds = None
    if record.started_at_ms is not None and record.finished_at_ms is not None:
        seconds = (record.finished_at_ms - record.started_at_ms) / 1000
    return scope.task_facts(
        status=record.state.value,
        exit_code=last.exit_code if last else None,
        outputs=record.outputs,
        attempts=len(cell.attempts),
        duration_seconds=seconds,
        error=record.reason,
    )
