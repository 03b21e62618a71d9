"""One record, one line, whatever is in it."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossad import log as logs
from barbossad.journal import Journal
from tests.helpers.journal import Listener


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of the test's own."""
    made = logging.getLogger("tests.log")
    made.setLevel(logging.DEBUG)
    made.propagate = False
    yield made
    made.handlers.clear()


def line(*, for_journal: bool = False, **facts: object) -> str:
    """Return the line of a record."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "run %s ended", ("r1",), None)
    record.created, record.msecs = 1_769_860_800.25, 250.0
    vars(record).update(facts)
    return logs.Formatter(for_journal=for_journal).format(record)


def test_console() -> None:
    """For people: when, how severe, the sentence and its facts; facts that are not known are left out."""
    assert line() == "2026-01-31T12:00:00.250Z info     run r1 ended"
    assert line(action="run_finished", run_id="r1", task=None).endswith("run r1 ended action=run_finished run_id=r1")


@pytest.mark.parametrize(
    ("level", "priority"), [("DEBUG", 7), ("INFO", 6), ("WARNING", 4), ("ERROR", 3), ("CRITICAL", 2), (35, 4), (5, 7)]
)
def test_journal(level: str | int, priority: int) -> None:
    """For journald: the priority of syslog in front, and no time, for it has its own."""
    number = level if isinstance(level, int) else logging.getLevelName(level)
    assert line(for_journal=True, levelno=number) == f"<{priority}>run r1 ended"


@pytest.mark.parametrize(
    "hostile",
    ["a\nERROR forged", "\r", "\x1b[2J", "\x9b31m", "\0", "\x7f", "\u2028x", "\u2029", "\u202egpj.exe", "\x85"],
)
@pytest.mark.parametrize("for_journal", [True, False])
def test_no_forged_lines(hostile: str, for_journal: bool) -> None:
    """Nothing that is logged ends a line, steers a terminal or turns the direction of writing."""
    for said in (
        line(for_journal=for_journal, msg=hostile.replace("%", ""), args=()),
        line(for_journal=for_journal, task=hostile),
    ):
        assert len(said.splitlines()) == 1
        assert not any(character in said for character in hostile if not character.isprintable())


def test_escape_is_readable() -> None:
    """What is escaped can be read, and other text is left alone."""
    assert logs.one_line("a\tb\x1b\u202e ☠ ä") == "a\\x09b\\x1b\\u202e ☠ ä"


def test_traceback_is_in_the_line(logger: logging.Logger) -> None:
    """A traceback is part of its record's line."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logs.Formatter(for_journal=True))
    logger.addHandler(handler)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logger.exception("it failed", extra={"action": "failed"})
    (said,) = out.getvalue().splitlines()
    assert said.startswith("<3>it failed | Traceback")
    assert "ValueError: first | second action=failed" in said


class Pipe:
    """Where a handler writes, and what arrived there."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)

    def lines(self) -> list[str]:
        try:
            return os.read(self._read, 1 << 16).decode().splitlines()
        except BlockingIOError:
            return []

    def close(self) -> None:
        os.close(self._read)
        os.close(self.write)


@pytest.fixture
def pipe(logger: logging.Logger) -> Iterator[Pipe]:
    """The other end of the logger."""
    made = Pipe()
    handler = logs.BatchHandler(made.write)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    yield made
    made.close()


def test_without_a_loop_lines_go_out_at_once(logger: logging.Logger, pipe: Pipe) -> None:
    """Where no event loop runs nothing is kept back."""
    logger.info("one")
    assert pipe.lines() == ["one"]
    logger.debug("two")
    assert pipe.lines() == ["two"]


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines wait for no more than the next turn of the loop."""
    monkeypatch.setattr(logs, "KEEP_SECONDS", 0)


async def turns() -> None:
    """Let the loop call what is due."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("no_wait")
async def test_lines_of_a_moment_go_out_together(logger: logging.Logger, pipe: Pipe) -> None:
    """For a moment lines are kept, in order; a warning brings all of them out at once."""
    logger.info("one")
    logger.info("two")
    assert pipe.lines() == []
    await turns()
    assert pipe.lines() == ["one", "two"]
    logger.info("three")
    logger.warning("four")
    assert pipe.lines() == ["three", "four"]
    await turns()
    assert pipe.lines() == []


async def test_what_is_kept_has_a_bound(logger: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before lines become many they go out."""
    monkeypatch.setattr(logs, "MOST_KEPT", 3)
    for number in range(4):
        logger.info("%d", number)
    assert pipe.lines() == ["0", "1", "2"]
    logging.shutdown([weakref.ref(logger.handlers[0])])
    assert pipe.lines() == ["3"], "the end of the program keeps nothing back either"


async def test_one_bad_record_costs_no_other(
    logger: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that cannot be said is reported as logging does; its neighbours are said."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger.info("one")
    logger.info("%d", "no number")
    logger.warning("two")
    assert pipe.lines() == ["one", "two"]


@pytest.mark.usefixtures("no_wait")
async def test_threads_lose_no_lines(logger: logging.Logger, pipe: Pipe) -> None:
    """Lines of other threads and of the loop all come out."""

    def talk(name: str) -> None:
        for number in range(200):
            logger.info("%s%d", name, number)

    threads = [threading.Thread(target=talk, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    heard: list[str] = []
    for number in range(200):
        logger.info("loop%d", number)
        await asyncio.sleep(0)
        heard += pipe.lines()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await turns()
    heard += pipe.lines()
    assert sorted(heard) == sorted(f"{name}{number}" for name in ("a", "b", "loop") for number in range(200))


def test_nobody_listens(logger: logging.Logger) -> None:
    """Where nobody takes the lines any more, logging goes on without an error."""
    made = Pipe()
    handler = logs.BatchHandler(made.write)
    logger.addHandler(handler)
    made.close()
    logger.error("into the void")


_TALK = """
import logging, os, sys
from barbossad import journal, log
if sys.argv[1] == "journal":
    journal.SOCKET_PATH = sys.argv[2]
    found = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
log.set_up("info")
logging.getLogger("barbossad.x").info("heard", extra={"action": "x"})
logging.getLogger("barbossad.x").debug("not heard")
logging.getLogger("asyncio").info("not heard")
log.set_level("debug")
logging.getLogger("barbossad.x").debug("heard too")
"""


def talk(kind: str, socket_path: str) -> list[str]:
    environment = {**os.environ, "JOURNAL_STREAM": "1:1"}
    command = [sys.executable, "-c", _TALK, kind, socket_path]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=True)
    assert said.stdout == ""
    return said.stderr.splitlines()


@pytest.mark.parametrize("kind", ["journal", "console"])
def test_set_up(kind: str) -> None:
    """Lines go to standard error: with priorities where that is journald's stream, with times elsewhere."""
    first, second = talk(kind, "/no/such/socket")
    if kind == "journal":
        assert (first, second) == ("<6>heard action=x", "<7>heard too")
    else:
        assert first.endswith("Z info     heard action=x")
        assert second.endswith("Z debug    heard too")


def test_set_up_with_a_journal(listener: Listener) -> None:
    """Where standard error is journald's and its socket answers, records go there and no line is written too."""
    assert talk("journal", listener.path) == []
    first, second = listener.records()
    assert (first["MESSAGE"], first["BARBOSSA_ACTION"], second["MESSAGE"]) == ("heard", "x", "heard too")


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "socket"))
    yield made
    made.close()


@pytest.fixture
def to_journal(logger: logging.Logger, pipe: Pipe, listener: Listener) -> Iterator[logs.JournalHandler]:
    """Have the logger write to the listener, and to the pipe where that is not there."""
    handler = logs.JournalHandler(pipe.write, Journal(listener.path))
    logger.handlers[:] = [handler]
    yield handler
    handler.close()


def test_fields(logger: logging.Logger, pipe: Pipe, listener: Listener, to_journal: logs.JournalHandler) -> None:
    """A record has the sentence, its priority, and each fact as a field by which journalctl finds it."""
    facts = {"action": "attempt_finished", "run_id": "r1", "task": "dump", "attempt": 2, "workflow": "w", "state": None}
    logger.warning("task %s failed", "dump", extra=facts)
    (record,) = listener.records()
    assert record == {
        "MESSAGE": "task dump failed",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "barbossad",
        "BARBOSSA_ACTION": "attempt_finished",
        "BARBOSSA_RUN": "r1",
        "BARBOSSA_TASK": "dump",
        "BARBOSSA_ATTEMPT": "2",
        "BARBOSSA_WORKFLOW": "w",
    }
    assert pipe.lines() == []


def test_no_forged_records(logger: logging.Logger, listener: Listener, to_journal: logs.JournalHandler) -> None:
    """Whatever is logged, a record has no fields but its own, and is one line."""
    logger.info("one\nPRIORITY=0\n", extra={"task": "x\nBARBOSSA_RUN=r2\n"})
    (record,) = listener.records()
    assert record["PRIORITY"] == "6"
    assert "BARBOSSA_RUN" not in record
    assert record["MESSAGE"] == "one\\x0aPRIORITY=0\\x0a"


def test_traceback_in_the_journal(logger: logging.Logger, listener: Listener, to_journal: logs.JournalHandler) -> None:
    """A traceback is part of the message."""
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("it failed")
    (record,) = listener.records()
    assert record["MESSAGE"].startswith("it failed | Traceback")
    assert record["PRIORITY"] == "3"


def test_journal_away(logger: logging.Logger, pipe: Pipe, listener: Listener, to_journal: logs.JournalHandler) -> None:
    """While journald cannot be reached lines go to its stream, each once; when it is back, records go there."""
    listener.close()
    logger.info("one", extra={"run_id": "r1"})
    assert pipe.lines() == ["<6>one run_id=r1"]
    back = Listener(listener.path)
    to_journal._journal._retry_at = 0.0
    logger.info("two")
    assert [record["MESSAGE"] for record in back.records()] == ["two"]
    assert pipe.lines() == []
    back.close()


def test_what_is_critical_goes_by_the_stream(
    logger: logging.Logger, pipe: Pipe, listener: Listener, to_journal: logs.JournalHandler
) -> None:
    """The last words of a daemon are in the stream, by which journald knows its unit though it is gone."""
    logger.critical("it ends")
    assert pipe.lines() == ["<2>it ends"]
    assert listener.records() == []


def test_a_journald_that_hangs(
    logger: logging.Logger, pipe: Pipe, listener: Listener, to_journal: logs.JournalHandler
) -> None:
    """Nobody waits for a stream that takes nothing more; what is lost is told of when journald is back."""
    listener.close()
    said, long = 100, "x" * 5000
    for number in range(said):
        logger.error("%04d%s", number, long)
    taken = [line for line in pipe.lines() if len(line) == len(f"<3>0000{long}")]
    assert [int(line[3:7]) for line in taken] == list(range(len(taken)))
    logger.error("after")
    *_, after = pipe.lines()
    assert after == "<3>after", "it begins a line of its own"
    back = Listener(listener.path)
    to_journal._journal._retry_at = 0.0
    logger.info("again")
    again, lost = back.records()
    assert (again["MESSAGE"], lost["PRIORITY"]) == ("again", "4")
    assert int(lost["MESSAGE"].rpartition(" ")[2]) == said - len(taken)
    back.close()
