"""What becomes of output when things go wrong around it."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from barbossad.process.launcher import AttemptKey, EndCause, Process, ProcessEnd
from barbossad.process.local.launcher import LocalLauncher
from barbossad.process.output import capture
from tests.helpers.launching import Bench, Host, Needle, Watched, make_local
from tests.helpers.waiting import eventually_async


@pytest.fixture
async def untagged(tmp_path: Path) -> AsyncIterator[Bench]:
    """A launcher on a host where limits leave no room for tags."""
    bench = make_local(tmp_path / "untagged")
    assert isinstance(bench.launcher, LocalLauncher)
    bench.launcher._reaping._tag = 0
    await bench.launcher.start()
    yield bench
    await bench.launcher.close()


@contextmanager
def stdout_taken(bench: Bench, folder: Path) -> Iterator[tuple[Watched, socket.socket]]:
    """Run a task that gives its standard output away to this process."""
    path = folder / "s"
    code = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "socket.send_fds(s, [b'x'], [1]); s.recv(1)\n"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        watched = bench.launch(argv=(sys.executable, "-I", "-c", code, str(path)))
        connection, _ = listener.accept()
        with connection:
            yield watched, connection


async def test_output_held_by_a_stranger(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something outside of the task that holds its pipe delays the end a little, and the log says so."""
    monkeypatch.setattr(capture, "DRAIN_SECONDS", 0.3)
    with stdout_taken(bench, tmp_path) as (watched, connection):
        _, (held,), _, _ = socket.recv_fds(connection, 1, 1)
        os.write(held, b"from outside")
        connection.send(b"x")
        end = await watched.end()
        os.close(held)
    assert end.exit_code == 0
    text = bench.text(end.log)
    assert text.startswith("from outside\n[barbossad: something that is not part of the task still holds")


async def test_output_of_a_stranger_that_lets_go(bench: Bench, tmp_path: Path) -> None:
    """What comes between the end of the task and the end of the pipe is recorded."""
    with stdout_taken(bench, tmp_path) as (watched, connection):
        _, (held,), _, _ = socket.recv_fds(connection, 1, 1)
        connection.send(b"x")
        assert watched.process.pid is None or isinstance(watched.process.pid, int)
        os.write(held, b"late\n")
        os.close(held)
        end = await watched.end()
    assert bench.text(end.log) == "late\n"


async def test_flood_and_others(bench: Bench) -> None:
    """While one attempt floods its output, others run to their ends and the memory stays what it was."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_kib()
    flood = bench.launch("yes 'a line that comes again and again'")
    for number in range(30):
        end = await bench.run(f"echo {number}")
        assert bench.text(end.log) == f"{number}\n"
    await eventually_async(lambda: flood.process.log.snapshot().dropped_bytes > 50_000_000, 60, "much is dropped")
    flood.process.stop(0)
    end = await flood.end()
    assert _peak_kib() - before < 64 * 1024
    assert end.log.size_bytes <= bench.folder.cap_bytes
    assert "bytes of log records dropped here" in bench.text(end.log)


async def test_reads_that_make_much_work_are_short(bench: Bench) -> None:
    """Where a piece takes long to record, pieces become small, so that no turn of the loop is held up for long."""
    sizes: list[int] = []

    class Slow:
        def feed(self, data: bytes, *, is_last: bool = False) -> bytes:
            sizes.append(len(data))
            over = time.perf_counter() + len(data) / 4096 * 0.002
            while time.perf_counter() < over:
                pass
            return data

    end = await bench.run("head -c 1M /dev/zero | tr '\\0' x", make_mask=Slow)
    assert sum(sizes) == 1024 * 1024
    assert max(sizes[8:]) <= 4096
    assert sum(1 for char in bench.text(end.log) if char == "x") == 1024 * 1024


async def test_output_survives_the_daemon(tmp_path: Path) -> None:
    """What a follower could have seen when the daemon was killed is in the log that the next one finds."""
    bench = make_local(tmp_path)
    host = Host(tmp_path)
    attempt = host.launch("i=0; while :; do i=$((i+1)); echo $i; sleep 0.005; done")
    key = AttemptKey(attempt.run_id, attempt.task_id, attempt.number)
    path = tmp_path / "logs" / bench.folder.path_of(key)
    await eventually_async(lambda: path.exists() and path.stat().st_size > 5000, 20, "the log has grown")
    seen = path.stat().st_size
    host.close()
    log = bench.folder.recover(key)
    assert log is not None
    assert log.size_bytes >= seen
    lines = bench.text(log).splitlines()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]


async def test_no_runtime_folder(bench: Bench) -> None:
    """A script that cannot be written is an end that says so."""
    shutil.rmtree(bench.runtime_dir)
    bench.runtime_dir.write_text("no folder")
    end = await bench.run("true")
    assert end.cause is EndCause.START_FAILED
    assert str(bench.runtime_dir) in (end.message or "")


async def test_watcher_that_fails(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A fault in one watcher is logged and keeps nobody else from being told."""

    class Broken(Watched):
        def ended(self, process: Process, end: ProcessEnd) -> None:
            super().ended(process, end)
            raise ValueError("broken watcher")

    broken = Broken()
    broken.process = bench.launcher.launch(bench.spec("true"), broken)
    assert (await bench.run("sleep 0.05; exit 2")).exit_code == 2
    assert (await broken.end()).exit_code == 0
    assert "broken watcher" in caplog.text


@pytest.mark.parametrize("prefix", ["setsid ", "env -i "])
async def test_untagged_escapees(untagged: Bench, prefix: str) -> None:
    """Without tags, an environment or a session is enough to tell whose an orphan is."""
    mine, theirs = Needle(), Needle()
    other = untagged.launch(f"({prefix}{theirs.command} >/dev/null 2>&1 &); exec sleep 600")
    await eventually_async(lambda: len(theirs.pids) == 1, 30, "the other's process runs")
    await untagged.run(f"({prefix}{mine.command} >/dev/null 2>&1 &); sleep 0.1")
    assert mine.pids == []
    assert len(theirs.pids) == 1
    other.process.stop(0)
    await other.end()
    assert theirs.pids == []


async def test_untagged_escapee_that_may_be_anyone_s(untagged: Bench) -> None:
    """An orphan that could be either's lives as long as one of them, and no longer."""
    needle = Needle()
    first = untagged.launch("exec sleep 600")
    await first.start()
    await untagged.run(f"(env -i setsid {needle.command} >/dev/null 2>&1 &); sleep 0.1")
    assert len(needle.pids) == 1
    first.process.stop(0)
    await first.end()
    assert needle.pids == []


def _peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize("bytes_printed", [20_000, 300])
async def test_a_folder_of_logs_that_takes_nothing(bench: Bench, bytes_printed: int) -> None:
    """The first of what was printed is kept with the attempt, and the loss of the rest is stated there."""
    bench.folder.root.write_text("a file")
    end = await bench.run(
        f"echo first; sleep 0.3; i=0; while [ $i -lt {bytes_printed // 10} ]; do echo 012345678; i=$((i+1)); done"
    )
    text = bench.text(end.log)
    assert text.startswith("first\n")
    if bytes_printed > 4096:
        assert text.endswith(" bytes of log records could not be written here]\n")
    assert end.log.path is None
    assert len(end.log.text or b"") < 6000


async def test_a_disk_that_takes_no_more(bench: Bench, tmp_path: Path) -> None:
    """What was lost at the end of a log is stated, though the disk does not take even the statement."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    flag = tmp_path / "flag"
    loop = "i=0; while [ $i -lt 4000 ]; do echo 0123456789; i=$((i+1)); done"
    watched = bench.launch(f"{loop}; while [ ! -e {flag} ]; do sleep 0.02; done; echo last")

    def is_there() -> bool:
        return bench.text(watched.process.log.snapshot()).count("\n") == 4000

    await eventually_async(is_there, 20, "all lines are on the disk")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        flag.touch()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        end = await watched.end()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    text = bench.text(end.log)
    assert text.startswith("0123456789\n" * 4000)
    assert text.endswith(" bytes of log records could not be written here]\n")
    assert "last" not in text


def refuse(bench: Bench, flag: Path) -> None:
    """Have the disk be full as soon as ``flag`` is there."""
    bench.folder.losses.is_full = flag.exists


async def test_the_last_room_is_left_to_the_state_file(bench: Bench, tmp_path: Path) -> None:
    """On a full disk no log grows, though it could: what is lost meanwhile is told, and stated where it is missing."""
    flag, gate, told = tmp_path / "flag", tmp_path / "gate", []
    refuse(bench, flag)
    bench.folder.losses.changed = lambda: told.append(bench.folder.losses.reason)
    wait = f"while [ ! -e {gate} ]; do sleep 0.02; done"
    watched = bench.launch(f"seq 1000; while [ ! -e {flag} ]; do sleep 0.02; done; seq 5000; {wait}; echo last")
    is_there = lambda: bench.text(watched.process.log.snapshot()).endswith("\n1000\n")  # noqa: E731
    await eventually_async(is_there, 20, "all of it is on the disk")
    (file,) = bench.folder.root.glob("*/*.log")
    size = file.stat().st_size
    flag.touch()
    await eventually_async(lambda: told != [], 20, "output is lost")
    assert told == ["output of 1 task is being lost: the disk is full, and what is left of it is for the state file"]
    assert file.stat().st_size == size
    flag.unlink()
    gate.touch()
    text = bench.text((await watched.end()).log)
    assert text.startswith("".join(f"{number}\n" for number in range(1, 1001)) + "[barbossad: ")
    assert text.endswith(" bytes of log records could not be written here]\nlast\n")
    assert told[1:] == [None]


@pytest.mark.parametrize("cap_bytes", [10 * 1024 * 1024, 100_000])
async def test_full_until_the_end(bench: Bench, tmp_path: Path, cap_bytes: int) -> None:
    """A log that ends on a full disk is not put in order there, can be read as it is, and states its loss."""
    flag = tmp_path / "flag"
    refuse(bench, flag)
    bench.folder.cap_bytes = cap_bytes
    watched = bench.launch(f"seq 1500; while [ ! -e {flag} ]; do sleep 0.02; done; seq 5000")
    is_there = lambda: bench.text(watched.process.log.snapshot()).endswith("\n1500\n")  # noqa: E731
    await eventually_async(is_there, 20, "all of it is on the disk")
    used = sum(file.stat().st_size for file in bench.folder.root.rglob("*") if file.is_file())
    flag.touch()
    end = await watched.end()
    text = bench.text(end.log)
    assert text.startswith("".join(f"{number}\n" for number in range(1, 1501)) + "[barbossad: ")
    assert text.endswith(" bytes of log records could not be written here]\n")
    assert sum(file.stat().st_size for file in bench.folder.root.rglob("*") if file.is_file()) < used + 200
    assert end.log.has_tail_apart is (cap_bytes == 100_000)
    assert bench.folder.losses.reason is None


async def test_no_file_is_begun_on_a_full_disk(bench: Bench, tmp_path: Path) -> None:
    """The first of what was printed is kept with the attempt, as where the folder takes nothing."""
    bench.folder.losses.is_full = lambda: True
    end = await bench.run("echo first; sleep 0.3; seq 5000")
    assert bench.text(end.log).startswith("first\n")
    assert bench.text(end.log).endswith(" bytes of log records could not be written here]\n")
    assert end.log.path is None
    assert list(bench.folder.root.rglob("*.log")) == []


async def test_a_disk_that_says_it_is_full(bench: Bench) -> None:
    """Who found no room tells it, once a loss, so that others need not find it out."""
    told: list[str | None] = []
    losses, key = bench.folder.losses, bench.spec("true").key
    losses.found_full = lambda: told.append(losses.reason)
    losses.begin(key, PermissionError(errno.EACCES, "Permission denied"))
    assert told == []
    losses.end(key)
    losses.begin(key, OSError(errno.ENOSPC, "No space left on device"))
    assert told == ["output of 1 task is being lost: No space left on device"]


async def test_who_waits_no_longer_is_forgotten(bench: Bench, tmp_path: Path) -> None:
    """Of those who gave up waiting for a silent task's output nothing is left; the others hear of what it says."""
    os.mkfifo(tmp_path / "gate")
    watched = bench.launch(f"read line < {tmp_path}/gate; echo $line")
    log = (await watched.start()).log
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await log.changed(0)
    assert isinstance(log, capture.Capture)
    assert not log._waiters
    one, other = (asyncio.ensure_future(log.changed(0)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    (tmp_path / "gate").write_text("said\n")
    async with asyncio.timeout(20):
        await other
    assert (await watched.end()).exit_code == 0
    assert one.cancelled()
    assert not log._waiters
