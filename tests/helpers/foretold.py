"""Workflows by chance all of whose facts are known beforehand, and runs of them, to be held against their plans."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from barbossad.config import Tasks
from barbossad.engine import growth, transitions
from barbossad.engine.decision import Decision
from barbossad.engine.preparation import Preparation
from barbossad.engine.progress import Cell, RunProgress
from barbossad.engine.transitions import Answer, End
from barbossad.errors import BarbossaError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import TaskKind
from barbossad.model.names import SecretName
from barbossad.model.states import AttemptState, TaskState
from barbossad.planning import plan as plans
from barbossad.planning.plan import Plan
from barbossad.planning.values import Surroundings
from barbossad.tasks import _registry
from tests.helpers.random_flows import LOADER, random_tree
from tests.helpers.records import NOON_MS, attempt, run

PARAMS: Final[Mapping[str, Any]] = {
    "full": True,
    "dry": False,
    "n": 5,
    "zero": 0,
    "word": "no",
    "odd": "perhaps",
    "hosts": ["a", "b", "c"],
    "empty": [],
    "pairs": {"x": 1, "y": 2},
}
_TYPES: Final = {bool: "boolean", int: "integer", str: "string", list: "list", dict: "map"}

HOLD: Final = (
    "{{ params.full }}",
    "{{ params.n > 3 }}",
    "{{ env.MODE == 'x' }}",
    "{{ workflow.name == 'chance' }}",
    True,
)
DO_NOT: Final = ("{{ params.dry }}", "{{ params.word }}", "{{ env.MODE == 'y' }}", "{{ params.empty }}", False)
BROKEN: Final = ("{{ 1 / params.zero }}", "{{ params.odd }}")
LISTS: Final = ("{{ params.hosts }}", "{{ range(2) }}", "{{ params.pairs }}", "{{ params.empty }}")
NO_LISTS: Final = ("{{ params.n }}", "{{ params.word }}", "{{ 1 / params.zero }}")

HOST: Final = "here"
TASK_TYPES: Final = _registry.discover().types


def workflow(chance: random.Random, *, is_sound: bool) -> WorkflowDefinition:
    """Return a workflow; in one that is not sound some values are such that their tasks will fail."""
    tree = random_tree(chance)
    params = {name: {"type": _TYPES[type(value)]} for name, value in PARAMS.items()}
    left_out = frozenset({"retry", "timeout", *(("max_parallel",) if chance.random() < 0.7 else ())})
    filled = _Filled(chance, left_out, is_sound=is_sound).of(tree)
    return LOADER.load(json.dumps({**filled, "params": params, "env": {"MODE": "x"}}))


@dataclass(slots=True)
class _Filled:
    """Puts what is known in the place of the expressions of a workflow."""

    chance: random.Random
    left_out: frozenset[str]
    is_sound: bool = field(kw_only=True)

    def of(self, tree: Any) -> Any:
        """Return all of a value."""
        if isinstance(tree, list):
            return [self.of(one) for one in tree]
        if not isinstance(tree, dict):
            return tree
        filled = {key: self._value(key, value) for key, value in tree.items() if key not in self.left_out}
        if "for_each" in tree and self.chance.random() < 0.4:
            filled["when"] = "{{ loop.index > 0 }}"
        if isinstance(tree.get("shell"), str) and "id" in tree and self.chance.random() < 0.2:
            filled["env"] = {"MODE": "y"}
        return filled

    def _value(self, key: str, value: Any) -> Any:
        if key in ("when", "if"):
            return self._one(self.chance.choice((HOLD, HOLD, DO_NOT)), BROKEN)
        if key == "for_each" and isinstance(value, str):
            return self._one(LISTS, NO_LISTS)
        if key == "rollback" and self.chance.random() < 0.4:
            return [{"id": name, "shell": "make"} for name in "zyx"]
        if key == "expect":
            return self._one(HOLD[:2], BROKEN)
        if key == "repeat":
            return {"until": self._one(HOLD[:2], BROKEN), "max": 2}
        if key == "creates":
            return self._one(("/srv/{{ params.n }}", ["/srv/made", "/srv/{{ params.word }}"]), ("{{ params.n }}",))
        if key == "shell":
            return self._one(("make", ["make", "{{ params.n }}"]), (["make", "{{ 1 / params.zero }}"],))
        return self.of(value)

    def _one(self, sound: tuple[Any, ...], broken: tuple[Any, ...]) -> Any:
        is_broken = not self.is_sound and self.chance.random() < 0.06
        return self.chance.choice(broken if is_broken else sound)


def plan(definition: WorkflowDefinition) -> Plan:
    """Return the plan of a run."""
    surroundings = Surroundings(task_types=TASK_TYPES, settings=Tasks(), host_name=HOST, has_default_profile=False)
    return plans.make(definition, PARAMS, surroundings)


def _no_secret(name: SecretName) -> str:
    raise AssertionError(f"{name} was read")


@dataclass(slots=True)
class Run:
    """A run that always begins what stands first in its plan, of what may begin."""

    definition: WorkflowDefinition
    order: Mapping[str, int]
    """Where each task stands in the plan."""

    chance: random.Random
    share_that_fails: float = 0.0
    share_done_already: float = 0.0
    """Of those that say what they create."""

    progress: RunProgress = field(init=False)
    begun: list[Cell] = field(default_factory=list)
    """What a process, a person or another run has carried out, in the order of their start."""

    now_ms: int = NOON_MS
    _preparation: Preparation = field(init=False)
    _ready: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._preparation = Preparation(
            TASK_TYPES, Tasks(), HOST, _no_secret, has_default_profile=False, now_ms=lambda: NOON_MS
        )
        self.progress = growth.create(self.definition, run(workflow=self.definition.name, params=PARAMS))
        self._take(transitions.begin(self.progress, self._preparation.value, self.now_ms))
        while self._ready:
            index = min(self._ready, key=lambda at: (self.order[self.progress.cells[at].task.id], at))
            self._ready.remove(index)
            if not self.progress.cells[index].has_ended:
                self._carry_out(index)
        assert self.progress.has_ended, "it is stuck"

    def cells(self, task_id: str, item: int | None) -> Iterator[Cell]:
        """Yield what a task of the plan has become in the run: more than one in a group that is repeated."""
        for cell in self.progress.cells:
            is_wanted = cell.is_item is (item is not None) and cell.task.id == task_id
            if is_wanted and (item is None or (cell.loop is not None and cell.loop.index == item)):
                yield cell

    def _take(self, decision: Decision) -> None:
        self._ready += decision.ready

    def _carry_out(self, index: int) -> None:
        self.now_ms += 1
        cell, evaluate = self.progress.cells[index], self._preparation.value
        number = len(cell.attempts) + 1
        try:
            self._prepare(cell, index, number)
        except BarbossaError as error:
            self._take(transitions.task_unstartable(self.progress, index, str(error), evaluate, self.now_ms))
            return
        if number == 1:
            self.begun.append(cell)
        is_good = self.chance.random() >= self.share_that_fails
        if cell.task.kind is TaskKind.APPROVAL:
            self._take(transitions.approval_asked(self.progress, index, "Go on?", None, self.now_ms))
            answer = Answer(is_approved=is_good, words="because", outputs={})
            self._take(transitions.answered(self.progress, index, answer, evaluate, self.now_ms))
            return
        starting = replace(attempt(task_id=cell.id), number=number, started_at_ms=self.now_ms)
        self._take(transitions.attempt_starting(self.progress, index, starting, self.now_ms))
        state = AttemptState.SUCCEEDED if is_good else AttemptState.FAILED
        if is_good and cell.task.creates and self.chance.random() < self.share_done_already:
            state = AttemptState.SKIPPED
        reason = None if state is AttemptState.SUCCEEDED else f"it {state}"
        over = replace(cell.attempts[-1], state=state, reason=reason, finished_at_ms=self.now_ms)
        self._take(transitions.attempt_ended(self.progress, index, End(attempt=over), evaluate))

    def _prepare(self, cell: Cell, index: int, number: int) -> None:
        if cell.task.kind is TaskKind.APPROVAL:
            self._preparation.approval(self.progress, index)
        elif cell.task.kind is TaskKind.CALL:
            self._preparation.call(self.progress, index)
        else:
            self._preparation.launch_spec(self.progress, index, number)


def has_begun(cell: Cell) -> bool:
    """Say whether a task has begun, or a group or loop has."""
    return cell.record.started_at_ms is not None or bool(cell.attempts)


def is_broken(cell: Cell) -> bool:
    """Say whether something kept a task from its end, or from its beginning, other than being skipped."""
    return cell.record.state not in (TaskState.SUCCEEDED, TaskState.SKIPPED)
