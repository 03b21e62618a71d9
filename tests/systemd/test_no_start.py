"""A daemon that cannot start, because its config is refused or its state is not to be had: what it leaves alone."""

import time
from collections.abc import Iterator

import pytest

from tests.helpers.service import CONFIG, STATE, WAIT_SECONDS, Service
from tests.helpers.waiting import eventually

PROGRAM = "/opt/barbossa/current/bin/barbossad"
ENOUGH = "/root/enough"

BRIEF = "name: talk\ntasks: [{id: talk, shell: echo 1}]\n"
# It has more to say when somebody has heard enough.
TALK = f"""\
name: talk
tasks:
  - id: talk
    shell: for i in 1 2 3 4 5 6; do echo $i; sleep 1; done; until test -e {ENOUGH}; do sleep 0.1; done; echo 7
"""


@pytest.fixture
def service(service: Service) -> Iterator[Service]:
    """Return the service; whatever talks afterwards comes to its end."""
    service.container.run(f"rm -f {ENOUGH}")
    yield service
    service.container.run(f"touch {ENOUGH}")


def break_config(service: Service) -> str:
    """Add a key that there is not; return what the file was."""
    text = service.container.run(f"cat {CONFIG}").stdout
    service.container.write(CONFIG, f"{text}\ntsks: 1\n")
    return text


def test_tasks_outlive_a_restart_with_a_faulty_config(service: Service) -> None:
    """They go on, and when the file is mended the daemon takes them over, by itself and with all they said."""
    service.start()
    service.apply(TALK)
    run_id = service.start_run("talk")
    eventually(lambda: service.get_run(run_id)["tasks"][0]["state"] == "running", WAIT_SECONDS, "it runs")
    text = break_config(service)
    service.systemctl("restart --no-block barbossad")
    eventually(lambda: "tasks of the daemon before this one go on" in service.log(), WAIT_SECONDS, "it waits")
    assert "tsks" in service.log()
    service.container.write(CONFIG, text)
    eventually(lambda: service.property("ActiveState") == "active", WAIT_SECONDS, "the daemon is up by itself")
    service.container.run(f"touch {ENOUGH}")
    eventually(lambda: service.get_run(run_id)["finished_at"], WAIT_SECONDS, "the run has ended")
    assert service.get_run(run_id)["state"] == "succeeded"
    assert service.ctl(f"logs {run_id} talk").stdout.split() == [*"1234567"]


def test_a_faulty_config_is_never_started_so_often_that_tasks_are_lost(service: Service) -> None:
    """The unit does not become failed for good while it has tasks to take over."""
    service.start()
    service.apply(TALK)
    service.start_run("talk")
    break_config(service)
    service.systemctl("restart barbossad", check=False)
    time.sleep(15)
    assert service.property("ActiveState") in {"activating", "deactivating"}
    assert int(service.property("NRestarts")) <= 2


def test_tasks_outlive_starts_that_fail(service: Service) -> None:
    """For longer than six starts without a pause would take, after which systemd gives the unit up."""
    service.start()
    service.apply(TALK)
    run_id = service.start_run("talk")
    eventually(lambda: service.get_run(run_id)["tasks"][0]["state"] == "running", WAIT_SECONDS, "it runs")
    lock = f"flock {STATE}/barbossad.lock sleep 15"
    with service.container.start(f"exec {lock}"):
        service.wait_for_process(lock)  # before the next daemon
        service.systemctl("kill --kill-whom=main --signal=KILL barbossad")
    assert service.log().count("another barbossad") in range(1, 5)
    eventually(lambda: service.property("ActiveState") == "active", WAIT_SECONDS, "the daemon is up by itself")
    service.container.run(f"touch {ENOUGH}")
    eventually(lambda: service.get_run(run_id)["finished_at"], WAIT_SECONDS, "the run has ended")
    assert service.get_run(run_id)["state"] == "succeeded"


@pytest.mark.parametrize(
    "breaking",
    ["printf '#!/bin/sh\\nexit 1\\n' >{}", "printf '#!/bin/sh\\nkill -SEGV $$\\n' >{}", "chmod 0 {}"],
    ids=["ends", "crashes", "cannot be executed"],
)
def test_tasks_outlive_a_broken_release(service: Service, breaking: str) -> None:
    """A daemon that cannot even begin is tried for as long as it takes, and the one that is mended has the tasks."""
    service.start()
    service.apply(TALK)
    run_id = service.start_run("talk")
    eventually(lambda: service.get_run(run_id)["tasks"][0]["state"] == "running", WAIT_SECONDS, "it runs")
    service.container.run(f"cp -p {PROGRAM} {PROGRAM}.good")
    try:
        service.container.run(breaking.format(PROGRAM))
        assert service.systemctl("restart barbossad", check=False).returncode != 0
        time.sleep(12)
        assert service.property("ActiveState") in {"activating", "deactivating"}
        assert int(service.property("NRestarts")) <= 3
    finally:
        service.container.run(f"mv {PROGRAM}.good {PROGRAM}")
    eventually(lambda: service.property("ActiveState") == "active", WAIT_SECONDS, "the daemon is up by itself")
    service.container.run(f"touch {ENOUGH}")
    eventually(lambda: service.get_run(run_id)["finished_at"], WAIT_SECONDS, "the run has ended")
    assert service.get_run(run_id)["state"] == "succeeded"
    assert service.ctl(f"logs {run_id} talk").stdout.split() == [*"1234567"]


def test_a_broken_release_without_tasks_is_given_up(service: Service) -> None:
    """Nothing is lost by it, and a failed unit is what an administrator looks for."""
    service.start()
    service.container.run(f"cp -p {PROGRAM} {PROGRAM}.good")
    try:
        service.container.run(f"chmod 0 {PROGRAM}")
        service.systemctl("restart barbossad", check=False)
        eventually(lambda: service.property("ActiveState") == "failed", WAIT_SECONDS, "it is given up")
    finally:
        service.container.run(f"mv {PROGRAM}.good {PROGRAM}")


def test_a_call_starts_a_daemon_with_a_faulty_config_once(service: Service) -> None:
    """Who mends the file can start it at once, and is not refused for starts that a waiting call asked for."""
    service.start()
    service.systemctl("stop barbossad")
    text = break_config(service)
    done = service.ctl("ps", check=False)
    assert done.returncode != 0
    assert "closed the connection" in done.stderr
    time.sleep(2)
    assert service.log().count("tsks") == 1
    service.container.write(CONFIG, text)
    service.start()


def test_folders_that_were_removed_are_made_again(service: Service) -> None:
    """What the client advises helps, and so does what the log of a daemon says that was started without them."""
    service.start()
    service.apply(BRIEF)
    service.container.run("rm -rf /run/barbossa")
    advice = service.ctl("ps", check=False).stderr.rpartition(": ")[2].strip()
    assert advice == "systemctl restart barbossad.socket barbossad"
    service.container.run(advice)
    service.ping()
    service.container.run("rm -rf /run/barbossa /run/barbossa-tasks")
    service.systemctl("restart barbossad", check=False)
    assert f"nobody reaches this daemon: {advice}" in service.log()
    service.container.run(advice)
    assert service.ctl("start talk --wait").returncode == 0


def test_tasks_in_units_wait_for_a_launcher_that_takes_them_over(service: Service) -> None:
    """A config that wants tasks without units is told as what keeps the daemon from them; without it they go on."""
    service.start()
    service.apply(TALK)
    run_id = service.start_run("talk")
    eventually(lambda: service.get_run(run_id)["tasks"][0]["state"] == "running", WAIT_SECONDS, "it runs")
    text = service.container.run(f"cat {CONFIG}").stdout
    service.container.write(CONFIG, f"{text}\ntasks: {{launcher: local}}\n")
    assert service.systemctl("restart barbossad", check=False).returncode != 0
    assert "whose config does not say tasks: {launcher: local}" in service.log()
    service.container.write(CONFIG, text)
    eventually(lambda: service.property("ActiveState") == "active", WAIT_SECONDS, "the daemon is up by itself")
    service.container.run(f"touch {ENOUGH}")
    eventually(lambda: service.get_run(run_id)["finished_at"], WAIT_SECONDS, "the run has ended")
    assert service.get_run(run_id)["state"] == "succeeded"


@pytest.mark.parametrize("setting", ["state_dir", "runtime_dir"])
def test_folders_elsewhere_need_a_drop_in(service: Service, setting: str) -> None:
    """Why the daemon may not make or write a folder is told with what is to be done, and that helps."""
    folder = f"/srv/{setting}"
    service.container.write(CONFIG, f"{setting}: {folder}\n")
    assert service.systemctl("start barbossad", check=False).returncode != 0
    assert f"cannot make the folder {folder}: Read-only file system" in service.log()
    service.container.run(f"install -d -m 0750 {folder}; systemctl reset-failed barbossad.service barbossad.socket")
    assert service.systemctl("start barbossad", check=False).returncode != 0
    assert f"may not write into the folder {folder}; as a service the daemon may write only" in service.log()
    advice = f"ReadWritePaths={folder}"
    assert service.log().count(advice) >= 2
    service.set_up(advice)
    service.systemctl("reset-failed barbossad.service barbossad.socket")
    service.start()
    service.apply(BRIEF)
    assert service.ctl("start talk --wait").returncode == 0
    service.systemctl("stop barbossad.socket barbossad.service")
    service.container.run(f"rm -r {folder}")
