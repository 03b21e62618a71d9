"""The daemon dies around the very instants at which schedules fire, again and again."""

from __future__ import annotations

import logging
import random
import secrets
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import invariants
from tests.helpers.daemon import Daemon

KILLS = 20
SCHEDULES = 10
EVERY_MS = 2000

pytestmark = pytest.mark.timeout(900)


def workflow() -> str:
    """Return a workflow with many schedules that all fire at the same instants."""
    entries = "\n".join(
        f"  - {{name: s{number}, every: 2s, overlap: allow, catch_up: all, catch_up_limit: 1000}}"
        for number in range(SCHEDULES)
    )
    return f"name: beat\nschedules:\n{entries}\ntasks: [{{id: note, shell: ':'}}]\n"


def until_next() -> float:
    """Return how many seconds it is to the next instant at which all of them fire."""
    now_ms = time.time_ns() // 1_000_000
    return (EVERY_MS - now_ms % EVERY_MS) / 1000


def test_each_fire_exactly_once(unstarted: Daemon) -> None:
    """Killed around 200 fires, the daemon makes one run of each: none is lost, and none is made twice (P5)."""
    seed = secrets.randbelow(1 << 32)
    logging.getLogger(__name__).warning("seed %d", seed)
    chance = random.Random(seed)
    daemon = unstarted
    database = daemon.state_dir / "barbossa.db"
    daemon.write_workflow("beat.yaml", workflow())
    daemon.start()
    around = 0
    for _ in range(KILLS):
        time.sleep(max(0.0, until_next() + chance.uniform(-0.02, 0.08)))
        daemon.kill()
        around += SCHEDULES
        daemon.start()
    started_ms = time.time_ns() // 1_000_000
    daemon.eventually(lambda: min(_newest(database)) >= started_ms, "what was missed is made up for, and all go on", 60)
    with daemon.client() as client:
        client.call("workflow.disable", name="beat")
    daemon.eventually(lambda: daemon.call("daemon.status")["runs"]["active"] == 0, "all runs have ended", 60)
    daemon.eventually(lambda: _open_fires(daemon) == [], "the schedules have heard of their ends", 60)
    assert daemon.stop() == 0
    assert around == KILLS * SCHEDULES
    assert "Traceback" not in daemon.log
    _assert_once_each(database, started_ms)
    assert invariants.broken(database) == []


def _open_fires(daemon: Daemon) -> list[Any]:
    found: list[Any] = daemon.call("schedule.history", state="started", limit=1)["items"]
    return found


def _newest(database: Path) -> list[int]:
    """Return the instant of the newest run of each schedule, once each has one."""
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT max(scheduled_for_ms) FROM runs GROUP BY schedule").fetchall()
    return [row[0] for row in found] if len(found) == SCHEDULES else [0]


def _assert_once_each(path: Path, started_ms: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute(
            "SELECT runs.schedule, runs.scheduled_for_ms, count(*), count(fires.key) FROM runs "
            "LEFT JOIN fires ON fires.run = runs.id AND fires.nominal_ms = runs.scheduled_for_ms GROUP BY 1, 2"
        ).fetchall()
    assert [row for row in made if row[2:] != (1, 1)] == []
    for number in range(SCHEDULES):
        nominal = sorted(row[1] for row in made if row[0] == f"beat/s{number}")
        assert nominal == list(range(nominal[0], nominal[-1] + 1, EVERY_MS))
        assert nominal[-1] >= started_ms
        assert len(nominal) >= KILLS
