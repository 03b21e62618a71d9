"""A stream goes on where an earlier daemon stood: what its mask held back is neither lost nor told."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from barbossad.process.launcher import Mask
from barbossad.process.output import cri
from barbossad.process.output.inflight import HELD_BYTES, Inflight
from barbossad.process.output.stream import Pipe
from barbossad.security.masking import Masking

SECRET = "".join(chr(97 + number * 7 % 26) + str(number) for number in range(1500))
STAMP = b"2026-01-31T02:00:00.123456789Z"


class Log:
    """Keeps records as a log does."""

    end_cursor = 0

    def __init__(self) -> None:
        self.records = b""

    def add(self, formatter: cri.Formatter, data: bytes, *, is_last: bool) -> int:
        records = formatter.records(data, STAMP, is_last=is_last)
        self.records += records
        return len(records)

    def close_pipe(self, pipe: Pipe) -> None:
        """Take no note."""

    @property
    def text(self) -> str:
        return b"".join(
            text + (b"" if kind == b"P" else b"\n")
            for _, _, kind, text in (line.split(b" ", 3) for line in self.records.splitlines())
        ).decode()


class Stream:
    """A pipe to write to, of which one daemon after another reads."""

    def __init__(self, memory: Inflight) -> None:
        self._memory = memory
        self._ends = os.pipe2(os.O_CLOEXEC)
        self.log = Log()
        self._slot = memory.take_slot()
        self.pipe: Pipe

    def daemon(self, mask: Mask | None) -> Pipe:
        """Have a new daemon read it."""
        self.pipe = Pipe(self._ends[0], "stdout", self.log, mask=mask, inflight=self._memory, slot=self._slot)
        self.pipe.restore(self._memory.state(self._slot))
        return self.pipe

    def print(self, text: str) -> None:
        """Write, and have it read."""
        os.write(self._ends[1], text.encode())
        self.pipe.read()

    def close(self) -> None:
        for end in self._ends:
            os.close(end)


@pytest.fixture
def stream() -> Iterator[Stream]:
    memory = Inflight.create()
    made = Stream(memory)
    yield made
    made.close()
    memory.close()


@pytest.mark.parametrize("printed", [10, 4090, 4500, 5500])
def test_a_secret_that_is_half_printed_at_a_restart(stream: Stream, printed: int) -> None:
    """However long it is, the next daemon knows its beginning."""
    text = SECRET * 2
    masking = Masking([text])
    stream.daemon(masking.mask())
    stream.print(f"begin {text[:printed]}")
    stream.daemon(masking.mask())
    stream.print(f"{text[printed:]}\nend\n")
    assert stream.log.text == "begin ***\nend\n"


def test_stars_that_were_given_are_not_forgotten(stream: Stream) -> None:
    """The end of a secret may be the beginning of another, and is masked with either."""
    masking = Masking(["abcdefgh", "efghijkl"])
    stream.daemon(masking.mask())
    stream.print("-abcdefgh")
    stream.daemon(masking.mask())
    stream.print("-\n")
    assert stream.log.text == "-***-\n"


def test_what_another_mask_does_not_hold_back_is_recorded(stream: Stream) -> None:
    """Nothing is lost where the mask of the next daemon knows other forms."""
    stream.daemon(Masking(["correct horse"]).mask())
    stream.print("start correct")
    stream.daemon(Masking(["trombone"]).mask())
    stream.print(" ly\n")
    assert stream.log.text == "start correct ly\n"


def test_what_cannot_be_kept_is_not_cut(stream: Stream) -> None:
    """Where the beginning of a secret is too long to be kept, what follows is not recorded, and that is."""
    secret = "x1" * HELD_BYTES
    size = HELD_BYTES + 10
    masking = Masking([secret])
    stream.daemon(masking.mask())
    stream.print("begin ")
    stream.print(secret[:size])
    for printed in ("more", "and more"):
        stream.daemon(masking.mask())
        stream.print(printed)
    why = "bytes not recorded: what of it is secret is not known any more]"
    assert stream.log.text == f"begin [barbossad: {size} {why}\n[barbossad: 4 {why}\n[barbossad: 8 {why}\n"


def test_what_is_held_back_is_not_only_looked_at(stream: Stream) -> None:
    """A stream of which something is held back is read to its end: what was looked at would be masked without it."""
    masking = Masking(["correct horse"])
    stream.daemon(masking.mask())
    stream.print("corre")
    os.write(stream._ends[1], b"ct horse\n")
    assert stream.pipe.peek_records(STAMP) is None
    stream.pipe.read()
    assert stream.log.text == "***\n"
