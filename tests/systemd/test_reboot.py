"""The host goes down and comes back: a container of this module's own, booted from its disk again and again."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.container import booted
from tests.helpers.service import WAIT_SECONDS, Service
from tests.helpers.waiting import eventually
from tests.systemd.conftest import boot, install

TRACE = "/root/trace"
DOWN_SECONDS = 15.0
"""More than a shutdown takes here, less than one in which the daemon waits for what does not come.

On a host that has much else to do a shutdown takes longer, as the boot before it has.
"""

REBOOTING = f"""\
name: new-kernel
tasks:
  - id: upgrade
    shell: echo upgrade >>{TRACE}
  - id: reboot
    sandbox: none
    on_reboot: resume
    shell: |
      echo "reboot $BARBOSSA_RESUMED" >>{TRACE}
      if [ "$BARBOSSA_RESUMED" = host ]; then exit 0; fi
      systemctl poweroff
      exec sleep infinity
  - id: check
    shell: echo check >>{TRACE}
"""
AT_BOOT = f"""\
name: at-boot
schedules: [{{boot: true}}]
tasks: [{{id: task, shell: echo boot >>{TRACE}.boot}}]
"""
HANDLING = f"""\
name: handling
tasks:
  - {{id: zero, shell: "trap 'exit 0' TERM; echo ready; sleep 4711 & wait"}}
  - {{id: after-zero, shell: echo after >>{TRACE}}}
  - {{id: seven, depends_on: [], shell: "trap 'exit 7' TERM; echo ready; sleep 4711 & wait"}}
  - {{id: plain, depends_on: [], shell: exec sleep 4711}}
  - id: resumed
    depends_on: []
    on_reboot: resume
    shell: |
      if [ "$BARBOSSA_RESUMED" = host ]; then exit 0; fi
      trap 'exit 0' TERM; echo ready; sleep 4711 & wait
"""
# While this one stops, the daemon runs on, and so does the bus; the tasks are asked to end at once.
LATE = (
    "[Unit]\nAfter=barbossad.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nExecStop=sleep 2\n"
)


@dataclass(slots=True, kw_only=True)
class Machine:
    """A host with a disk."""

    disk: Path
    boot_seconds: float = 0.0
    """How long it took to come up the last time."""

    @contextmanager
    def up(self) -> Iterator[Service]:
        """Boot, and wait until the daemon runs."""
        begun = time.monotonic()
        with booted(disk=self.disk) as container:
            service = Service(container=container)
            service.start()
            self.boot_seconds = time.monotonic() - begun
            yield service

    def wait_until_down(self, service: Service) -> None:
        """Wait until nothing runs there any more."""
        leader = Path("/proc", str(service.container.leader))
        eventually(lambda: not leader.exists(), max(DOWN_SECONDS, 3 * self.boot_seconds), "the host is down")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine that is off, with Barbossa installed and enabled."""
    disk = tmp_path_factory.mktemp("machine")
    for container in boot(disk):
        install(container)
        container.run("systemctl enable barbossad.socket barbossad.service")
    return Machine(disk=disk)


def tasks(service: Service, run_id: str) -> dict[str, dict[str, Any]]:
    """Return the tasks of a run that ends, by their ids."""
    eventually(lambda: service.get_run(run_id)["finished_at"], WAIT_SECONDS, "the run has ended")
    return {task["id"]: task for task in service.get_run(run_id)["tasks"]}


def states(task: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return how the attempts of a task ended, and why."""
    return [(attempt["state"], attempt["reason"]) for attempt in task["attempts"]]


SHUT_DOWN = ("interrupted", "the host was shut down while it ran")
NEVER_BEGAN = ("interrupted", "the host was shut down before it began")
CUT_OFF = ("interrupted", "the host was restarted while it ran")
CUT_OFF_BEFORE = ("interrupted", "the host was restarted before it was known to have begun")


def test_a_task_reboots_the_host_once_and_goes_on(machine: Machine) -> None:
    """A workflow may reboot the host, and a schedule may wait for that; neither a restart nor systemd's is a boot."""
    with machine.up() as service:
        service.container.run(f"rm -f {TRACE}")
        service.apply(AT_BOOT)
        service.apply(REBOOTING)
        run_id = service.start_run("new-kernel")
        machine.wait_until_down(service)
    with machine.up() as service:
        found = tasks(service, run_id)
        assert states(found["reboot"]) == [SHUT_DOWN, ("succeeded", None)]
        assert service.container.run(f"cat {TRACE}").stdout == "upgrade\nreboot \nreboot host\ncheck\n"
        eventually(lambda: service.container.run(f"cat {TRACE}.boot", check=False).stdout, WAIT_SECONDS, "it fires")
        service.systemctl("daemon-reexec")
        service.systemctl("restart barbossad")
        assert service.ctl("start at-boot --wait").returncode == 0
        assert service.container.run(f"cat {TRACE}.boot").stdout == "boot\n" * 2
        service.ctl("schedule disable at-boot/boot-1")


@pytest.mark.parametrize("is_late", [False, True], ids=["with the bus", "after the tasks"])
def test_what_ends_in_a_shutdown_is_interrupted(machine: Machine, is_late: bool) -> None:
    """Whatever a task makes of SIGTERM, and whichever goes first: nothing follows but what ``on_reboot`` says."""
    with machine.up() as service:
        service.container.run(f"rm -f {TRACE}")
        service.set_up_unit("[Unit]\nAfter=dbus.service\n" if is_late else "")
        if is_late:
            service.container.write("/etc/systemd/system/late.service", LATE)
            service.systemctl("start late")
        service.apply(HANDLING)
        run_id = service.start_run("handling")
        for task in ("zero", "seven", "resumed"):
            eventually(lambda task=task: "ready" in service.ctl(f"logs {run_id} {task}").stdout, WAIT_SECONDS, task)  # type: ignore[misc]
        service.systemctl("poweroff")
        machine.wait_until_down(service)
    with machine.up() as service:
        found = tasks(service, run_id)
        for task in ("zero", "seven", "plain"):
            assert states(found[task]) == [SHUT_DOWN], task
        assert states(found["resumed"]) == [SHUT_DOWN, ("succeeded", None)]
        assert found["after-zero"]["state"] == "upstream_failed"
        assert service.container.run(f"ls {TRACE}", check=False).returncode != 0


def test_cut_off(machine: Machine) -> None:
    """Where nothing could be recorded, what was to start is not started after the boot, and what ran is interrupted."""
    flag, away = "/var/lib/barbossa/crash", "/run/stay-away"
    with machine.up() as service:
        service.container.run(f"rm -f {TRACE}")
        crash = f"Environment=BARBOSSA_CRASH_AT=starting-recorded:{flag}"
        service.set_up(f"Restart=no\nExecStartPre=/usr/bin/test ! -e {away}\n{crash}")
        service.systemctl("restart barbossad")
        again = 'if [ -n "$BARBOSSA_RESUMED" ]; then exit 0; fi; exec sleep 4711'
        service.apply(f"name: running\ntasks: [{{id: task, on_reboot: retry, shell: '{again}'}}]\n")
        service.apply(f"name: starting\ntasks: [{{id: task, shell: echo ran >>{TRACE}}}]\n")
        running = service.start_run("running")
        eventually(lambda: service.get_run(running)["tasks"][0]["state"] == "running", WAIT_SECONDS, "it runs")
        service.container.run(f"touch {flag} {away}")
        service.container.run("timeout 10 barbossactl start starting --detach --idempotency-key once", check=False)
        eventually(lambda: service.container.run(f"ls {flag}", check=False).returncode, WAIT_SECONDS, "it is killed")
        os.kill(service.container.leader, signal.SIGKILL)
        machine.wait_until_down(service)
    with machine.up() as service:
        assert states(tasks(service, running)["task"]) == [CUT_OFF, ("succeeded", None)]
        run_id = service.ctl("start starting --detach --idempotency-key once").stdout.strip()
        assert states(tasks(service, run_id)["task"]) == [CUT_OFF_BEFORE]
        assert service.container.run(f"ls {TRACE}", check=False).returncode != 0


def test_what_is_due_while_the_host_goes_down_is_not_refused(machine: Machine) -> None:
    """systemd makes no unit any more: the task was never started, and ``on_reboot`` says what becomes of it."""
    with machine.up() as service:
        service.container.run(f"rm -f {TRACE}")
        service.set_up_unit("[Unit]\nAfter=dbus.service\n")
        begin = "ExecStop=/bin/sh -c 'barbossactl start due --detach >/root/due'\n"
        service.container.write("/etc/systemd/system/late.service", LATE.replace("ExecStop=", f"{begin}ExecStop="))
        service.systemctl("daemon-reload")
        service.systemctl("start late")
        service.apply(f"name: due\ntasks: [{{id: task, on_reboot: retry, shell: echo ran >>{TRACE}}}]\n")
        service.systemctl("poweroff")
        machine.wait_until_down(service)
    with machine.up() as service:
        run_id = service.container.run("cat /root/due").stdout.strip()
        assert states(tasks(service, run_id)["task"]) == [NEVER_BEGAN, ("succeeded", None)]
        assert service.container.run(f"cat {TRACE}").stdout == "ran\n"
