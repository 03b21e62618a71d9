"""D-Bus is away while the daemon starts, has tasks to start, or is restarted: nothing is lost, nothing fails open."""

import time
from collections.abc import Iterator

import pytest

from tests.helpers.service import CONFIG, UNITS, WAIT_SECONDS, Service
from tests.helpers.waiting import eventually

BUS = "dbus.socket dbus.service"
NAP = """\
name: nap
tasks:
  - id: nap
    shell: sleep 4711 || echo "done as $(id -u)"
"""
WHERE = """\
name: where
tasks:
  - id: where
    shell: cat /proc/self/cgroup; echo once >>/root/where
"""

UNTIL_TOLD = """\
name: until-told
tasks:
  - id: nap
    shell: until test -e /root/told; do sleep 0.1; done
"""
RULES = "/etc/dbus-1/system.d/rules.conf"
LIMIT = '<busconfig><limit name="max_match_rules_per_connection">{}</limit></busconfig>'
LEFT = "Got disconnect on API bus"


@pytest.fixture
def service(service: Service) -> Iterator[Service]:
    """Return the service with a daemon that runs; afterwards the bus does, too."""
    service.start()
    yield service
    service.systemctl(f"start {BUS}")
    service.container.run(f"rm -f /root/where /root/told {RULES}; systemctl reload dbus")


def bus_away(service: Service) -> None:
    """Stop the bus."""
    service.systemctl(f"stop {BUS}")


def mask_bus(service: Service) -> None:
    """Stop the bus so that the start of the daemon does not bring it back."""
    service.systemctl(f"mask --runtime {BUS}")
    bus_away(service)


def allow_rules(service: Service, count: int) -> None:
    """Have the bus take so many rules of each client, as it does 512."""
    service.container.write(RULES, LIMIT.format(count))
    service.systemctl("reload dbus")


def unmask_bus(service: Service) -> None:
    """Undo it, and start the bus."""
    service.systemctl(f"unmask --runtime {BUS}")
    service.systemctl(f"start {BUS}")


def wake(service: Service) -> None:
    """Have the nap end, which is still going on."""
    (pid,) = service.processes("sleep 4711")
    service.container.run(f"kill {pid}")


def result(service: Service, run_id: str) -> dict[str, str | None]:
    """Return the states of a run that has ended, and the reason."""
    eventually(lambda: service.get_run(run_id)["finished_at"], WAIT_SECONDS, "the run has ended")
    run = service.get_run(run_id)
    (task,) = run["tasks"]
    return {"run": run["state"], "task": task["state"], "reason": task["reason"]}


SUCCEEDED = {"run": "succeeded", "task": "succeeded", "reason": None}


def test_a_start_brings_the_bus(service: Service) -> None:
    """Where D-Bus was stopped, a start of the daemon starts it again, and tasks run in units."""
    service.apply(WHERE)
    service.systemctl("stop barbossad")
    bus_away(service)
    service.start()
    assert service.ctl("start where --wait").returncode == 0
    assert "barbossa.slice" in service.ctl("logs last where").stdout


def test_a_start_waits_for_the_bus_and_never_does_without(service: Service) -> None:
    """A task that outlived its daemon is adopted when D-Bus is back, not lost to a daemon without units."""
    service.apply(NAP)
    run_id = service.start_run("nap")
    service.wait_for_process("sleep 4711")
    mask_bus(service)
    try:
        service.systemctl("kill --kill-whom=main --signal=KILL barbossad")
        eventually(
            lambda: "waits: systemd cannot be reached" in service.property("StatusText"), WAIT_SECONDS, "it waits"
        )
        time.sleep(1)
        assert service.property("ActiveState") == "activating"
    finally:
        unmask_bus(service)
    eventually(lambda: service.property("ActiveState") == "active", WAIT_SECONDS, "the daemon is up")
    wake(service)
    assert result(service, run_id) == SUCCEEDED
    assert "done as 0" in service.ctl(f"logs {run_id} nap").stdout


def test_a_start_without_the_bus_fails_and_says_what_to_do(service: Service) -> None:
    """After a while the start fails, with words; systemd makes another."""
    mask_bus(service)
    try:
        service.systemctl("restart --no-block barbossad")
        eventually(lambda: "is D-Bus installed" in service.log(), 2 * WAIT_SECONDS, "it is said")
        assert "tasks: {launcher: local}" in service.log()
    finally:
        unmask_bus(service)
    eventually(lambda: service.property("ActiveState") == "active", WAIT_SECONDS, "the daemon is up")


def test_a_task_that_is_due_meanwhile_starts_when_the_bus_is_back(service: Service) -> None:
    """Once, and nothing is told as a failure."""
    service.apply(WHERE)
    bus_away(service)
    eventually(lambda: "was lost" in service.log(), WAIT_SECONDS, "the daemon knows")
    run_id = service.start_run("where")
    time.sleep(1.5)
    assert service.get_run(run_id)["state"] == "running"
    service.systemctl(f"start {BUS}")
    assert result(service, run_id) == SUCCEEDED
    assert service.container.run("cat /root/where").stdout == "once\n"


def test_a_run_cancelled_meanwhile_was_never_started(service: Service) -> None:
    """It is cancelled, not failed, and nothing runs."""
    service.apply(WHERE)
    bus_away(service)
    eventually(lambda: "was lost" in service.log(), WAIT_SECONDS, "the daemon knows")
    run_id = service.start_run("where")
    service.ctl(f"run cancel --no-wait {run_id}")
    service.systemctl(f"start {BUS}")
    ended = result(service, run_id)
    assert (ended["run"], ended["task"]) == ("cancelled", "cancelled")
    assert service.container.run("cat /root/where", check=False).stdout == ""


def test_a_restart_meanwhile_leaves_tasks_alone(service: Service) -> None:
    """It brings the bus back, which says why the daemon is to end."""
    service.apply(NAP)
    run_id = service.start_run("nap")
    service.wait_for_process("sleep 4711")
    bus_away(service)
    service.systemctl("restart barbossad")
    wake(service)
    assert "1 tasks go on without the daemon" in service.log()
    assert result(service, run_id) == SUCCEEDED


def test_a_restart_of_both_leaves_tasks_alone(service: Service) -> None:
    """As when a package of D-Bus is upgraded with ours."""
    service.apply(NAP)
    run_id = service.start_run("nap")
    service.wait_for_process("sleep 4711")
    service.systemctl("restart dbus.service barbossad.service")
    wake(service)
    assert result(service, run_id) == SUCCEEDED


def test_a_restart_without_the_bus_leaves_tasks_alone(service: Service) -> None:
    """Where it does not come back either, systemd is asked without it."""
    service.apply(NAP)
    run_id = service.start_run("nap")
    service.wait_for_process("sleep 4711")
    mask_bus(service)
    try:
        service.systemctl("restart --no-block barbossad")
        eventually(lambda: "1 tasks go on without the daemon" in service.log(), WAIT_SECONDS, "it goes")
        assert "cannot tell a restart from a stop" not in service.log()
    finally:
        unmask_bus(service)
    eventually(lambda: service.property("ActiveState") == "active", WAIT_SECONDS, "the daemon is up")
    wake(service)
    assert result(service, run_id) == SUCCEEDED


def test_a_stop_without_the_bus_ends_tasks_in_good_order(service: Service) -> None:
    """They are asked to end, their ends are heard of and recorded, and nothing is waited for."""
    service.apply("name: nap\ntasks: [{id: nap, shell: exec sleep 4711}]\n")
    run_id = service.start_run("nap")
    service.wait_for_process("sleep 4711")
    bus_away(service)
    service.systemctl(f"stop {UNITS}")
    assert "1 tasks are being ended" in service.log()
    assert not any(words in service.log() for words in ("cannot tell", "would not end", "did not end"))
    service.start()
    reason = "the daemon was stopped while it ran"
    assert result(service, run_id) == {"run": "interrupted", "task": "interrupted", "reason": reason}


def test_systemd_leaves_the_bus(service: Service) -> None:
    """It does when the bus takes no more rules of it; when it is back, the ends of tasks are heard of as before."""
    service.apply(UNTIL_TOLD)
    run_id = service.start_run("until-told")
    eventually(lambda: service.get_run(run_id)["tasks"][0]["state"] == "running", WAIT_SECONDS, "it runs")
    allow_rules(service, 1)
    service.container.run(
        "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "
        "RestartUnit ss systemd-tmpfiles-clean.timer replace",
        check=False,  # it may be gone before it answers
    )
    eventually(lambda: LEFT in service.container.journal("init.scope"), WAIT_SECONDS, "systemd has left the bus")
    allow_rules(service, 512)
    service.container.run("touch /root/told")
    assert result(service, run_id) == SUCCEEDED


@pytest.mark.slow
def test_many_at_once(service: Service) -> None:
    """However many tasks begin and end at once, systemd has few enough jobs of ours to stay on the bus."""
    allow_rules(service, 256)
    service.container.write(CONFIG, "tasks: {limit: 512}\n")
    service.systemctl("restart barbossad")
    before = service.container.journal("init.scope").count(LEFT)
    service.apply(f"name: many\ntasks: [{{sandbox: none, for_each: {list(range(450))}, shell: exec sleep 5}}]\n")
    run_id = service.start_run("many")
    eventually(lambda: service.get_run(run_id)["finished_at"], 4 * WAIT_SECONDS, "the run has ended")
    assert service.get_run(run_id)["state"] == "succeeded"
    assert service.container.journal("init.scope").count(LEFT) == before
