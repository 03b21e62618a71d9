"""What the clients of a daemon were told, and what must therefore be so for ever after."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

ENDED: Final = frozenset({"succeeded", "skipped", "failed", "timed_out", "cancelled", "upstream_failed", "interrupted"})


class Certain:
    """Facts that clients settle by asking for them, by their subject; those that two ask for at once nobody knows."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self._asked: Counter[str] = Counter()
        self._mixed: set[str] = set()

    def ask(self, subject: str) -> None:
        """Somebody has asked for a change, which may have happened from now on."""
        self.facts.pop(subject, None)
        self._asked[subject] += 1
        if self._asked[subject] > 1:
            self._mixed.add(subject)

    def settle(self, subject: str, fact: Any) -> None:
        """It was acknowledged; None: it was refused, or there was no answer."""
        self._asked[subject] -= 1
        if subject not in self._mixed and fact is not None:
            self.facts[subject] = fact
        if not self._asked[subject]:
            self._mixed.discard(subject)

    def forget(self, beginning: str = "") -> None:
        """Know no more of the subjects that begin so."""
        for subject in [one for one in self.facts if one.startswith(beginning)]:
            del self.facts[subject]


@dataclass
class Known:
    """What was told of a run."""

    workflow: str
    parent: str | None = None
    end: str | None = None
    revision: int = 0
    is_cancelled: bool = False
    """Somebody was told that it is being ended."""

    is_deleted: bool = False
    tasks: dict[str, str] = field(default_factory=dict)
    attempts: dict[tuple[str, int], str] = field(default_factory=dict)
    """How its tasks and attempts ended, as far as that was told."""


class Memory:
    """All that was told."""

    def __init__(self) -> None:
        self.runs: dict[str, Known] = {}
        self.by_key: dict[tuple[str, str], set[str]] = {}
        self.texts = Certain()
        """Of workflows: what is in force."""

        self.schedules = Certain()
        """Of schedules that were added: whether they are there."""

        self.paused = Certain()
        """Of runs: whether they are paused."""

    def learn(self, run: dict[str, Any]) -> None:
        """Learn from a run as it was told; what has ended never changes, whatever happened since."""
        parent = run["parent"]["run_id"] if run["parent"] else None
        known = self.runs.setdefault(run["id"], Known(run["workflow"], parent))
        if run["state"] in ENDED:
            assert known.end in (None, run["state"]), f"run {run['id']} was {known.end} and is {run['state']}"
            known.end = run["state"]
            assert run["finished_at"] is not None
            assert all(task["state"] in ENDED for task in run.get("tasks", ())), run
        for task in run.get("tasks", ()):
            self._learn_task(run["id"], known, task)

    def _learn_task(self, run_id: str, known: Known, task: dict[str, Any]) -> None:
        what = f"task {task['id']} of run {run_id}"
        if task["state"] in ENDED:
            before = known.tasks.setdefault(task["id"], task["state"])
            assert before == task["state"], f"{what} was {before} and is {task['state']}"
        assert [one["number"] for one in task["attempts"]] == list(range(1, len(task["attempts"]) + 1)), what
        for attempt in task["attempts"]:
            if attempt["state"] in ENDED:
                before = known.attempts.setdefault((task["id"], attempt["number"]), attempt["state"])
                assert before == attempt["state"], f"attempt {attempt['number']} of {what} was {before}: {attempt}"

    def check(self, run: dict[str, Any]) -> None:
        """Check that all that was told of a run is in what is told of it now."""
        self.learn(run)
        known = self.runs[run["id"]]
        assert known.end is None or run["state"] == known.end, f"run {run['id']} was {known.end}, and is {run['state']}"
        tasks = {task["id"]: task for task in run["tasks"]}
        for task_id, state in known.tasks.items():
            now = tasks[task_id]["state"] if task_id in tasks else None
            assert now == state, f"task {task_id} of run {run['id']} was {state}, and is {now}"
        for (task_id, number), state in known.attempts.items():
            found = [one["state"] for one in tasks[task_id]["attempts"] if one["number"] == number]
            assert found == [state], f"attempt {number} of {task_id} of run {run['id']} was {state}, and is {found}"
