"""Decide whether a task would run, before a run exists and if nothing fails. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What is decided on a task: whether it runs, why not or on what that hangs, and what cannot be decided at all."""

    verdict: Verdict
    why: tuple[str, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """Whether a condition holds; None where that is not known, with the reason in words, or never will be."""

    holds: bool | None
    unsure: str = ""
    problem: str = ""


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
        self._answers: dict[int, _Answer] = {}
        """Of groups that are conditions."""

        self._empty: set[int] = set()
        """Loops that have nothing to go through."""

        self._breakable: set[int] = set()
        """Those that may fail, or be kept from running by others that do."""

    def decide(self, position: int, seeing: Knowledge, *, is_empty: bool = False) -> Decided:
        """Return whether a task runs; ``is_empty`` says of a loop that there is nothing to go through."""
        task = self._definition.tasks[position]
        around = (self._by_section(task), self._by_group(task), self._by_dependencies(task))
        by_when, problem = _by_condition(task.when, seeing)
        found = _sum(*around, by_when)
        self._found[position] = found.verdict
        self._without_when[position] = _sum(*around).verdict
        if found.verdict is not Verdict.SKIP or self._may_be_kept(task):
            self._breakable.add(position)
        if is_empty:
            self._empty.add(position)
        problems = [f"its 'when' cannot be decided: {problem}"] if problem else []
        if task.condition is not None:
            answer = self._answers[position] = _answer(task.condition, seeing)
            if answer.problem and not is_empty:  # which is asked of each item
                problems.append(f"its 'if' cannot be decided: {answer.problem}")
        return replace(found, problems=tuple(problems))

    def of_item(self, position: int, seeing: Knowledge) -> Decided:
        """Return whether one item of a loop is done, where its task was decided on and is not skipped.

        A ``when`` that does not look at the item was asked of the loop.
        """
        when = self._definition.tasks[position].when
        by_when, problem = _by_condition(when, seeing)
        found = _sum((self._without_when[position], ""), by_when)
        if not problem or when is None or not triggers.sees_item(when):
            return found
        return replace(found, problems=(f"its 'when' cannot be decided: {problem}",))

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

    def _by_group(self, task: TaskDefinition) -> Reasoned:
        """Decide by the group that a task is a member of: by its verdict, and by its condition's branch."""
        if task.parent is None:
            return _RUNS
        group = self._definition.tasks[task.parent]
        of_group = self._found.get(task.parent, Verdict.RUN)
        if of_group is Verdict.SKIP:
            return Verdict.SKIP, f"{group.id} is skipped"
        if task.parent in self._empty:
            return Verdict.SKIP, f"the list of {group.id} is empty"
        is_taken, why = self._by_branch(task, group, self._answers.get(task.parent))
        return (of_group if is_taken is Verdict.RUN else is_taken), why

    @staticmethod
    def _by_branch(task: TaskDefinition, group: TaskDefinition, answer: _Answer | None) -> Reasoned:
        """Decide by what a condition says of the branch that a task stands in."""
        if answer is None or group.condition is None:
            return _RUNS
        written = _on_a_line(group.condition)
        if answer.holds is None:
            wanted = "if" if task.branch is Branch.THEN else "unless"
            return Verdict.MAYBE, f"{wanted} {written}{answer.unsure}"
        if answer.holds is (task.branch is Branch.THEN):
            return _RUNS
        return Verdict.SKIP, f"the condition {'holds' if answer.holds else 'does not hold'}: {written}"

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


def _sum(*found: Reasoned) -> Decided:
    """Return the verdict of all: whatever skips a task decides, and is the one thing to be told."""
    skipped = next((why for verdict, why in found if verdict is Verdict.SKIP), None)
    if skipped is not None:
        return Decided(verdict=Verdict.SKIP, why=(skipped,))
    is_sure = all(verdict is Verdict.RUN for verdict, _ in found)
    return Decided(verdict=Verdict.RUN if is_sure else Verdict.MAYBE, why=tuple(why for _, why in found if why))


def _by_condition(text: str | None, seeing: Knowledge) -> tuple[Reasoned, str]:
    """Return what a ``when`` makes of a task, and why it cannot be decided if it never can."""
    if text is None:
        return _RUNS, ""
    answer = _answer(text, seeing)
    if answer.problem or answer.holds:
        return _RUNS, answer.problem
    if answer.holds is None:
        return (Verdict.MAYBE, f"when {_on_a_line(text)}{answer.unsure}"), ""
    return (Verdict.SKIP, f"its when does not hold: {_on_a_line(text)}"), ""


def _answer(text: str, seeing: Knowledge) -> _Answer:
    found = seeing.render(text)
    problem = no_truth(found)
    if problem:
        return _Answer(holds=None, unsure=f" ({problem})", problem=problem)
    if not found.is_whole:
        waits = [wait for wait in found.waits() if wait != EACH_ITEM]
        return _Answer(holds=None, unsure=f" (known when {plan_words.names(waits)})" if waits else "")
    return _Answer(holds=triggers.truth(found.value))


def no_truth(found: Known) -> str:
    """Return why what should decide never will, though it is known; nothing if it may."""
    if found.problems:
        return found.problems[0]
    try:
        triggers.truth(found.value if found.is_whole else True)
    except triggers.NotTrueOrFalseError as error:
        return str(error)
    return ""


def _on_a_line(text: str) -> str:
    return " ".join(text.split())
