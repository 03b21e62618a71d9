"""Make the plan of a run: what would run, in which order, with what, and what only time can tell. No side effects.

No I/O but looking up the accounts that tasks run as.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from barbossad.engine import sizes, triggers
from barbossad.errors import BarbossaError
from barbossad.model.definition import TaskDefinition, WorkflowDefinition
from barbossad.model.flow import Section, TaskKind
from barbossad.planning import comparing
from barbossad.planning import order as plan_order
from barbossad.planning import values as planned_values
from barbossad.planning import words as plan_words
from barbossad.planning.knowing import Knowledge
from barbossad.planning.values import Content, Surroundings
from barbossad.planning.verdicts import Decided, Verdict, Verdicts
from barbossad.workflows.budget import together

MOST_ITEMS: Final = 50
"""So many items of a loop are planned one by one; all of them count for the hash."""

MOST_STEPS: Final = 5_000_000
"""What all expressions of a plan together may take: as much as five of the largest."""

HASH_DIGITS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLoop:
    """What a task is done for. ``total`` is None where the list is not known yet; ``written`` is what gives it."""

    written: Any
    total: int | None
    max_parallel: int | None
    fail_fast: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """One task, or one item of a loop, as it would run."""

    task: TaskDefinition
    id: str
    depth: int
    parent: str | None
    verdict: Verdict
    why: tuple[str, ...]
    """Why it is skipped, or what its running hangs on; nothing for one that simply runs."""

    content: Content
    loop: PlannedLoop | None = None
    has_item: bool = False
    item: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do. ``tasks`` are in the order of their start, rollback and hooks at the end."""

    definition: WorkflowDefinition
    params: Mapping[str, Any]
    env: Mapping[str, str]
    tasks: tuple[PlannedTask, ...]
    hash: str

    def count(self, verdict: Verdict) -> int:
        """Return of how many tasks of the run proper this is the verdict; groups and single items do not count."""
        return sum(
            1
            for planned in self.tasks
            if planned.verdict is verdict
            and planned.task.section is Section.MAIN
            and planned.task.kind is not TaskKind.GROUP
            and not planned.has_item
        )


def _unusable(problem: object) -> str:
    return f"its 'for_each' cannot be used: {problem}"


def _with_problems(content: Content, decided: Decided, *more: str) -> Content:
    """Return what a task would be given with all that is wrong with it; what is skipped fails of nothing."""
    if decided.verdict is Verdict.SKIP:
        return replace(content, problems=())
    return replace(content, problems=tuple(dict.fromkeys([*decided.problems, *more, *content.problems])))


def make(definition: WorkflowDefinition, params: Mapping[str, Any], surroundings: Surroundings) -> Plan:
    """Return the plan of a run of this version with these bound params.

    It is made for whoever may start a run, of a text that they give: all its expressions together have a bound.
    """
    with together(MOST_STEPS):
        return _Planner(definition, params, surroundings).plan()


@dataclass(slots=True)
class _Planner:
    definition: WorkflowDefinition
    params: Mapping[str, Any]
    surroundings: Surroundings
    verdicts: Verdicts = field(init=False)
    lists: list[Any] = field(default_factory=list)
    """The lists of all loops that are known, for the hash."""

    times: dict[int, int] = field(default_factory=dict)
    """How often what is in a loop is done, by the loop's position, where that is sure."""

    looped: dict[Section, int] = field(default_factory=dict)
    """How many tasks the loops of each section will surely have come to."""

    def __post_init__(self) -> None:
        self.verdicts = Verdicts(self.definition)

    def plan(self) -> Plan:
        knowledge = self.surroundings.knowledge(self.definition, self.params)
        tasks = tuple(
            planned
            for position, depth in plan_order.order(self.definition)
            for planned in self._planned(position, depth, knowledge)
        )
        shown = comparing.shown_params(self.definition, self.params)
        env = self.surroundings.workflow_env(self.definition, knowledge)
        return Plan(definition=self.definition, params=shown, env=env, tasks=tasks, hash=self._hash(shown, env, tasks))

    def _planned(self, position: int, depth: int, knowledge: Knowledge) -> Iterator[PlannedTask]:
        task = self.definition.tasks[position]
        content, seeing = planned_values.content(self.surroundings, self.definition, task, knowledge)
        items, loop, unusable = self._loop(task, seeing)
        is_empty = loop is not None and loop.total == 0
        decided = self.verdicts.decide(position, seeing, is_empty=is_empty)
        if decided.verdict is Verdict.RUN and not decided.problems:
            unusable += self._without_room(position, len(items))
        if loop is not None and loop.total is not None:
            content = replace(content, later={}, problems=())  # its items say what they wait for, and fail of
        content, why = _with_problems(content, decided, *unusable), decided.why
        if decided.verdict is not Verdict.SKIP:
            why += ("its list is empty",) if is_empty else ()
            why += () if content.problems else tuple(plan_words.done_already(task, content.creates))
        planned = PlannedTask(
            task=task,
            id=task.id,
            depth=depth,
            parent=self.definition.tasks[task.parent].id if task.parent is not None else None,
            verdict=decided.verdict,
            why=why,
            content=content,
            loop=loop,
        )
        yield planned
        if task.kind is not TaskKind.GROUP and decided.verdict is not Verdict.SKIP:
            yield from self._items(position, planned, items, knowledge)

    def _items(
        self, position: int, planned: PlannedTask, items: list[Any], knowledge: Knowledge
    ) -> Iterator[PlannedTask]:
        for index, item in enumerate(items[:MOST_ITEMS]):
            seeing = knowledge.with_item(item, index, len(items))
            decided = self.verdicts.of_item(position, seeing)
            content = planned_values.content(self.surroundings, self.definition, planned.task, seeing)[0]
            yield replace(
                planned,
                id=f"{planned.id}[{index}]",
                depth=planned.depth + 1,
                parent=planned.id,
                verdict=decided.verdict,
                why=decided.why,
                content=_with_problems(content, decided),
                loop=None,
                has_item=True,
                item=item,
            )

    def _loop(self, task: TaskDefinition, seeing: Knowledge) -> tuple[list[Any], PlannedLoop | None, tuple[str, ...]]:
        """Return what a task is done for as far as that is known, in full and as it is shown; and why it cannot be."""
        if task.for_each is None:
            return [], None, ()
        written = task.for_each.items
        found = seeing.render(written if isinstance(written, str) else list(written))
        items: list[Any] | None = None
        problems = found.problems[:1]
        try:
            items = list(triggers.items_of(found.value)) if found.is_whole else None
        except BarbossaError as error:
            problems = (str(error),)
        if items is not None:
            self.lists.append([task.id, items])
        loop = PlannedLoop(
            written=written if isinstance(written, str) else found.value,
            total=None if items is None else len(items),
            max_parallel=task.for_each.max_parallel,
            fail_fast=task.for_each.fail_fast,
        )
        return items or [], loop, tuple(map(_unusable, problems))

    def _without_room(self, position: int, count: int) -> tuple[str, ...]:
        """Return why a loop that is sure to begin is more than the run may have; its items if it is not."""
        task = self.definition.tasks[position]
        around = task.parent
        while around is not None and self.definition.tasks[around].for_each is None:
            around = self.definition.tasks[around].parent
        times = 1 if around is None else self.times.get(around, 0)
        total = self.looped.get(task.section, 0) + times * sizes.of_items(self.definition, position, count)
        self.looped[task.section] = total
        try:
            sizes.check(total)
        except BarbossaError as error:
            return (_unusable(error),)
        self.times[position] = times * count
        return ()

    def _hash(self, params: Mapping[str, Any], env: Mapping[str, str], tasks: tuple[PlannedTask, ...]) -> str:
        content = {
            "version": self.definition.version,
            "params": params,
            "env": env,
            "lists": self.lists,
            "tasks": [
                [planned.id, planned.verdict, planned.why, planned.content.as_dict(), planned.item] for planned in tasks
            ],
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]
