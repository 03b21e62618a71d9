"""What entries of the journal say of the start of a program."""

from __future__ import annotations

import json

import pytest

from barbossad.process.systemd.unit_journal import Start, read

FAILED = {"MESSAGE_ID": "641257651c1b4ec9a8624d7a40a9e1e7", "ERRNO": "13"}
EXITED = {"MESSAGE_ID": "98e322203f7a4ed290d09fe03c09fe15", "EXIT_STATUS": "203"}


def lines(*entries: object) -> bytes:
    """Return entries as journalctl prints them."""
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def test_what_entries_say() -> None:
    """A failure that is told is one; an exit without it is the program's own; nothing says nothing."""
    assert read(lines(FAILED, EXITED)) == Start(was_executed=False, error_number=13)
    assert read(lines({**FAILED, "ERRNO": None}, EXITED)) == Start(was_executed=False)
    assert read(lines(EXITED)) == Start(was_executed=True)
    assert read(b"") is None


@pytest.mark.parametrize("text", [b"no json", b"[]", b"\xff"])
def test_what_is_no_entry(text: bytes) -> None:
    """What cannot be read is a fault of its own, not an answer."""
    with pytest.raises(ValueError, match=r"Expecting value|no entries|decode"):
        read(text)
