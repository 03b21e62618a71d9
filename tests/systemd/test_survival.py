"""Work under way outlives the daemon: killed a hundred times, restarted, installed anew."""

import logging
import random
import secrets
from collections.abc import Iterator

import pytest

from tests.helpers.fleet import Fleet, random_pause
from tests.helpers.service import CONFIG, WAIT_SECONDS, Service
from tests.helpers.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

QUICK = "StartLimitIntervalSec=0\n[Service]\nRestartSec=20ms\nExecStopPost="


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Return chance that a failing test can be repeated with: its seed is shown."""
    seed = secrets.randbelow(1 << 32)
    logging.getLogger(__name__).warning("%s: seed %d", request.node.name, seed)
    return random.Random(seed)


@pytest.fixture
def service(service: Service) -> Iterator[Service]:
    """Return the service with room for all tasks, restarted by systemd as often as it takes."""
    service.container.write(CONFIG, "tasks: {limit: 256}\n")
    service.set_up_unit(f"[Unit]\n{QUICK}\n")
    service.start()
    return service


def test_killed_a_hundred_times(service: Service, chance: random.Random) -> None:
    """Every task runs once, every line is there in order, every exit code is right, and nothing is left (I1 to I9)."""
    fleet = Fleet(service=service, workflows=20, lanes=10, length=20, random=chance)
    runs = fleet.start()
    eventually(lambda: fleet.running() >= 200, 60, "200 tasks are in flight")
    most = 0
    for _ in range(100):
        random_pause(chance, 0.5)
        service.systemctl("kill --kill-whom=main --signal=KILL barbossad", check=False)
        most = max(most, fleet.running())
    assert int(service.property("NRestarts")) >= 90, "the daemon was hardly ever killed"
    assert most >= 190, "there was hardly anything in flight"
    fleet.wait(runs, 400)
    fleet.assert_intact(runs)


def test_restarted_and_installed_anew(service: Service, chance: random.Random) -> None:
    """The same holds for `systemctl restart`, again and again, with installations of a new release in between."""
    fleet = Fleet(service=service, workflows=20, lanes=10, length=8, random=chance)
    runs = fleet.start()
    eventually(lambda: fleet.running() >= 200, 60, "200 tasks are in flight")
    for number in range(15):
        random_pause(chance, 0.5)
        if number in {4, 9}:
            service.container.run("make -C /src install", timeout_seconds=300)
        service.systemctl("restart barbossad")
    fleet.wait(runs, 300)
    assert service.property("NRestarts") == "0"
    fleet.assert_intact(runs)


def test_many_with_long_names(service: Service) -> None:
    """A daemon is executed again, and adopts them, however much the names of their pipes come to."""
    service.container.write(CONFIG, "tasks: {limit: 512}\n")
    service.systemctl("restart barbossad")
    task = f"{{id: {'c' * 40}, sandbox: none, for_each: {list(range(320))}, shell: exec sleep 4711}}"
    for group in ("b" * 63, "a" * 63):
        task = f"{{id: {group}, parallel: [{task}]}}"
    service.apply(f"name: many\ntasks: [{task}]\n")
    run_id = service.start_run("many")
    eventually(lambda: len(service.processes("sleep 4711")) == 320, 120, "all tasks run")
    service.systemctl("restart barbossad")
    assert "tasks that go on: 320, interrupted: 0" in service.log()
    service.ctl(f"cancel {run_id}")
    eventually(lambda: service.processes("sleep 4711") == [], WAIT_SECONDS, "they are ended")
