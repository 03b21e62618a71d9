"""The daemon killed between each two effects of an attempt, and each line of the table of what the next one finds.

A *point* is a place in the daemon's code (``barbossad.crashpoints``) where it dies if a flag lies there. Whatever the
point, the task must have run exactly once, its whole output be there in order, and its end be the one that it had.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from barbossad.crashpoints import POINTS
from barbossad.store.highwater import UNKNOWN
from tests.helpers.service import WAIT_SECONDS, Service
from tests.helpers.waiting import eventually

FLAG = "/var/lib/barbossa/crash"  # where the daemon may remove it
BACK = "/var/lib/barbossa/back"  # where the next daemon waits for it
TRACE = "/root/trace"

TASK = f"""\
name: traced
tasks:
  - id: task
    shell: |
      echo ran >>{TRACE}
      for n in 1 2 3 4 5 6; do echo line $n; sleep 0.1; done
      echo "done=yes" >>"$BARBOSSA_OUTPUT"
      exit 7
  - id: next
    depends_on: []
    shell: echo next >>{TRACE}.next
"""

UNSTOPPABLE = """\
name: stopped
tasks:
  - id: task
    grace: 1s
    shell: |
      trap '' TERM
      echo ready
      sleep 4711 & wait
      sleep 4711
"""


@pytest.fixture
def service(service: Service) -> Iterator[Service]:
    """Return the service, not yet started and without traces, which systemd starts again as often as it takes."""
    service.container.run(f"rm -f {TRACE} {TRACE}.next")
    yield service
    service.container.run("systemctl stop 'barbossa-*.service'", check=False)


def crash_at(service: Service, point: str, settings: str = "") -> None:
    """Have the daemon die once at a point, and lay the flag; ``settings`` are more of its unit."""
    service.set_up_unit(
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=20ms\nExecStopPost=\n"
        f"Environment=BARBOSSA_CRASH_AT={point}:{FLAG}\n{settings}"
    )
    service.container.run(f"mkdir -p /var/lib/barbossa && touch {FLAG}")
    service.start()


def ended(service: Service, run_id: str) -> dict[str, Any]:
    """Return a run when it has ended, whoever is the daemon by then."""
    eventually(
        lambda: (
            service.ctl(f"run get {run_id} --json", check=False).returncode == 0
            and service.get_run(run_id)["finished_at"] is not None
        ),
        WAIT_SECONDS,
        f"run {run_id} has ended",
    )
    return service.get_run(run_id)


def task_of(run: dict[str, Any], task_id: str = "task") -> dict[str, Any]:
    """Return a task of a run."""
    task: dict[str, Any] = next(task for task in run["tasks"] if task["id"] == task_id)
    return task


def restarts(service: Service) -> int:
    """Return how often systemd has started the daemon again by itself."""
    return int(service.property("NRestarts"))


def assert_tidy(service: Service) -> None:
    """Fail if something of an attempt stays: a unit, a file, a pipe."""
    units = "systemctl list-units --all --plain --no-legend 'barbossa-*.service'"
    eventually(lambda: not service.container.run(units).stdout, WAIT_SECONDS, "no unit is left")
    files = "find /run/barbossa-tasks /run/barbossa/env -mindepth 1"
    eventually(lambda: not service.container.run(files).stdout, WAIT_SECONDS, "no file is left")
    eventually(lambda: service.property("NFileDescriptorStore") == "1", WAIT_SECONDS, "no pipe is kept")


@pytest.mark.parametrize("point", [point for point in POINTS if point != "stop-asked"])
def test_killed_between_two_effects(service: Service, point: str) -> None:
    """Wherever the daemon is killed, the task runs once, nothing of its output is lost, and its end is what it was."""
    crash_at(service, point)
    service.apply(TASK)
    run_id = service.ctl("start traced --detach --idempotency-key once", check=False).stdout.strip()
    eventually(lambda: restarts(service) >= 1, WAIT_SECONDS, f"the daemon is killed at {point}")
    assert service.container.run(f"ls {FLAG}", check=False).returncode != 0
    run = ended(service, run_id or newest(service))
    task = task_of(run)
    assert [(attempt["exit_code"], attempt["state"]) for attempt in task["attempts"]] == [(7, "failed")]
    assert service.container.run(f"cat {TRACE}; cat {TRACE}.next").stdout == "ran\nnext\n"
    assert task_of(run, "next")["state"] == "succeeded"
    printed = service.ctl(f"logs {run['id']} task").stdout
    assert printed == "".join(f"line {number}\n" for number in range(1, 7))
    assert_tidy(service)


def test_an_id_of_the_greatest_length(service: Service) -> None:
    """A task with the longest id runs in a /tmp of its own, and its unit is known for what it is after a crash."""
    crash_at(service, "end-recorded")
    groups, last = ["a" * 63, "b" * 63, "c" * 63], "d" * 8
    full = ".".join([*groups, last])
    tasks = f"[{{id: {last}, sandbox: standard, shell: echo ran}}]"
    for group in reversed(groups):
        tasks = f"[{{id: {group}, parallel: {tasks}}}]"
    service.apply(f"name: traced\ntasks: {tasks}\n")
    service.ctl("start traced --detach --idempotency-key once", check=False)
    eventually(lambda: restarts(service) >= 1, WAIT_SECONDS, "the daemon is killed")
    run = ended(service, newest(service))
    assert task_of(run, full)["state"] == "succeeded", task_of(run, full)["reason"]
    assert service.ctl(f"logs {run['id']} {full}").stdout == "ran\n"
    assert "belonged to no run" not in service.log()
    assert_tidy(service)


def newest(service: Service) -> str:
    """Return the newest run: its client was cut off before the answer."""
    return service.ctl("ps --all --json").stdout.partition('"id": "')[2].partition('"')[0]


def test_killed_before_a_start_that_cannot_be_any_more(service: Service) -> None:
    """An attempt that is recorded and was never started is interrupted if its secret is gone when the next comes."""
    secret = "/etc/barbossa/secrets/tok"
    service.container.write(secret, "correct-horse\n")
    service.container.run(f"chmod 0600 {secret}")
    crash_at(service, "starting-recorded", f"ExecStopPost=+/bin/rm -f {secret}\n")
    service.apply("name: traced\ntasks: [{id: task, secrets: {TOKEN: tok}, shell: echo ran}]\n")
    service.ctl("start traced --detach --idempotency-key once", check=False)
    eventually(lambda: restarts(service) >= 1, WAIT_SECONDS, "the daemon is killed")
    run = ended(service, newest(service))
    (attempt,) = task_of(run)["attempts"]
    assert attempt["state"] == "interrupted"
    assert attempt["reason"].startswith("it had not started, and cannot be: there is no secret 'tok'")
    assert restarts(service) == 1
    assert_tidy(service)


@pytest.mark.parametrize("point", ["end-seen", "end-recorded"])
def test_killed_at_the_end_of_a_detached_task(service: Service, point: str) -> None:
    """What it left behind goes on, though the unit is there yet when the next daemon comes; nothing else stays."""
    crash_at(service, point)
    service.apply("name: traced\ntasks: [{id: task, detach: true, shell: 'setsid sleep 4711 >/dev/null 2>&1 &'}]\n")
    service.ctl("start traced --detach --idempotency-key once", check=False)
    eventually(lambda: restarts(service) >= 1, WAIT_SECONDS, f"the daemon is killed at {point}")
    run = ended(service, newest(service))
    assert [attempt["state"] for attempt in task_of(run)["attempts"]] == ["succeeded"]
    unit = task_of(run)["attempts"][0]["unit"]
    eventually(lambda: service.property("ActiveState", unit) == "inactive", WAIT_SECONDS, "the unit is let go")
    assert len(service.processes("sleep 4711")) == 1
    service.systemctl(f"kill --signal=KILL {unit}")
    assert_tidy(service)


def test_killed_while_it_stops_a_task(service: Service) -> None:
    """A task that was asked to end when the daemon was killed is killed by the next one, and the run is cancelled."""
    crash_at(service, "stop-asked")
    service.apply(UNSTOPPABLE)
    run_id = service.start_run("stopped")
    service.wait_for_process("sleep 4711")
    service.ctl(f"cancel {run_id} --no-wait", check=False)
    eventually(lambda: restarts(service) >= 1, WAIT_SECONDS, "the daemon is killed")
    run = ended(service, run_id)
    assert run["state"] == "cancelled"
    assert service.processes("sleep 4711") == []
    assert_tidy(service)


# -- the table of EXECUTION, line by line ------------------------------------------------------------------------

SLEEPER = "name: sleeper\ntasks: [{id: task, shell: 'echo begun; exec sleep 4711'}]\n"


def sleeping(service: Service, workflow: str = SLEEPER) -> tuple[str, str]:
    """Start a run whose task sleeps; return it and its unit, when its invocation is recorded."""
    service.start()
    service.apply(workflow)
    run_id = service.start_run("sleeper")
    eventually(lambda: task_of(service.get_run(run_id))["state"] == "running", WAIT_SECONDS, "it runs")
    unit: str = task_of(service.get_run(run_id))["attempts"][0]["unit"]
    return run_id, unit


def with_the_daemon_away(service: Service, command: str) -> None:
    """Kill the daemon, do something that it does not see, and start it again; what systemd keeps for it stays."""
    wait = f"ExecStartPre=/bin/sh -c 'until test -e {BACK}; do sleep 0.05; done'"
    service.set_up_unit(f"[Service]\nRestartSec=20ms\nExecStopPost=\n{wait}\n")
    service.container.run(f"rm -f {BACK}")
    service.systemctl("kill --kill-whom=main --signal=KILL barbossad")
    eventually(lambda: service.property("SubState") == "start-pre", WAIT_SECONDS, "the daemon is away")
    service.container.run(command)
    service.container.run(f"touch {BACK}")
    eventually(lambda: service.property("SubState") == "running", WAIT_SECONDS, "the daemon is back")


def test_active_and_running_is_adopted(service: Service) -> None:
    """Unit active, running: the process goes on, and later output and its exit are collected."""
    run_id, unit = sleeping(service)
    pid = service.property("MainPID", unit)
    assert int(pid) > 1
    with_the_daemon_away(service, "true")
    assert service.property("MainPID", unit) == pid
    assert task_of(service.get_run(run_id))["state"] == "running"
    service.systemctl(f"kill --signal=KILL {unit}")
    task = task_of(ended(service, run_id))
    assert (task["attempts"][0]["signal"], task["reason"]) == (9, "killed by signal 9 (SIGKILL)")
    assert_tidy(service)


def test_ended_while_nobody_looked_is_recorded(service: Service) -> None:
    """Unit failed or exited: the output is drained, the end recorded, the unit released."""
    run_id, unit = sleeping(service)
    with_the_daemon_away(service, f"systemctl kill --signal=USR1 {unit}")
    task = task_of(ended(service, run_id))
    assert (task["state"], task["attempts"][0]["signal"]) == ("failed", 10)
    assert service.ctl(f"logs {run_id} task").stdout == "begun\n"
    assert_tidy(service)


def test_ended_in_time_while_nobody_looked_is_in_time(service: Service) -> None:
    """Its timeout has passed when the daemon is back, but the task had not needed it."""
    over = f"{TRACE}.over"
    service.container.run(f"rm -f {over}")
    script = f"echo begun; until test -e {over}; do sleep 0.05; done; echo done"
    run_id, _ = sleeping(service, f"name: sleeper\ntasks: [{{id: task, timeout: 20s, retry: 3, shell: '{script}'}}]\n")
    with_the_daemon_away(service, f"touch {over}; sleep 20")
    run = ended(service, run_id)
    assert (run["state"], len(task_of(run)["attempts"])) == ("succeeded", 1)
    assert service.ctl(f"logs {run_id} task").stdout == "begun\ndone\n"
    assert_tidy(service)


def test_never_started_is_started(service: Service) -> None:
    """Not loaded, attempt starting, no invocation: it was never started, and is now, as the same attempt."""
    crash_at(service, "files-written")
    service.apply(TASK)
    run_id = service.start_run("traced")
    run = ended(service, run_id)
    assert len(task_of(run)["attempts"]) == 1
    assert service.container.run(f"cat {TRACE}").stdout == "ran\n"


def test_removed_by_hand_is_interrupted(service: Service) -> None:
    """Not loaded, attempt running: somebody removed it, and that is said."""
    run_id, unit = sleeping(service)
    with_the_daemon_away(service, f"systemctl stop {unit}")
    task = task_of(ended(service, run_id))
    assert task["state"] == "interrupted"
    assert "removed by hand" in task["reason"]
    assert_tidy(service)


def test_removed_by_hand_under_the_daemon_is_interrupted(service: Service) -> None:
    """The same while the daemon looks on."""
    run_id, unit = sleeping(service)
    service.systemctl(f"stop {unit}")
    task = task_of(ended(service, run_id))
    assert task["state"] == "interrupted"
    assert "stopped by hand" in task["reason"]
    assert_tidy(service)


@pytest.mark.parametrize("exit_code", [0, 7])
def test_what_a_task_makes_of_a_stop_by_hand_is_no_end_of_its_own(service: Service, exit_code: int) -> None:
    """The same act has one verdict, whatever the exit code."""
    command = f"trap 'exit {exit_code}' TERM; echo ready; sleep 4711 & wait"
    run_id, unit = sleeping(service, f'name: sleeper\ntasks: [{{id: task, shell: "{command}"}}]\n')
    eventually(lambda: service.ctl(f"logs {run_id} task").stdout == "ready\n", WAIT_SECONDS, "the trap is set")
    service.systemctl(f"stop {unit}")
    task = task_of(ended(service, run_id))
    assert task["state"] == "interrupted"
    assert "stopped by hand" in task["reason"]
    assert_tidy(service)


@pytest.mark.parametrize("command", ["exec sleep 4711", "trap 'exit 0' TERM; sleep 4711 & wait"])
def test_restarted_by_hand_under_the_daemon_is_interrupted(service: Service, command: str) -> None:
    """systemd cannot start a task again: that is no end of the task's own, and leaves no failed unit."""
    run_id, unit = sleeping(service, f'name: sleeper\ntasks: [{{id: task, shell: "{command}"}}]\n')
    service.systemctl(f"restart {unit}", check=False)
    found = task_of(ended(service, run_id))
    assert found["state"] == "interrupted"
    assert "by hand" in found["reason"]
    assert_tidy(service)


def test_no_pipes_in_the_store_is_stopped(service: Service) -> None:
    """A full stop of the daemon's unit loses the pipes: what still runs has no reader, is stopped, and interrupted."""
    run_id, unit = sleeping(service)
    service.systemctl("kill --kill-whom=main --signal=KILL barbossad")
    service.systemctl("stop barbossad.socket barbossad.service")
    assert service.processes("sleep 4711") != [], "the task was to go on"
    service.start()
    task = task_of(ended(service, run_id))
    assert task["state"] == "interrupted"
    assert "nobody read its output" in task["reason"]
    assert service.processes("sleep 4711") == []
    assert_tidy(service)
    assert unit


def test_running_under_a_state_file_that_was_put_back_is_ended(service: Service) -> None:
    """Of an older state file's runs nobody knows what they have done since: what still runs is stopped, and told."""
    run_id, _ = sleeping(service)
    copy = service.ctl("daemon backup").stdout.strip()
    forgotten = service.start_run("sleeper")
    eventually(lambda: len(service.processes("sleep 4711")) == 2, WAIT_SECONDS, "the other runs, too")
    file = "/var/lib/barbossa/barbossa.db"
    with_the_daemon_away(service, f"rm {file}-wal {file}-shm; cp {copy} {file}")
    run = ended(service, run_id)
    assert (run["state"], run["reason"], task_of(run)["reason"]) == ("interrupted", UNKNOWN, UNKNOWN)
    assert service.ctl(f"run get {forgotten}", check=False).returncode != 0
    eventually(lambda: service.processes("sleep 4711") == [], WAIT_SECONDS, "both are stopped")
    assert_tidy(service)


def test_another_boot_is_interrupted(service: Service) -> None:
    """Another boot id: the host went down under it. on_reboot decides; here it is told by BARBOSSA_RESUMED."""
    resuming = """\
name: sleeper
tasks:
  - id: task
    on_reboot: resume
    shell: |
      if [ "$BARBOSSA_RESUMED" = host ]; then echo back; exit 0; fi
      exec sleep 4711
  - id: after
    shell: echo after
"""
    run_id, _ = sleeping(service, resuming)
    service.container.write("/run/boot_id", "11111111-2222-3333-4444-555555555555\n")
    bind = "BindReadOnlyPaths=/run/boot_id:/proc/sys/kernel/random/boot_id"
    drop_in = "/etc/systemd/system/barbossad.service.d/test.conf"
    with_the_daemon_away(
        service, f"systemctl stop 'barbossa-*.service'; echo {bind} >>{drop_in}; systemctl daemon-reload"
    )
    seen = f"nsenter --mount --target {service.property('MainPID')} cat /proc/sys/kernel/random/boot_id"
    assert service.container.run(seen).stdout.startswith("1111")
    run = ended(service, run_id)
    assert run["state"] == "succeeded"
    states = [(attempt["state"], attempt["reason"]) for attempt in task_of(run)["attempts"]]
    assert states == [("interrupted", "the host was restarted while it ran"), ("succeeded", None)]
    assert service.ctl(f"logs {run_id} task").stdout == "back\n"
    assert task_of(run, "after")["state"] == "succeeded"


def test_stray_units_are_stopped_and_told(service: Service) -> None:
    """A unit of our name that the store does not know is stopped, and there is an event and a line of it."""
    service.start()
    stray = "barbossa-0123456789-lost-1.service"
    with_the_daemon_away(service, f"systemd-run --quiet --unit={stray} --slice=barbossa.slice sleep 4711")
    eventually(lambda: service.processes("sleep 4711") == [], WAIT_SECONDS, "it is stopped")
    assert f"{stray} belonged to no run that is known" in service.log()
    assert_tidy(service)


@pytest.mark.parametrize(
    ("policy", "attempts", "state"),
    [("fail", ["interrupted"], "interrupted"), ("retry", ["interrupted", "succeeded"], "succeeded")],
)
def test_on_interrupt(service: Service, policy: str, attempts: list[str], state: str) -> None:
    """What is interrupted fails, or is tried again and told so."""
    workflow = f"""\
name: sleeper
tasks:
  - id: task
    on_interrupt: {policy}
    shell: if [ "$BARBOSSA_RESUMED" = daemon ]; then exit 0; fi; exec sleep 4711
"""
    run_id, unit = sleeping(service, workflow)
    with_the_daemon_away(service, f"systemctl stop {unit}")
    run = ended(service, run_id)
    assert run["state"] == state
    assert [attempt["state"] for attempt in task_of(run)["attempts"]] == attempts


def test_on_interrupt_ask(service: Service) -> None:
    """It waits for a person, over a restart too; approved it is tried again."""
    workflow = """\
name: sleeper
tasks:
  - id: task
    on_interrupt: ask
    shell: if [ -n "$BARBOSSA_RESUMED" ]; then exit 0; fi; exec sleep 4711
"""
    run_id, unit = sleeping(service, workflow)
    with_the_daemon_away(service, f"systemctl stop {unit}")
    eventually(lambda: task_of(service.get_run(run_id))["state"] == "waiting", WAIT_SECONDS, "it asks")
    service.systemctl("restart barbossad")
    assert task_of(service.get_run(run_id))["state"] == "waiting"
    service.ctl(f"run approve {run_id} task --comment 'go on'")
    assert ended(service, run_id)["state"] == "succeeded"
