"""A log that a daemon left in the middle is gone on with, cut to where it is known to be right."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from barbossad.process.output.logfile import LogFile, tail_folder
from tests.helpers import mounts

PATH = "day/run.log"
CAP = 64 * 1024


def record(number: int, size: int = 60) -> bytes:
    """Return a record that tells its place."""
    return b"2026-01-01T00:00:00.000000000Z stdout F %08d %s\n" % (number, b"x" * size)


def whole(folder: Path) -> bytes:
    """Return everything that the log has on disk, in order."""
    file = folder / PATH
    parts = [file.read_bytes()]
    tail = tail_folder(file)
    if tail.exists():
        parts += [(tail / str(n)).read_bytes() for n in sorted(int(e.name) for e in tail.iterdir() if e.name.isdigit())]
    return b"".join(parts)


@pytest.mark.parametrize("count", [0, 1, 100, 300, 600, 3000])
def test_reopened_log_goes_on(tmp_path: Path, count: int) -> None:
    """Written by two daemons, one after the other, the file is what one daemon would have written."""
    alone, first = LogFile(tmp_path / "a", PATH, CAP), LogFile(tmp_path / "b", PATH, CAP)
    for log in (alone, first):
        for number in range(count + 1):
            log.write(record(number))
    first.close()
    second = LogFile.reopen(tmp_path / "b", PATH, CAP, None)
    assert second.end_cursor == alone.end_cursor
    for log in (alone, second):
        for number in range(count + 1, count + 200):
            log.write(record(number))
    assert second.snapshot() == alone.snapshot()
    assert whole(tmp_path / "b") == whole(tmp_path / "a")
    assert second.finish() == alone.finish()


@pytest.mark.parametrize("seed", range(20))
def test_what_was_written_last_is_taken_back(tmp_path: Path, seed: int) -> None:
    """Cut off at the cursor of the read that was in flight, wherever files and segments change, and written again."""
    chance = random.Random(seed)
    alone, log = LogFile(tmp_path / "a", PATH, CAP), LogFile(tmp_path / "b", PATH, CAP)
    for number in range(chance.randrange(1, 900)):
        for target in (alone, log):
            target.write(record(number))
    chunk = b"".join(record(10_000 + number) for number in range(chance.randrange(1, 60)))
    end = log.end_cursor
    log.write(chunk[: chance.randrange(1, len(chunk)) // 100 * 100 or 100])  # a part of it was written before the kill
    log.close()
    again = LogFile.reopen(tmp_path / "b", PATH, CAP, end)
    assert again.end_cursor == end
    for target in (alone, again):
        target.write(chunk)
    assert again.end_cursor == alone.end_cursor
    assert whole(tmp_path / "b")[-len(chunk) :] == chunk
    again.finish()
    alone.finish()


def test_torn_record_is_ended(tmp_path: Path) -> None:
    """Without a cursor to cut to, a record that was not written whole ends where it stops."""
    (tmp_path / "day").mkdir()
    (tmp_path / PATH).write_bytes(record(1) + b"2026-01-01T00:00:00.000000000Z stdout F torn")
    log = LogFile.reopen(tmp_path, PATH, CAP, None)
    log.write(record(2))
    log.close()
    assert (tmp_path / PATH).read_bytes().splitlines()[1].endswith(b"torn")
    assert (tmp_path / PATH).read_bytes().endswith(record(2))


@pytest.mark.parametrize("cut_bytes", [None, 0, 200], ids=["to its end", "to all", "to less"])
@pytest.mark.parametrize("count", [1, 300, 3000])
def test_a_disk_that_cannot_be_written(
    tmp_path: Path, count: int, cut_bytes: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What is there stays and is read; as soon as the disk can be written the log goes on, where it is to."""
    with mounts.disk(tmp_path / "b", tmp_path / "image") as disk:
        alone, first = LogFile(tmp_path / "a", PATH, CAP), LogFile(tmp_path / "b", PATH, CAP)
        for log in (alone, first):
            for number in range(count + 1):
                log.write(record(number))
        first.close()
        if cut_bytes is not None:
            alone.close()
            end = max(alone.end_cursor - cut_bytes, 0)
            alone = LogFile.reopen(tmp_path / "a", PATH, CAP, end)
        before = whole(tmp_path / "b")
        disk.make_read_only()
        second = LogFile.reopen(tmp_path / "b", PATH, CAP, None if cut_bytes is None else end)
        assert "Read-only" in caplog.text
        assert second.snapshot() == alone.snapshot()
        with pytest.raises(OSError, match="Read-only"):
            second.write(record(count + 1))
        assert second.snapshot() == alone.snapshot()
        assert whole(tmp_path / "b") == before
        disk.make_writable()
        for log in (alone, second):
            log.write(record(count + 1))
        assert second.snapshot() == alone.snapshot()
        assert whole(tmp_path / "b") == whole(tmp_path / "a")
        assert second.finish() == alone.finish()


@pytest.mark.parametrize("count", [1, 300, 3000])
def test_a_disk_that_cannot_be_written_to_the_end(tmp_path: Path, count: int) -> None:
    """The record of a log that was never gone on with is of what is there."""
    with mounts.disk(tmp_path / "b", tmp_path / "image") as disk:
        first = LogFile(tmp_path / "b", PATH, CAP)
        for number in range(count + 1):
            first.write(record(number))
        first.close()
        before = first.snapshot()
        disk.make_read_only()
        assert LogFile.reopen(tmp_path / "b", PATH, CAP, None).finish() == before


@pytest.mark.parametrize("steps_taken", [0, 1, 3, 1000], ids=["not begun", "one step", "some steps", "all"])
def test_a_long_log_is_put_in_order_in_steps(tmp_path: Path, steps_taken: int) -> None:
    """However far it has come when the daemon is gone, the next one does it anew, and nothing is there twice."""
    logs = [LogFile(tmp_path / name, PATH, 32 * 1024**2) for name in ("a", "b")]
    for log in logs:
        for number in range(40):
            log.write(record(number, 1024**2))
    alone, first = logs
    steps = first.finishing(lambda: None)
    taken = sum(1 for _ in itertools.islice(steps, steps_taken))
    assert taken >= min(steps_taken, 6), "there are 12 MiB and more, and none takes more than 2"
    steps.close()
    if taken == steps_taken:
        first.close()
        first = LogFile.reopen(tmp_path / "b", PATH, 32 * 1024**2, None)
    assert first.finish() == alone.finish()
    assert whole(tmp_path / "b") == whole(tmp_path / "a")
