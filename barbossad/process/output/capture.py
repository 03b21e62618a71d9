"""Capture the output of attempts from their pipes into their logs.

A young attempt's pipes are not even watched: most tasks end at once, and have them read in one go at their end
and their few records kept in memory for the commit that is due anyway. From then on whatever is read is written to
the log's file in the same step, so that nothing is in memory alone. All pipes share one ``Pump``, which
gives a flood no more than a small part of each turn of the loop. Secrets are masked before anything else is done with
what was read; what a mask holds back, because it may be the beginning of one, is in memory until more of it comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from barbossad.clock import Clock
from barbossad.model.records import LogRecord, changed
from barbossad.process import shortage
from barbossad.process.launcher import AttemptKey, Mask
from barbossad.process.output import cri, logfile
from barbossad.process.output.inflight import Inflight
from barbossad.process.output.logfile import SMALL_BYTES, LogFile
from barbossad.process.output.logs import LogFolder
from barbossad.process.output.pump import Pump
from barbossad.process.output.stream import Pipe

logger = logging.getLogger(__name__)

YOUNG_SECONDS: Final = 0.1
"""How long an attempt's pipes are left alone."""

DRAIN_SECONDS: Final = 2.0
"""How long the rest of the output is waited for when the attempt is over but something holds its pipe."""

LEFT_BYTES: Final = 2 * 1024 * 1024
"""What both pipes hold at most when the attempt is over: so much is read however long that takes."""

_STOPPED_READING: Final = (
    b" stderr F [barbossad: something that is not part of the task still holds its output; not read on]\n"
)


_EMPTY: Final = LogRecord()


class Capture:
    """The output of one attempt: its ``LiveLog``."""

    def __init__(
        self,
        recorder: Recorder,
        key: AttemptKey,
        pipes: Mapping[str, int],
        make_mask: Callable[[], Mask] | None,
        slots: Mapping[str, int],
    ) -> None:
        self._recorder = recorder
        self._key = key
        self._file: LogFile | None = None
        self._memory: list[bytes] | None = None
        self._head = b""
        """The first records, kept here while the disk has taken none."""

        self._lost_bytes = 0
        self._final: LogRecord | None = None
        self._done: Callable[[LogRecord], None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._step: asyncio.Handle | None = None
        """The next one of putting the log in order, at the end."""

        self._is_draining = False
        self._drained_bytes = 0
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._pipes: list[Pipe] = []
        self.take(pipes, make_mask, slots)

    def take(
        self, pipes: Mapping[str, int], make_mask: Callable[[], Mask] | None, slots: Mapping[str, int] | None = None
    ) -> None:
        """Take over the read ends of an attempt's pipes."""
        self._is_recoverable = bool(slots)
        self._pipes += [
            Pipe(
                fd,
                stream,
                self,
                mask=make_mask() if make_mask is not None else None,
                inflight=self._recorder.inflight,
                slot=slots.get(stream) if slots else None,
            )
            for stream, fd in pipes.items()
        ]

    # -- for readers ---------------------------------------------------------------------------------------

    def snapshot(self) -> LogRecord:
        """Return where the records stand now, readable by ``logs.read``."""
        if self._final is None and self._file is not None:
            return self._file.snapshot()
        return self._final or LogRecord()

    async def changed(self, size_bytes: int) -> None:
        """Return when the log's end is past the cursor ``size_bytes``, or the attempt has ended."""
        if self._final is None and self.end_cursor <= size_bytes:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = size_bytes
            try:
                await waiter
            finally:  # of a silent task nothing else would ever take it out
                del self._waiters[waiter]

    # -- for the launcher ----------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the attempt has ended: there is nothing to watch any more."""
        return self._done is not None or self._final is not None

    def watch(self) -> None:
        """Begin to read while the attempt runs."""
        if not self.is_over:
            for pipe in self._pipes:
                self._recorder.pump.watch(pipe)

    def finish(self, done: Callable[[LogRecord], None]) -> None:
        """Read the rest and call ``done`` with the complete log: at once if nothing holds the pipes open."""
        self._done = done
        if self._is_recoverable:
            for pipe in self._pipes:
                pipe.is_sealed = True
            try:
                text = self._peek() if self._file is None else None
            except OSError as error:
                if not shortage.is_one(error):
                    raise
                shortage.again(self.finish, done)
                return
            if text is not None:
                self._memory = [text]
                for pipe in tuple(self._pipes):
                    self.close_pipe(pipe)
        else:
            if self._file is None:
                self._memory = []
            for pipe in tuple(self._pipes):
                pipe.read_to_end()
        if not self._pipes:
            self._end()
            return
        self._is_draining = True
        for pipe in self._pipes:
            self._recorder.pump.drain(pipe)
        if not self._is_recoverable:
            self._deadline = asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._give_up, 0)

    def resume(self) -> None:
        """Go on with the log of an earlier daemon: finish the read in which it was killed, then read as it did."""
        folder, inflight = self._recorder.folder, self._recorder.inflight
        assert inflight is not None
        interrupted = inflight.interrupted
        ours = next((pipe for pipe in self._pipes if interrupted and pipe.slot == interrupted.slot), None)
        end = interrupted.log_end if interrupted and ours else None
        with suppress(FileNotFoundError):
            self._file = LogFile.reopen(folder.root, folder.path_of(self._key), folder.cap_bytes, end)
        for pipe in self._pipes:
            assert pipe.slot is not None
            pipe.restore(inflight.state(pipe.slot))
        if interrupted is not None and ours is not None:
            if interrupted.data:
                ours.go_on(interrupted.data)
            inflight.forget_interrupted()
        for pipe in self._pipes:
            self._recorder.pump.watch(pipe)

    def leave(self) -> None:
        """Read no more, and leave everything as it is for the next daemon."""
        for pipe in self._pipes:
            self._recorder.pump.close(pipe)
        self._pipes.clear()
        if self._step is not None:
            self._step.cancel()
        if self._file is not None and self._final is None:
            self._file.close()

    # -- for its pipes -------------------------------------------------------------------------------------

    def add(self, formatter: cri.Formatter, data: bytes, *, is_last: bool) -> int:
        """Record a chunk of a stream; return how many bytes of records it made."""
        if not data and not formatter.is_open:
            return 0
        if self._is_draining:
            self._drained_bytes += len(data)
        stamp = self._recorder.stamps.stamp(self._recorder.clock.now_ns())
        records = formatter.records(data, stamp, is_last=is_last)
        if records:
            self._write(records)
        return len(records)

    def close_pipe(self, pipe: Pipe) -> None:
        """Take note that a stream has ended."""
        self._recorder.pump.close(pipe)
        self._pipes.remove(pipe)
        if not self._pipes and self._is_draining:
            self._end()

    def _write(self, records: bytes, *, is_end: bool = False) -> None:
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
        pending = self._head + (self._loss_record() if self._lost_bytes else b"") + records
        before = self._file.end_cursor
        losses = self._recorder.folder.losses
        try:
            if not (is_end and before):  # the statement of a loss, of some bytes, is let through
                losses.check()
            self._file.write(pending)
            if self._head or self._lost_bytes:
                self._head, self._lost_bytes = b"", 0
                losses.end(self._key)
        except OSError as error:
            lost = min(size, len(pending) - (self._file.end_cursor - before))
            if not self._file.end_cursor and not self._head and not self._lost_bytes:
                self._head = records[: records.rfind(b"\n", 0, SMALL_BYTES) + 1]
                lost -= len(self._head)
            elif self._file.end_cursor:
                self._head = b""
            if not self._lost_bytes and (lost or self._head):
                logger.error(  # noqa: TRY400 (a full disk is not a fault of the code)
                    "Output of %s/%s attempt %d is being lost: %s",
                    *self._key,
                    error.strerror,
                    extra={"action": "log_lost", "run_id": self._key.run_id, "task": self._key.task_id},
                )
                losses.begin(self._key, error)
            self._lost_bytes += lost
        self._wake()

    def _loss_record(self) -> bytes:
        stamp = self._recorder.stamps.stamp(self._recorder.clock.now_ns())
        return b"%s stderr F %s\n" % (stamp, logfile.lost_text(self._lost_bytes).encode())

    @property
    def end_cursor(self) -> int:
        """Return the cursor behind the last record that is on its way to the disk."""
        return self._file.end_cursor if self._file is not None else 0

    def _peek(self) -> bytes | None:
        """Return the whole log if it is small and nobody adds to it; the pipes keep it until it is in the store."""
        stamp = self._recorder.stamps.stamp(self._recorder.clock.now_ns())
        found = [pipe.peek_records(stamp) for pipe in self._pipes]
        text = b"".join(records for records in found if records is not None)
        return text if None not in found and len(text) <= SMALL_BYTES else None

    def _give_up(self, drained_before: int) -> None:
        """Read no more where nothing has come of late, or more than the task itself can have left."""
        if drained_before < self._drained_bytes <= LEFT_BYTES:
            again = self._drained_bytes
            self._deadline = asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._give_up, again)
            return
        for pipe in tuple(self._pipes):
            pipe.end_line()
            self._recorder.pump.close(pipe)
        self._pipes.clear()
        self._write(self._recorder.stamps.stamp(self._recorder.clock.now_ns()) + _STOPPED_READING)
        self._end()

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        losses = self._recorder.folder.losses
        if self._lost_bytes or self._head:
            self._write(b"", is_end=True)  # the statement of the loss, if there is room again
            losses.end(self._key)
        if self._memory is not None:
            text = b"".join(self._memory)
            self._finished(LogRecord(text=text, size_bytes=len(text)) if text else _EMPTY)
        elif self._file is not None:
            self._put_in_order(self._file.finishing(losses.check))
        else:
            self._finished(LogRecord())

    def _put_in_order(self, steps: logfile.Steps) -> None:
        """Take one step, and the next in a later turn of the loop: a long log takes a second altogether."""
        try:
            next(steps)
        except StopIteration as end:
            self._step = None
            self._finished(self._stating_loss(end.value))
        else:
            self._step = asyncio.get_running_loop().call_soon(self._put_in_order, steps)

    def _finished(self, record: LogRecord) -> None:
        self._final = record
        self._wake()
        done, self._done = self._done, None  # whoever waited holds this: together they would wait for the collector
        assert done is not None
        done(self._final)

    def _stating_loss(self, record: LogRecord) -> LogRecord:
        """Return the record of a log whose last part the disk did not take: that is stated where the store has it."""
        missing = self._head + (self._loss_record() if self._lost_bytes else b"")
        if not missing:
            return record
        if not record.size_bytes or record.text is not None:
            text = (record.text or b"") + missing
            return changed(record, text=text, size_bytes=len(text), path=record.path if record.size_bytes else None)
        if record.dropped_bytes or record.has_tail_apart:  # another loss is stated, in its middle, or will be there
            return record
        return changed(record, dropped_at=record.size_bytes, dropped_bytes=self._lost_bytes)

    def _wake(self) -> None:
        if self._waiters:
            end = self.end_cursor
            for waiter, cursor in self._waiters.items():
                if (self._final is not None or cursor < end) and not waiter.done():
                    waiter.set_result(None)


class Recorder:
    """What all captures share: the clock, the folder, the pump, and the timer for young attempts."""

    def __init__(self, clock: Clock, folder: LogFolder, inflight: Inflight | None = None) -> None:
        self.clock = clock
        self.folder = folder
        self.inflight = inflight
        """Where reads are kept that a SIGKILL interrupts; None: the tasks die with the daemon anyway."""

        self.stamps = cri.Stamps()
        self.pump = Pump()
        self._loop = asyncio.get_running_loop()
        self._young: deque[tuple[float, Capture]] = deque()

    def capture(
        self,
        key: AttemptKey,
        pipes: Mapping[str, int],
        make_mask: Callable[[], Mask] | None = None,
        slots: Mapping[str, int] | None = None,
    ) -> Capture:
        """Take over the read ends of an attempt's pipes, by stream; ``make_mask`` makes the mask of each.

        ``slots`` are those of the streams in ``inflight``, if they have them.
        """
        capture = Capture(self, key, pipes, make_mask, slots or {})
        self.bring_up(capture)
        return capture

    def bring_up(self, capture: Capture) -> None:
        """Have a capture's pipes watched when it is not young any more."""
        if not self._young:
            self._loop.call_later(YOUNG_SECONDS, self._grow_up)
        self._young.append((self._loop.time() + YOUNG_SECONDS, capture))

    def adopt(
        self,
        key: AttemptKey,
        pipes: Mapping[str, int],
        make_mask: Callable[[], Mask] | None,
        slots: Mapping[str, int],
    ) -> Capture:
        """Take over the pipes that an earlier daemon read, and go on with its log."""
        capture = Capture(self, key, pipes, make_mask, slots)
        capture.resume()
        return capture

    def _grow_up(self) -> None:
        now = self._loop.time()
        while self._young and (self._young[0][0] <= now or self._young[0][1].is_over):
            self._young.popleft()[1].watch()
        if self._young:
            self._loop.call_at(self._young[0][0], self._grow_up)
