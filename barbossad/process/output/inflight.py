"""Memory that outlives the daemon: what it had taken from a pipe and not yet written to a log when it was killed.

To take bytes from a pipe and to write them down are two steps, and a SIGKILL between them would lose the bytes, or
repeat them if they were only looked at first. So they are read straight into a memory file that systemd keeps open for
us, with a note of whose they are and where its log ended. Whoever comes next finds them there: one read is in flight
at a time, for all reading is done on the event loop. Beside it each stream has a *slot* for what its formatter holds
back (half a character, the beginning of what may be a secret) and whether its last line is open. One of an attempt's
two slots has the secrets that it was given, so that the next daemon masks these and not those of its own day.

Layout: the note, the buffer, the slots; in a slot its state, what is held back, and in its second half the secrets.
A page that was never touched costs nothing.
"""

from __future__ import annotations

import heapq
import json
import mmap
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from barbossad.process.output import pipes

BUFFER_BYTES: Final = 65536
SLOT_BYTES: Final = 65536
SLOTS: Final = 16384
NAME: Final = "barbossad-inflight"
"""Of the memory file among the descriptors that systemd keeps."""

_NOTE: Final = struct.Struct("<IIQ")  # slot + 1 (0: nothing is in flight), size, where the log ended
_SLOT: Final = struct.Struct("<??III")
"""Whether a line is open, whether something was lost; how many bytes the formatter holds back, the mask holds back or
has lost, and of these have their stars.
"""

_SECRETS: Final = struct.Struct("<I")  # bytes of secrets, 0: none are here
_HELD_AT: Final = _SLOT.size + _SECRETS.size
_SECRETS_AT: Final = SLOT_BYTES // 2
HELD_BYTES: Final = _SECRETS_AT - _HELD_AT
"""What fits of what a stream holds back."""

SECRETS_BYTES: Final = SLOT_BYTES - _SECRETS_AT
"""What fits of the secrets of an attempt, as JSON."""

_BUFFER_AT: Final = 4096
_SLOTS_AT: Final = _BUFFER_AT + BUFFER_BYTES
_SIZE: Final = _SLOTS_AT + SLOTS * SLOT_BYTES
_UNREAD: Final = 0xFF
"""Fills the buffer before a read: no text has this byte, so what is still there was never read."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A read that was in flight when the daemon was killed; ``data`` is None if it had not happened yet."""

    slot: int
    log_end: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class SlotState:
    """Where the formatter of a stream stood."""

    is_within_line: bool = False
    held: bytes = b""
    """Of a character that is not complete."""

    masked: bytes = b""
    """What the mask holds back: it may be the beginning of a secret."""

    starred: int = 0
    """How many bytes of that belong to a secret whose stars have been given already."""

    lost_bytes: int | None = None
    """How much of what the mask held back did not fit here, if that is so: what follows it cannot be masked."""


class Inflight:
    """The memory file, mapped."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, _SIZE)
        self._free = list(range(SLOTS))
        self._taken: set[int] = set()
        """What is taken may still be among the free, which are a heap: an adopted slot is not sought there."""

        self.interrupted = self._find_interrupted()
        """What an earlier daemon left in flight, if anything."""

    @classmethod
    def create(cls) -> Inflight:
        """Make an empty one."""
        fd = os.memfd_create("barbossad-inflight", os.MFD_CLOEXEC)
        os.ftruncate(fd, _SIZE)
        return cls(fd)

    @classmethod
    def reopen(cls, fd: int) -> Inflight:
        """Map what an earlier daemon made; start anew if that has another size (it was of another version)."""
        if os.fstat(fd).st_size == _SIZE:
            return cls(fd)
        os.close(fd)
        return cls.create()

    def take_slot(self, number: int | None = None) -> int:
        """Return a free slot, or the one that an adopted stream has. Raise OSError if none is free."""
        if number is None:
            number = self._lowest_free()
            self.wipe(number)
        self._taken.add(number)
        return number

    def _lowest_free(self) -> int:
        """Return the lowest free slot, so that few pages are ever touched. Raise OSError if there is none."""
        while self._free:
            number = heapq.heappop(self._free)
            if number not in self._taken:
                return number
        raise OSError("no room for another stream of output")

    def free_slot(self, number: int) -> None:
        """Give a slot back."""
        self.wipe(number)
        self._taken.discard(number)
        heapq.heappush(self._free, number)

    def state(self, slot: int) -> SlotState:
        """Return where the formatter of a stream stood at its last settled read."""
        at = _SLOTS_AT + slot * SLOT_BYTES
        is_within_line, is_lost, held, masked, starred = _SLOT.unpack_from(self._map, at)
        at += _HELD_AT
        return SlotState(
            is_within_line=is_within_line,
            held=bytes(self._map[at : at + held]),
            masked=b"" if is_lost else bytes(self._map[at + held : at + held + masked]),
            starred=starred,
            lost_bytes=masked if is_lost else None,
        )

    def keep_secrets(self, slot: int, secrets: Collection[str]) -> None:
        """Keep the secrets of an attempt, until the slot is free; more than fit are not kept."""
        kept = json.dumps(sorted(secrets)).encode()
        if len(kept) <= SECRETS_BYTES:
            at = _SLOTS_AT + slot * SLOT_BYTES
            self._map[at + _SECRETS_AT : at + _SECRETS_AT + len(kept)] = kept
            _SECRETS.pack_into(self._map, at + _SLOT.size, len(kept))

    def secrets(self, slot: int) -> frozenset[str] | None:
        """Return the secrets that are kept in a slot, None if none are."""
        at = _SLOTS_AT + slot * SLOT_BYTES
        (size,) = _SECRETS.unpack_from(self._map, at + _SLOT.size)
        return frozenset(json.loads(self._map[at + _SECRETS_AT : at + _SECRETS_AT + size])) if size else None

    def wipe(self, slot: int) -> None:
        """Leave nothing of a stream in its slot."""
        self._put(slot, SlotState())
        at = _SLOTS_AT + slot * SLOT_BYTES
        (size,) = _SECRETS.unpack_from(self._map, at + _SLOT.size)
        if size:
            self._map[at + _SECRETS_AT : at + _SECRETS_AT + size] = bytes(size)
            _SECRETS.pack_into(self._map, at + _SLOT.size, 0)

    def read(self, fd: int, slot: int, size: int, log_end: int) -> bytes | None:
        """Read what is in a pipe, at most ``size`` bytes; empty at its end, None if there is nothing yet.

        The bytes are in flight until ``settle``; ``log_end`` is the cursor at which their records will begin. (A read
        that was nothing but bytes 0xFF is taken for one that had not happened; no text has them.)
        """
        size = min(size, pipes.waiting_bytes(fd), BUFFER_BYTES)
        if not size:
            return b"" if pipes.is_complete(fd) and not pipes.waiting_bytes(fd) else None
        self._map[_BUFFER_AT : _BUFFER_AT + size] = b"\xff" * size
        _NOTE.pack_into(self._map, 0, slot + 1, size, log_end)
        with memoryview(self._map) as view, view[_BUFFER_AT : _BUFFER_AT + size] as place:
            got = os.readv(fd, [place])
            if got == size:
                return bytes(place)
            _NOTE.pack_into(self._map, 0, slot + 1, got, log_end)
            return bytes(place[:got])

    def settle(self, slot: int, state: SlotState) -> None:
        """Note that what was in flight is in the log, and where the stream's formatter stands now."""
        self._put(slot, state)
        _NOTE.pack_into(self._map, 0, 0, 0, 0)

    def _put(self, slot: int, state: SlotState) -> None:
        """Write down where a stream stands, over what stood there."""
        at = _SLOTS_AT + slot * SLOT_BYTES
        _, is_lost, *sizes, _ = _SLOT.unpack_from(self._map, at)
        before = sizes[0] if is_lost else sum(sizes)
        kept, lost = state.held + state.masked, state.lost_bytes
        if len(kept) > HELD_BYTES:
            kept, lost = state.held, len(state.masked)
        size = len(state.held)
        masked = len(kept) - size if lost is None else lost
        _SLOT.pack_into(self._map, at, state.is_within_line, lost is not None, size, masked, state.starred)
        if kept or before:
            self._map[at + _HELD_AT : at + _HELD_AT + max(len(kept), before)] = kept.ljust(before, b"\0")

    def forget_interrupted(self) -> None:
        """Take note that what an earlier daemon left in flight has been dealt with, or concerns nobody."""
        self.interrupted = None
        _NOTE.pack_into(self._map, 0, 0, 0, 0)

    def close(self) -> None:
        """Unmap and close it; what systemd keeps stays."""
        self._map.close()
        os.close(self.fd)

    def _find_interrupted(self) -> Interrupted | None:
        slot, size, log_end = _NOTE.unpack_from(self._map, 0)
        if not slot:
            return None
        data = bytes(self._map[_BUFFER_AT : _BUFFER_AT + size])
        return Interrupted(slot - 1, log_end, None if data.count(_UNREAD) == size else data)
