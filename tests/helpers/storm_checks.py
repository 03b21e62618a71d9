"""What must hold when a storm is over."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from barbossad.model.names import run_id_from_number
from tests.helpers import invariants
from tests.helpers.storm import Storm
from tests.helpers.storm_memory import ENDED
from tests.helpers.waiting import eventually

LIMIT_SECONDS: Final = 150.0


def check_answers(storm: Storm) -> None:
    """The daemon says of everything the same, whoever asks, and nothing that was acknowledged is lost."""
    call, memory = storm.call, storm.memory
    storm.remembers()
    status = call("daemon.status")
    assert status["runs"]["active"] == 0, status
    assert status["tasks"]["running"] == 0, status
    listed = {run["id"]: run for run in _pages(storm, "run.list")}
    for run_id, run in listed.items():
        view = storm.steer("run.get", run_id=run_id)
        if view is None:
            assert not storm.keeps_all, f"{run_id} was listed, and is gone"
            continue
        assert {key: view[key] for key in run} == run
        memory.learn(view)
        _check_logs(storm, view)
        storm.types.update({f"{run_id}/{task['id']}": task["type"] for task in view["tasks"]})
        if memory.runs[run_id].is_cancelled:
            allowed = ("cancelled", "succeeded", "timed_out")  # it had come to its end, or was being ended
            is_allowed = view["state"] in allowed or view["reason"].startswith("its outputs cannot be used")
            assert is_allowed, f"{run_id} was cancelled, and is {view['state']}"
    for run_id, known in memory.runs.items():
        assert (run_id in listed) != known.is_deleted or not storm.keeps_all, f"{run_id}: {known}"
    for key, runs in memory.by_key.items():
        left = [run_id for run_id in runs if not memory.runs[run_id].is_deleted]
        assert len(left) <= 1 or not storm.keeps_all, f"{key} gave {left}"
    for name, text in memory.texts.facts.items():
        assert call("workflow.get", name=name)["yaml"] == text, f"{name} was applied, and is another"
    schedules = {schedule["id"] for schedule in _pages(storm, "schedule.list")}
    for schedule, is_there in memory.schedules.facts.items():
        assert (schedule in schedules) == is_there, f"{schedule}: {is_there}"


def _pages(storm: Storm, method: str) -> list[dict[str, Any]]:
    """Return a listing whole, in pages of any size."""
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        page = storm.call(method, limit=storm.chance.choice([1, 7, 100]), **more)
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        more = {"cursor": page["next_cursor"]}


def _check_logs(storm: Storm, view: dict[str, Any]) -> None:
    """What was printed can be read to its end."""
    for task in view["tasks"]:
        assert task["state"] in ENDED
        for attempt in task["attempts"]:
            if attempt["launcher"] != "workflow":
                asked = {"run_id": view["id"], "task": task["id"], "attempt": attempt["number"]}
                page = storm.steer("run.logs", **asked)
                assert page["finished"] or page["next_cursor"] if page else not storm.keeps_all, page


def check_ledger(storm: Storm, database: Path) -> None:
    """Each attempt began once at most and not without a record of it; one that was seen to succeed has begun."""
    begun: Counter[str] = Counter()
    for file in storm.host.ledger.iterdir():
        begun.update(file.read_text().split())
    twice = {key: count for key, count in begun.items() if count > 1}
    assert not twice, f"started twice: {twice}"
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT run, task, number, state = 'succeeded' FROM attempts").fetchall()
        runs = {run_id_from_number(run) for (run,) in connection.execute("SELECT id FROM runs")}
    recorded = {f"{run_id_from_number(run)}/{task}/{number}": bool(is_good) for run, task, number, is_good in rows}
    unknown = {key for key in begun if key.split("/")[0] in runs} - set(recorded)
    assert not unknown, f"ran without a record: {unknown}"
    scripts = {key for key, is_good in recorded.items() if is_good and storm.types.get(_task_of(key)) == "shell"}
    assert scripts <= set(begun), f"succeeded without having begun: {scripts - set(begun)}"


def _task_of(attempt: str) -> str:
    return attempt.rpartition("/")[0]


def go_through(storm: Storm) -> None:
    """Let a storm pass over some daemons, one after another, and check what is left when it is over."""
    for _ in range(storm.chance.randint(1, 3)):
        storm.begin()
        storm.live(storm.chance.randint(5, 40))
        if storm.chance.random() < 0.5:
            assert invariants.broken(storm.host.database(), is_idle=False, is_pruned=storm.is_pruned) == []
    storm.begin()
    storm.finish(LIMIT_SECONDS)
    check_answers(storm)
    eventually(lambda: not storm.processes(), 30, "no process of a task is left")
    storm.hang_up()
    storm.host.end("stop")
    storm.host.gone("stop", storm.token)
    database = storm.host.database()
    assert invariants.broken(database, is_pruned=storm.is_pruned) == []
    check_ledger(storm, database)
    storm.host.check()
