"""What is left when the daemon, its reaper, or both are killed: nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossad.clock import SystemClock
from barbossad.errors import UnavailableError
from barbossad.model.names import RunId, TaskId
from barbossad.model.records import AttemptRecord
from barbossad.model.states import AttemptState
from barbossad.process import procfs
from barbossad.process.launcher import EndCause
from barbossad.process.local import leftovers, supervisor
from barbossad.process.local.launcher import LocalLauncher, LocalProcess
from barbossad.process.local.protocol import Report, ReportKind
from barbossad.process.output.logs import LogFolder
from tests.helpers.launching import ROOT, Bench, Host, Needle, Watched, is_gone, make_local
from tests.helpers.waiting import eventually, eventually_async

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

HIDING = [
    "{0} & {0}",
    "(setsid {0} </dev/null >/dev/null 2>&1 &); exec {0}",
    "(env -i setsid {0} </dev/null >/dev/null 2>&1 &); exec {0}",
    "trap '' TERM INT HUP; (env -i setsid {0} &); {0}",
]


def recorded(**more: int) -> AttemptRecord:
    """Return an attempt of this boot as an earlier daemon recorded it."""
    return AttemptRecord(
        run_id=RunId("0000000000"),
        task_id=TaskId("task"),
        number=1,
        state=AttemptState.RUNNING,
        launcher="local",
        boot_id=BOOT_ID,
        **more,
    )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A launcher that may be killed, on the same folders as that of ``bench``, which is its successor."""
    host = Host(tmp_path)
    yield host
    host.close()


@pytest.mark.parametrize("hiding", HIDING)
def test_daemon_killed(host: Host, hiding: str) -> None:
    """When the daemon is killed, all that its tasks ever made is gone soon after, and then the reaper."""
    needle = Needle()
    host.launch(hiding.format(needle.command))
    eventually(lambda: len(needle.pids) == 2, 30, "both processes run")
    host.program.kill()
    eventually(lambda: needle.pids == [], 30, "they are gone")
    eventually(lambda: is_gone(host.reaper_pid), 30, "so is the reaper")


def test_daemon_killed_over_thousands(host: Host) -> None:
    """However many there are, each is looked at a few times: all were, for each that died, and that took a minute."""
    needle, count = Needle(), 4000
    host.launch(f"for _ in $(seq {count}); do {needle.command} & done; exec {needle.command}")
    eventually(lambda: len(needle.pids) == count + 1, 60, "all run")
    host.program.kill()
    eventually(lambda: is_gone(host.reaper_pid), 10, "so is the reaper, and with it all that was below it")
    assert needle.pids == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE])
def test_reaper_ends_by_its_socket_alone(host: Host, number: signal.Signals) -> None:
    """Signals that are sent to everything in sight do not take the reaper from its tasks."""
    first, second = Needle(), Needle()
    host.launch(f"exec {first.command}")
    os.kill(host.reaper_pid, number)
    host.launch(f"exec {second.command}")
    assert (len(first.pids), len(second.pids)) == (1, 1)


def test_daemon_killed_while_its_reaper_is_stopped(host: Host) -> None:
    """Somebody who stops the reaper does not keep what is below it alive without a daemon."""
    needle = Needle()
    host.launch(f"exec {needle.command}")
    os.kill(host.reaper_pid, signal.SIGSTOP)
    host.program.kill()
    eventually(lambda: needle.pids == [], 30, "it is gone")
    eventually(lambda: is_gone(host.reaper_pid), 30, "so is the reaper")


@pytest.mark.parametrize("hiding", HIDING)
async def test_daemon_and_reaper_killed(host: Host, bench: Bench, hiding: str) -> None:
    """When both are killed, the next daemon ends what they left before it says that it is gone."""
    needle = Needle()
    attempt = host.launch(hiding.format(needle.command))
    await eventually_async(lambda: len(needle.pids) == 2, 30, "both processes run")
    os.kill(host.program.pid, signal.SIGSTOP)  # or it would clean up after its reaper
    os.kill(host.reaper_pid, signal.SIGKILL)
    host.close()
    assert len(needle.pids) == 2
    await bench.launcher.survey([attempt])
    assert needle.pids == []


async def test_earlier_reaper_is_waited_for(host: Host, bench: Bench) -> None:
    """An earlier reaper that still cleans up is waited for, and the next daemon's own tasks are left alone."""
    needle, own = Needle(), Needle()
    attempt = host.launch(f"{needle.command} & {needle.command}")
    watched = bench.launch(f"exec {own.command}")
    await watched.start()
    host.program.kill()
    await bench.launcher.survey([attempt])
    assert needle.pids == []
    assert is_gone(host.reaper_pid)
    assert len(own.pids) == 1
    watched.process.stop(0)
    await watched.end()


async def test_others_with_the_same_pid_are_spared(bench: Bench, tmp_path: Path) -> None:
    """A stranger that has a recorded pid now, but another start or another boot, is left alone."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:  # noqa: ASYNC220
        stat = procfs.stat(stranger.pid)
        assert stat is not None
        attempt = recorded(pid=stranger.pid, pid_started_ticks=stat.start_ticks - 1)
        await bench.launcher.survey([attempt])
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a PID namespace")
async def test_a_daemon_in_a_container_is_spared(bench: Bench, tmp_path: Path) -> None:
    """One that has the same folder, as containers have, is another: this one sees its processes and ends none."""
    needle = Needle()
    within = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    command = [*within, sys.executable, "-m", "tests.helpers.launcher_host", str(tmp_path)]
    with subprocess.Popen(  # noqa: ASYNC220
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as inner:
        assert inner.stdin
        assert inner.stdout
        assert inner.stdout.readline().startswith("reaper")
        print(f"exec {needle.command}", file=inner.stdin, flush=True)
        assert inner.stdout.readline().startswith("started")
        attempt = recorded()
        await bench.launcher.survey([attempt])
        assert len(needle.pids) == 1
        os.kill(*procfs.children(inner.pid), signal.SIGKILL)


async def test_unkillable_leftovers_are_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be killed is an error that names it, not a wait for ever."""
    monkeypatch.setattr(leftovers, "KILL_SECONDS", 0.2)
    monkeypatch.setattr(procfs, "signal_checked", lambda *_: None)
    with subprocess.Popen(["sleep", "600"], env={"BARBOSSA_ATTEMPT": "0000000000/task/1"}) as stuck:  # noqa: ASYNC220
        attempt = recorded()
        with pytest.raises(UnavailableError, match=str(stuck.pid)):
            await bench.launcher.survey([attempt])
        stuck.kill()


async def test_leftovers_that_take_long_to_be_found_are_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among ten thousands of processes a look takes as long as what is killed may take to go: that is no reason yet."""
    monkeypatch.setattr(leftovers, "KILL_SECONDS", 0.0)
    with subprocess.Popen(["sleep", "600"], env={"BARBOSSA_ATTEMPT": "0000000000/task/1"}) as left:  # noqa: ASYNC220
        try:
            await bench.launcher.survey([recorded()])
            assert is_gone(left.pid)
        finally:
            left.kill()


async def test_what_the_reaper_cannot_kill_is_told(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Processes that stay are named in the end and in the log, for a task that succeeded too, and with both causes."""
    assert isinstance(bench.launcher, LocalLauncher)
    watched = bench.launch("exec sleep 600")
    process = await watched.start()
    assert isinstance(process, LocalProcess)
    told = dict.fromkeys(Report._fields, 0) | {"serial": process.serial, "kind": ReportKind.ENDED, "text": "77, 78"}
    bench.launcher.take_report(Report(**told))  # type: ignore[arg-type]
    words = "processes stay that cannot be killed (they hang in the kernel, or are another user's by now): pid 77, 78"
    assert (await watched.end()).message == words
    assert f"Of {process.key} {words}" in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("hiding", HIDING)
async def test_reaper_killed(bench: Bench, hiding: str) -> None:
    """When the reaper is killed, its attempts are told as lost once they are gone, and the next ones run."""
    assert isinstance(bench.launcher, LocalLauncher)
    needle = Needle()
    watched = bench.launch(hiding.format(needle.command))
    await eventually_async(lambda: len(needle.pids) == 2, 30, "both processes run")
    first = bench.launcher.supervisor_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    late = bench.launch("echo after")
    end = await watched.end()
    assert end.cause is EndCause.LOST
    assert "supervisor" in (end.message or "")
    assert needle.pids == []
    assert (await late.end()).cause in {EndCause.LOST, EndCause.EXITED}
    end = await bench.run("echo after")
    assert bench.text(end.log) == "after\n"
    assert bench.launcher.supervisor_pid != first


async def test_reaper_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A reaper that somebody stops goes on, each time, and so do starts and ends; the log tells of it."""
    monkeypatch.setattr(supervisor, "_LOOK_SECONDS", 0.02)
    bench = make_local(tmp_path)
    assert isinstance(bench.launcher, LocalLauncher)
    await bench.launcher.start()
    pid = bench.launcher.supervisor_pid
    assert pid is not None
    for code in (3, 4):
        os.kill(pid, signal.SIGSTOP)
        assert (await bench.run(f"exit {code}")).exit_code == code
    await bench.launcher.close()
    told = [record.args for record in caplog.records if "was stopped" in record.getMessage()]
    assert told == [(pid, signal.SIGSTOP)] * 2


async def test_reaper_stopped_at_the_end(bench: Bench) -> None:
    """One that was stopped just before the daemon ends, ends with it."""
    assert isinstance(bench.launcher, LocalLauncher)
    pid = bench.launcher.supervisor_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await bench.launcher.close()
    assert is_gone(pid)


async def test_reaper_killed_where_no_thread_can_be_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that has forked until nothing more can be made is ended all the same, and told as lost."""
    assert isinstance(bench.launcher, LocalLauncher)
    needle = Needle()
    watched = bench.launch(f"exec {needle.command}")
    await watched.start()
    pid = bench.launcher.supervisor_pid
    assert pid is not None

    def refuse(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", refuse)
        os.kill(pid, signal.SIGKILL)
        assert (await watched.end()).cause is EndCause.LOST
    assert needle.pids == []
    assert (await bench.run("exit 3")).exit_code == 3


async def test_reaper_killed_while_a_start_fails(bench: Bench) -> None:
    """What could not be started in the moment of its death is told once, and all that it had are told as lost."""
    assert isinstance(bench.launcher, LocalLauncher)
    watched = [bench.launch("exec sleep 600") for _ in range(3)]
    for one in watched:
        await one.start()
    pid = bench.launcher.supervisor_pid
    assert pid is not None
    late: list[Watched] = []
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_gone(pid), 30, "it is dead")
    asyncio.get_running_loop().call_soon(lambda: late.extend([bench.launch(argv=("a\0b",)), bench.launch("exit 5")]))
    assert [(await one.end()).cause for one in watched] == [EndCause.LOST] * 3
    assert [(await one.end()).cause for one in late] == [EndCause.START_FAILED, EndCause.LOST]
    assert (await bench.run("exit 3")).exit_code == 3


async def test_reaper_killed_again_and_again(bench: Bench) -> None:
    """A reaper that is killed each time costs the attempts that it had, never the launcher."""
    assert isinstance(bench.launcher, LocalLauncher)
    for _ in range(6):
        watched = bench.launch("exec sleep 600")
        await watched.start()
        pid = bench.launcher.supervisor_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert (await watched.end()).cause is EndCause.LOST
    assert (await bench.run("exit 3")).exit_code == 3


async def test_a_process_is_as_it_was_before(tmp_path: Path) -> None:
    """A script that used a launcher is no subreaper afterwards: orphans of its other children go where they went."""
    before = procfs.become_subreaper(is_one=False)
    try:
        launcher = LocalLauncher(SystemClock(), LogFolder(root=tmp_path / "logs"), tmp_path / "run")
        await launcher.start()
        await launcher.close()
        assert not procfs.become_subreaper(is_one=False)
    finally:
        procfs.become_subreaper(before)


async def test_a_runtime_folder_that_was_removed(bench: Bench) -> None:
    """It is made again for the next attempt, with or without a script."""
    for how in ({"script": "echo there"}, {"argv": ("/bin/sh", "-c", "echo there; echo a=1 > $BARBOSSA_OUTPUT")}):
        shutil.rmtree(bench.runtime_dir)
        end = await bench.run(**how)  # type: ignore[arg-type]
        assert (end.exit_code, bench.text(end.log)) == (0, "there\n")
        assert bench.runtime_dir.stat().st_mode & 0o777 == 0o700


def _dying(how: str) -> str:
    return f"#!/bin/sh\n{how}\n"


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (None, 0, "cannot be started: No such file or directory"),
        (_dying("exit 0"), 0o644, "cannot be started: Permission denied"),
        ("\x7fELF of another machine", 0o755, "cannot be started: Exec format error"),
        (_dying("exit 3"), 0o755, "does not work here: it ended at once (exit code 3)"),
        (_dying("kill -ILL $$"), 0o755, "does not work here: it ended at once (killed by signal 4)"),
    ],
)
async def test_reaper_that_cannot_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, mode: int, words: str
) -> None:
    """Without a reaper that works a launcher does not start, and says why and what to do."""
    program = tmp_path / "reaper"
    if text is not None:
        program.write_text(text)
        program.chmod(mode)
    monkeypatch.setattr(supervisor, "PROGRAM", program)
    bench = make_local(tmp_path)
    with pytest.raises(UnavailableError, match=re.escape(words)) as caught:
        await bench.launcher.start()
    assert "make install" in str(caught.value)
    await bench.launcher.close()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE])
async def test_reaper_for_which_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where there is no process or descriptor left for it, nobody is told to install anything."""

    def refuse(*_what: object, **_how: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(UnavailableError, match=f"{os.strerror(number)}; others have used up") as caught:
        await make_local(tmp_path).launcher.start()
    assert "install" not in str(caught.value)


async def test_reaper_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that neither works nor ends is ended, and told as what it is."""
    program = tmp_path / "reaper"
    program.write_text(_dying("exec sleep 600"))
    program.chmod(0o755)
    monkeypatch.setattr(supervisor, "PROGRAM", program)
    monkeypatch.setattr(supervisor, "_READY_SECONDS", 0.3)
    bench = make_local(tmp_path)
    with pytest.raises(UnavailableError, match="does not work here: it said nothing for"):
        await bench.launcher.start()
    await bench.launcher.close()


async def test_reaper_that_is_gone_for_good(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When its program is gone too, tasks say that they could not be started, and begin again once it is there."""
    assert isinstance(bench.launcher, LocalLauncher)
    watched = bench.launch("exec sleep 600")
    await watched.start()
    assert bench.launcher.supervisor_pid is not None
    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "PROGRAM", tmp_path / "gone")
        os.kill(bench.launcher.supervisor_pid, signal.SIGKILL)
        assert (await watched.end()).cause is EndCause.LOST
        for _ in range(3):
            end = await bench.run("true")
            assert end.cause is EndCause.START_FAILED
            assert "No such file" in (end.message or "")
        (first,) = [record for record in caplog.records if "killed by signal 9" in record.getMessage()]
        assert first.exc_info is None
    assert (await bench.run("exit 3")).exit_code == 3
