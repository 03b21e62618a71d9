"""One way to read a log, wherever it is and however much of it is left."""

from __future__ import annotations

import os
import random
import resource
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from barbossad.model.names import TaskId, run_id_from_number
from barbossad.model.records import LogRecord
from barbossad.process.launcher import AttemptKey
from barbossad.process.output import logfile, logs
from barbossad.process.output.logfile import SMALL_BYTES, LogFile
from barbossad.process.output.logs import LogEntry, LogFolder

KEY = AttemptKey(run_id_from_number(1_769_824_800_000), TaskId("task"), 1)
AT = "2026-01-31T02:00:00.000000001Z"


def record(number: int, stream: str = "stdout") -> bytes:
    return f"{AT} {stream} F line {number:06d}\n".encode()


SIZE = len(record(0))


def make(root: Path, cap_bytes: int = 1 << 20) -> tuple[LogFolder, LogFile]:
    folder = LogFolder(root, cap_bytes)
    return folder, LogFile(root, folder.path_of(KEY), cap_bytes)


def read_all(folder: LogFolder, log: LogRecord, limit: int = 7, cursor: int = 0) -> list[LogEntry]:
    entries: list[LogEntry] = []
    while True:
        page = logs.read(folder, log, cursor, limit)
        assert len(page.items) <= limit
        entries += page.items
        if page.next_cursor == cursor:
            assert cursor == log.end_cursor
            return entries
        cursor = page.next_cursor


def numbers(entries: list[LogEntry]) -> list[int]:
    return [int(entry.text[5:]) for entry in entries if entry.text.startswith("line ")]


def test_path(tmp_path: Path) -> None:
    """A log's file lies in the folder of the day on which its run was made."""
    folder, _ = make(tmp_path)
    assert folder.path_of(KEY) == f"2026-01-31/{KEY.run_id}-task-1.log"
    last = KEY._replace(run_id=run_id_from_number(2**50 - 1))
    assert folder.path_of(last).startswith("9999-12-31/")


def test_entry(tmp_path: Path) -> None:
    """An entry has the record's time, stream, text and whether its line goes on."""
    text = f"{AT} stderr P a b \n{AT} stdout F \n".encode()
    log = LogRecord(text=text, size_bytes=len(text))
    page = logs.read(LogFolder(tmp_path), log, 0, 10)
    assert page.items == (
        LogEntry(at=AT, stream="stderr", text="a b ", is_partial=True),
        LogEntry(at=AT, stream="stdout", text="", is_partial=False),
    )


def test_text_and_file_read_alike(tmp_path: Path) -> None:
    """A small log is given as text too, and reads the same from both; its file can be discarded, twice."""
    folder, file = make(tmp_path)
    for number in range(20):
        file.write(record(number))
    log = file.finish()
    assert log.text is not None
    assert log.path is not None
    from_file = LogRecord(path=log.path, size_bytes=log.size_bytes)
    assert read_all(folder, log) == read_all(folder, from_file)
    folder.discard(log)
    folder.discard(log)
    assert not (tmp_path / log.path).exists()
    assert numbers(read_all(folder, log)) == list(range(20))


def test_large_log_stays_a_file(tmp_path: Path) -> None:
    """A log that has grown stays where shippers found it; to discard it is refused."""
    folder, file = make(tmp_path)
    for number in range(SMALL_BYTES // SIZE + 1):
        file.write(record(number))
    log = file.finish()
    assert log.text is None
    folder.discard(log)
    assert numbers(read_all(folder, log)) == list(range(SMALL_BYTES // SIZE + 1))


def test_stream_filter(tmp_path: Path) -> None:
    """One stream can be read alone; pages without any of it still move on."""
    folder, file = make(tmp_path)
    for number in range(100):
        file.write(record(number, "stderr" if number % 50 == 0 else "stdout"))
    log = file.finish()
    page = logs.read(folder, log, 0, 1000, "stderr")
    assert numbers(list(page.items)) == [0, 50]
    assert page.next_cursor == log.end_cursor


def printed(folder: LogFolder, log: LogRecord) -> str:
    """Return what stands in a log of stdout, record by record."""
    entries = [entry for entry in read_all(folder, log) if entry.stream == "stdout" or "dropped" in entry.text]
    return "".join(entry.text + "\n" * (not entry.is_partial) for entry in entries).rstrip("\n")


@pytest.mark.parametrize("count", [0, 3, 900])
def test_stdout(tmp_path: Path, count: int) -> None:
    """What was printed to stdout is told as its records have it, wherever they are and whatever is between them."""
    folder, file = make(tmp_path, cap_bytes=64 * 1024)
    others = [b"", f"{AT} stderr P a\xfeb \n".encode(), record(0, "stderr"), b"damaged stderr F x\n", b"\n"]
    lines = [record, lambda n: f"{AT} stdout P {n:06d} ä stderr F \n".encode(), lambda n: f"{AT} stdout F \n".encode()]
    for number in range(count):
        file.write(lines[number % 3](number) + others[number % 5])
    log = file.snapshot()
    expected = printed(folder, log)
    assert logs.stdout_of(folder, log) == expected
    assert logs.stdout_of(folder, file.finish()) == expected
    assert ("dropped here" in expected) is (count == 900)


def test_stdout_amid_a_flood_of_stderr(tmp_path: Path) -> None:
    """Records are not looked at one by one to find what was printed to stdout: it is done on the event loop."""
    count = 20_000
    log = LogRecord(text=record(1) + record(2, "stderr") * count + record(3), size_bytes=SIZE * (count + 2))
    calls = 0

    def count_call(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count_call)
    try:
        found = logs.stdout_of(LogFolder(tmp_path), log)
    finally:
        sys.setprofile(None)
    assert found == "line 000001\nline 000003"
    assert calls < count


def test_made_up_cursors(tmp_path: Path) -> None:
    """Any number as a cursor gives whole records or nothing."""
    folder, file = make(tmp_path)
    for number in range(10):
        file.write(record(number))
    log = file.finish()
    assert logs.read(folder, log, -5, 1).items[0].text == "line 000000"
    assert logs.read(folder, log, 10**18, 1).items == ()
    for cursor in range(1, log.end_cursor + 1):
        found = numbers(list(logs.read(folder, log, cursor, 100).items))
        assert found == list(range(-(-cursor // SIZE), 10))


def test_last(tmp_path: Path) -> None:
    """The last lines can be had without reading the whole."""
    folder, file = make(tmp_path)
    for number in range(10_000):
        file.write(record(number))
    log = file.finish()
    assert numbers(list(logs.last(folder, log, 3))) == [9997, 9998, 9999]
    assert logs.last(folder, LogRecord(), 3) == ()


def test_file_that_is_gone(tmp_path: Path) -> None:
    """A log whose file someone removed is empty, not a fault."""
    folder, _ = make(tmp_path)
    log = LogRecord(path="2026-01-31/gone.log", size_bytes=100)
    assert logs.read(folder, log, 0, 10) == logs.LogPage(items=(), next_cursor=0)


@pytest.mark.parametrize("count", [100, 2000, 2500, 5000, 20_000])
@pytest.mark.parametrize("batch", [1, 7, 3000])
def test_cap(tmp_path: Path, count: int, batch: int) -> None:
    """Past the cap the first and the last records are kept, and a record says how many bytes are not."""
    cap = 2000 * SIZE
    folder, file = make(tmp_path, cap)
    for start in range(0, count, batch):
        file.write(b"".join(record(number) for number in range(start, min(start + batch, count))))
    log = file.finish()
    found = numbers(read_all(folder, log))
    assert log.end_cursor == count * SIZE
    assert log.size_bytes <= cap
    assert log.size_bytes == len(found) * SIZE
    if log.dropped_bytes == 0:
        assert found == list(range(count))
        assert count <= 2000
    else:
        dropped = log.dropped_bytes // SIZE
        assert found == [*range(1000), *range(1000 + dropped, count)]
        assert len(found) >= 1700
        stated = [entry for entry in read_all(folder, log) if not entry.text.startswith("line")]
        assert [entry.text for entry in stated] == [logfile.dropped_text(log.dropped_bytes)]
        assert stated[0].stream == "stderr"
    path = tmp_path / folder.path_of(KEY)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_following_across_the_gap(tmp_path: Path) -> None:
    """A follower who keeps up reads every record once, while others are dropped and when all is put together."""
    folder, file = make(tmp_path, 2000 * SIZE)
    chance = random.Random(3)
    cursor, written = 0, 0
    found: list[int] = []

    def follow(log: LogRecord) -> None:
        nonlocal cursor
        while (page := logs.read(folder, log, cursor, chance.randint(1, 500))).next_cursor != cursor:
            found.extend(numbers(list(page.items)))
            cursor = page.next_cursor

    while written < 8000:
        more = chance.randint(1, 200)
        file.write(b"".join(record(number) for number in range(written, written + more)))
        written += more
        stale = file.snapshot()
        if chance.random() < 0.8:
            follow(stale)
    follow(file.snapshot())
    file.write(record(written))
    stale = file.snapshot()
    log = file.finish()
    follow(stale)
    follow(log)
    assert found == list(range(written + 1))


def test_slow_follower_is_told_of_the_gap(tmp_path: Path) -> None:
    """A follower whose place was dropped meanwhile is told so and goes on with what is left."""
    folder, file = make(tmp_path, 2000 * SIZE)
    for number in range(1500):
        file.write(record(number))
    page = logs.read(folder, file.snapshot(), 0, 1200)
    assert numbers(list(page.items)) == list(range(1200))
    for number in range(1500, 9000):
        file.write(record(number))
    for look in (file.snapshot, file.finish):
        entries = read_all(folder, look(), cursor=page.next_cursor)
        missed = numbers(entries)[0] - 1200
        assert entries[0].text == logfile.dropped_text(missed * SIZE), "not what was lost before its place, too"
        assert numbers(entries)[-1] == 8999
        assert numbers(entries) == sorted(numbers(entries))


@pytest.mark.parametrize("count", [0, 10, 1500, 6000])
def test_recovery(tmp_path: Path, count: int) -> None:
    """What was written before a crash is put in order: head, statement, tail, and no half record."""
    folder, file = make(tmp_path, 2000 * SIZE)
    for number in range(count):
        file.write(record(number))
    before = file.snapshot()
    file.close()
    log = folder.recover(KEY)
    if count == 0:
        assert log is None
        return
    assert log is not None
    assert (log.size_bytes, log.dropped_bytes) == (before.size_bytes, before.dropped_bytes)
    assert read_all(folder, log)[-1].text == f"line {count - 1:06d}"
    assert numbers(read_all(folder, log)) == numbers(read_all(folder, log, limit=1000))
    assert folder.recover(KEY) is not None


def test_recovery_of_a_torn_record(tmp_path: Path) -> None:
    """A record in the middle of which the daemon died is ended, so that what there is of it can be read."""
    folder, file = make(tmp_path)
    file.write(record(0))
    file.close()
    with (tmp_path / folder.path_of(KEY)).open("ab") as opened:
        opened.write(record(1)[:-3])
    log = folder.recover(KEY)
    assert log is not None
    assert [entry.text for entry in read_all(folder, log)] == ["line 000000", "line 0000"]


def test_recovery_again_after_a_crash_in_recovery(tmp_path: Path) -> None:
    """A crash while the parts are joined costs nothing: joining starts over."""
    folder, file = make(tmp_path, 2000 * SIZE)
    for number in range(6000):
        file.write(record(number))
    snapshot = file.snapshot()
    file.close()
    path = tmp_path / folder.path_of(KEY)
    with path.open("ab") as opened:
        opened.write(b"half of what was to be appended")
    log = folder.recover(KEY)
    assert log is not None
    assert log.size_bytes == snapshot.size_bytes
    assert numbers(read_all(folder, log))[-1] == 5999


def test_full_disk_leaves_whole_records(tmp_path: Path) -> None:
    """A write that the disk does not take leaves the records before it whole, and later ones can follow."""
    folder, file = make(tmp_path)
    file.write(record(0))
    opened = os.open("/dev/full", os.O_WRONLY)
    kept, file._fd = file._fd, opened
    with pytest.raises(OSError):
        file.write(record(1))
    file._fd = kept
    os.close(opened)
    file.write(record(2))
    assert numbers(read_all(folder, file.finish())) == [0, 2]


def test_a_segment_that_cannot_be_begun(tmp_path: Path) -> None:
    """Where there was no descriptor for the first segment, the log goes on when there are again, head or tail."""
    folder, file = make(tmp_path, cap_bytes=64 * 1024)
    half = 32 * 1024 // SIZE
    file.write(b"".join(map(record, range(half))))
    _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            file.write(record(half))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    short = f"{AT} stdout F x\n".encode()
    file.write(short * ((32 * 1024 - half * SIZE) // len(short)))
    for number in range(half, half + 200):
        file.write(record(number))
    log = file.finish()
    assert log.dropped_bytes == 0
    assert numbers(read_all(folder, log)) == list(range(half + 200))


def test_full_disk_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log whose parts cannot be joined is read from its parts, as the store keeps it too."""
    folder, file = make(tmp_path, 2000 * SIZE)
    for number in range(6000):
        file.write(record(number))
    expected = numbers(read_all(folder, file.snapshot()))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)
    log = file.finish()
    assert numbers(read_all(folder, log)) == expected
    assert numbers(read_all(folder, replace(log, has_tail_apart=False))) == expected


@pytest.mark.parametrize("count", [3, 6000])
def test_recovery_on_a_full_disk(tmp_path: Path, count: int) -> None:
    """What a daemon left is read as it lies where there is no room to put it in order, which can be done later."""
    folder, file = make(tmp_path, 2000 * SIZE)
    for number in range(count):
        file.write(record(number))
    expected = numbers(read_all(folder, file.snapshot()))
    file.close()
    folder.losses.is_full = lambda: True
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    log = folder.recover(KEY)
    assert log is not None
    assert numbers(read_all(folder, log)) == expected
    assert numbers(read_all(folder, replace(log, has_tail_apart=False))) == expected
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    folder.losses.is_full = lambda: False
    log = folder.recover(KEY)
    assert log is not None
    assert numbers(read_all(folder, log)) == expected


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A FIFO where a log was is no log, and nobody waits for somebody to write into it."""
    os.mkfifo(tmp_path / "x.log")
    page = logs.read(LogFolder(tmp_path), LogRecord(path="x.log", size_bytes=100), 0, 10)
    assert (page.items, page.next_cursor) == ((), 0)


def test_recovery_of_what_cannot_be_read(tmp_path: Path) -> None:
    """A log that is none any more, or lies on a disk that fails, keeps no daemon from starting."""
    folder = LogFolder(tmp_path)
    (tmp_path / folder.path_of(KEY)).mkdir(parents=True)
    log = folder.recover(KEY)
    assert log == LogRecord(path=folder.path_of(KEY))
    assert logs.read(folder, log, 0, 10).items == ()
