"""Play a run: things happen to it by chance, are recorded as the engine would, and are checked against the rules."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from barbossad.engine import growth, timing, transitions
from barbossad.engine.attempt import stopped_state
from barbossad.engine.decision import Decision, Stop
from barbossad.engine.progress import Cell, RunProgress
from barbossad.engine.transitions import Answer, End
from barbossad.errors import BarbossaError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Section, TaskKind
from barbossad.model.records import LogRecord
from barbossad.model.states import AttemptState, RunState, StopCause, TaskState, WaitsFor
from barbossad.store import changes
from barbossad.store.changes import Change
from tests.helpers import rules
from tests.helpers.memory_store import MemoryStore
from tests.helpers.records import NOON_MS, attempt, run


def no_expressions(progress: RunProgress, index: int | None, value: Any) -> Any:
    """Fail: nothing was to be evaluated."""
    raise AssertionError(f"{value!r} was evaluated for cell {index} of {progress.run.id}")


@dataclass(frozen=True)
class Values:
    """What expressions are worth: anything, but always the same for the same task after as many attempts."""

    seed: int

    def __call__(self, progress: RunProgress, index: int | None, value: Any) -> Any:
        """See ``Evaluate``."""
        if not isinstance(value, str):
            return list(value)
        assert index is not None
        cell = progress.cells[index]
        chance = random.Random(f"{self.seed} {cell.id} {len(cell.attempts)} {value}")
        if chance.random() < 0.04:
            raise BarbossaError(f"{value} has no value")
        if ">" not in value:
            return [chance.randint(0, 9) for _ in range(chance.randint(0, 4))]
        return chance.random() < 0.7


@dataclass(slots=True)
class Play:
    """A run that is driven by chance."""

    chance: random.Random
    definition: WorkflowDefinition
    store: MemoryStore
    number: int = 0
    values: Values = field(init=False)
    progress: RunProgress = field(init=False)
    ready: list[str] = field(default_factory=list)
    """Tasks that were said to be ready and have not started."""

    stops: dict[str, Stop] = field(default_factory=dict)
    """Live tasks that are being ended."""

    armed: set[tuple[str, int]] = field(default_factory=set)
    """When something is due, and for which task."""

    completed: list[str] = field(default_factory=list)
    """Tasks of the main part that succeeded, in that order."""

    begun: list[str] = field(default_factory=list)
    """Tasks after the main part that began an attempt, in that order."""

    unstartable: dict[str, str] = field(default_factory=dict)
    main_cause: StopCause | None = None
    """Why the main part was being ended before its time, if it was."""

    was_stopped: bool = False
    """Whether the end of the run before its time came in time for some task."""

    now_ms: int = NOON_MS
    steps: list[Sequence[Change]] = field(default_factory=list)
    """What was recorded, transaction by transaction."""

    def __post_init__(self) -> None:
        self.values = Values(self.chance.getrandbits(32))
        self.progress = growth.create(self.definition, run(self.number))
        self.record([changes.RunCreated(self.progress.run)])
        self.take(transitions.begin(self.progress, self.values, self.now_ms))

    # -- what the engine does with a decision ------------------------------------------------------------------

    def record(self, steps: Sequence[Change]) -> None:
        self.store.record(steps)
        self.steps.append(steps)

    def take(self, decision: Decision) -> None:
        """Record a decision as one transaction, and check all that it says."""
        if decision.changes:
            self.record(decision.changes)
        self.completed += [task.task_id for task in _succeeded(decision.changes) if self._is_main(task.task_id)]
        for index in decision.ready:
            cell = self.progress.cells[index]
            assert cell.id not in self.ready, f"{cell.id} is ready twice"
            if cell.has_ended:
                continue  # for the sake of what came later in the same decision
            assert self._is_waiting(cell), f"{cell.id} is ready while it is {cell.record.state}"
            if not cell.attempts:
                rules.check_start(self.progress, cell, self.values)
            self.ready.append(cell.id)
        for stop in decision.stop:
            cell = self.progress.cells[stop.index]
            assert cell.is_live, f"{cell.id} is to be stopped and is {cell.record.state}"
            self.stops.setdefault(cell.id, stop)
        for index in decision.timed:
            cell = self.progress.cells[index]
            self.armed |= {(cell.id, due_ms) for due_ms in timing.due(cell)}
        self.ready = [name for name in self.ready if self._is_waiting(self.cell(name))]
        rules.check_places(self.progress)
        if self.main_cause is not None and not self.was_stopped:
            reason = self.progress.run.stop_reason
            self.was_stopped = any(
                cell.record.state is TaskState.CANCELLED and cell.record.reason == reason and self._is_main(cell.id)
                for cell in self.progress.cells
            )

    def cell(self, name: str) -> Cell:
        return self.progress.cells[self.progress.index[name]]

    def _is_main(self, name: str) -> bool:
        return self.cell(name).task.section is Section.MAIN

    @staticmethod
    def _is_waiting(cell: Cell) -> bool:
        return cell.record.state is TaskState.PENDING or cell.record.waits_for is WaitsFor.SLOT

    def live(self) -> list[Cell]:
        return [cell for cell in self.progress.cells if cell.is_live]

    def asked(self) -> list[Cell]:
        return [cell for cell in self.progress.cells if cell.record.waits_for is WaitsFor.PERSON]

    # -- what happens ------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Let one thing happen that may happen now."""
        self.now_ms += self.chance.randint(1, 900)
        options = list(self._options())
        assert options, "stuck: nothing runs, is ready, is due or waits for a person"
        weights = [weight for weight, _ in options]
        if sum(weights) > 0 and not any(weight >= 1 for weight in weights):
            assert self.progress.run.state is RunState.PAUSED, "stuck"
        self.chance.choices([action for _, action in options], weights)[0]()

    def _options(self) -> Iterator[tuple[float, Callable[[], None]]]:
        is_paused = self.progress.run.state is RunState.PAUSED
        live = self.live()
        if self.ready and not is_paused:
            yield 4, self._start
            yield 0.1, self._cannot_start
        if live:
            yield 5, self._end
        if any(cell.record.state is TaskState.STARTING for cell in live):
            yield 3, self._running
        if self.asked():
            yield 1, self._answer
        if self._next_due() is not None:
            yield 1 if live or self.ready else 4, self._time_passes
        if is_paused:
            yield 1, self._unpause
        yield 0.12, self._cancel
        yield 0.12 if not is_paused else 0, self._pause
        yield 0.3, self._die

    def _start(self) -> None:
        name = self.ready.pop(self.chance.randrange(len(self.ready)))
        cell, index = self.cell(name), self.progress.index[name]
        if cell.attempts:
            rules.check_again(cell)
        else:
            rules.check_start(self.progress, cell, self.values)
        if cell.task.kind is TaskKind.APPROVAL:
            deadline_ms = self.now_ms + 9000 if self.chance.random() < 0.4 else None
            asked = transitions.approval_asked(self.progress, index, "Go on?", deadline_ms, self.now_ms)
            self.take(asked)
            return
        if cell.task.section is not Section.MAIN and not cell.attempts:
            self.begun.append(name)
        number = len(cell.attempts) + 1
        starting = replace(attempt(task_id=name, number=self.number), number=number)
        self.take(transitions.attempt_starting(self.progress, index, starting, self.now_ms))

    def _cannot_start(self) -> None:
        name = self.ready.pop()
        if not self.cell(name).attempts:
            self.unstartable[name] = "failed"
            if self.cell(name).task.section is not Section.MAIN:
                self.begun.append(name)
        index = self.progress.index[name]
        self.take(transitions.task_unstartable(self.progress, index, "no such value", self.values, self.now_ms))

    def _running(self) -> None:
        cell = self.chance.choice([c for c in self.live() if c.record.state is TaskState.STARTING])
        lives = replace(cell.attempts[-1], state=AttemptState.RUNNING, pid=7, pid_started_ticks=7)
        lives = replace(lives, started_at_ms=self.now_ms)
        self.take(transitions.attempt_running(self.progress, self.progress.index[cell.id], lives))

    def _end(self) -> None:
        cell = self.chance.choice(self.live())
        stop = self.stops.pop(cell.id, None)
        ends = [AttemptState.SUCCEEDED] * 8 + [AttemptState.FAILED] * 3
        ends += [AttemptState.TIMED_OUT, AttemptState.INTERRUPTED]
        ends += [AttemptState.SKIPPED] * 8 if cell.task.creates else []
        state = self.chance.choice(ends)
        if stop is not None:
            state = AttemptState.FAILED if self.chance.random() < 0.1 else stopped_state(stop.cause)
            is_for_run = stop.cause in (StopCause.CANCEL, StopCause.RUN_TIMEOUT) and self.progress.run.outcome is None
            self.was_stopped |= is_for_run and state is not AttemptState.FAILED
        code = {AttemptState.SUCCEEDED: 0, AttemptState.FAILED: self.chance.choice([1, 2, 75, None])}.get(state)
        over = replace(cell.attempts[-1], state=state, exit_code=code, finished_at_ms=self.now_ms)
        is_by_stop = stop is not None and state is not AttemptState.FAILED
        over = replace(over, log=LogRecord(), reason=stop.reason if stop and is_by_stop else f"it {state}")
        self._take_end(cell, over.state, End(
            attempt=over,
            outputs={"n": len(cell.attempts)} if state is AttemptState.SUCCEEDED else None,
            stdout=self.chance.choice([None, "some words\n"]),
            then=cell.task.on_interrupt,
            is_stopped=stop is not None,
        ))  # fmt: skip

    def _take_end(self, cell: Cell, state: AttemptState, end: End) -> None:
        """End an attempt, and look at the delay of the next."""
        is_last_chance = end.is_stopped or self.progress.is_stopping
        decision = transitions.attempt_ended(self.progress, self.progress.index[cell.id], end, self.values)
        self.take(decision)
        if cell.record.state is TaskState.WAITING:
            assert not end.is_stopped
            if cell.record.waits_for is WaitsFor.DELAY:
                rules.check_delay(cell)
        elif state is AttemptState.FAILED and cell.attempts[-1].reason == "it failed" and not is_last_chance:
            self._check_given_up(cell)

    @staticmethod
    def _check_given_up(cell: Cell) -> None:
        """Check that a task which failed for good had no other attempt."""
        retry = cell.task.retry
        has_more = rules.failures(cell) < retry.attempts and "failed" in retry.on
        is_code = retry.exit_codes is None or cell.attempts[-1].exit_code in retry.exit_codes
        assert not (has_more and is_code and retry.max_elapsed_seconds is None), f"{cell.id} is not tried again"

    def _answer(self) -> None:
        cell = self.chance.choice(self.asked())
        answer = Answer(is_approved=self.chance.random() < 0.7, words="because", outputs={"by": "anne"})
        index = self.progress.index[cell.id]
        self.take(transitions.answered(self.progress, index, answer, self.values, self.now_ms))

    def _next_due(self) -> tuple[int, str] | None:
        """Return when something is due next, and for which task: the empty name is the run."""
        due = [(due_ms, name) for name, due_ms in self.armed if due_ms in timing.due(self.cell(name))]
        for due_ms in (timing.run_deadline_ms(self.progress), timing.run_late_ms(self.progress)):
            due += [(due_ms, "")] if due_ms is not None else []
        return min(due, default=None)

    def _time_passes(self) -> None:
        found = self._next_due()
        assert found is not None
        due_ms, name = found
        self.now_ms = max(self.now_ms, due_ms)
        if name:
            self.armed.discard((name, due_ms))
            index = self.progress.index[name]
            self.take(transitions.time_passed(self.progress, index, self.values, self.now_ms))
            return
        if timing.run_late_ms(self.progress) == due_ms:
            self.take(transitions.run_late(self.progress, self.now_ms))
            assert timing.run_late_ms(self.progress) is None, "it is told once"
            return
        self._stop(StopCause.RUN_TIMEOUT)

    def _cancel(self) -> None:
        self._stop(StopCause.CANCEL)

    def _stop(self, cause: StopCause) -> None:
        is_again = self.progress.run.stop_cause is not None or self.progress.run.outcome is not None
        if not is_again:
            self.main_cause = cause
        reason = f"because of {cause}"
        self.take(transitions.stop(self.progress, cause, reason, self.values, self.now_ms))
        if is_again and not self.progress.has_ended:
            left = [cell.id for cell in self.live() if cell.id not in self.stops]
            assert not left, "asked for again, all is ended"

    def _pause(self) -> None:
        if self.progress.run.state in (RunState.QUEUED, RunState.RUNNING):
            self.take(transitions.pause(self.progress, "by anne", self.now_ms))

    def _unpause(self) -> None:
        self.take(transitions.unpause(self.progress, "by anne", self.now_ms))

    def _die(self) -> None:
        """End the daemon, and go on as a new one does with what it finds."""
        check_restored(self)
        self.progress = growth.restore(self.definition, self.store.details(self.progress.run.id))
        self.ready, self.stops, self.armed = [], {}, set()
        for cell in self.live():
            if self.chance.random() < 0.5:
                lost = transitions.attempt_interrupted(cell.attempts[-1], "the daemon ended", self.now_ms)
                end = End(attempt=replace(lost, log=LogRecord()), then=cell.task.on_interrupt)
                decision = transitions.attempt_ended(self.progress, self.progress.index[cell.id], end, self.values)
                decision.ready.clear()
                self.take(decision)
        if self.progress.is_stopping:
            self.take(transitions.stop_restored(self.progress, self.values, self.now_ms))
        if not self.progress.has_ended:
            self.take(transitions.begin(self.progress, self.values, self.now_ms))


def _succeeded(steps: Sequence[Change]) -> Iterator[Any]:
    for step in steps:
        tasks = [step.task] if isinstance(step, changes.AttemptEnded) else []
        tasks = list(step.tasks) if isinstance(step, changes.TasksMoved) else tasks
        yield from (task for task in tasks if task.state is TaskState.SUCCEEDED)


def facts(progress: RunProgress) -> dict[str, Any]:
    """Return all that decides what follows, by the ids of tasks."""
    cells = {}
    for cell in progress.cells:
        members = cell.members
        verdict = members.verdict if members else None
        is_failing = verdict is not None and verdict[0] is not TaskState.TIMED_OUT  # that the clock tells a new daemon
        cells[cell.id] = {
            "record": cell.record,
            "attempts": [replace(one, log=None) for one in cell.attempts],
            "waits_for": cell.waits_for if cell.record.state is TaskState.PENDING else None,
            "members": members and {progress.cells[member].id for member in members.cells},
            "unended": members and members.unended,
            "is_failing": is_failing and not cell.has_ended,
            "loop": cell.loop,
            "parent": None if cell.parent is None else progress.cells[cell.parent].id,
            "depends_on": {progress.cells[other].id for other in cell.depends_on},
        }
    return {"run": progress.run, "unended": progress.unended, "sections": list(progress.sections), "cells": cells}


def check_restored(play: Play) -> None:
    """Check that a new daemon would find all that is known, and go on with the same tasks."""
    live = play.progress
    restored = growth.restore(play.definition, play.store.details(live.run.id))
    found, known = facts(restored), facts(live)
    for name in found["cells"].keys() | known["cells"].keys():
        assert found["cells"].get(name) == known["cells"].get(name)
    assert found == known
    if live.has_ended or live.is_stopping:
        return
    decision = transitions.begin(restored, play.values, play.now_ms)
    if not any(_waits_for_place(live, cell) for cell in live.cells):
        assert decision.changes == []
        assert sorted(restored.cells[index].id for index in decision.ready) == sorted(play.ready)
    again = {restored.cells[stop.index].id for stop in decision.stop}
    assert again <= play.stops.keys()
    armed = {(restored.cells[i].id, due_ms) for i in decision.timed for due_ms in timing.due(restored.cells[i])}
    assert armed >= {(name, due_ms) for name, due_ms in play.armed if due_ms in timing.due(play.cell(name))}


def _waits_for_place(progress: RunProgress, cell: Cell) -> bool:
    """Say whether some member of a group waits for others to end: which one is next is not recorded."""
    queue = cell.members.queue if cell.members else ()
    return not cell.has_ended and any(progress.cells[i].record.state is TaskState.PENDING for i in queue)
