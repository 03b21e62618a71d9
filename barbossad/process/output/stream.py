"""One stream of one attempt, from its pipe into records: masked, formatted, and safe from a SIGKILL where it can be."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from typing import Final, Protocol

from barbossad import crashpoints
from barbossad.process.launcher import Mask
from barbossad.process.output import blackout, cri, pipes
from barbossad.process.output.blackout import Blackout
from barbossad.process.output.inflight import Inflight, SlotState
from barbossad.process.output.logfile import SMALL_BYTES

CHUNK_BYTES: Final = 65536
_LEAST_CHUNK_BYTES: Final = 4096
_STEP_BYTES: Final = 128 * 1024
"""About how many bytes of records one read may make: short lines grow twentyfold."""

_STEP_SECONDS: Final = 0.001
"""How long one read may take, about: bytes that are no text, and secrets, make work."""

_PIPE_BYTES: Final = 1024 * 1024


class Sink(Protocol):
    """Where records go."""

    @property
    def end_cursor(self) -> int:
        """Where the next record will begin."""

    def add(self, formatter: cri.Formatter, data: bytes, *, is_last: bool) -> int:
        """Record a chunk of a stream; return how many bytes of records it made."""

    def close_pipe(self, pipe: Pipe) -> None:
        """Take note that a stream has ended."""


class Pipe:
    """The read end of one stream of one attempt."""

    __slots__ = (
        "_capture",
        "_chunk_bytes",
        "_formatter",
        "_inflight",
        "_is_large",
        "_late",
        "_lost_bytes",
        "_mask",
        "fd",
        "is_sealed",
        "is_watched",
        "slot",
        "stream",
    )

    def __init__(
        self, fd: int, stream: str, capture: Sink, *, mask: Mask | None, inflight: Inflight | None, slot: int | None
    ) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.stream = stream
        self.is_watched = False
        self.is_sealed = False
        """Whether nobody writes to it any more: systemd keeps its own copy open, so no end is seen."""

        self.slot = slot
        self._inflight = inflight if slot is not None else None
        self._chunk_bytes = CHUNK_BYTES
        self._is_large = False
        self._capture = capture
        self._formatter = cri.Formatter(stream)
        self._mask = mask
        self._late = b""
        """What an earlier daemon's mask held back and this one's does not, and is still to be recorded."""

        self._lost_bytes: int | None = None
        """See ``SlotState``; what follows is blacked out."""

    def restore(self, state: SlotState) -> None:
        """Go on where an earlier daemon's formatter of this stream stood."""
        self._formatter.restore(is_within_line=state.is_within_line, held=state.held)
        if state.lost_bytes is not None:
            self._mask, self._lost_bytes = Blackout(), 0
            self._late = blackout.text(state.lost_bytes)
        elif self._mask is not None:
            self._late = self._mask.resume(state.masked, state.starred)

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
            return self.is_sealed and bool(data)  # nothing would wake us for the rest
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

    def peek_records(self, stamp: bytes) -> bytes | None:
        """Return the records of all that the stream still holds, and leave it there; None if that is not small.

        Nobody writes to it any more.
        """
        waiting = pipes.waiting_bytes(self.fd)
        is_begun = self._formatter.is_open or self._late or (self._mask is not None and self._mask.held)
        if waiting > SMALL_BYTES or is_begun:
            return None
        data = pipes.peek(self.fd, waiting) if waiting else b""
        if self._mask is not None:
            data = self._mask.feed(data, is_last=True)
        return cri.Formatter(self.stream).records(data, stamp, is_last=True)

    def end_line(self) -> None:
        """End a line that the stream left open."""
        self._add(b"", is_last=True)

    def _add(self, data: bytes, *, is_last: bool) -> int:
        """Record a chunk, without the secrets in it; return how many bytes of records it made."""
        if self._mask is not None:
            data, self._late = self._late + self._mask.feed(data, is_last=is_last), b""
        size = self._capture.add(self._formatter, data, is_last=is_last)
        if self._inflight is not None:
            assert self.slot is not None
            crashpoints.reach("chunk-written")
            self._inflight.settle(self.slot, self._state())
        return size

    def _state(self) -> SlotState:
        return SlotState(
            is_within_line=self._formatter.is_within_line,
            held=self._formatter.held,
            masked=self._mask.held if self._mask is not None else b"",
            starred=self._mask.starred if self._mask is not None else 0,
            lost_bytes=self._lost_bytes,
        )

    def go_on(self, interrupted: bytes) -> None:
        """Record what an earlier daemon had read when it was killed."""
        self._add(interrupted, is_last=False)

    def _take(self) -> bytes | None:
        """Return what can be read now, empty at the end of the stream, None if there is nothing yet."""
        if self._inflight is not None:
            assert self.slot is not None
            data = self._inflight.read(self.fd, self.slot, self._chunk_bytes, self._capture.end_cursor)
            crashpoints.reach("chunk-taken")
            return b"" if data is None and self.is_sealed else data
        try:
            return os.read(self.fd, self._chunk_bytes)
        except BlockingIOError:
            return None
