"""The life of the service: started, called, reloaded, restarted, stopped, hung and killed."""

import json
import re

import pytest

from tests.helpers.service import CONFIG, STATE, UNITS, WAIT_SECONDS, Service
from tests.helpers.waiting import eventually

# It leaves a grandchild in a session of its own, and a word when it is asked to end.
LONG = """\
name: long
tasks:
  - id: nap
    shell: |
      trap 'echo asked to end >/root/farewell; exit 1' TERM
      setsid sleep 4711 &
      sleep 4712 &
      wait
"""
SHORT = """\
name: short
tasks:
  - id: hello
    shell: echo hello
"""

LOCK = """\
import os, signal, sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
os.system("systemd-notify --ready")
signal.pause()
"""

LOOK = """\
name: look
tasks:
  - id: look
    shell: |
      env
      echo "umask $(umask)"
      grep SigIgn /proc/self/status
"""

# One bit a signal, from the first; above these lie the C library's own and the real-time ones.
STANDARD_SIGNALS = 2**31 - 1


def start_long_run(service: Service) -> str:
    """Start a run that does not end by itself, and return its id when its processes live."""
    service.apply(LONG)
    run_id = service.start_run("long")
    service.wait_for_process("sleep 4711")
    service.wait_for_process("sleep 4712")
    return run_id


def assert_nothing_is_left(service: Service) -> None:
    """Fail if a process of the long run lives."""
    assert service.processes("sleep 4711") == []
    assert service.processes("sleep 4712") == []


def test_start_returns_when_the_daemon_answers(service: Service) -> None:
    """`systemctl start` is back when the daemon has said READY, and it answers; its state folder is for root alone."""
    service.start()
    assert service.property("ActiveState") == "active"
    assert service.property("SubState") == "running"
    assert service.property("StatusText")
    assert service.ping()["pid"] == int(service.property("MainPID"))
    assert service.container.run(f"stat -c '%U:%G %a' {STATE}").stdout == "root:root 750\n"


def test_a_start_that_takes_long_is_waited_for(service: Service) -> None:
    """Past `TimeoutStartSec` too, while it says that it goes on, and at what; here the state file is locked so long."""
    service.start()
    service.systemctl(f"stop {UNITS}")
    service.set_up("TimeoutStartSec=15s")
    service.container.write("/root/lock.py", LOCK)
    lock = "systemd-run --unit=lock --collect --service-type=notify -p NotifyAccess=all python3 /root/lock.py"
    service.container.run(f"{lock} {STATE}/barbossa.db")
    service.systemctl("start --no-block barbossad")
    late = re.compile("starting for 2. s: the state file is opened and checked")
    eventually(lambda: late.fullmatch(service.property("StatusText")), 2 * WAIT_SECONDS, f"the status is {late!r}")
    service.systemctl("stop lock")
    service.systemctl("start barbossad")
    assert service.property("NRestarts") == "0"
    assert service.ping()["pid"] == int(service.property("MainPID"))
    assert service.property("StatusText").startswith("running")


def test_first_client_starts_the_daemon(service: Service) -> None:
    """With only the socket started, the first call starts the daemon and is answered."""
    service.systemctl("start barbossad.socket")
    assert service.property("ActiveState") == "inactive"
    assert service.ping()["pid"] == int(service.property("MainPID"))
    assert service.property("ActiveState") == "active"


def test_socket_is_reachable_for_the_group_though_its_folder_was_removed(service: Service) -> None:
    """The folder and the socket belong to root:barbossa and to nobody else, also when somebody removed the folder."""
    service.container.run("rm -rf /run/barbossa")
    service.systemctl("start barbossad.socket")
    seen = service.container.run("stat -c '%U:%G %a %F' /run/barbossa /run/barbossa/barbossad.sock").stdout
    assert seen == "root:barbossa 750 directory\nroot:barbossa 660 socket\n"


def test_reload_puts_a_good_configuration_in_force(service: Service) -> None:
    """After `systemctl reload` the same daemon follows the new file: who was an operator no longer is."""
    service.start()
    service.apply(SHORT)
    pid = service.ping()["pid"]
    service.container.write(CONFIG, "access: {viewer: {groups: [barbossa]}}\n")
    service.systemctl("reload barbossad")
    eventually(
        lambda: service.ctl("start short", user="member", check=False).returncode == 4, WAIT_SECONDS, "the new roles"
    )
    assert service.ctl("workflow list", user="member").returncode == 0
    assert service.ping()["pid"] == pid


def test_reload_of_a_broken_configuration_keeps_the_old_one_and_says_so(service: Service) -> None:
    """A broken file changes nothing, and both the journal and `systemctl status` name it and its faults' places."""
    service.start()
    service.apply(SHORT)
    service.container.write(CONFIG, "access: {operator: {groups: [barbossa]}}\nno_such_setting: 1\n")
    service.systemctl("reload barbossad", check=False)
    eventually(lambda: "no_such_setting" in service.log(), WAIT_SECONDS, "a line on the broken file")
    assert "2" in service.log().partition(CONFIG)[2].splitlines()[0]
    eventually(lambda: "config" in service.property("StatusText").lower(), WAIT_SECONDS, "a status that says so")
    assert service.property("ActiveState") == "active"
    service.ctl("start short", user="member")


def test_broken_configuration_at_start_is_told_once(service: Service) -> None:
    """A daemon that cannot start because of its configuration says why with status 2, and systemd does not insist."""
    service.container.write(CONFIG, "no_such_setting: 1\n")
    assert service.systemctl("start barbossad", check=False).returncode != 0
    assert service.property("ExecMainStatus") == "2"
    assert service.property("NRestarts") == "0"
    assert "no_such_setting" in service.log()


@pytest.mark.parametrize("folder", ["/tmp", "/var/tmp"])
def test_state_in_what_is_removed_at_a_stop(service: Service, folder: str) -> None:
    """The service's own ``/tmp`` is gone when it stops: no state is put there, and the reason is told."""
    service.container.write(CONFIG, f"state_dir: {folder}/barbossa\n")
    assert service.systemctl("start barbossad", check=False).returncode != 0
    assert f"{folder}/barbossa lies in a {folder} that systemd makes for this service alone" in service.log()


def test_lines_of_a_run_are_found_by_its_id(service: Service) -> None:
    """The journal has a line for each attempt and for the run, once each, under fields by which they are found."""
    service.start()
    service.apply(SHORT)
    service.ctl("start short")
    run_id = json.loads(service.ctl("ps --all --json").stdout)["items"][0]["id"]
    find = f"journalctl --sync; journalctl BARBOSSA_RUN={run_id} --unit=barbossad.service --no-pager --quiet"
    attempt, run = service.container.run(f"{find} --output=cat").stdout.splitlines()
    assert attempt.startswith(f"task hello of run {run_id} succeeded after ")
    assert run.startswith(f"run {run_id} of short succeeded after ")
    (found,) = service.container.run(f"{find} --output=json BARBOSSA_TASK=hello").stdout.splitlines()
    fields = json.loads(found)
    assert (fields["SYSLOG_IDENTIFIER"], fields["PRIORITY"]) == ("barbossad", "6")
    assert (fields["BARBOSSA_ACTION"], fields["BARBOSSA_ATTEMPT"]) == ("attempt_finished", "1")
    assert (fields["BARBOSSA_WORKFLOW"], fields["BARBOSSA_STATE"]) == ("short", "succeeded")
    assert fields["_TRANSPORT"] == "journal"


def test_clients_wait_during_a_restart(service: Service) -> None:
    """Whoever calls while the daemon is being restarted waits a moment and is answered; nobody is refused."""
    service.start()
    before = service.ping()["pid"]
    service.systemctl("restart --no-block barbossad")
    seen = {before}
    while seen == {before}:
        seen.add(service.ping()["pid"])
    assert service.property("NRestarts") == "0"


def test_run_is_answered_while_the_daemon_is_away(service: Service) -> None:
    """A run that is asked for between the stop and the start of a restart is started by the new daemon."""
    service.start()
    service.apply(SHORT)
    service.set_up("ExecStartPre=/bin/sleep 5")
    service.systemctl("restart --no-block barbossad")
    eventually(lambda: service.property("SubState") == "start-pre", WAIT_SECONDS, "the old daemon's end")
    assert service.ctl("start short --wait", user="member").returncode == 0


def test_stop_ends_running_tasks_in_good_order(service: Service) -> None:
    """`systemctl stop` asks a running task to end, leaves nothing of it, and the run's end is on record."""
    service.container.run("rm -f /root/farewell")
    service.start()
    run_id = start_long_run(service)
    service.systemctl(f"stop {UNITS}")
    assert service.property("Result") == "success"
    assert_nothing_is_left(service)
    left = "systemctl list-units --all --no-legend 'barbossa-*.service'; find /run/barbossa-tasks -mindepth 1"
    assert service.container.run(left).stdout == ""
    assert service.container.run("cat /root/farewell").stdout == "asked to end\n"
    service.start()
    run = service.get_run(run_id)
    assert run["state"] in {"cancelled", "interrupted"}
    assert run["finished_at"]
    assert run["tasks"][0]["state"] in {"cancelled", "interrupted"}


def test_stop_of_the_socket_leaves_no_way_in(service: Service) -> None:
    """When the units are stopped there is no socket, and a client says so with status 3 in one line."""
    service.start()
    service.systemctl(f"stop {UNITS}")
    refused = service.ctl("daemon ping", check=False)
    assert refused.returncode == 3
    assert len(refused.stderr.splitlines()) <= 2
    assert "Traceback" not in refused.stderr


def test_hung_daemon_is_replaced_by_the_watchdog(service: Service) -> None:
    """A daemon that no longer beats is killed by systemd and started again, and answers."""
    service.set_up("WatchdogSec=2s")
    service.start()
    before = service.ping()["pid"]
    service.systemctl("kill --kill-whom=main --signal=STOP barbossad")
    eventually(lambda: service.property("NRestarts") == "1", WAIT_SECONDS, "a restart by systemd")
    assert service.ping()["pid"] != before
    assert "Watchdog timeout" in service.log()


def test_idle_daemon_feeds_the_watchdog(service: Service) -> None:
    """A daemon with nothing to do goes on feeding the watchdog, in time for a short one too."""
    service.set_up("WatchdogSec=2s")
    service.start()
    fed = int(service.property("WatchdogTimestampMonotonic"))
    after = fed + 6_000_000
    eventually(
        lambda: int(service.property("WatchdogTimestampMonotonic")) > after, WAIT_SECONDS, "six seconds of feeding"
    )
    assert service.property("NRestarts") == "0"


def test_moved_state_file_costs_nothing(service: Service) -> None:
    """Without its state file a daemon lives on and a new one does not begin; put back, history and tasks go on."""
    service.set_up("WatchdogSec=3s")
    service.start()
    run_id, before = start_long_run(service), service.ping()["pid"]
    service.container.run(f"mv {STATE}/barbossa.db {STATE}/away")
    fed = int(service.property("WatchdogTimestampMonotonic"))
    eventually(lambda: service.property("StatusText").startswith("DEGRADED"), WAIT_SECONDS, "the fault is shown")
    eventually(lambda: int(service.property("WatchdogTimestampMonotonic")) > fed + 7_000_000, WAIT_SECONDS, "it is fed")
    assert service.ping()["pid"] == before
    service.systemctl("restart barbossad", check=False)
    eventually(lambda: "put barbossa.db back" in service.log(), WAIT_SECONDS, "the start is refused")
    service.container.run(f"mv {STATE}/away {STATE}/barbossa.db")
    eventually(lambda: service.property("ActiveState") == "active", WAIT_SECONDS, "it has started")
    run = service.get_run(run_id)
    assert (run["state"], len(run["tasks"][0]["attempts"])) == ("running", 1)
    assert "belonged to no run" not in service.log()
    assert service.processes("sleep 4711")


def test_state_file_that_may_not_be_written(service: Service) -> None:
    """Root has few capabilities there: a mode that shuts it out is told, with what to do about it."""
    service.start()
    service.systemctl(f"stop {UNITS}")
    service.container.run(f"chmod 000 {STATE}/barbossa.db")
    assert service.systemctl("start barbossad", check=False).returncode != 0
    assert "may not be read and written by uid 0: chown it to that user, chmod it 600" in service.log()


def test_killed_daemon_comes_back_and_its_tasks_go_on(service: Service) -> None:
    """After kill -9 systemd starts the daemon again, which goes on with its tasks and can still end them."""
    service.start()
    run_id = start_long_run(service)
    before = service.ping()["pid"]
    alive = service.processes("sleep 4711")
    service.systemctl("kill --kill-whom=main --signal=KILL barbossad")
    eventually(lambda: service.property("NRestarts") == "1", WAIT_SECONDS, "a restart by systemd")
    assert service.ping()["pid"] != before
    assert service.processes("sleep 4711") == alive
    assert service.get_run(run_id)["state"] == "running"
    service.ctl(f"cancel {run_id}")
    assert_nothing_is_left(service)
    assert service.get_run(run_id)["state"] == "cancelled"


def test_task_inherits_nothing_that_is_the_daemons(service: Service) -> None:
    """A task finds none of systemd's words to the daemon in its environment, the usual umask and no ignored signal."""
    service.start()
    service.apply(LOOK)
    seen = service.ctl("start look").stdout
    for name in ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "INVOCATION_ID", "JOURNAL_STREAM", "STATE_DIRECTORY"):
        assert name not in seen
    assert "umask 0022" in seen
    ignored = int(seen.partition("SigIgn:")[2].split()[0], 16)
    assert ignored & STANDARD_SIGNALS == 0


def test_started_on_a_full_disk(service: Service) -> None:
    """It is up, says that the disk is full, starts nothing, and goes on by itself when there is room."""
    service.container.run(f"mkdir -p {STATE} && mount -t tmpfs -o size=20m,mode=0700 none {STATE}")
    try:
        service.start()
        service.apply(SHORT)
        service.systemctl(f"stop {UNITS}")
        service.container.run(f"head -c 30m /dev/zero >{STATE}/ballast", check=False)
        service.start()
        assert "DEGRADED: the state file refuses changes" in service.property("StatusText")
        status = json.loads(service.ctl("daemon status --json").stdout)
        assert (status["state"], status["store"]["reserve_bytes"]) == ("degraded", 0)
        assert service.ctl("start short", check=False).returncode != 0
        service.container.run(f"rm {STATE}/ballast")
        eventually(lambda: service.property("StatusText").startswith("running"), WAIT_SECONDS, "it goes on")
        assert service.ctl("start short").stdout.endswith("hello\n")
        assert service.property("NRestarts") == "0"
    finally:
        service.systemctl(f"stop {UNITS}")
        service.container.run(f"umount {STATE}")
