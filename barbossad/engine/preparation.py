"""Turn a task of a run into what a launcher starts: its command, its environment, its folder, its confinement.

No I/O but looking up the accounts that tasks run as, and reading the secrets of tasks that have some: small files.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator, Mapping

from barbossad.clock import rfc3339
from barbossad.config import Tasks
from barbossad.engine import confining
from barbossad.engine.progress import RunProgress, TaskProgress
from barbossad.model.definition import TaskDefinition
from barbossad.model.isolation import SAME_USER
from barbossad.model.names import SecretName
from barbossad.model.records import AttemptRecord
from barbossad.model.states import AttemptState
from barbossad.process import procfs
from barbossad.process.launcher import AttemptKey, LaunchSpec, Mask
from barbossad.security.masking import make_mask_of
from barbossad.tasks import _environment as environments
from barbossad.tasks._api import TaskContext
from barbossad.tasks._environment import AttemptFacts
from barbossad.tasks._types import TaskType
from barbossad.workflows import params, scope


class Preparation:
    """Knows the task types, and what the settings give to every task.

    ``has_default_profile`` says whether tasks that name no sandbox profile get that of the settings.
    """

    def __init__(
        self,
        task_types: Mapping[str, TaskType],
        settings: Tasks,
        host_name: str,
        get_secret: Callable[[SecretName], str],
        *,
        has_default_profile: bool,
    ) -> None:
        self._task_types = task_types
        self._host_name = host_name
        self._get_secret = get_secret
        self._user = pwd.getpwuid(os.geteuid())
        self._has_default_profile = has_default_profile
        self.configure(settings)

    def configure(self, settings: Tasks) -> None:
        """Change what the settings give to every task; attempts that are prepared later have it."""
        self._configured = settings.environment
        self._base = environments.base(self._user, settings.environment)
        self._confining = confining.Confining.of(settings, has_default_profile=self._has_default_profile)

    def launch_spec(self, progress: RunProgress, position: int, number: int) -> LaunchSpec:
        """Return what to launch for attempt ``number`` of a task.

        Raise BarbossaError if an expression or a secret of it has no value, or one that cannot be used.
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
        base = self._base
        run_as = self._confining.run_as(task.isolation)
        if run_as is not SAME_USER:
            base = environments.base(confining.account(run_as, self._user), self._configured)
        start = {**base, **params.environment(run.params)} if run.params else base
        environment = environments.build(start, definition, task, AttemptFacts(run_id=run.id, number=number), names)
        if number > 1 and (resumed := _resumed(progress.tasks[position].attempts[number - 2])):
            environment["BARBOSSA_RESUMED"] = resumed
        context = TaskContext(
            run_id=run.id,
            task_id=task.id,
            attempt=number,
            params=run.params,
            scope={**names, "env": environment},
        )
        command = self._task_types[task.type].command(context, task.params)
        secrets = environments.secrets(task, self._get_secret)
        return LaunchSpec(
            key=AttemptKey(run.id, task.id, number),
            argv=command.argv,
            script=command.script,
            env={**environment, **secrets, **command.env} if secrets or command.env else environment,
            working_dir=environments.working_dir(task, environment, names),
            isolation=self._confining.isolation(task.isolation, {**names, "env": environment}),
            timeout_seconds=task.timeout_seconds,
            grace_seconds=task.grace_seconds,
            detach=task.detach,
            make_mask=make_mask_of(secrets.values()),
        )

    def make_mask(self, task: TaskDefinition) -> Callable[[], Mask] | None:
        """Return what makes the masks of an attempt that an earlier daemon started, as ``launch_spec`` did then.

        Raise BarbossaError if a secret of it is not there any more.
        """
        return make_mask_of(environments.secrets(task, self._get_secret).values())


def _resumed(before: AttemptRecord) -> str | None:
    """Return what ``BARBOSSA_RESUMED`` says to an attempt that follows an interrupted one: what had gone down."""
    if before.state is not AttemptState.INTERRUPTED:
        return None
    return "daemon" if before.boot_id == procfs.boot_id() else "host"


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
