r"""The log format of the container runtime interface: ``<RFC 3339 time> <stream> F|P <text>``, a line a record.

``F`` ends a line of the task's output, ``P`` is a piece of one that goes on in the next record of the same
stream. A last line without an end has a ``P`` without text before its ``F``: so who joins pieces sees it whole, and who
wants the output as it was knows. Text is UTF-8; bytes that are not, and NUL, stand as ``\xNN``.
"""

from __future__ import annotations

import codecs
import time
from typing import Final

PIECE_BYTES: Final = 16 * 1024
"""The longest text of one record."""

STREAMS: Final = ("stdout", "stderr")


_MIDDLES: Final = {stream: (f" {stream} F ".encode(), f" {stream} P ".encode()) for stream in STREAMS}


class Stamps:
    """RFC 3339 stamps with nanoseconds; the part down to the second is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._prefix = b""

    def stamp(self, at_ns: int) -> bytes:
        """Return ``2026-01-31T02:00:00.123456789Z``."""
        second, rest = divmod(at_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
        return b"%s%09dZ" % (self._prefix, rest)


class Formatter:
    """Turn the bytes of one stream, in whatever pieces they come, into records."""

    def __init__(self, stream: str) -> None:
        self._full, self._piece = _MIDDLES[stream]
        self.held = b""  # at most 3 bytes: a character of which the rest has not come yet
        self.is_within_line = False

    @property
    def is_open(self) -> bool:
        """Whether something is left to be recorded at the end: an unfinished line or character."""
        return self.is_within_line or bool(self.held)

    def restore(self, *, is_within_line: bool, held: bytes) -> None:
        """Go on where another formatter of the same stream stood."""
        self.is_within_line, self.held = is_within_line, held

    def records(self, data: bytes, stamp: bytes, *, is_last: bool = False) -> bytes:
        """Return the records of ``data``; with ``is_last`` a line that has no end is ended, and marked as such."""
        if self.held or not data.isascii() or b"\0" in data:
            data = self._as_text(self.held + data, is_last=is_last)
        if not data:
            return self._end(stamp) if is_last else b""
        full = stamp + self._full
        if _has_long_line(data):
            data, full_lines = self._cut(data, stamp)
        else:
            full_lines = b""
        lines, newline, rest = data.rpartition(b"\n")
        parts = [full_lines]
        if newline:
            parts += (full, lines.replace(b"\n", b"\n" + full), b"\n")
            self.is_within_line = False
        if rest and not is_last:
            parts += (stamp + self._piece, rest, b"\n")
            self.is_within_line = True
        elif is_last:
            parts.append(self._end(stamp, rest))
        return b"".join(parts)

    def _end(self, stamp: bytes, rest: bytes = b"") -> bytes:
        """Return the records that end an unfinished line with what is left of it."""
        if not (rest or self.is_within_line):
            return b""
        self.is_within_line = False
        return b"%s%s\n%s%s%s\n" % (stamp, self._piece, stamp, self._full, rest)

    def _as_text(self, data: bytes, *, is_last: bool) -> bytes:
        """Return valid UTF-8 without NUL; hold back a character that is cut off at the end."""
        decoder = _DECODER("backslashreplace")
        text = decoder.decode(data, final=is_last)
        self.held = decoder.getstate()[0]
        return text.replace("\0", "\\x00").encode()

    def _cut(self, data: bytes, stamp: bytes) -> tuple[bytes, bytes]:
        """Return what follows the last line that is too long, and the records of all before it."""
        full, piece = stamp + self._full, stamp + self._piece
        records: list[bytes] = []
        start = 0
        while len(data) - start > PIECE_BYTES:
            newline = data.find(b"\n", start, start + PIECE_BYTES + 1)
            if newline >= 0:
                records += (full, data[start : newline + 1])
                start = newline + 1
                continue
            end = start + PIECE_BYTES
            while data[end] & 0xC0 == 0x80:
                end -= 1
            records += (piece, data[start:end], b"\n")
            self.is_within_line = True
            start = end
        return data[start:], b"".join(records)


_DECODER: Final = codecs.getincrementaldecoder("utf-8")


def _has_long_line(data: bytes) -> bool:
    start = 0
    while len(data) - start > PIECE_BYTES:
        newline = data.rfind(b"\n", start, start + PIECE_BYTES + 1)
        if newline < 0:
            return True
        start = newline + 1
    return False
