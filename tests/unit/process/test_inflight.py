"""The memory that outlives the daemon: what was read and not written, and where each stream stood."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from barbossad.process.output import pipes
from barbossad.process.output.inflight import BUFFER_BYTES, HELD_BYTES, SECRETS_BYTES, SLOTS, Inflight, SlotState


@pytest.fixture
def inflight() -> Iterator[Inflight]:
    memory = Inflight.create()
    yield memory
    memory.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def successor(memory: Inflight) -> Inflight:
    """Return what the next daemon finds."""
    return Inflight.reopen(os.dup(memory.fd))


def test_settled_reads_are_forgotten(inflight: Inflight, pipe: tuple[int, int]) -> None:
    """What is in the log is not in flight."""
    os.write(pipe[1], b"hello")
    assert inflight.read(pipe[0], 3, 100, 0) == b"hello"
    inflight.settle(3, SlotState(is_within_line=True, held="é".encode()[:1], masked=b"sec"))
    after = successor(inflight)
    assert after.interrupted is None
    assert after.state(3) == SlotState(is_within_line=True, held=b"\xc3", masked=b"sec")
    after.close()


def test_a_read_that_was_not_written_is_found(inflight: Inflight, pipe: tuple[int, int]) -> None:
    """The bytes, whose they are, and where their records were to begin."""
    os.write(pipe[1], b"hello world")
    inflight.read(pipe[0], 3, 5, 1234)
    after = successor(inflight)
    assert after.interrupted is not None
    assert (after.interrupted.slot, after.interrupted.log_end, after.interrupted.data) == (3, 1234, b"hello")
    after.forget_interrupted()
    last = successor(inflight)
    assert last.interrupted is None
    for memory in (after, last):
        memory.close()


def test_a_read_that_never_happened_is_told_apart(inflight: Inflight) -> None:
    """Killed between the note and the read, the bytes are still in the pipe, and none are in flight."""
    from barbossad.process.output import inflight as module  # noqa: PLC0415

    inflight._map[module._BUFFER_AT : module._BUFFER_AT + 5] = b"\xff" * 5
    module._NOTE.pack_into(inflight._map, 0, 4, 5, 99)
    after = successor(inflight)
    assert after.interrupted is not None
    assert (after.interrupted.slot, after.interrupted.data) == (3, None)
    after.close()


def test_pause_and_end(inflight: Inflight, pipe: tuple[int, int]) -> None:
    """Nothing yet is None, nothing any more is empty, and neither is in flight."""
    assert inflight.read(pipe[0], 0, 100, 0) is None
    os.write(pipe[1], b"x")
    os.close(pipe[1])
    assert inflight.read(pipe[0], 0, 100, 0) == b"x"
    inflight.settle(0, SlotState())
    assert inflight.read(pipe[0], 0, 100, 0) == b""
    after = successor(inflight)
    assert after.interrupted is None
    after.close()


def test_no_more_than_the_buffer(inflight: Inflight, pipe: tuple[int, int]) -> None:
    """A read is as long as was asked for, as there is, and as the buffer."""
    os.write(pipe[1], b"x" * 60_000)
    assert len(inflight.read(pipe[0], 0, 10, 0) or b"") == 10
    assert len(inflight.read(pipe[0], 0, 10 * BUFFER_BYTES, 0) or b"") == 59_990


def test_what_is_held_back_is_kept_whole_or_its_loss_is(inflight: Inflight) -> None:
    """What does not fit is not cut: how much it was is told, and nothing of it is kept."""
    inflight.settle(3, SlotState(held=b"\xc3", masked=b"x" * (HELD_BYTES - 1), starred=7))
    assert inflight.state(3) == SlotState(held=b"\xc3", masked=b"x" * (HELD_BYTES - 1), starred=7)
    inflight.settle(3, SlotState(held=b"\xc3", masked=b"x" * HELD_BYTES))
    assert inflight.state(3) == SlotState(held=b"\xc3", lost_bytes=HELD_BYTES)
    inflight.settle(3, SlotState(is_within_line=True, lost_bytes=0))
    assert inflight.state(3) == SlotState(is_within_line=True, lost_bytes=0)
    inflight.settle(3, SlotState())
    assert inflight.state(3) == SlotState()


def test_secrets_are_kept_until_the_slot_is_free(inflight: Inflight) -> None:
    """The next daemon finds what the attempt was given; of one that is over nothing is left in the memory."""
    secrets = frozenset({"correct horse\nbattery", "p\udcff\xe4ss"})
    slot = inflight.take_slot()
    assert inflight.secrets(slot) is None
    inflight.keep_secrets(slot, secrets)
    inflight.settle(slot, SlotState(masked=b"correct"))
    after = successor(inflight)
    assert after.secrets(slot) == secrets
    after.take_slot(slot)
    after.free_slot(slot)
    assert after.secrets(slot) is None
    assert after._map.find(b"correct") == -1
    after.close()


def test_secrets_that_do_not_fit(inflight: Inflight) -> None:
    """They are not kept, which is known; those that just fit are."""
    slot, other = inflight.take_slot(), inflight.take_slot()
    inflight.keep_secrets(slot, ["x" * SECRETS_BYTES])
    inflight.keep_secrets(other, ["x" * (SECRETS_BYTES - 4)])
    assert inflight.secrets(slot) is None
    assert inflight.secrets(other) == {"x" * (SECRETS_BYTES - 4)}


def test_a_slot_that_nobody_gave_back_is_empty_when_it_is_taken(inflight: Inflight) -> None:
    """A daemon that was killed gave none back."""
    slot = inflight.take_slot()
    inflight.keep_secrets(slot, ["correct horse"])
    inflight.settle(slot, SlotState(is_within_line=True))
    after = successor(inflight)
    assert after.take_slot() == slot
    assert (after.secrets(slot), after.state(slot)) == (None, SlotState())
    after.close()


def test_slots(inflight: Inflight) -> None:
    """Each stream has a slot of its own, an adopted one the one that it had; a slot that is free again is empty."""
    first, second = inflight.take_slot(), inflight.take_slot()
    assert first != second
    inflight.settle(first, SlotState(is_within_line=True))
    inflight.free_slot(first)
    assert inflight.take_slot() == first
    assert inflight.state(first) == SlotState()
    assert inflight.take_slot(77) == 77
    assert 77 not in {inflight.take_slot() for _ in range(100)}


def test_an_adopted_slot_is_given_once(inflight: Inflight) -> None:
    """It was never taken from the free ones; when it is free again, two streams do not get it."""
    inflight.take_slot(2)
    assert [inflight.take_slot() for _ in range(3)] == [0, 1, 3]
    inflight.free_slot(2)
    assert [inflight.take_slot() for _ in range(2)] == [2, 4]


def test_no_slot_is_left(inflight: Inflight) -> None:
    """Each is given once, and then none."""
    inflight.take_slot(SLOTS - 1)
    assert sorted(inflight.take_slot() for _ in range(SLOTS - 1)) == list(range(SLOTS - 1))
    with pytest.raises(OSError, match="no room"):
        inflight.take_slot()


def test_memory_of_another_version_is_not_used() -> None:
    """A file of another size was made by another version: nothing in it is believed."""
    fd = os.memfd_create("other")
    os.ftruncate(fd, 4096)
    memory = Inflight.reopen(fd)
    assert memory.fd != fd or os.fstat(memory.fd).st_size != 4096
    assert memory.interrupted is None
    memory.close()


def test_peeking_leaves_everything(pipe: tuple[int, int]) -> None:
    """What is looked at is still there to be read, and the end of a stream is known without reading it."""
    os.write(pipe[1], b"look" * 3000)
    assert pipes.waiting_bytes(pipe[0]) == 12_000
    assert pipes.peek(pipe[0], 12_000) == b"look" * 3000
    assert pipes.peek(pipe[0], 4) == b"look"
    assert not pipes.is_complete(pipe[0])
    os.close(pipe[1])
    assert pipes.is_complete(pipe[0])
    assert os.read(pipe[0], 12_000) == b"look" * 3000
