"""Decide whether a task would run, before a run exists and if nothing fails. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from barbossad.engine import triggers
from barbossad.model.definition import TaskDefinition, WorkflowDefinition
from barbossad.model.flow import Branch, Section, Trigger
from barbossad.planning import words as plan_words
from barbossad.planning.knowing import EACH_ITEM, Knowledge, Known


class Verdict(StrEnum):
    """Whether a task would run, if nothing fails."""

    RUN = "run"
    SKIP = "skip"
    MAYBE = "maybe"
    """That is not known before something else has happened."""


Reasoned = tuple[Verdict, str]
"""A verdict and why, in words; nothing where nothing need be said."""

_RUNS: Final[Reasoned] = (Verdict.RUN, "")
_WHATEVER: Final = frozenset({Trigger.ALL_DONE, Trigger.NONE_FAILED, Trigger.ALWAYS})
_ASKS: Final = frozenset({Trigger.ALL_SUCCESS, Trigger.NONE_FAILED, Trigger.ONE_SUCCESS})
"""Those under which a failure of what a task depends on keeps it from running."""


class Verdicts:
    """The verdicts on the tasks of a workflow, decided in the order of their start."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self._definition = definition
        self._found: dict[int, Verdict] = {}
        self._without_when: dict[int, Verdict] = {}
        self._breakable: set[int] = set()
        """Those that may fail, or be kept from running by others that do."""

    def decide(self, position: int, seeing: Knowledge) -> tuple[Verdict, tuple[str, ...]]:
        """Return whether a task runs, and why not or on what that hangs."""
        task = self._definition.tasks[position]
        around = (self._by_section(task), self._by_group(task, seeing), self._by_dependencies(task))
        found = _sum(*around, _by_condition(task.when, seeing))
        self._found[position] = found[0]
        self._without_when[position] = _sum(*around)[0]
        if found[0] is not Verdict.SKIP or self._may_be_kept(task):
            self._breakable.add(position)
        return found

    def of_item(self, position: int, seeing: Knowledge) -> tuple[Verdict, tuple[str, ...]]:
        """Return whether one item of a loop is done, where its task was decided on and is not skipped."""
        return _sum((self._without_when[position], ""), _by_condition(self._definition.tasks[position].when, seeing))

    def _may_be_kept(self, task: TaskDefinition) -> bool:
        """Say whether a task that is skipped if nothing fails may instead be kept from running by a failure."""
        before = [self._definition.positions[name] for name in task.depends_on] if task.trigger in _ASKS else []
        return any(one in self._breakable for one in (*before, task.parent))

    def _by_section(self, task: TaskDefinition) -> Reasoned:
        if task.section is Section.MAIN or task.parent is not None:
            return _RUNS
        of = "its task"
        if task.rolls_back is not None:
            of = self._definition.tasks[task.rolls_back].id
            if self._found.get(task.rolls_back) is Verdict.SKIP:
                return Verdict.SKIP, f"{of} is skipped"
        verdict = Verdict.RUN if task.section is Section.ON_EXIT else Verdict.MAYBE
        return verdict, plan_words.HOOKS[task.section].format(of=of)

    def _by_group(self, task: TaskDefinition, seeing: Knowledge) -> Reasoned:
        """Decide by the group that a task is a member of: by its verdict, and by its condition's branch."""
        if task.parent is None:
            return _RUNS
        group = self._definition.tasks[task.parent]
        of_group = self._found.get(task.parent, Verdict.RUN)
        if of_group is Verdict.SKIP:
            return Verdict.SKIP, f"{group.id} is skipped"
        if task.branch is None or group.condition is None:
            return of_group, ""
        written = _on_a_line(group.condition)
        is_met, unsure = _decided(group.condition, seeing)
        if is_met is None:
            wanted = "if" if task.branch is Branch.THEN else "unless"
            return Verdict.MAYBE, f"{wanted} {written}{unsure}"
        if is_met is (task.branch is Branch.THEN):
            return of_group, ""
        return Verdict.SKIP, f"the condition {'holds' if is_met else 'does not hold'}: {written}"

    def _by_dependencies(self, task: TaskDefinition) -> Reasoned:
        if not triggers.asks_of_others(task) or task.trigger in _WHATEVER:
            return _RUNS
        positions = self._definition.positions
        found = {name: self._found.get(positions[name], Verdict.MAYBE) for name in task.depends_on}
        if not found:
            why = triggers.DEPENDS_ON_NONE.get(task.trigger)
            return (Verdict.SKIP, why) if why else _RUNS
        skipped = [name for name, verdict in found.items() if verdict is Verdict.SKIP]
        unsure = [name for name, verdict in found.items() if verdict is Verdict.MAYBE]
        if task.trigger is Trigger.ALL_SUCCESS:
            if skipped:
                return Verdict.SKIP, f"{skipped[0]} is skipped"
            is_hanging, joint = bool(unsure), "and"
        elif task.trigger is Trigger.ONE_FAILED and any(positions[name] in self._breakable for name in found):
            return Verdict.MAYBE, plan_words.after(task)
        elif len(skipped) == len(found):
            return Verdict.SKIP, f"skipped: {plan_words.names(skipped)}"
        else:
            is_hanging, joint = len(skipped) + len(unsure) == len(found), "or"
        return (Verdict.MAYBE, f"if {plan_words.names(unsure, joint)} ran") if is_hanging else _RUNS


def _sum(*found: Reasoned) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict of all: whatever skips a task decides, and is the one thing to be told."""
    skipped = next((why for verdict, why in found if verdict is Verdict.SKIP), None)
    if skipped is not None:
        return Verdict.SKIP, (skipped,)
    is_sure = all(verdict is Verdict.RUN for verdict, _ in found)
    return Verdict.RUN if is_sure else Verdict.MAYBE, tuple(why for _, why in found if why)


def _by_condition(text: str | None, seeing: Knowledge) -> Reasoned:
    if text is None:
        return _RUNS
    is_met, unsure = _decided(text, seeing)
    if is_met is None:
        return Verdict.MAYBE, f"when {_on_a_line(text)}{unsure}"
    return _RUNS if is_met else (Verdict.SKIP, f"its when does not hold: {_on_a_line(text)}")


def _decided(text: str, seeing: Knowledge) -> tuple[bool | None, str]:
    """Return whether a condition holds; None where that is not known, with the reason in words."""
    found = seeing.render(text)
    if not found.is_whole:
        return None, _known_when(found)
    try:
        return triggers.truth(found.value), ""
    except triggers.NotTrueOrFalseError as error:
        return None, f" ({error})"


def _known_when(found: Known) -> str:
    if found.problems:
        return f" ({found.problems[0]})"
    waits = [wait for wait in found.waits() if wait != EACH_ITEM]
    return f" (known when {plan_words.names(waits)})" if waits else ""


def _on_a_line(text: str) -> str:
    return " ".join(text.split())
