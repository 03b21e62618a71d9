"""What the live view shows when it cannot show everything."""

from __future__ import annotations

from collections.abc import Mapping

from barbossactl.live import _choose
from barbossactl.records import Run, run_from


def run_of(states: Mapping[str, str]) -> Run:
    tasks = [{"id": name, "state": state, "attempts": []} for name, state in states.items()]
    return run_from({"id": "r", "workflow": "w", "state": "running", "tasks": tasks})


def test_all_tasks_are_shown_while_they_fit() -> None:
    """A small workflow is shown whole, in its own order."""
    run = run_of({"a": "succeeded", "b": "running", "c": "pending"})
    assert [row.task.id for row in _choose(run, ["a"], 3)] == ["a", "b", "c"]


def test_what_runs_failed_or_just_ended_comes_first() -> None:
    """Of 200 tasks the running ones are shown, then failed ones, then the last that ended."""
    states = {f"t{number}": "succeeded" for number in range(190)} | {f"p{number}": "pending" for number in range(10)}
    states |= {"t5": "running", "t100": "failed"}
    ended = [f"t{number}" for number in range(190) if number != 5]
    chosen = [row.task.id for row in _choose(run_of(states), ended, 4)]
    assert chosen == ["t5", "t100", "t188", "t189"]
