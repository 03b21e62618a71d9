"""Rules that hold for every graph, every order of events and every moment at which the daemon may die."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from barbossad.engine import progress as progresses
from barbossad.engine import transitions
from barbossad.engine.progress import RunProgress
from barbossad.engine.transitions import Decision
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.records import AttemptRecord, LogRecord, RunRecord, TaskRecord
from barbossad.model.states import ATTEMPT_ENDED, AttemptState, RunState, StopCause, TaskState
from barbossad.store import changes
from barbossad.store.changes import Change
from tests.helpers.memory_store import MemoryStore
from tests.helpers.records import NOON_MS, attempt, run, workflow

GRAPHS = 250


def random_workflow(chance: random.Random) -> WorkflowDefinition:
    """Return a workflow of 1 to 9 tasks in any order, with any dependencies that make no circle."""
    ids = [f"t{number}" for number in range(chance.randint(1, 9))]
    density = chance.random() * 0.7
    waits_for = {
        task_id: [other for other in ids[:position] if chance.random() < density]
        for position, task_id in enumerate(ids)
    }
    order = chance.sample(ids, len(ids))
    return workflow({task_id: chance.sample(waits_for[task_id], len(waits_for[task_id])) for task_id in order})


@dataclass(slots=True)
class Play:
    """A run that is driven by chance, and recorded as the engine would."""

    chance: random.Random
    definition: WorkflowDefinition
    store: MemoryStore
    progress: RunProgress = field(init=False)
    ready: list[int] = field(default_factory=list)
    """Tasks that were said to be ready and have not started."""

    starts: dict[int, int] = field(default_factory=dict)
    now_ms: int = NOON_MS
    number: int = 0
    steps: list[Sequence[Change]] = field(default_factory=list)
    """What was recorded, transaction by transaction."""

    def __post_init__(self) -> None:
        self.progress = progresses.create(self.definition, run(self.number))
        self.record([changes.RunCreated(self.progress.run)])
        self.take(transitions.begin(self.progress))

    def take(self, decision: Decision) -> None:
        """Record a decision as one transaction, and check that what it names as ready may start."""
        if decision.changes:
            self.record(decision.changes)
        for position in decision.ready:
            assert position not in self.ready, "ready twice"
            assert self.states[position] is TaskState.PENDING
            self.ready.append(position)
        self.ready = [position for position in self.ready if self.states[position] is TaskState.PENDING]

    def record(self, steps: Sequence[Change]) -> None:
        self.store.record(steps)
        self.steps.append(steps)

    @property
    def states(self) -> list[TaskState]:
        return [cell.record.state for cell in self.progress.tasks]

    @property
    def live(self) -> list[int]:
        return [position for position, cell in enumerate(self.progress.tasks) if cell.is_live]

    def step(self) -> None:
        """Let one thing happen that may happen now."""
        self.now_ms += self.chance.randint(0, 3)
        options = list(self._options())
        weights = [weight for weight, _ in options]
        self.chance.choices([action for _, action in options], weights)[0]()

    def _options(self) -> Iterator[tuple[float, Callable[[], None]]]:
        if self.ready:
            yield 4, self._start
            yield 0.3, self._cannot_start
        if self.live:
            yield 5, self._end
        if any(self.states[position] is TaskState.STARTING for position in self.live):
            yield 3, self._running
        yield 0.15, self._stop
        yield 0.3, self._die

    def _start(self) -> None:
        position = self.ready.pop(self.chance.randrange(len(self.ready)))
        task = self.definition.tasks[position]
        done = {cell.record.task_id for cell in self.progress.tasks if cell.record.state is TaskState.SUCCEEDED}
        assert set(task.depends_on) <= done, f"{task.id} starts before {set(task.depends_on) - done}"
        self.starts[position] = self.starts.get(position, 0) + 1
        starting = attempt(task_id=task.id, number=self.number)
        self.take(transitions.attempt_starting(self.progress, position, starting, self.now_ms))

    def _cannot_start(self) -> None:
        position = self.ready.pop()
        self.take(transitions.task_unstartable(self.progress, position, "no such value", self.now_ms))

    def _running(self) -> None:
        position = self.chance.choice([p for p in self.live if self.states[p] is TaskState.STARTING])
        last = self.progress.tasks[position].attempts[-1]
        lives = replace(last, state=AttemptState.RUNNING, pid=position + 1, pid_started_ticks=7)
        lives = replace(lives, started_at_ms=self.now_ms)
        self.take(transitions.attempt_running(self.progress, position, lives))

    def _end(self) -> None:
        position = self.chance.choice(self.live)
        ends = [AttemptState.SUCCEEDED] * 6 + [AttemptState.FAILED, AttemptState.TIMED_OUT, AttemptState.INTERRUPTED]
        if self.progress.run.stop_cause is not None:
            ends += [AttemptState.CANCELLED] * 6
        state = self.chance.choice(ends)
        last = self.progress.tasks[position].attempts[-1]
        over = replace(last, state=state, reason=f"it {state}", finished_at_ms=self.now_ms, log=LogRecord())
        outputs = {"n": position} if state is AttemptState.SUCCEEDED else None
        self.take(transitions.attempt_ended(self.progress, position, over, outputs))

    def _stop(self) -> None:
        cause = StopCause.CANCEL
        if self.progress.run.state is RunState.RUNNING and self.chance.random() < 0.5:
            cause = StopCause.RUN_TIMEOUT
        decision = transitions.stop(self.progress, cause, f"because of {cause}", self.now_ms)
        assert decision.stop == self.live
        self.take(decision)
        assert not self.ready

    def _die(self) -> None:
        """End the daemon and go on as a new one does: live attempts are interrupted, then what is ready starts."""
        self.progress = progresses.restore(self.definition, self.store.details(self.progress.run.id))
        self.ready = []
        for position in self.live:
            last = self.progress.tasks[position].attempts[-1]
            lost = replace(transitions.attempt_interrupted(last, "the daemon ended", self.now_ms), log=LogRecord())
            self.record(transitions.attempt_ended(self.progress, position, lost, None).changes)
        if self.progress.run.stop_cause is not None:
            self.take(transitions.stop(self.progress, self.progress.run.stop_cause, "", self.now_ms))
        elif not self.progress.has_ended:
            self.take(transitions.begin(self.progress))


def plain(record: AttemptRecord) -> AttemptRecord:
    """Leave out the log, of which a row always knows at least that there is none."""
    return replace(record, log=None)


def facts(progress: RunProgress) -> tuple[RunRecord, int, list[tuple[TaskRecord, list[AttemptRecord], int]]]:
    """Return all that decides what follows; how many dependencies a task waits for matters while it is pending."""
    cells = [
        (
            cell.record,
            [plain(one) for one in cell.attempts],
            cell.waits_for if cell.record.state is TaskState.PENDING else -1,
        )
        for cell in progress.tasks
    ]
    return progress.run, progress.unended, cells


def expected_end(play: Play) -> RunState:
    """Return how a run has to end by the rules of the language, from the states of its tasks."""
    states = set(play.states)
    if states == {TaskState.SUCCEEDED}:
        return RunState.SUCCEEDED
    if play.progress.run.stop_cause is StopCause.CANCEL:
        return RunState.CANCELLED
    if play.progress.run.stop_cause is StopCause.RUN_TIMEOUT:
        return RunState.TIMED_OUT
    if TaskState.INTERRUPTED in states:
        return RunState.INTERRUPTED
    return RunState.FAILED


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """Tables in memory."""
    made = MemoryStore()
    yield made
    made.close()


@pytest.mark.parametrize("number", range(GRAPHS))
def test_any_run(store: MemoryStore, number: int) -> None:
    """A run ends, by the rules; no task starts early or twice; at every moment its rows say all that is known."""
    play = Play(random.Random(random.getrandbits(64)), random_workflow(random.Random(random.getrandbits(64))), store)
    for _ in range(1000):
        restored = progresses.restore(play.definition, store.details(play.progress.run.id))
        assert facts(restored) == facts(play.progress)
        if play.progress.run.stop_cause is None:
            assert sorted(transitions.begin(restored).ready) == sorted(play.ready)
        if play.progress.has_ended:
            break
        assert play.ready or play.live, "stuck: nothing runs and nothing is ready"
        play.step()
    check_end(play)


def check_end(play: Play) -> None:
    progress = play.progress
    assert progress.has_ended
    assert progress.unended == 0
    assert not play.ready
    assert progress.run.state is expected_end(play)
    assert progress.run.finished_at_ms is not None
    assert (progress.run.reason is None) == (progress.run.state is RunState.SUCCEEDED)
    assert all(count == 1 for count in play.starts.values())
    by_id = {cell.record.task_id: cell.record.state for cell in progress.tasks}
    for position, cell in enumerate(progress.tasks):
        record = cell.record
        assert cell.has_ended
        assert len(cell.attempts) == play.starts.get(position, 0)
        assert all(one.state in ATTEMPT_ENDED for one in cell.attempts)
        assert record.finished_at_ms is not None
        assert record.reason
        if record.state is TaskState.UPSTREAM_FAILED:
            assert not cell.attempts
            waited_for = [by_id[other] for other in progress.definition.tasks[position].depends_on]
            assert any(state is not TaskState.SUCCEEDED for state in waited_for)
        if record.state is TaskState.SUCCEEDED:
            assert record.outputs == {"n": position}
    again = transitions.stop(progress, StopCause.CANCEL, "too late", play.now_ms)
    assert (again.changes, again.ready, again.stop) == ([], [], [])


@pytest.mark.parametrize("number", range(40))
def test_groups_of_many_runs(store: MemoryStore, number: int) -> None:
    """However the steps of many runs come to be written together, the rows are those of writing each on its own."""
    plays = []
    for run_number in range(5):
        chance = random.Random(random.getrandbits(64))
        plays.append(Play(chance, random_workflow(chance), store, number=run_number))
        while not plays[-1].progress.has_ended:
            plays[-1].step()
    waiting = [list(play.steps) for play in plays]
    other = MemoryStore()
    while any(waiting):
        group: list[Change] = []
        for _ in range(random.randint(1, 25)):
            left = [steps for steps in waiting if steps]
            if left:
                group += random.choice(left).pop(0)
        other.record(group)
    for play in plays:
        assert other.details(play.progress.run.id) == store.details(play.progress.run.id)
        assert other.story(play.progress.run.id) == store.story(play.progress.run.id)
    other.close()
