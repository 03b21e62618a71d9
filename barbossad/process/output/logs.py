"""The folder of logs, and one way to read a log wherever it is: in the store, in its file, or still growing."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from barbossad.model.names import plain_task_id, run_number
from barbossad.model.records import LogRecord
from barbossad.process.launcher import OUTPUT_LIMIT, AttemptKey
from barbossad.process.output import logfile
from barbossad.process.output.losses import Losses

logger = logging.getLogger(__name__)

READ_BYTES: Final = 1024 * 1024
"""How much of a log one call of ``read`` looks at."""

_LAST_BYTES: Final = 64 * 1024
_LAST_DAY_MS: Final = 253_402_300_799_000  # 9999-12-31T23:59:59Z
_RECORD: Final = re.compile(rb"(\S{20,40}) (stdout|stderr) ([FP]) (.*)", re.DOTALL)
_STDOUT: Final = re.compile(rb"(?:\S{20,40} stderr [FP] .*\n)*+(?:\S{20,40} stdout ([FP]) )?(.*\n)?")
"""Finds what is not of stderr, one record after the other, in bytes that begin with one; what is damaged is text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One record. ``is_partial``: the line goes on in the next record of its stream."""

    at: str
    stream: str
    text: str
    is_partial: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Some records. An empty page is the end only if ``next_cursor`` has not moved."""

    items: tuple[LogEntry, ...]
    next_cursor: int


@dataclass(slots=True)
class LogFolder:
    """Where logs are kept; ``cap_bytes`` is how much of one attempt's.

    An attempt's file is ``YYYY-MM-DD/<run>-<task>-<attempt>.log``; the day is that on which its run was made, so
    that the path follows from the attempt.
    """

    root: Path
    cap_bytes: int = 10 * 1024 * 1024
    losses: Losses = field(default_factory=Losses)

    def path_of(self, key: AttemptKey) -> str:
        """Return the path of an attempt's file, relative to the folder."""
        made = datetime.fromtimestamp(min(run_number(key.run_id), _LAST_DAY_MS) / 1000, UTC)
        return f"{made:%Y-%m-%d}/{key.run_id}-{plain_task_id(key.task_id)}-{key.number}.log"

    def discard(self, record: LogRecord) -> None:
        """Remove the file of a log whose text is now in the store.

        Call it after the commit. Again is harmless, and so is a crash in between, or a disk that does not let it go:
        the text is what is read, the file goes with its run.
        """
        if record.text is None or record.path is None:
            return
        try:
            (self.root / record.path).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("The file of the log %s stays until its run is deleted: %s", record.path, error.strerror,
                           extra={"action": "log_stays"})  # fmt: skip

    def recover(self, key: AttemptKey) -> LogRecord | None:
        """Put in order and return the log that an attempt left when its daemon died; None if it has no file.

        On a full disk it stays as it is, and can be read so; of one that cannot even be looked at no more is known than
        where it is.
        """
        path = self.path_of(key)
        try:
            return self._recovered(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            logfile.tell_of_parts(path, error)
            return LogRecord(path=path)

    def _recovered(self, path: str) -> LogRecord:
        file = self.root / path
        file.stat()
        try:
            self.losses.check()
            logfile.complete_last_record(file)
            if logfile.tail_folder(file).exists():
                return logfile.join_segments(self.root, path)
        except OSError as error:
            logfile.tell_of_parts(path, error)
            return logfile.record_in_parts(self.root, path)
        return logfile.ended_record(self.root, path)


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of cursors and where its bytes are. A gap has one record for the whole stretch."""

    start: int
    end: int
    source: Path | bytes
    offset: int = 0
    is_gap: bool = False

    def read(self, position: int, size: int) -> bytes:
        start = self.offset + position - self.start
        size = min(size, self.end - position)
        if isinstance(self.source, bytes):
            return self.source[start : start + size]
        file = os.open(self.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):  # a FIFO, say, for whose writer one would wait
                raise FileNotFoundError(errno.ENOENT, "no log any more", str(self.source))
            return os.pread(file, size, start)
        finally:
            os.close(file)


def read(folder: LogFolder, record: LogRecord, cursor: int, limit: int, stream: str | None = None) -> LogPage:
    """Return at most ``limit`` records from ``cursor`` on, of one stream or both; blocking, reads 1 MiB at most.

    A cursor is 0 or the ``next_cursor`` of an earlier page, of the live log as well as of the ended one; any other
    number is moved on to the next record. The record that states a loss is given whatever the stream, and tells
    what was lost behind the cursor.
    """
    items: list[LogEntry] = []
    position = max(0, min(cursor, record.end_cursor))
    budget = READ_BYTES
    try:
        for part in _parts(folder, record):
            if part.end <= position:
                continue
            if part.is_gap and isinstance(part.source, bytes):
                items.append(_loss(part.source, part.end - part.start, part.end - position))
                position = part.end
            else:
                position, taken = _take(part, position, budget, items, limit, stream)
                budget -= taken
            if position < part.end or len(items) >= limit or budget <= 0:
                break
    except FileNotFoundError:
        pass  # the log was put in order or has dropped a segment since the record was made: the next call sees it
    return LogPage(items=tuple(items), next_cursor=position)


def stdout_of(folder: LogFolder, record: LogRecord, limit: int = OUTPUT_LIMIT) -> str:
    """Return what an attempt that has ended printed to its stdout, without the newlines at its end.

    No more is read than ``limit`` characters and 1 MiB of records beyond, so that too much can be told from enough.
    """
    pieces: list[str] = []
    size = 0
    for records in _in_order(folder, record):
        found = (line[:-1] if flag == b"P" else line for flag, line in _STDOUT.findall(records))
        pieces.append(b"".join(found).decode("utf-8", "backslashreplace"))
        size += len(pieces[-1])
        if size > limit:
            break
    return "".join(pieces).rstrip("\n")


def _in_order(folder: LogFolder, record: LogRecord) -> Iterator[bytes]:
    """Yield all records, some at a time; of one that states a loss the text alone, which belongs to both streams."""
    with contextlib.suppress(FileNotFoundError):
        for part in _parts(folder, record):
            position = part.start
            if part.is_gap and isinstance(part.source, bytes):
                yield _entry(part.source).text.encode() + b"\n"
                continue
            while data := part.read(position, READ_BYTES):
                yield data[: data.rfind(b"\n") + 1]
                position += data.rfind(b"\n") + 1 or len(data)


def last(folder: LogFolder, record: LogRecord, count: int) -> tuple[LogEntry, ...]:
    """Return the last records, at most ``count`` and those of the last 64 KiB."""
    page = read(folder, record, max(0, record.end_cursor - _LAST_BYTES), _LAST_BYTES)
    return page.items[-count:]


def _parts(folder: LogFolder, record: LogRecord) -> list[_Part]:
    """Return where the records are, in order."""
    if record.text is not None:
        source: Path | bytes = record.text
    elif record.path is not None:
        source = folder.root / record.path
    else:
        return []
    if record.dropped_at is None:
        return [_Part(0, record.size_bytes, source)]
    head = _Part(0, record.dropped_at, source)
    if isinstance(source, Path) and (record.has_tail_apart or logfile.tail_folder(source).exists()):
        return [head, *_segment_parts(source, record)]
    if not record.dropped_bytes:
        return [_Part(0, record.size_bytes, source)]
    kept_from = record.dropped_at + record.dropped_bytes
    line = _Part(0, record.end_cursor, source).read(record.dropped_at, 1024).partition(b"\n")[0]
    if not line:  # the disk did not take even the statement
        line = logfile.lost_text(record.dropped_bytes).encode()
    after = record.dropped_at + len(line) + 1
    return [
        head,
        _Part(record.dropped_at, kept_from, line, is_gap=True),
        _Part(kept_from, record.end_cursor, source, after),
    ]


def _segment_parts(source: Path, record: LogRecord) -> list[_Part]:
    tail = logfile.tail_folder(source)
    names = os.listdir(tail)  # noqa: PTH208 (one system call, so one moment)
    if not any(name.startswith(logfile.HEAD) for name in names):
        raise FileNotFoundError(tail)  # it is being removed
    starts = sorted(int(name) for name in names if name.isdigit())
    ends = [*starts[1:], max(record.end_cursor, starts[-1])]
    parts = [_Part(start, end, tail / str(start)) for start, end in zip(starts, ends, strict=True)]
    head_bytes = record.dropped_at or 0
    if starts[0] > head_bytes:
        line = logfile.statement(parts[0].read(starts[0], 64), starts[0] - head_bytes).rstrip(b"\n")
        parts.insert(0, _Part(head_bytes, starts[0], line, is_gap=True))
    return parts


def _take(  # noqa: PLR0917 (one step of read, cut out to be read apart)
    part: _Part, position: int, budget: int, items: list[LogEntry], limit: int, stream: str | None
) -> tuple[int, int]:
    """Add records of a part from ``position`` on; return the position behind them and how much was read."""
    is_inside = position > part.start
    data = part.read(position - is_inside, budget + is_inside)
    start = 0
    if is_inside:  # whoever sent the cursor may have made it up
        start = data.find(b"\n") + 1 or len(data)
        position -= 1
    begin = start
    while len(items) < limit and (newline := data.find(b"\n", start)) >= 0:
        entry = _entry(data[start:newline])
        start = newline + 1
        if stream is None or entry.stream == stream:
            items.append(entry)
    if start == begin and len(items) < limit and len(data) >= budget:
        start = len(data)  # no record is as long as this: damaged
    return position + start, len(data)


def _loss(line: bytes, lost_bytes: int, missed_bytes: int) -> LogEntry:
    """Return the record that states a loss; to who has read a part of what is lost it tells the rest."""
    entry = _entry(line)
    for text in (logfile.dropped_text, logfile.lost_text):
        entry = replace(entry, text=entry.text.replace(text(lost_bytes), text(missed_bytes)))
    return entry


def _entry(line: bytes) -> LogEntry:
    found = _RECORD.fullmatch(line)
    if found is None:  # damaged, or cut off by a crash
        return LogEntry(at="", stream="stdout", text=line.decode("utf-8", "backslashreplace"), is_partial=False)
    at, stream, flag, text = found.groups()
    return LogEntry(
        at=at.decode(),
        stream=stream.decode(),
        text=text.decode("utf-8", "backslashreplace"),
        is_partial=flag == b"P",
    )
