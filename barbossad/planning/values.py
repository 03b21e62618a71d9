"""What a task would be given: params, command, environment, account, limits, as far as they are known."""

from __future__ import annotations

import dataclasses
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from barbossad.config import Tasks
from barbossad.engine.confining import Confining, account
from barbossad.errors import BarbossaError
from barbossad.model.definition import TaskDefinition, WorkflowDefinition
from barbossad.model.flow import TaskKind
from barbossad.planning import comparing
from barbossad.planning.knowing import A_SECRET, Knowledge, Known
from barbossad.planning.verdicts import no_truth
from barbossad.process import in_force
from barbossad.process.launcher import SCRIPT
from barbossad.tasks import _environment as environments
from barbossad.tasks import _guard
from barbossad.tasks._api import TaskContext, TaskError
from barbossad.tasks._types import TaskType
from barbossad.variables import text_of
from barbossad.workflows import params as workflow_params
from barbossad.workflows import scope
from barbossad.workflows.contract import Unrendered, literal_fields

THE_SCRIPT: Final = "{script}"
"""Stands in a command for the file that holds the script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the host and the settings give to every task."""

    task_types: Mapping[str, TaskType]
    settings: Tasks
    host_name: str
    has_default_profile: bool

    def knowledge(self, definition: WorkflowDefinition, params: Mapping[str, Any]) -> Knowledge:
        """Return what is known of a run with these params before it exists."""
        secret = frozenset(param.name for param in definition.params if param.type == comparing.SECRET_TYPE)
        names = scope.make(
            definition,
            params={name: value for name, value in params.items() if name not in secret},
            tasks={},
            run=scope.RunFacts(id="", trigger="", started_at=None),
            host_name=self.host_name,
        )
        given = workflow_params.environment({name: value for name, value in params.items() if name not in secret})
        return Knowledge(names=names, secret_params=secret, env=given, later_env=dict.fromkeys(secret, (A_SECRET,)))

    def workflow_env(self, definition: WorkflowDefinition, knowledge: Knowledge) -> Mapping[str, str]:
        """Return the variables that a workflow gives to all of its tasks, as far as they are known."""
        base = environments.base(pwd.getpwuid(os.geteuid()), self.settings.environment)
        seeing = knowledge.with_env({**base, **knowledge.env}, knowledge.later_env)
        env: Mapping[str, str] = seeing.environment(definition.env)[1].value
        return env


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a task would be given; ``later`` says of what stands as written, by place, what it waits for."""

    params: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    """The task's own variables, without those of the workflow."""

    secrets: Mapping[str, str] = field(default_factory=dict)
    """From variables to the names of the secrets that they get."""

    working_dir: str | None = None
    user: str | None = None
    confinement: Mapping[str, Any] = field(default_factory=dict)
    creates: tuple[str, ...] = ()
    later: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


def content(
    surroundings: Surroundings, definition: WorkflowDefinition, task: TaskDefinition, knowledge: Knowledge
) -> tuple[Content, Knowledge]:
    """Return what a task would be given, and what decides on it may see: of a loop not the variables of its items."""
    making = _Making(surroundings, definition, task)
    return making.content(knowledge)


@dataclass(slots=True)
class _Making:
    surroundings: Surroundings
    definition: WorkflowDefinition
    task: TaskDefinition
    later: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def content(self, knowledge: Knowledge) -> tuple[Content, Knowledge]:
        task, settings = self.task, self.surroundings.settings
        confining = Confining.of(settings, has_default_profile=self.surroundings.has_default_profile)
        own = pwd.getpwuid(os.geteuid())
        run_as = confining.run_as(task.isolation)
        user: pwd.struct_passwd | None = own
        try:
            user = account(run_as, own)
        except TaskError as error:
            self.problems.append(str(error))
        base = environments.base(user, settings.environment)
        seeing = knowledge.with_env({**base, **knowledge.env}, knowledge.later_env)
        around, of_all = seeing.environment(self.definition.env)
        self.problems += of_all.problems
        seeing, variables = around.environment(task.env)
        own_env = self._take(variables, "env")
        params, is_whole = self._params(seeing)
        is_process = task.kind is TaskKind.PROCESS
        self._look_afterwards(seeing)
        found = Content(
            params=params,
            command=self._command(seeing, knowledge) if is_whole else None,
            env=own_env,
            secrets=dict(task.secrets),
            working_dir=self._working_dir(seeing, base["HOME"]) if is_process else None,
            user=("dynamic" if run_as.is_dynamic else run_as.user or own.pw_name) if is_process else None,
            confinement=self._confinement(confining, seeing) if is_process else {},
            creates=tuple(self._path(index, text, seeing) for index, text in enumerate(task.creates)),
            later=self.later,
            problems=tuple(dict.fromkeys(self.problems)),
        )
        return found, around if task.for_each is not None and not knowledge.has_item else seeing

    def _take(self, found: Known, place: str) -> Any:
        """Return a value as far as it is known, and remember what of it is not."""
        for inner, waits in found.later.items():
            joint = "" if not inner or inner.startswith("[") else "."
            self.later[f"{place}{joint}{inner}"] = waits
        self.problems += found.problems
        return found.value

    def _params(self, seeing: Knowledge) -> tuple[dict[str, Any], bool]:
        """Return the task's params as far as they are known, by the names under which they are written."""
        params = self.task.params
        if self.task.kind is TaskKind.GROUP:
            return {}, True  # its members are tasks of their own
        written: dict[str, Any] = {}
        code: frozenset[str] = frozenset()
        if isinstance(params, Unrendered):
            written = dict(params.tree)
            code = literal_fields(self.surroundings.task_types[self.task.type].Params)
        elif isinstance(params, BaseModel):
            return params.model_dump(mode="json", by_alias=True, exclude_unset=True), True
        elif dataclasses.is_dataclass(params) and not isinstance(params, type):
            written = {
                one.name: _plain(getattr(params, one.name))
                for one in dataclasses.fields(params)
                if getattr(params, one.name) not in (None, (), {})
            }
        found = seeing.render({key: value for key, value in written.items() if key not in code})
        known = self._take(found, "params")
        return {key: written[key] if key in code else known[key] for key in written}, found.is_whole

    def _command(self, seeing: Knowledge, knowledge: Knowledge) -> tuple[str, ...] | None:
        """Return the program that would be started; None where it is none of the author's, or what is faulty."""
        if self.task.kind is TaskKind.GROUP:
            return None
        task_type = self.surroundings.task_types[self.task.type]
        context = TaskContext(
            run_id="",
            task_id=self.task.id,
            attempt=1,
            params=knowledge.names["params"],
            scope={**seeing.names, "env": seeing.env},
        )
        try:
            if self.task.kind is not TaskKind.PROCESS:
                task_type.resolve(context, self.task.params)
                return None
            command = task_type.command(context, self.task.params)
        except BarbossaError as error:
            self.problems.append(str(error))
            return None
        if task_type.is_worker:
            return None
        return tuple(THE_SCRIPT if argument == SCRIPT else argument for argument in command.argv)

    def _look_afterwards(self, seeing: Knowledge) -> None:
        """Find what should decide after an attempt, and never will."""
        repeat = self.task.repeat
        texts = {"expect": self.task.expect, "repeat": (repeat.until or repeat.while_) if repeat is not None else None}
        for key, text in texts.items():
            problem = no_truth(seeing.render(text)) if text is not None else ""
            if problem:
                self.problems.append(f"its {key!r} cannot be decided: {problem}")

    def _working_dir(self, seeing: Knowledge, home: str) -> str:
        if self.task.working_dir is None:
            return home
        found = seeing.render(self.task.working_dir)
        self._take(found, "working_dir")
        if found.is_whole and not str(found.value).startswith("/"):
            self.problems.append(f"'working_dir' must be an absolute path, not {found.value!r}")
        return str(found.value)

    def _path(self, index: int, text: str, seeing: Knowledge) -> str:
        """Return a path of ``creates`` as the run will have it, where it is known."""
        found = seeing.render(text)
        self._take(found, f"creates[{index}]")
        if not found.is_whole:
            return text
        path = text_of(found.value)
        try:
            return _guard.checked_path(path)
        except TaskError as error:
            self.problems.append(str(error))
            return path

    def _confinement(self, confining: Confining, seeing: Knowledge) -> dict[str, Any]:
        """Return limits and sandbox in words; paths that are not known yet stand as they are written."""
        asked = self.task.isolation
        found = [(text, seeing.render(text)) for text in asked.sandbox.writable]
        known = tuple(text for text, one in found if one.is_whole)
        sandbox = dataclasses.replace(asked.sandbox, writable=known) if found else asked.sandbox
        isolation = dataclasses.replace(asked, sandbox=sandbox) if found else asked
        try:
            enforced = confining.isolation(isolation, {**seeing.names, "env": seeing.env})
        except BarbossaError as error:
            self.problems.append(str(error))
            enforced = isolation
        words = in_force.words(enforced, detach=self.task.detach) or {}
        for index, (text, one) in enumerate(found):
            if not one.is_whole:
                self._take(one, f"sandbox.writable[{index}]")
                words.setdefault("writable", []).append(text)
        return {key: value for key, value in words.items() if key not in {"user", "group"}}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    return value
