"""Output at scale: whatever comes is in the log in order, up to the cap, and costs neither memory nor the others."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossad.model.records import LogRecord
from barbossad.process.launcher import Process
from barbossad.process.output import logs
from barbossad.process.output.logs import LogEntry
from tests.helpers.launching import Bench

RECORD = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) [FP] [^\n]*\n")
MEBIBYTE = 1024 * 1024
FLOODS = {
    "one line": "head -c 1G /dev/zero | tr '\\0' x",
    "short lines": "yes | head -c 48M",  # makes 1 GiB of records
    "binary": "head -c 32M /dev/urandom",
    "both streams": "yes out | head -c 24M & yes err | head -c 24M >&2; wait",
}


def peak_kib() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def whole_file(bench: Bench, log: LogRecord) -> bytes:
    assert log.path is not None
    return (bench.folder.root / log.path).read_bytes()


def lines(entries: list[LogEntry], stream: str = "stdout") -> list[str]:
    """Put the lines of a stream together again; the record of a loss cuts them."""
    found, open_line = [], ""
    for entry in entries:
        if entry.stream == stream:
            open_line += entry.text
            if not entry.is_partial:
                found.append(open_line)
                open_line = ""
    return found


def read(bench: Bench, log: LogRecord, cursor: int = 0) -> Iterator[LogEntry]:
    while True:
        page = logs.read(bench.folder, log, cursor, 5000)
        yield from page.items
        if page.next_cursor == cursor:
            return
        cursor = page.next_cursor


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.timeout(900)
@pytest.mark.slow
async def test_floods_cost_no_memory(bench: Bench, kind: str) -> None:
    """A flood grows the daemon by less than 64 MiB, keeps to the cap, and states what it lost between head and tail."""
    await bench.run("yes | head -c 1M")
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    end = await bench.launch(FLOODS[kind]).end(230)
    assert peak_kib() - before < 64 * 1024
    assert end.exit_code == 0
    assert end.log.size_bytes <= bench.folder.cap_bytes
    assert end.log.size_bytes > bench.folder.cap_bytes // 2
    assert end.log.dropped_bytes > 50 * MEBIBYTE
    content = whole_file(bench, end.log)
    assert content.count(b"bytes of log records dropped here") == 1
    assert RECORD.fullmatch(content[: content.index(b"\n") + 1])
    assert RECORD.fullmatch(content[content.rindex(b"\n", 0, -1) + 1 :])
    assert end.log.dropped_at is not None
    assert content[end.log.dropped_at - 1 : end.log.dropped_at] == b"\n"
    stated = content[end.log.dropped_at :].partition(b"\n")[0]
    assert b" stderr F [barbossad: %d bytes of log records dropped here" % end.log.dropped_bytes in stated


async def test_a_line_of_100_mb(bench: Bench) -> None:
    """A single line is cut into pieces of 16 KiB; where nothing is dropped they give it back byte for byte."""
    bench.folder.cap_bytes = 256 * MEBIBYTE
    end = await bench.run("head -c 100M /dev/zero | tr '\\0' x; echo; echo after")
    assert end.log.dropped_bytes == 0
    size, last = 0, ""
    for entry in read(bench, end.log):
        assert len(entry.text) <= 16 * 1024
        if entry.text.startswith("x") or (entry.text == "" and last != "after"):
            size += len(entry.text)
        last = entry.text
    assert (size, last) == (100 * MEBIBYTE, "after")


async def test_a_million_lines(bench: Bench) -> None:
    """A million short lines are all there, once and in order, and each record has the format."""
    bench.folder.cap_bytes = 256 * MEBIBYTE
    end = await bench.run("seq 1000000")
    content = whole_file(bench, end.log)
    assert all(RECORD.fullmatch(line) for line in content[-200_000:].splitlines(keepends=True)[1:])
    texts = lines(list(read(bench, end.log)))
    assert texts == [str(number) for number in range(1, 1_000_001)]


async def test_a_long_log_is_put_in_order_beside_others(bench: Bench) -> None:
    """Whoever else has something to do at the end of a task that printed much has a turn meanwhile."""
    bench.folder.cap_bytes = 32 * MEBIBYTE
    watched = bench.launch("seq 1000000")
    turns = 0
    while not watched.ends:
        await asyncio.sleep(0)
        turns += watched.process.log._step is not None  # type: ignore[attr-defined]
    assert turns >= 6
    end = await watched.end()
    assert end.log.dropped_bytes
    assert whole_file(bench, end.log).endswith(b" stdout F 1000000\n")


async def test_head_and_tail(bench: Bench) -> None:
    """Past the cap the first and the last lines are kept, each half without a gap, and the loss lies between them."""
    bench.folder.cap_bytes = MEBIBYTE
    end = await bench.run("seq 200000")
    entries = list(read(bench, end.log))
    cut = next(number for number, entry in enumerate(entries) if "dropped here" in entry.text)
    head = [int(text) for text in lines(entries[:cut])]
    tail = [int(text) for text in lines(entries[cut + 1 :])[1:]]  # the first may lack its beginning
    assert head == list(range(1, head[-1] + 1))
    assert tail == list(range(tail[0], 200_001))
    assert tail[0] > head[-1] + 1
    assert min(len(head), len(tail)) > 5000
    assert end.log.size_bytes <= MEBIBYTE


async def test_bytes_that_are_no_text(bench: Bench) -> None:
    """Every byte is told: text as it is, anything else as an escape, also where a character is cut by a read."""
    code = (
        "import os, time\n"
        "os.write(1, bytes(range(256)) + b'\\n')\n"
        "for byte in 'ü☠😀'.encode(): os.write(1, bytes([byte])); time.sleep(0.06)\n"
        "os.write(1, b'\\n\\xf0\\x9f\\n\\xc3')\n"
    )
    end = await bench.run(argv=("python3", "-I", "-c", code))
    content = bench.text(end.log).split("\n")
    escapes = "".join(f"\\x{byte:02x}" for byte in range(0x80, 0x100))
    assert content[0] == "\\x00" + bytes(range(1, 10)).decode()
    assert content[1] == bytes(range(11, 128)).decode() + escapes
    assert content[2:] == ["ü☠😀", "\\xf0\\x9f", "\\xc3", ""]


async def test_both_streams_in_order(bench: Bench) -> None:
    """Each stream is complete and in its order, whatever the other does, and lines of one are not cut by the other."""
    bench.folder.cap_bytes = 64 * MEBIBYTE
    end = await bench.run("seq 100000 & seq 100000 | sed 's/^/e/' >&2; wait")
    entries = list(read(bench, end.log))
    assert lines(entries) == [str(number) for number in range(1, 100_001)]
    assert lines(entries, "stderr") == [f"e{number}" for number in range(1, 100_001)]


async def test_follow_from_any_offset(bench: Bench) -> None:
    """Who follows from any cursor gets whole records from there to the end, past the growth and the drop of a tail."""
    bench.folder.cap_bytes = MEBIBYTE
    watched = bench.launch("seq 100000; sleep 0.3; seq 100001 160000; echo that is all")
    await watched.start()
    seen = await _follow(bench, watched.process, 0)
    log = (await watched.end()).log
    texts = lines(seen)
    assert (texts[0], texts[-1]) == ("1", "that is all")
    if all("dropped here" not in entry.text for entry in seen):
        assert texts[:-1] == [str(number) for number in range(1, 160_001)]
    whole = [entry.text for entry in read(bench, log)]
    for cursor in (1, 777, log.size_bytes // 3, log.end_cursor - 5000, log.end_cursor - 1, log.end_cursor):
        rest = [entry.text for entry in read(bench, log, cursor)]
        assert rest == whole[len(whole) - len(rest) :]
        assert (len(rest) > 0) == (cursor < log.end_cursor - 60)


async def _follow(bench: Bench, process: Process, cursor: int) -> list[LogEntry]:
    """Read what there is, wait for more, and so on until the last line has come."""
    seen: list[LogEntry] = []
    while not "".join(entry.text for entry in seen[-2:]).endswith("that is all"):
        await process.log.changed(cursor)
        page = logs.read(bench.folder, process.log.snapshot(), cursor, 5000)
        seen += page.items
        cursor = page.next_cursor
    return seen
