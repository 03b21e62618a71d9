"""Workflows by chance: every key that decides who runs when, in any nesting; and what their expressions say.

Instead of expressions the texts of these workflows hold words: ``yes``, ``no``, ``bad`` (it cannot be decided),
``maybe`` (always the same for one task), ``even items`` and ``after N`` (attempts that went well).
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from barbossad.engine.progress import RunProgress
from barbossad.errors import BarbossaError
from barbossad.model.definition import TaskDefinition, WorkflowDefinition
from barbossad.model.flow import Backoff, Branch, Loop, Repeat, Retry, RetryCause, Section, TaskKind, Trigger
from barbossad.model.states import AttemptState, OnInterrupt
from tests.helpers import flows

DEEPEST: Final = 3
EVEN_ITEMS: Final = "{{ item }} is even"
WORDS: Final = (*["yes"] * 5, *["maybe"] * 5, "no", "bad")
HOOKS: Final = (Section.ON_SUCCESS, Section.ON_FAILURE, Section.ON_CANCEL, Section.ON_EXIT)


def evaluate(progress: RunProgress, index: int | None, value: Any) -> Any:
    """Say what the words stand for."""
    if isinstance(value, list):
        return value
    if index is None:
        if "bad" in value.values():
            raise BarbossaError("no such value")
        return value
    cell = progress.cells[index]
    if value == EVEN_ITEMS:
        assert cell.loop is not None
        return cell.loop.index % 2 == 0
    word, _, number = str(value).partition(" ")
    if word == "bad":
        raise BarbossaError("no such value")
    if word == "items":
        return list(range(int(number)))
    if word == "after":
        return sum(1 for one in cell.attempts if one.state is AttemptState.SUCCEEDED) >= int(number)
    return {"yes": True, "no": False, "number": 5}.get(word, zlib.crc32(cell.id.encode()) % 3 > 0)


def any_flow(chance: random.Random) -> WorkflowDefinition:
    """Return a workflow of up to thirty tasks."""
    main = _row(chance, "", 0, Section.MAIN)
    tasks = [*main, *_rollbacks(chance, main)]
    for section in HOOKS:
        if chance.random() < 0.35:
            tasks += _row(chance, f"{section}.", DEEPEST - 1, section)
    more: dict[str, Any] = {}
    if chance.random() < 0.15:
        more["outputs"] = {"a": chance.choice(["good", "bad"])}
    return flows.workflow(tasks, **more)


def _row(
    chance: random.Random, prefix: str, depth: int, section: Section, branch: Branch | None = None
) -> list[TaskDefinition]:
    """Return tasks that stand beside each other, in any order, and what is below them."""
    names = [f"{branch or 't'}{number}" for number in range(chance.randint(1, (6, 4, 3)[depth]))]
    density = chance.random() * 0.8
    parts: list[list[TaskDefinition]] = []
    for place, name in enumerate(names):
        before = [prefix + other for other in names[:place] if chance.random() < density]
        facts = {"section": section, "branch": branch, **_keys(chance)}
        parts.append(_task(chance, prefix + name, before, depth, facts))
    chance.shuffle(parts)
    return [one for part in parts for one in part]


def _keys(chance: random.Random) -> dict[str, Any]:
    """Return keys that every task may have."""
    keys: dict[str, Any] = {}
    if chance.random() < 0.4:
        keys["trigger"] = chance.choice(list(Trigger))
    if chance.random() < 0.15:
        keys["when"] = chance.choice(WORDS)
    if chance.random() < 0.2:
        keys["continue_on_error"] = True
    if chance.random() < 0.15:
        items: str | tuple[Any, ...] = chance.choice(
            ["items 0", *["items 2", "items 4", ("a", "b", "c")] * 3, "bad", "number"]
        )
        most = chance.choice([None, 1, 2])
        keys["for_each"] = Loop(items=items, max_parallel=most, fail_fast=chance.random() < 0.3)
        if chance.random() < 0.3:
            keys["when"] = EVEN_ITEMS
    if chance.random() < 0.1:
        keys["warn_after_seconds"] = 7.0
    return keys


def _task(
    chance: random.Random, task_id: str, before: Sequence[str], depth: int, facts: dict[str, Any]
) -> list[TaskDefinition]:
    if depth < DEEPEST - 1 and chance.random() < 0.35:
        return _group(chance, task_id, before, depth, facts)
    if chance.random() < 0.1:
        return [flows.task(task_id, *before, kind=TaskKind.APPROVAL, **facts)]
    if chance.random() < 0.08:
        facts["kind"] = TaskKind.CALL
    if chance.random() < 0.3:
        causes = frozenset(chance.sample(list(RetryCause), chance.randint(1, 3)))
        delay, backoff = chance.choice([0.0, 5.0]), chance.choice(list(Backoff))
        most = chance.choice([None, 20.0])
        facts["retry"] = Retry(
            attempts=chance.randint(2, 3), delay_seconds=delay, backoff=backoff, on=causes, max_elapsed_seconds=most
        )
    if chance.random() < 0.12:
        text = chance.choice(["after 2", "after 3", "no", "bad"])
        facts["repeat"] = Repeat(until=text, max_times=3, interval_seconds=chance.choice([0.0, 4.0]))
    if chance.random() < 0.12:
        facts["expect"] = chance.choice(WORDS)
    facts["on_interrupt"] = chance.choice(list(OnInterrupt))
    return [flows.task(task_id, *before, **facts)]


def _group(
    chance: random.Random, task_id: str, before: Sequence[str], depth: int, facts: dict[str, Any]
) -> list[TaskDefinition]:
    facts |= {"kind": TaskKind.GROUP, "timeout_seconds": 20.0 if chance.random() < 0.25 else None}
    below = (f"{task_id}.", depth + 1, facts["section"])
    if chance.random() < 0.35:
        facts["condition"] = chance.choice(WORDS)
        members = [
            *_row(chance, *below, Branch.THEN),
            *(_row(chance, *below, Branch.ELSE) if chance.random() < 0.6 else ()),
        ]
    else:
        facts |= {"max_parallel": chance.choice([None, 1, 2]), "fail_fast": chance.random() < 0.35}
        members = _row(chance, *below)
    return flows.group(flows.task(task_id, *before, **facts), members)


def _rollbacks(chance: random.Random, main: Sequence[TaskDefinition]) -> list[TaskDefinition]:
    """Return what takes back some of the tasks: one task, a group, or a list. A group itself cannot be taken back."""
    found: list[TaskDefinition] = []
    for position, one in enumerate(main):
        if one.kind is TaskKind.GROUP or chance.random() > 0.3:
            continue
        facts: dict[str, Any] = {"section": Section.ROLLBACK}
        if chance.random() < 0.4:
            made = _row(chance, f"rollback.{one.id}.", DEEPEST - 1, Section.ROLLBACK)
        else:
            made = _task(chance, f"rollback.{one.id}", (), DEEPEST - chance.choice([1, 1, 2]), facts)
        found += [replace(task, rolls_back=position) for task in made]
    return found
