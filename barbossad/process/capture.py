"""Capture the output of attempts from their pipes into their logs.

A young attempt's pipes are not even watched: most tasks end at once, and have them read in one go at their end
and their few records kept in memory for the commit that is due anyway. From then on whatever is read is written to
the log's file in the same step, so that nothing is in memory alone. All pipes share one ``Pump``, which
gives a flood no more than a small part of each turn of the loop. Secrets are masked before anything else is done with
what was read; what a mask holds back, because it may be the beginning of one, is in memory until more of it comes.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from barbossad.clock import Clock
from barbossad.model.records import LogRecord
from barbossad.process import cri
from barbossad.process.launcher import AttemptKey, Mask
from barbossad.process.logfile import SMALL_BYTES, LogFile
from barbossad.process.logs import LogFolder
from barbossad.process.pump import Pump

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 65536
_LEAST_CHUNK_BYTES: Final = 4096
YOUNG_SECONDS: Final = 0.1
"""How long an attempt's pipes are left alone."""

DRAIN_SECONDS: Final = 2.0
"""How long the rest of the output is waited for when the attempt is over but something holds its pipe."""

_STEP_BYTES: Final = 128 * 1024
"""About how many bytes of records one read may make: short lines grow twentyfold."""

_STEP_SECONDS: Final = 0.001
"""How long one read may take, about: bytes that are no text, and secrets, make work."""

_PIPE_BYTES: Final = 1024 * 1024
_STOPPED_READING: Final = (
    b" stderr F [barbossad: something that is not part of the task still holds its output; not read on]\n"
)


_EMPTY: Final = LogRecord()


class Pipe:
    """The read end of one stream of one attempt."""

    __slots__ = ("_capture", "_chunk_bytes", "_formatter", "_is_large", "_mask", "fd", "is_watched")

    def __init__(self, fd: int, stream: str, capture: Capture, mask: Mask | None) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.is_watched = False
        self._chunk_bytes = CHUNK_BYTES
        self._is_large = False
        self._capture = capture
        self._formatter = cri.Formatter(stream)
        self._mask = mask

    def read(self) -> bool:
        """Read one chunk into the log, and close the pipe at its end; return whether there is likely more."""
        data = self._take()
        if data is None:
            return False
        begun = time.perf_counter()
        size = self._add(data, is_last=not data)
        if not data:
            self._capture.close_pipe(self)
        if len(data) < self._chunk_bytes // 2:  # a full pipe of 64 KiB may hold half of that: pages are not shared
            return False
        share = min(_STEP_BYTES / max(size, 1), _STEP_SECONDS / (time.perf_counter() - begun))
        self._chunk_bytes = max(_LEAST_CHUNK_BYTES, min(CHUNK_BYTES, int(share * len(data))))
        if not self._is_large:
            self._is_large = True
            with suppress(OSError):  # the user's share of pipe memory may be used up
                fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        return True

    def read_to_end(self) -> None:
        """Read the rest if nobody has the pipe open any more, so that its last line is known to be that."""
        data = self._take()
        while data:
            more = self._take()
            self._add(data, is_last=more == b"")
            if more and len(more) >= self._chunk_bytes // 2:
                self._add(more, is_last=False)
                return  # there is much of it: that is the pump's work
            data = more
        if data is not None:
            self._add(b"", is_last=True)
            self._capture.close_pipe(self)

    def end_line(self) -> None:
        """End a line that the stream left open."""
        self._add(b"", is_last=True)

    def _add(self, data: bytes, *, is_last: bool) -> int:
        """Record a chunk, without the secrets in it; return how many bytes of records it made."""
        if self._mask is not None:
            data = self._mask.feed(data, is_last=is_last)
        return self._capture.add(self._formatter, data, is_last=is_last)

    def _take(self) -> bytes | None:
        """Return what can be read now, empty at the end of the stream, None if there is nothing yet."""
        try:
            return os.read(self.fd, self._chunk_bytes)
        except BlockingIOError:
            return None


class Capture:
    """The output of one attempt: its ``LiveLog``."""

    def __init__(
        self, recorder: Recorder, key: AttemptKey, pipes: Mapping[str, int], make_mask: Callable[[], Mask] | None
    ) -> None:
        self._recorder = recorder
        self._key = key
        self._file: LogFile | None = None
        self._memory: list[bytes] | None = None
        self._lost_bytes = 0
        self._final: LogRecord | None = None
        self._done: Callable[[LogRecord], None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._pipes = [
            Pipe(fd, stream, self, make_mask() if make_mask is not None else None) for stream, fd in pipes.items()
        ]

    # -- for readers ---------------------------------------------------------------------------------------

    def snapshot(self) -> LogRecord:
        """Return where the records stand now, readable by ``logs.read``."""
        if self._final is None and self._file is not None:
            return self._file.snapshot()
        return self._final or LogRecord()

    async def changed(self, size_bytes: int) -> None:
        """Return when the log's end is past the cursor ``size_bytes``, or the attempt has ended."""
        if self._final is None and self._end_cursor() <= size_bytes:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((size_bytes, waiter))
            await waiter

    # -- for the launcher ----------------------------------------------------------------------------------

    def watch(self) -> None:
        """Begin to read while the attempt runs."""
        if self._done is None and self._final is None:
            for pipe in self._pipes:
                self._recorder.pump.watch(pipe)

    def finish(self, done: Callable[[LogRecord], None]) -> None:
        """Read the rest and call ``done`` with the complete log: at once if nothing holds the pipes open."""
        self._done = done
        if self._file is None:
            self._memory = []
        for pipe in tuple(self._pipes):
            pipe.read_to_end()
        if self._pipes:
            for pipe in self._pipes:
                self._recorder.pump.drain(pipe)
            self._deadline = asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._give_up)
        else:
            self._end()

    # -- for its pipes -------------------------------------------------------------------------------------

    def add(self, formatter: cri.Formatter, data: bytes, *, is_last: bool) -> int:
        """Record a chunk of a stream; return how many bytes of records it made."""
        if not data and not formatter.is_open:
            return 0
        stamp = self._recorder.stamps.stamp(self._recorder.clock.now_ns())
        records = formatter.records(data, stamp, is_last=is_last)
        if records:
            self._write(records)
        return len(records)

    def close_pipe(self, pipe: Pipe) -> None:
        """Take note that a stream has ended."""
        self._recorder.pump.close(pipe)
        self._pipes.remove(pipe)
        if not self._pipes and self._deadline is not None:
            self._end()

    def _write(self, records: bytes) -> None:
        if self._memory is not None:
            self._memory.append(records)
            if sum(map(len, self._memory)) <= SMALL_BYTES:
                return
            records = b"".join(self._memory)
            self._memory = None
        if self._file is None:
            folder = self._recorder.folder
            self._file = LogFile(folder.root, folder.path_of(self._key), folder.cap_bytes)
        size = len(records)
        if self._lost_bytes:
            records = self._loss_record() + records
        before = self._file.end_cursor
        try:
            self._file.write(records)
            self._lost_bytes = 0
        except OSError as error:
            lost = min(size, len(records) - (self._file.end_cursor - before))
            if not self._lost_bytes and lost:
                logger.error(  # noqa: TRY400 (a full disk is not a fault of the code)
                    "Output of %s/%s attempt %d is being lost: %s",
                    *self._key,
                    error.strerror,
                    extra={"action": "log_lost", "run_id": self._key.run_id, "task": self._key.task_id},
                )
            self._lost_bytes += lost
        self._wake()

    def _loss_record(self) -> bytes:
        stamp = self._recorder.stamps.stamp(self._recorder.clock.now_ns())
        text = b"%s stderr F [barbossad: %d bytes of log records could not be written here]\n"
        return text % (stamp, self._lost_bytes)

    def _end_cursor(self) -> int:
        return self._file.end_cursor if self._file is not None else 0

    def _give_up(self) -> None:
        for pipe in tuple(self._pipes):
            pipe.end_line()
            self._recorder.pump.close(pipe)
        self._pipes.clear()
        self._write(self._recorder.stamps.stamp(self._recorder.clock.now_ns()) + _STOPPED_READING)
        self._end()

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._lost_bytes:
            self._write(b"")  # the statement of the loss, if there is room again
        if self._memory is not None:
            text = b"".join(self._memory)
            self._final = LogRecord(text=text, size_bytes=len(text)) if text else _EMPTY
        else:
            self._final = self._file.finish() if self._file is not None else LogRecord()
        self._wake()
        assert self._done is not None
        self._done(self._final)

    def _wake(self) -> None:
        if self._waiters:
            end = self._end_cursor()
            waiters, self._waiters = self._waiters, []
            for cursor, waiter in waiters:
                if waiter.done():
                    continue
                if self._final is not None or cursor < end:
                    waiter.set_result(None)
                else:
                    self._waiters.append((cursor, waiter))


class Recorder:
    """What all captures share: the clock, the folder, the pump, and the timer for young attempts."""

    def __init__(self, clock: Clock, folder: LogFolder) -> None:
        self.clock = clock
        self.folder = folder
        self.stamps = cri.Stamps()
        self.pump = Pump()
        self._loop = asyncio.get_running_loop()
        self._young: deque[tuple[float, Capture]] = deque()

    def capture(
        self, key: AttemptKey, pipes: Mapping[str, int], make_mask: Callable[[], Mask] | None = None
    ) -> Capture:
        """Take over the read ends of an attempt's pipes, by stream; ``make_mask`` makes the mask of each."""
        capture = Capture(self, key, pipes, make_mask)
        if not self._young:
            self._loop.call_later(YOUNG_SECONDS, self._grow_up)
        self._young.append((self._loop.time() + YOUNG_SECONDS, capture))
        return capture

    def _grow_up(self) -> None:
        now = self._loop.time()
        while self._young and self._young[0][0] <= now:
            self._young.popleft()[1].watch()
        if self._young:
            self._loop.call_at(self._young[0][0], self._grow_up)
