"""A reaper, and a daemon, in trouble: killed while it tells, without descriptors, beside tasks that do their worst."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barbossad.process import procfs
from barbossad.process.launcher import EndCause
from barbossad.process.local import supervisor
from barbossad.process.local.launcher import LocalLauncher
from tests.helpers.launching import ENV, Bench, Needle, is_gone, make_local
from tests.helpers.waiting import eventually, eventually_async


def reaper_of(bench: Bench) -> int:
    """Return the process id of the reaper that runs."""
    assert isinstance(bench.launcher, LocalLauncher)
    assert bench.launcher.supervisor_pid is not None
    return bench.launcher.supervisor_pid


# -- killed ----------------------------------------------------------------------------------------------------


async def test_killed_while_it_tells(bench: Bench) -> None:
    """What it had told before it died counts, and those that it had not told of are told as lost, each once."""
    short = [bench.launch("sleep 0.3; exit 5") for _ in range(40)]
    long = [bench.launch("exec sleep 600") for _ in range(5)]
    for watched in (*short, *long):
        await watched.start()
    reaper = reaper_of(bench)
    os.kill(reaper, signal.SIGSTOP)
    await eventually_async(lambda: all(is_gone(one.process.pid or 0) for one in short), 30, "all have ended")
    os.kill(reaper, signal.SIGCONT)
    eventually(lambda: _has_told(reaper, len(long)), 30, "it has told, and nobody has heard")
    os.kill(reaper, signal.SIGKILL)
    assert {(await one.end()).cause for one in long} == {EndCause.LOST}
    assert {(await one.end()).exit_code for one in short} == {5}
    assert (await bench.run("exit 3")).exit_code == 3


async def test_told_before_the_connection_broke(bench: Bench) -> None:
    """A reaper that dies with a request unread breaks the connection: what it told before is heard all the same."""
    reaper = reaper_of(bench)
    watched = bench.launch("exit 5")
    eventually(lambda: _has_told(reaper, 0), 30, "it has told")
    os.kill(reaper, signal.SIGSTOP)
    late = bench.launch("exit 6")
    os.kill(reaper, signal.SIGKILL)
    assert (await watched.end()).exit_code == 5
    assert (await late.end()).cause is EndCause.LOST


def _has_told(reaper: int, left: int) -> bool:
    """Say whether a reaper has only so many children left and waits for news: it tells before it does that."""
    state = procfs.read(f"{reaper}/stat").rpartition(b")")[2].split()[0]
    return state == b"S" and len(procfs.children(reaper)) == left


# -- for want of descriptors ------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_descriptors() -> Iterator[list[int]]:
    """Leave this process none; the list holds those that may be closed to have some again."""
    before, kept = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                kept.append(os.open("/dev/null", os.O_RDONLY))
        yield kept
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in kept:
            os.close(fd)


async def test_message_that_does_not_get_through(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others hold too much (ETOOMANYREFS, unix(7)), launches and stops wait and keep their order."""
    real, refused = socket.send_fds, iter([errno.ETOOMANYREFS, errno.ENOBUFS, errno.ETOOMANYREFS])

    def send(*what: Any) -> int:
        number = next(refused, None)
        if number is not None:
            raise OSError(number, os.strerror(number))
        return real(*what)

    monkeypatch.setattr(socket, "send_fds", send)
    first, second = bench.launch("exec sleep 600"), bench.launch("exit 4")
    first.process.stop(0)
    assert (await first.end()).cause is EndCause.SIGNALLED
    assert (await second.end()).exit_code == 4
    assert next(refused, None) is None


async def test_a_reaper_that_can_be_handed_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Where it is the reaper that has none, a task waits as well."""
    reaper = reaper_of(bench)
    before = resource.prlimit(reaper, resource.RLIMIT_NOFILE)
    resource.prlimit(reaper, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        waiting, stopped = bench.launch("echo begun; exit 5"), bench.launch("exit 6")
        await eventually_async(lambda: bool(waiting.process.waiting and stopped.process.waiting), 10, "both wait")
        stopped.process.stop(0)
        assert (await stopped.end()).cause is EndCause.NEVER_STARTED
    finally:
        resource.prlimit(reaper, resource.RLIMIT_NOFILE, before)
    end = await waiting.end()
    assert (end.exit_code, bench.text(end.log)) == (5, "begun\n")
    assert caplog.text.count("Tasks wait to be started: cannot start the process: Too many open files") == 1


STRANGER = 100_000 + os.getpid()
"""A user without a name, and without other processes, of other tests neither."""


@contextlib.contextmanager
def another_of_the_stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Have that user have another process, until it is killed."""
    with subprocess.Popen(["sleep", "600"], user=STRANGER) as other:
        try:
            yield other
        finally:
            other.kill()


@pytest.fixture
def strange_reaper(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have reapers run as a user of their own, who may have two processes."""
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(supervisor.PROGRAM, folder / "reaper")
        start = folder / "start"
        start.write_text(
            f'#!/bin/sh\nexec prlimit --nproc=2 setpriv --reuid={STRANGER} --clear-groups {folder}/reaper "$@"\n'
        )
        start.chmod(0o755)
        monkeypatch.setattr(supervisor, "PROGRAM", start)
        yield


async def test_no_more_processes(strange_reaper: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no process can be made, a task waits until one can, or it is not wanted any more."""
    bench = make_local(tmp_path)
    await bench.launcher.start()
    with another_of_the_stranger() as other:
        waiting, stopped = bench.launch(argv=("/bin/false",)), bench.launch(argv=("/bin/false",))
        await eventually_async(lambda: bool(waiting.process.waiting and stopped.process.waiting), 10, "both wait")
        stopped.process.stop(0)
        assert (await stopped.end()).cause is EndCause.NEVER_STARTED
        other.kill()
    assert (await waiting.end()).exit_code == 1
    said = "Tasks wait to be started: cannot start '/bin/false': the limit on the number of processes is reached"
    assert caplog.text.count(said) == 1
    await bench.close()


async def test_daemon_without_descriptors(bench: Bench) -> None:
    """Without descriptors a task waits for some, whether its pipes or its long environment want them."""
    many = {**ENV, **{f"V{number}": "v" * 100 for number in range(2000)}}
    with no_descriptors() as kept:
        without = bench.launch(argv=("/bin/true",))
        for fd in (kept.pop() for _ in range(4)):
            os.close(fd)
        long = bench.launch(argv=("/bin/true",), env=many)
        assert without.process.waiting is not None
        assert long.process.waiting is not None
    for watched in (without, long):
        assert (await watched.end()).exit_code == 0
    assert (await bench.run(argv=("/bin/true",), env=many)).exit_code == 0


async def test_reaper_killed_while_the_daemon_has_no_descriptors(bench: Bench) -> None:
    """What cannot be looked at is not taken for gone: it is told as lost once that could be done."""
    needle = Needle()
    watched = bench.launch(f"exec {needle.command}")
    await watched.start()
    with no_descriptors():
        os.kill(reaper_of(bench), signal.SIGKILL)
        with pytest.raises(TimeoutError):
            await watched.end(0.5)
    assert (await watched.end()).cause is EndCause.LOST
    assert needle.pids == []
    assert (await bench.run("exit 3")).exit_code == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take its parent's descriptors away")
async def test_reaper_without_descriptors(bench: Bench) -> None:
    """A reaper that can open nothing does not take that for a sign that nothing is left."""
    needle = Needle()
    script = (
        f"(setsid {needle.command} </dev/null >/dev/null 2>&1 &); sleep 0.3; prlimit --pid $PPID --nofile=3; exit 7"
    )
    assert (await bench.run(script)).exit_code == 7
    assert needle.pids == []


# -- what tasks do -----------------------------------------------------------------------------------------------

TAGGED = """
import os, resource, sys, time
tag = resource.getrlimit(15)[1] - 1000  # RLIMIT_RTTIME, as no attempt has it
if os.fork() == 0:
    os.setsid()
    resource.setrlimit(15, (tag, tag))
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 3)
        os.execvp("sleep", sys.argv[1:])
    os.closerange(0, 3)
    time.sleep(1000)
time.sleep(0.3)
"""


async def test_tag_that_no_attempt_has(bench: Bench, tmp_path: Path) -> None:
    """A task that gives its processes the tag of an attempt that there never was keeps none of them."""
    program, needle = tmp_path / "tagged.py", Needle()
    program.write_text(TAGGED)
    assert (await bench.run(argv=(sys.executable, str(program), *needle.command.split()))).exit_code == 0
    assert needle.pids == []


DEEP = """
import os
os.mkdir(os.environ["BARBOSSA_OUTPUT"])
os.chdir(os.environ["BARBOSSA_OUTPUT"])
for _ in range(1100):
    os.mkdir("x")
    os.chdir("x")
"""


async def test_folder_where_its_outputs_were_to_be(bench: Bench) -> None:
    """A task that makes one, deeper than anybody can descend, ends, and the folder goes."""
    assert (await bench.run(argv=(sys.executable, "-c", DEEP))).exit_code == 0
    assert (await bench.run("exit 3")).exit_code == 3
    await eventually_async(lambda: not list(bench.runtime_dir.iterdir()), 60, "the folder is removed")


async def test_report_that_cannot_be_taken(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault over which an attempt would stay live for ever ends the daemon, and costs no other report."""
    assert isinstance(bench.launcher, LocalLauncher)
    faults: list[BaseException] = []
    lost: list[Any] = []
    monkeypatch.setattr(bench.launcher, "on_fault", faults.append)
    real, broken = LocalLauncher._take, bench.launch("exit 5")

    def take(launcher: LocalLauncher, *what: Any) -> None:
        if what[0] is broken.process:
            lost.append(what)
            raise ZeroDivisionError
        real(launcher, *what)

    monkeypatch.setattr(LocalLauncher, "_take", take)
    watched = [bench.launch(f"exit {code}") for code in range(8)]
    assert [(await one.end()).exit_code for one in watched] == [*range(8)]
    assert [type(fault) for fault in faults] == [ZeroDivisionError]
    real(bench.launcher, *lost[0])
    assert (await broken.end()).exit_code == 5


CHAINS = """
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    time_t end = time(NULL) + 40;
    for (int chain = 0; chain < 16; chain++)
        if (fork() == 0) {
            close(1);
            close(2);
            setsid();
            while (time(NULL) < end)
                if (fork())
                    _exit(0);
            _exit(0);
        }
    sleep(600);
}
"""


@pytest.fixture
def chains(tmp_path: Path) -> Path:
    """A program that makes them."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    (tmp_path / "chains.c").write_text(CHAINS)
    subprocess.run(["cc", "-O2", str(tmp_path / "chains.c"), "-o", str(tmp_path / "chains")], check=True)
    return tmp_path / "chains"


async def test_task_that_dies_in_thousands(bench: Bench, chains: Path) -> None:
    """Chains of processes that each make the next one and end keep no other task from its start and its end."""
    making = bench.launch(argv=(str(chains),))
    await making.start()
    for _ in range(3):
        assert (await bench.launch("exit 3").end()).exit_code == 3
    making.process.stop(0)
    assert (await making.end(60)).cause is EndCause.SIGNALLED
