from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from barbossad.tasks import _registry
from barbossad.tasks._api import Command, TaskContext
from barbossad.tasks._types import TaskType
from barbossad.workflows.loader import Loader


@pytest.fixture(scope="session")
def types() -> dict[str, TaskType]:
    return _registry.load()


class CommandOf:
    """Loads a workflow of one task and asks its type for the command, as the engine does."""

    def __init__(self, types: dict[str, TaskType]) -> None:
        self._types = types

    def __call__(self, task: str, params: Mapping[str, Any] | None = None) -> Command:
        given = dict(params or {})
        declared = "".join(f"  {name}: {{type: {_TYPES[type(value)]}}}\n" for name, value in given.items())
        head = f"name: a\nparams:\n{declared}" if declared else "name: a\n"
        (definition,) = Loader(self._types).load(f"{head}tasks:\n  - {task}\n").tasks
        context = TaskContext(
            run_id="r1", task_id=definition.id, attempt=1, params=given, scope={"params": given, "tasks": {}}
        )
        return self._types[definition.type].command(context, definition.params)


_TYPES = {str: "string", int: "integer", list: "list", bool: "boolean", dict: "map"}


@pytest.fixture(scope="session")
def command_of(types: dict[str, TaskType]) -> CommandOf:
    return CommandOf(types)
