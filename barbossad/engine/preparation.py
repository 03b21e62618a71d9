"""Turn a task of a run into what a launcher starts: its command, its environment, its folder, its confinement.

No I/O but looking up the accounts that tasks run as, and reading the secrets of tasks that have some: small files.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from barbossad.clock import rfc3339
from barbossad.config import Tasks
from barbossad.engine import confining
from barbossad.engine.faults import contained
from barbossad.engine.progress import RunProgress
from barbossad.engine.taskfacts import TasksByName
from barbossad.model import boots
from barbossad.model.definition import TaskDefinition
from barbossad.model.flow import ApprovalRequest, CallRequest
from barbossad.model.isolation import SAME_USER
from barbossad.model.names import SecretName
from barbossad.model.records import AttemptRecord
from barbossad.model.states import AttemptState
from barbossad.process import procfs
from barbossad.process.launcher import AttemptKey, LaunchSpec
from barbossad.security.masking import make_mask_of
from barbossad.tasks import _environment as environments
from barbossad.tasks import _guard
from barbossad.tasks._api import TaskContext, TaskError
from barbossad.tasks._environment import AttemptFacts
from barbossad.tasks._types import TaskType
from barbossad.validation import RefusalError
from barbossad.variables import check_travels, text_of
from barbossad.workflows import absent, expressions, scope


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
        now_ms: Callable[[], int],
    ) -> None:
        self._now_ms = now_ms
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

    def launch_spec(self, progress: RunProgress, index: int, number: int) -> LaunchSpec:
        """Return what to launch for attempt ``number`` of a task.

        Raise BarbossaError if an expression or a secret of it has no value, or one that cannot be used.
        """
        cell = progress.cells[index]
        task = cell.task
        context, environment = self._context(progress, index, number)
        if number > 1 and (resumed := _resumed(cell.attempts[number - 2])):
            environment["BARBOSSA_RESUMED"] = resumed
        command = self._type_of(task).command(context, task.params)
        secrets = environments.secrets(task, self._get_secret)
        creates = [_guard.checked_path(expressions.render_text(path, context.scope)) for path in task.creates]
        return LaunchSpec(
            key=AttemptKey(progress.run.id, cell.id, number),
            argv=_guard.wrap(command.argv, creates, task.unless),
            script=command.script,
            env={**environment, **secrets, **command.env} if secrets or command.env else environment,
            working_dir=environments.working_dir(task, environment, context.scope),
            isolation=self._confining.isolation(task.isolation, context.scope),
            timeout_seconds=task.timeout_seconds,
            grace_seconds=task.grace_seconds,
            detach=task.detach,
            make_mask=make_mask_of(secrets.values()),
            secrets=frozenset(secrets.values()),
        )

    def value(self, progress: RunProgress, index: int | None, value: Any) -> Any:
        """Return a value with its expressions replaced, as a task sees them, or the run itself. Raise BarbossaError."""
        run = progress.run
        with contained(run.id, "" if index is None else progress.cells[index].id):
            return self._value(progress, index, value)

    def _value(self, progress: RunProgress, index: int | None, value: Any) -> Any:
        if index is None:
            run, names = progress.run, self._names(progress, None)
            start = {**self._base, **progress.variables}
            facts = AttemptFacts(run_id=run.id, scheduled_for=rfc3339(run.scheduled_for_ms))
            env = environments.build(start, progress.definition, {}, facts, names)
            return expressions.render(value, {**names, "env": env})
        if not any(True for _ in expressions.leaves(value)):
            return value
        return expressions.render(value, self._context(progress, index, 0)[0].scope)

    def approval(self, progress: RunProgress, index: int) -> ApprovalRequest:
        """Return what a person is asked. Raise BarbossaError."""
        params: Any = self._resolved(progress, index)
        return params.request()  # type: ignore[no-any-return]

    def call(self, progress: RunProgress, index: int) -> CallRequest:
        """Return which workflow a task runs, and with which params. Raise BarbossaError."""
        params: Any = self._resolved(progress, index)
        return params.request()  # type: ignore[no-any-return]

    def _resolved(self, progress: RunProgress, index: int) -> Any:
        cell = progress.cells[index]
        context, _ = self._context(progress, index, len(cell.attempts) + 1)
        return self._type_of(cell.task).resolve(context, cell.task.params)

    def _type_of(self, task: TaskDefinition) -> TaskType:
        found = self._task_types.get(task.type)
        if found is None:
            raise TaskError(absent.words(task.type))
        return found

    def _context(self, progress: RunProgress, index: int, number: int) -> tuple[TaskContext, dict[str, str]]:
        """Return what a task is told, and its environment, rendered."""
        run, cell = progress.run, progress.cells[index]
        names = scope.Scope(partial(self._names, progress, index))
        base = self._base
        run_as = self._confining.run_as(cell.task.isolation)
        if run_as is not SAME_USER:
            base = environments.base(confining.account(run_as, self._user), self._configured)
        start = {**base, **progress.variables} if run.params else base
        facts = AttemptFacts(run_id=run.id, task_id=cell.id, number=number, scheduled_for=rfc3339(run.scheduled_for_ms))
        own = {} if cell.is_loop else cell.task.env  # which is that of its items, and may look at them
        environment = environments.build(start, progress.definition, own, facts, names)
        if cell.loop is not None:
            try:
                environment["BARBOSSA_ITEM"] = check_travels(text_of(cell.loop.item), name="BARBOSSA_ITEM")
            except RefusalError as error:  # left out, a script would take it for empty
                raise TaskError(f"its item cannot be handed to it (BARBOSSA_ITEM): it {error}") from None
            environment["BARBOSSA_ITEM_INDEX"] = str(cell.loop.index)
        seen = names.over({"env": environment})
        return TaskContext(run_id=run.id, task_id=cell.id, attempt=number, params=run.params, scope=seen), environment

    def _names(self, progress: RunProgress, index: int | None) -> dict[str, Any]:
        """Return what expressions see, but for ``env``."""
        run = progress.run
        facts = scope.RunFacts(
            id=run.id,
            trigger=run.trigger.value,
            started_at=rfc3339(run.started_at_ms or self._now_ms()),  # what begins it is looked at a moment before
            parent=run.parent_run,
            scheduled_for=rfc3339(run.scheduled_for_ms),
            state=(run.outcome or run.state).value,
            reason=run.outcome_reason,
            failed_tasks=[progress.cells[failed].id for failed in progress.failed()] if run.outcome else [],
        )
        tasks = TasksByName(progress, index)
        names = scope.make(progress.definition, params=run.params, tasks=tasks, run=facts, host_name=self._host_name)
        loop = progress.cells[index].loop if index is not None else None
        if loop is not None:
            names |= scope.loop_facts(loop.item, loop.index, loop.length)
        return names


def _resumed(before: AttemptRecord) -> str | None:
    """Return what ``BARBOSSA_RESUMED`` says to an attempt that follows an interrupted one: what had gone down."""
    if before.state is not AttemptState.INTERRUPTED:
        return None
    return "daemon" if boots.is_same(before.boot_id, procfs.boot_id()) else "host"
