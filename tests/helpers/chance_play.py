"""A run that chance drives: what may happen to it happens in any order, and its daemon may die at every moment."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from barbossad.engine import attempt as attempts
from barbossad.engine import growth, timing, transitions
from barbossad.engine.decision import Decision
from barbossad.engine.progress import Cell, RunProgress
from barbossad.engine.transitions import Answer, End
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Section, TaskKind
from barbossad.model.records import LogRecord
from barbossad.model.states import AttemptState, RunState, StopCause, TaskState, WaitsFor
from barbossad.store import changes
from tests.helpers.chance_flow import evaluate
from tests.helpers.memory_store import MemoryStore
from tests.helpers.records import NOON_MS, attempt, run

WELL: Final = 20
ENDS: Final = [
    *[AttemptState.SUCCEEDED] * WELL,
    *[AttemptState.FAILED] * 4,
    AttemptState.TIMED_OUT,
    AttemptState.INTERRUPTED,
    AttemptState.SKIPPED,
]
LATE_MS: Final = [*[0] * 8, 1, 2, 700, 9000]
"""How long after an end the engine may hear of it."""


@dataclass(slots=True)
class Play:
    """One run, and beside it what the engine would keep in memory: who is ready, who is being ended, what is due."""

    chance: random.Random
    definition: WorkflowDefinition
    store: MemoryStore
    number: int = 0
    progress: RunProgress = field(init=False)
    ready: list[int] = field(default_factory=list)
    asked: dict[int, transitions.End | StopCause] = field(default_factory=dict)
    due: set[tuple[int, int]] = field(default_factory=set)
    now_ms: int = NOON_MS
    starts: dict[str, list[int]] = field(default_factory=dict)
    """The attempts of each task that were started, by number."""

    begun: list[str] = field(default_factory=list)
    """Tasks and groups in the order of their first start."""

    refused: set[str] = field(default_factory=set)
    """Those of which no attempt could be made."""

    outcome: RunState | None = None
    is_stopped_late: bool = False
    """Whether it was stopped only when its main part had ended."""

    is_stopped_again: bool = False
    before_start: Callable[[Play, int], None] = lambda play, index: None

    def __post_init__(self) -> None:
        self.progress = growth.create(self.definition, run(self.number))
        self.store.record([changes.RunCreated(self.progress.run)])
        self.take(transitions.begin(self.progress, evaluate, self.now_ms))

    def cell(self, index: int) -> Cell:
        return self.progress.cells[index]

    @property
    def live(self) -> list[int]:
        return [index for index, cell in enumerate(self.progress.cells) if cell.is_live]

    @property
    def asks(self) -> list[int]:
        """Those that wait for a person."""
        return [at for at, cell in enumerate(self.progress.cells) if cell.record.waits_for is WaitsFor.PERSON]

    @property
    def is_stuck(self) -> bool:
        """Whether nothing will ever happen to it by itself, or by a person who is asked."""
        is_paused = self.progress.run.state is RunState.PAUSED
        return not (self.ready or self.live or self.due or self.asks or is_paused or self.progress.has_ended)

    # -- as the engine does it -----------------------------------------------------------------------------

    def take(self, decision: Decision, *, with_ready: bool = True) -> None:
        """Record a decision as one transaction, and keep what it asks for."""
        if decision.changes:
            self.store.record(decision.changes)
        for index in decision.ready if with_ready else ():
            assert index not in self.ready, f"{self.cell(index).id} is ready twice"
            self.ready.append(index)
        self.ready = [index for index in self.ready if self._is_claimed(index)]
        for stop in decision.stop:
            assert self.cell(stop.index).is_live
            self.asked.setdefault(stop.index, stop.cause)
        self.asked = {index: cause for index, cause in self.asked.items() if self.cell(index).is_live}
        for index in decision.timed:
            self.due |= {(index, due_ms) for due_ms in timing.due(self.cell(index))}
        for index, cell in enumerate(self.progress.cells):
            if cell.members is not None and cell.record.started_at_ms is not None and cell.id not in self.begun:
                self.before_start(self, index)
                self.begun.append(cell.id)
        assert self.outcome in (None, self.progress.run.outcome), "the outcome changed"
        self.outcome = self.progress.run.outcome

    def _is_claimed(self, index: int) -> bool:
        record = self.cell(index).record
        return record.state is TaskState.PENDING or record.waits_for is WaitsFor.SLOT

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass, and all happen that is due."""
        self.now_ms += milliseconds
        self.due = {(index, at) for index, at in self.due if not self.cell(index).has_ended}
        while past := sorted((at, index) for index, at in self.due if at <= self.now_ms):
            at, index = past[0]
            self.due.discard((index, at))
            self.take(transitions.time_passed(self.progress, index, evaluate, self.now_ms))
            self.due = {(one, when) for one, when in self.due if not self.cell(one).has_ended}

    # -- by chance -----------------------------------------------------------------------------------------

    def step(self) -> None:
        """Let one thing happen that may happen now."""
        self.pass_time(self.chance.choice([0, 0, 1, 1, 700]))
        if self.progress.has_ended:
            return
        options = list(self._options())
        self.chance.choices([action for _, action in options], [weight for weight, _ in options])[0]()

    def _options(self) -> Iterator[tuple[float, Callable[[], None]]]:
        if self.progress.run.state is RunState.PAUSED:
            yield 3, self._unpause
        else:
            yield 0.15, self._pause
            if self.ready:
                yield 6, self._start
                yield 0.2, self._cannot_start
        if self.live:
            yield 6, self._end
        if any(self.cell(index).record.state is TaskState.STARTING for index in self.live):
            yield 3, self._running
        if self.asks:
            yield 2, self._answer
        if self.due:
            yield 2, self._wait
        yield 0.12, self._stop
        yield 0.4, self.die

    def _start(self) -> None:
        index = self.ready.pop(self.chance.randrange(len(self.ready)))
        cell = self.cell(index)
        if not cell.attempts and cell.record.state is TaskState.PENDING:
            self.before_start(self, index)
            self.begun.append(cell.id)
        if cell.task.kind is TaskKind.APPROVAL:
            deadline_ms = self.chance.choice([None, self.now_ms + 9000])
            self.take(transitions.approval_asked(self.progress, index, "may it?", deadline_ms, self.now_ms))
            return
        number = len(cell.attempts) + 1
        assert number not in self.starts.get(cell.id, ()), f"attempt {number} of {cell.id} started twice"
        self.starts.setdefault(cell.id, []).append(number)
        made = attempt(task_id=cell.id, number=self.number, log=LogRecord())  # as a row has it
        self.take(transitions.attempt_starting(self.progress, index, replace(made, number=number), self.now_ms))

    def _cannot_start(self) -> None:
        index = self.ready.pop()
        self.refused.add(self.cell(index).id)
        self.take(transitions.task_unstartable(self.progress, index, "no such value", evaluate, self.now_ms))

    def _running(self) -> None:
        index = self.chance.choice([at for at in self.live if self.cell(at).record.state is TaskState.STARTING])
        last = self.cell(index).attempts[-1]
        lives = replace(last, state=AttemptState.RUNNING, pid=index + 1, started_at_ms=self.now_ms)
        self.take(transitions.attempt_running(self.progress, index, lives))

    def _end(self) -> None:
        index = self.chance.choice(self.live)
        cause = self.asked.pop(index, None)
        state = self.chance.choice(ENDS)
        reason = f"it {state}"
        if isinstance(cause, StopCause):
            state, reason = attempts.stopped_state(cause), self.progress.run.stop_reason or str(cause)
            others = [AttemptState.FAILED]  # it could not be started in the first place
            if self.cell(index).task.kind is TaskKind.CALL:
                others.append(AttemptState.SUCCEEDED)
            if self.chance.random() < 0.2:
                state, reason = self.chance.choice(others), "so it went"
        self._ended(index, state, reason, is_stopped=cause is not None)

    def _ended(self, index: int, state: AttemptState, reason: str, *, is_stopped: bool, is_left: bool = False) -> None:
        cell = self.cell(index)
        began_ms = cell.attempts[-1].started_at_ms or cell.record.started_at_ms or self.now_ms
        late_ms = 0 if is_stopped else self.chance.choice(LATE_MS)
        ended_ms = max(self.now_ms - late_ms, began_ms)
        is_good = state is AttemptState.SUCCEEDED
        over = replace(
            cell.attempts[-1],
            state=state,
            reason=None if is_good else reason,
            finished_at_ms=ended_ms,
            log=LogRecord(),
        )
        end = End(
            attempt=over, outputs={"n": index} if is_good else None, then=cell.task.on_interrupt, is_stopped=is_stopped
        )
        self.take(transitions.attempt_ended(self.progress, index, end, evaluate), with_ready=not is_left)

    def _answer(self) -> None:
        index = self.chance.choice(self.asks)
        answer = Answer(is_approved=self.chance.random() < 0.7, words="said anne", outputs={"by": "anne"})
        self.take(transitions.answered(self.progress, index, answer, evaluate, self.now_ms))

    def _wait(self) -> None:
        self.pass_time(max(min(at for _, at in self.due) - self.now_ms, 0))

    def _stop(self) -> None:
        was = self.progress.run
        cause = StopCause.CANCEL
        if (
            was.started_at_ms is not None
            and was.stop_cause is None
            and was.outcome is None
            and self.chance.random() < 0.5
        ):
            cause = StopCause.RUN_TIMEOUT
        self.is_stopped_late |= was.outcome is not None and was.stop_cause is None
        self.is_stopped_again |= was.outcome is not None or was.stop_cause is not None
        self.take(transitions.stop(self.progress, cause, f"because of {cause}", evaluate, self.now_ms))
        if was.outcome is not None:
            assert not self.ready
            assert set(self.live) == set(self.asked)

    def _pause(self) -> None:
        self.take(transitions.pause(self.progress, "said anne", self.now_ms))

    def _unpause(self) -> None:
        self.take(transitions.unpause(self.progress, "said anne", self.now_ms))

    # -- the end of a daemon -------------------------------------------------------------------------------

    def die(self) -> None:
        """End the daemon and go on as a new one does (``Engine.resume``)."""
        self.progress = growth.restore(self.definition, self.store.details(self.progress.run.id))
        self.ready, self.asked, self.due = [], {}, set()
        for index in self.live:
            if self.cell(index).task.kind is TaskKind.PROCESS and self.chance.random() < 0.5:
                self._ended(index, AttemptState.INTERRUPTED, "the daemon ended", is_stopped=False, is_left=True)
        if self.progress.is_stopping:
            self.take(transitions.stop_restored(self.progress, evaluate, self.now_ms), with_ready=False)
        self.take(transitions.begin(self.progress, evaluate, self.now_ms))
        self.pass_time(0)


def facts(progress: RunProgress) -> dict[str, Any]:
    """Return all that decides what follows, by the ids of tasks."""
    cells = progress.cells
    found = {
        cell.id: (
            cell.record,
            list(cell.attempts),
            cell.waits_for if cell.record.state is TaskState.PENDING else None,
            cell.members and (cell.members.unended, _verdict(cell)),
            cell.loop,
            None if cell.parent is None else cells[cell.parent].id,
            [cells[other].id for other in cell.depends_on],
            None if cell.takes_back is None else cells[cell.takes_back].id,
        )
        for cell in cells
    }
    return {"run": progress.run, "unended": progress.unended, "sections": list(progress.sections), **found}


def _verdict(cell: Cell) -> TaskState | None:
    """Return how a group will end; that it took too long is found anew, since its deadline is past."""
    if cell.has_ended or cell.members is None or cell.members.verdict is None:
        return None
    state = cell.members.verdict[0]
    return None if state is TaskState.TIMED_OUT else state


def in_section(play: Play, *sections: Section) -> list[Cell]:
    """Return the cells of some sections."""
    return [cell for cell in play.progress.cells if cell.task.section in sections]
