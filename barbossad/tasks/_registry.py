"""Find the task types: the public files of this folder, and those that other packages bring."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import logging
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from pydantic import BaseModel

from barbossad import tasks
from barbossad.model.flow import TaskKind
from barbossad.tasks._types import TaskType
from barbossad.tasks._worker import command_of
from barbossad.workflows.source import TASK_KEYS

ENTRY_POINT_GROUP: Final = "barbossa.tasks"

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")

log = logging.getLogger(__name__)


class TaskTypeError(Exception):
    """A module is no task type; the sentence says what it lacks."""


@dataclass(slots=True)
class TaskTypes:
    """All types by name, and which of other packages could not be used."""

    types: dict[str, TaskType] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def discover() -> TaskTypes:
    """Return every task type. A broken one of another package is a problem and left out; one of ours raises."""
    found = TaskTypes()
    for name in own_names():
        found.types[name] = type_of(importlib.import_module(f"{tasks.__name__}.{name}"), name, is_ours=True)
    for entry_point in sorted(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)):
        _add(entry_point, found)
    return found


def load() -> dict[str, TaskType]:
    """Return every task type by name; log those of other packages that cannot be used."""
    found = discover()
    for problem in found.problems:
        log.error("%s", problem, extra={"action": "task_type_refused"})
    return found.types


def own_names() -> Iterable[str]:
    """Return the names of the public files of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(tasks.__path__) if not module.name.startswith("_"))


def _add(entry_point: importlib.metadata.EntryPoint, found: TaskTypes) -> None:
    try:
        if entry_point.name in found.types:
            raise TaskTypeError(f"the name is taken by {found.types[entry_point.name].origin}")
        found.types[entry_point.name] = type_of(entry_point.load(), entry_point.name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a stranger's module may raise anything at its import)
        reason = "it ended the program" if isinstance(error, SystemExit) else str(error) or type(error).__name__
        found.problems.append(f"task type {entry_point.name!r} of {entry_point.value} cannot be used: {reason}")


def type_of(module: ModuleType, name: str, *, is_ours: bool = False) -> TaskType:
    """Return the type that a module defines. Raise TaskTypeError with what it lacks.

    What is not carried out by a process the engine does itself, so that such types are ours alone.
    """
    if not _NAME.fullmatch(name) or name in TASK_KEYS:
        raise TaskTypeError(f"{name!r} cannot be the name of a type")
    model = _model(module, "Params")
    if model is None:
        raise TaskTypeError("it has no class Params that is a pydantic model")
    if model.model_config.get("extra") != "forbid":
        raise TaskTypeError('its Params allow unknown keys; set extra="forbid"')
    kind = _kind(module, is_ours=is_ours)
    command, is_worker = _way(module) if kind is TaskKind.PROCESS else (None, False)
    bare = getattr(module, "BARE", {})
    if any(field_name not in model.model_fields for field_name in bare.values()):
        raise TaskTypeError("its BARE names a param that it does not have")
    is_repeatable = getattr(module, "REPEATABLE", False)
    if not isinstance(is_repeatable, bool):
        raise TaskTypeError("its REPEATABLE is neither True nor False")
    return TaskType(
        name=name,
        Params=model,
        make_command=command,
        bare=bare,
        summary=_text(module, "SUMMARY"),
        example=_text(module, "EXAMPLE"),
        origin=module.__name__,
        kind=kind,
        is_worker=is_worker,
        is_repeatable=is_repeatable,
        Outputs=_model(module, "Outputs"),
    )


def _kind(module: ModuleType, *, is_ours: bool) -> TaskKind:
    kind = getattr(module, "KIND", TaskKind.PROCESS)
    if not isinstance(kind, TaskKind):
        raise TaskTypeError("its KIND is no TaskKind")
    if kind is not TaskKind.PROCESS and not is_ours:
        raise TaskTypeError(f"its KIND is {kind.value}, which only types of Barbossa's own can have")
    return kind


def _way(module: ModuleType) -> tuple[Callable[..., Any], bool]:
    """Return what makes the command of a task, and whether that is the worker's."""
    command, run = getattr(module, "command", None), getattr(module, "run", None)
    if callable(command) == callable(run):
        which = "both functions" if callable(command) else "neither of the functions"
        raise TaskTypeError(f"it has {which} command(ctx, params) and run(ctx, params); it needs one of them")
    if callable(command):
        return command, False
    if not inspect.iscoroutinefunction(run):
        raise TaskTypeError("its run is no coroutine function; write async def run(ctx, params)")
    if not isinstance(module, ModuleType):
        raise TaskTypeError("it is no module, which the worker could import; let its entry point name one")
    return command_of(module.__name__), True


def _model(module: ModuleType, name: str) -> type[BaseModel] | None:
    """Return a model whose fields are all described, None where there is none."""
    model = getattr(module, name, None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return None
    for field_name, info in model.model_fields.items():
        if not info.description:
            what = "param" if name == "Params" else "output"
            raise TaskTypeError(f"its {what} {field_name!r} has no description")
    return model


def _text(module: ModuleType, name: str) -> str:
    text = getattr(module, name, None)
    if not isinstance(text, str) or not text.strip():
        raise TaskTypeError(f"it has no {name}")
    return text
