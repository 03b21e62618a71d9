"""Write one attempt's log: a file, and past half the cap segments of which the oldest are dropped.

A log's file is joined by a folder ``….tail`` when it has reached half the cap. The folder holds the *segments*, files
named by the cursor of their first byte, of which the oldest is dropped when together they exceed the other half, and
an empty file ``head-<size of the file>``. At the end the segments are appended to the file, behind a record
that states the loss; then ``head-…`` is removed first, so that a crash at any point leaves what can be told
apart and finished.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

from barbossad.model.records import LogRecord

logger = logging.getLogger(__name__)

SMALL_BYTES: Final = 8 * 1024
"""A log that is no longer goes into the store."""

HEAD: Final = "head-"

Steps = Generator[None, None, LogRecord]
"""What is done a little at a time, and ends with a log's record."""

_SEGMENTS: Final = 4
_PIECE_BYTES: Final = 2 * 1024 * 1024
"""How much of a segment is copied in a step."""

_OPEN_TRIES: Final = 3
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def tail_folder(file: Path) -> Path:
    """Return where the segments of a log are while it grows."""
    return file.with_suffix(".tail")


def dropped_text(dropped_bytes: int) -> str:
    """Return the text of the record that states a loss."""
    return f"[barbossad: {dropped_bytes} bytes of log records dropped here, the cap is reached]"


def lost_text(lost_bytes: int) -> str:
    """Return the text of the record that states what the disk did not take."""
    return f"[barbossad: {lost_bytes} bytes of log records could not be written here]"


class LogFile:
    """The growing log of one attempt; takes whole records, each write is on its way to the disk on return."""

    def __init__(self, root: Path, path: str, cap_bytes: int) -> None:
        self._root = root
        self._path = path
        self._half = cap_bytes // 2
        self._fd = -1
        self._head_bytes = 0
        self._segments: deque[int] = deque()
        self._segment_fd = -1
        self._end = 0
        self._final: LogRecord | None = None
        self._is_left = False
        """Whether it is an earlier daemon's, and was not gone on with yet, cut off at ``_left_end``."""

        self._left_end: int | None = None

    @classmethod
    def reopen(cls, root: Path, path: str, cap_bytes: int, end: int | None) -> LogFile:
        """Go on with a log that a daemon left in the middle; with ``end``, cut off what it wrote behind that cursor.

        Without, a record that was not written whole is ended where it stops. A disk that takes neither is asked again
        with each write. Raise FileNotFoundError if there is no log.
        """
        self = cls(root, path, cap_bytes)
        self._is_left, self._left_end = True, end
        try:
            self._go_on()
        except FileNotFoundError:
            raise
        except OSError as error:
            logger.error("The log %s cannot be gone on with: %s", path, error.strerror,  # noqa: TRY400 (a sentence)
                         extra={"action": "log_left"})  # fmt: skip
            with contextlib.suppress(OSError):
                self._stand()
        return self

    def _go_on(self) -> None:
        """Take up what a daemon left. Raise OSError if the disk does not take that; then it may be called again."""
        end, file = self._left_end, self._root / self._path
        file.stat()  # it is not made here
        tail = tail_folder(file)
        heads, starts = _parts_of(tail)
        if not heads and tail.exists():  # the segments had been joined: only the removal was missing
            shutil.rmtree(tail)
            starts = []
        elif end is None:
            complete_last_record(file)
        try:
            self._fd = _open(file)
            size = os.fstat(self._fd).st_size
            while end is not None and starts and end <= starts[-1]:
                (tail / str(starts.pop())).unlink()
            if starts:
                self._head_bytes = heads[0]
                self._segment_fd = os.open(tail / str(starts[-1]), _FLAGS, 0o640)
                size = os.fstat(self._segment_fd).st_size
                self._end = starts[-1] + _cut(self._segment_fd, size, None if end is None else end - starts[-1])
            else:
                self._head_bytes = self._end = _cut(self._fd, size, end)
                shutil.rmtree(tail, ignore_errors=True)
        except OSError:
            self.close()
            raise
        self._segments = deque(starts)
        self._is_left = False

    def _stand(self) -> None:
        """Take in how far a log goes that cannot be written. Raise OSError."""
        end, file = self._left_end, self._root / self._path
        heads, starts = _parts_of(tail_folder(file))
        self._segments = deque(start for start in starts if heads and (end is None or start < end))
        start = self._segments[-1] if self._segments else 0
        size = start + (tail_folder(file) / str(start) if self._segments else file).stat().st_size
        self._end = size if end is None else min(size, end)
        self._head_bytes = heads[0] if self._segments else self._end

    @property
    def end_cursor(self) -> int:
        """Return the cursor behind the last record."""
        return self._end

    def snapshot(self) -> LogRecord:
        """Return the log as it stands."""
        if self._final is not None:
            return self._final
        if self._fd < 0 and not self._end:
            return LogRecord()
        dropped = self._segments[0] - self._head_bytes if self._segments else 0
        return LogRecord(
            path=self._path,
            size_bytes=self._end - dropped,
            dropped_bytes=dropped,
            dropped_at=self._head_bytes if self._segments else None,
            has_tail_apart=bool(self._segments),
        )

    def write(self, records: bytes) -> None:
        """Append records. Raise OSError when the disk does not take them; what was written whole stays."""
        if self._is_left:
            self._go_on()
        if self._fd < 0:
            self._fd = _open(self._root / self._path)
            self._head_bytes = self._end = os.fstat(self._fd).st_size
        if not self._segments:
            room = self._half - self._head_bytes
            cut = len(records) if len(records) <= room else records.rfind(b"\n", 0, max(room, 0)) + 1
            if cut:
                self._append(self._fd, records[:cut], self._head_bytes)
                self._head_bytes = self._end
                records = records[cut:]
        while records:
            records = self._write_segment(records)

    def finish(self, check: Callable[[], None] = lambda: None) -> LogRecord:
        """Close the log and return its record; a small one comes with its text.

        ``check`` raises OSError if nothing more may be written: the segments stay apart then.
        """
        return _at_once(self.finishing(check))

    def finishing(self, check: Callable[[], None]) -> Steps:
        """Do that in steps, each of which takes some milliseconds; dropped in between they may be taken again."""
        if self._final is None:
            self._final = yield from self._finished(check)
        return self._final

    def _finished(self, check: Callable[[], None]) -> Steps:
        if self._is_left:
            with contextlib.suppress(OSError):
                self._go_on()
        record = self.snapshot()
        if self._fd < 0:
            return record
        self.close()
        try:
            if self._segments:
                check()
                return (yield from _joining(self._root, self._path))
            return ended_record(self._root, self._path)
        except OSError as error:  # the disk is full: all is where it was, and can be read there
            tell_of_parts(self._path, error)
            return record

    def close(self) -> None:
        """Close the files and leave them as they are."""
        for fd in (self._fd, self._segment_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._segment_fd = -1

    def _write_segment(self, records: bytes) -> bytes:
        """Write as many records as fit into the last segment, at least one; return the others."""
        size = self._half // _SEGMENTS
        if not self._segments or self._end - self._segments[-1] >= size:
            self._begin_segment()
        room = size - (self._end - self._segments[-1])
        cut = len(records) if len(records) <= room else records.rfind(b"\n", 0, room) + 1
        if cut == 0:
            cut = records.find(b"\n") + 1
        self._append(self._segment_fd, records[:cut], self._end - self._segments[-1])
        return records[cut:]

    def _begin_segment(self) -> None:
        tail = tail_folder(self._root / self._path)
        head = tail / f"{HEAD}{self._head_bytes}"
        try:
            if not self._segments:
                tail.mkdir()
                head.touch()
            fd = os.open(tail / str(self._end), _FLAGS, 0o640)
        except OSError:
            if not self._segments:  # the next try may find the head longer; nothing here needs a descriptor
                with contextlib.suppress(OSError):
                    head.unlink(missing_ok=True)
                    tail.rmdir()
            raise
        if self._segment_fd >= 0:
            os.close(self._segment_fd)
        self._segment_fd = fd
        self._segments.append(self._end)
        while len(self._segments) > 1 and self._end - self._segments[0] > self._half - self._half // _SEGMENTS:
            (tail / str(self._segments.popleft())).unlink()

    def _append(self, fd: int, records: bytes, size: int) -> None:
        """Append to a file that has ``size`` bytes, wholly or not at all."""
        view = memoryview(records)
        try:
            while view:
                view = view[os.write(fd, view) :]
        except OSError:
            os.ftruncate(fd, size)
            raise
        self._end += len(records)


def _parts_of(tail: Path) -> tuple[list[int], list[int]]:
    """Return how long the head is, if that is said, and where the segments begin, in order; blank where none are."""
    names = os.listdir(tail) if tail.exists() else []  # noqa: PTH208 (one system call, so one moment)
    heads = [int(name[len(HEAD) :]) for name in names if name.startswith(HEAD)]
    return heads, sorted(int(name) for name in names if name.isdigit())


def _cut(fd: int, size: int, end: int | None) -> int:
    """Cut a file off at ``end``, if that is not behind its end; return how long it is then."""
    if end is None or end >= size:
        return size
    os.ftruncate(fd, end)
    return end


def _open(file: Path) -> int:
    for _ in range(_OPEN_TRIES):
        try:
            return os.open(file, _FLAGS, 0o640)
        except FileNotFoundError:
            # Retention may remove the folder of a day, empty as it is, before the file is in it.
            file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    return os.open(file, _FLAGS, 0o640)


def ended_record(root: Path, path: str) -> LogRecord:
    """Return the record of a log that is one file from which nothing was dropped."""
    file = root / path
    size = file.stat().st_size
    text = file.read_bytes() if size <= SMALL_BYTES else None
    return LogRecord(text=text, path=path, size_bytes=size)


def complete_last_record(file: Path) -> None:
    """End the record in the writing of which a daemon died."""
    tail = tail_folder(file)
    segments = [int(entry.name) for entry in tail.iterdir() if entry.name.isdigit()] if tail.exists() else []
    last = tail / str(max(segments)) if segments else file
    with last.open("r+b", buffering=0) as opened:
        size = opened.seek(0, os.SEEK_END)
        if size and os.pread(opened.fileno(), 1, size - 1) != b"\n":
            opened.write(b"\n")


def tell_of_parts(path: str, error: OSError) -> None:
    """Say that a log is not put in order."""
    logger.error("The log %s stays in parts: %s", path, error.strerror, extra={"action": "log_not_joined"})


def record_in_parts(root: Path, path: str) -> LogRecord:
    """Return the record of a log whose segments, if it has any, stay where they are."""
    tail = tail_folder(root / path)
    heads, starts = _parts_of(tail)
    if not heads or not starts:
        return ended_record(root, path)
    dropped = starts[0] - heads[0]
    end = starts[-1] + (tail / str(starts[-1])).stat().st_size
    return LogRecord(
        path=path, size_bytes=end - dropped, dropped_bytes=dropped, dropped_at=heads[0], has_tail_apart=True
    )


def join_segments(root: Path, path: str) -> LogRecord:
    """Append the segments to the file; may be done again after a crash at any point."""
    return _at_once(_joining(root, path))


def _at_once(steps: Steps) -> LogRecord:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            record: LogRecord = end.value
            return record


def _joining(root: Path, path: str) -> Steps:
    file = root / path
    tail = tail_folder(file)
    names = [entry.name for entry in tail.iterdir()]
    head_bytes = next((int(name[len(HEAD) :]) for name in names if name.startswith(HEAD)), None)
    if head_bytes is None:  # it was done, but for the removal
        shutil.rmtree(tail)
        return ended_record(root, path)
    starts = sorted(int(name) for name in names if name.isdigit())
    dropped = starts[0] - head_bytes if starts else 0
    end = yield from _copy(file, [tail / str(start) for start in starts], head_bytes, dropped)
    (tail / f"{HEAD}{head_bytes}").unlink()
    shutil.rmtree(tail)
    return LogRecord(path=path, size_bytes=end, dropped_bytes=dropped, dropped_at=head_bytes if dropped else None)


def _copy(file: Path, segments: list[Path], head_bytes: int, dropped: int) -> Generator[None, None, int]:
    """Put segments behind the first ``head_bytes`` of a file; return how many bytes of records it has then."""
    with file.open("r+b", buffering=0) as target:
        target.truncate(head_bytes)
        target.seek(head_bytes)
        size = head_bytes
        for segment in segments:
            with segment.open("rb", buffering=0) as source:
                if segment is segments[0] and dropped:
                    target.write(statement(source.read(64), dropped))
                    source.seek(0)
                while count := os.sendfile(target.fileno(), source.fileno(), None, _PIECE_BYTES):
                    size += count
                    yield
    return size


def statement(first_kept: bytes, dropped_bytes: int) -> bytes:
    """Return the record of a loss, with the time of the first record that was kept after it."""
    return b"%s stderr F %s\n" % (first_kept.partition(b" ")[0], dropped_text(dropped_bytes).encode())
