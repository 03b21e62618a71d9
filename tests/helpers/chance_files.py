"""Workflow files by chance that know of each other: locks, concurrency groups, calls, and what waits for people."""

from __future__ import annotations

import random
from typing import Any

import yaml

from barbossad.model.definition import WorkflowDefinition
from tests.helpers.house import load

LOCKS = ("tape", "disk")


def any_files(chance: random.Random, count: int = 4) -> list[WorkflowDefinition]:
    """Return workflows ``w0``, ``w1`` and so on; each may call those that come before it."""
    return [load(yaml.safe_dump(_file(chance, number), sort_keys=False)) for number in range(count)]


def _file(chance: random.Random, number: int) -> dict[str, Any]:
    """Return a workflow as it stands in a file."""
    found: dict[str, Any] = {"name": f"w{number}", "priority": chance.choice([0, 0, 5])}
    if chance.random() < 0.4:
        policy = chance.choice(["queue", "queue", "replace", "skip"])
        found["concurrency"] = {"limit": chance.randint(1, 2), "policy": policy, "group": f"g{number}"}
    if number == 3 and chance.random() < 0.5:
        found["lock"] = "vault"  # who is called must not need what its caller's callers hold
    if chance.random() < 0.3:
        found["timeout"] = 300
    found["tasks"] = _tasks(chance, number, 0)
    for hook in ("on_failure", "on_cancel", "on_exit"):
        if chance.random() < 0.3:
            found[hook] = [{"id": "hook", "shell": "make"}]
    return found


def _tasks(chance: random.Random, number: int, depth: int) -> list[dict[str, Any]]:
    names = [f"t{place}" for place in range(chance.randint(1, 5 - 2 * depth))]
    return [_task(chance, number, depth, name, names[:place]) for place, name in enumerate(names)]


def _task(chance: random.Random, number: int, depth: int, name: str, before: list[str]) -> dict[str, Any]:
    task: dict[str, Any] = {"id": name, "depends_on": [one for one in before if chance.random() < 0.5]}
    if task["depends_on"] and chance.random() < 0.3:
        task["trigger"] = chance.choice(["all_done", "always", "none_failed", "one_failed", "one_success"])
    if chance.random() < 0.15:
        task["continue_on_error"] = True
    if chance.random() < 0.15:
        task["for_each"] = ["x", "y", "z"]
        task["max_parallel"] = chance.choice([1, 2, 3])
    kind = chance.random()
    if kind < 0.2 and depth < 2:
        return _group(chance, number, depth, task)
    if kind < 0.28:
        return {**task, "approval": {"message": "may it?", "deadline": 60}}
    if kind < 0.4 and number:
        return {**task, "workflow": {"name": f"w{chance.randrange(number)}"}}
    if chance.random() < 0.25:
        task["lock"] = chance.choice(LOCKS)
    task["priority"] = chance.choice([0, 0, 1])
    task["shell"] = "make"
    task["on_interrupt"] = chance.choice(["fail", "retry", "ask"])
    if chance.random() < 0.3:
        task["retry"] = {"attempts": 3, "delay": chance.choice([0, 20])}
    if chance.random() < 0.2:
        task["rollback"] = {"shell": "undo"}
    return task


def _group(chance: random.Random, number: int, depth: int, task: dict[str, Any]) -> dict[str, Any]:
    if "for_each" in task:
        task.pop("max_parallel")
    if chance.random() < 0.3:
        condition = {"if": chance.choice(["{{ true }}", "{{ false }}"]), "then": _tasks(chance, number, depth + 1)}
        return {**task, "condition": condition}
    group: dict[str, Any] = {"tasks": _tasks(chance, number, depth + 1)}
    if chance.random() < 0.4:
        group["max_parallel"] = 1
    if chance.random() < 0.3:
        group["fail_fast"] = True
    if chance.random() < 0.3:
        task["timeout"] = 90
    return {**task, "parallel": group}
