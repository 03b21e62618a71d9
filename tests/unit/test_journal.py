"""Records reach journald whole, whatever is in them and however long they are, or the sender is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossad import journal
from barbossad.journal import Journal, encode
from tests.helpers.journal import Listener, decode


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "socket"))
    yield made
    made.close()


@pytest.fixture
def sender(listener: Listener) -> Iterator[Journal]:
    made = Journal(listener.path)
    yield made
    made.close()


def test_encoding() -> None:
    """A value with a newline has its length in front, any other an equals sign (the protocol's own example)."""
    assert encode({"PRIORITY": "3"}) == b"PRIORITY=3\n"
    assert encode({"MESSAGE": "foo\nbar"}) == b"MESSAGE\n\x07\x00\x00\x00\x00\x00\x00\x00foo\nbar\n"
    assert decode(encode({"A": "x=y", "B": "", "C": "\n", "D": "ü\n☠"})) == {
        "A": "x=y",
        "B": "",
        "C": "\n",
        "D": "ü\n☠",
    }
    assert encode({"A": "\udcff"}) == b"A=\\udcff\n"


def test_a_datagram_each(listener: Listener, sender: Journal) -> None:
    """Records arrive in order, each for itself."""
    for number in range(5):
        sender.send({"MESSAGE": str(number)})
    assert [record["MESSAGE"] for record in listener.records()] == ["0", "1", "2", "3", "4"]
    assert listener.files == 0


def test_large_records_go_as_files(listener: Listener, sender: Journal) -> None:
    """A record that no datagram holds arrives as a sealed file; the next one is a datagram again."""
    large = "x" * 5_000_000
    sender.send({"MESSAGE": large, "PRIORITY": "6"})
    sender.send({"MESSAGE": "small"})
    first, second = listener.records()
    assert (first, second["MESSAGE"]) == ({"MESSAGE": large, "PRIORITY": "6"}, "small")
    assert listener.files == 1


def test_nobody_there(listener: Listener, sender: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a listener the sender is told, and goes on being told for a moment before it is tried again."""
    now = time.monotonic()
    monkeypatch.setattr(journal.time, "monotonic", lambda: now)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        sender.send({"MESSAGE": "one"})
    back = Listener(listener.path)
    with pytest.raises(BlockingIOError):
        sender.send({"MESSAGE": "two"})
    monkeypatch.setattr(journal.time, "monotonic", lambda: now + journal.RETRY_SECONDS)
    sender.send({"MESSAGE": "three"})
    assert [record["MESSAGE"] for record in back.records()] == ["three"]
    back.close()


def test_journald_that_hangs(listener: Listener, sender: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that nobody empties holds the sender up for a moment once, not for ever and not for each record."""
    begun = time.monotonic()
    refused = 0
    for _ in range(2000):
        try:
            sender.send({"MESSAGE": "x"})
        except BlockingIOError:
            refused += 1
    assert refused > 0
    assert time.monotonic() - begun < 5
    assert len(listener.records()) == 2000 - refused


def test_journald_that_goes_on_hanging(listener: Listener, sender: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for once, and tried now and then without a wait after that."""
    with pytest.raises(BlockingIOError):
        while True:
            sender.send({"MESSAGE": "x"})
    monkeypatch.setattr(journal, "RETRY_SECONDS", 0.0)
    sender._retry_at = time.monotonic()
    begun = time.monotonic()
    for _ in range(50):
        with pytest.raises(BlockingIOError):
            sender.send({"MESSAGE": "x"})
    assert time.monotonic() - begun < 5
    listener.records()
    sender.send({"MESSAGE": "x"})
    assert len(listener.records()) == 1
