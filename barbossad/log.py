"""Log records as one line each: for people on a terminal, with fields of their own for journald.

Every record may carry ``action``, ``run_id``, ``task``, ``attempt`` and other facts as ``extra``. In a line they follow
the sentence as ``name=value``; in the journal they are ``BARBOSSA_ACTION``, ``BARBOSSA_RUN``, ``BARBOSSA_TASK``,
``BARBOSSA_ATTEMPT`` and so on. Source of the prefixes of lines: sd-daemon(3), "Logging".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import select
import sys
from collections.abc import Iterator
from typing import Final

from barbossad.clock import rfc3339
from barbossad.journal import Journal

IDENTIFIER: Final = "barbossad"

KEEP_SECONDS: Final = 0.02
"""How long a line may wait for others, without which all are made and written together."""

MOST_KEPT: Final = 16
"""Lines that are not waited with: to make many of them would stop the loop."""

_AT_ONCE: Final = select.PIPE_BUF
"""So many bytes are taken without a wait by what can be written at all (select(2), pipe(7)); a socket takes more."""

_PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.DEBUG, 7),
)
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_BEFORE_FACTS: Final = len(vars(logging.makeLogRecord({})))
"""What logging knows of a record comes first, and what it was given with ``extra`` after that."""

_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))} | {
    code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""Controls of C0 and C1, the separators that end lines, and those that turn the direction of writing."""


def one_line(text: str) -> str:
    """Return ``text`` with control characters escaped, so that nobody can forge a line or steer a terminal."""
    return text if text.isprintable() else text.translate(_CONTROL)


class Formatter(logging.Formatter):
    """One record, one line."""

    def __init__(self, *, for_journal: bool) -> None:
        super().__init__()
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; a traceback is folded into it, its lines joined with `` | ``."""
        sentence = self.sentence(record)
        facts = "".join(f" {name}={value}" for name, value in _facts(record))
        if self._for_journal:
            return f"<{_priority(record)}>" + one_line(sentence + facts)
        stamp = rfc3339(int(record.created * 1000))
        return f"{stamp} {record.levelname.lower():8} " + one_line(sentence + facts)

    def sentence(self, record: logging.LogRecord) -> str:
        """Return what a record says, a traceback with it."""
        sentence = record.getMessage()
        if record.exc_info:
            sentence += " | " + " | ".join(self.formatException(record.exc_info).splitlines())
        return sentence

    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        """Return a record as the journal has it."""
        fields = {
            "MESSAGE": one_line(self.sentence(record)),
            "PRIORITY": str(_priority(record)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
        }
        for name, value in _facts(record):
            fields[_FIELDS.get(name) or f"BARBOSSA_{name.upper()}"] = one_line(str(value))
        return fields


_FIELDS: Final = {"run_id": "BARBOSSA_RUN"}
"""Fields that are not named as their fact is."""


def _facts(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    given = itertools.islice(vars(record).items(), _BEFORE_FACTS, None)
    return (fact for fact in given if fact[1] is not None and fact[0] not in _STANDARD)


def _priority(record: logging.LogRecord) -> int:
    return next((number for level, number in _PRIORITIES if record.levelno >= level), 7)


class BatchHandler(logging.Handler):
    """Makes and writes the lines of some milliseconds together; with a warning, or worse, all of them at once.

    A record is said at a time when somebody waits, and a moment later nobody may. What a record names must therefore
    be what it is for good: text, numbers, members of enums.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record for a moment, or write it now where there is no loop."""
        self._records.append(record)
        if record.levelno < logging.WARNING and len(self._records) < MOST_KEPT:
            if len(self._records) > 1:
                return  # the timer runs
            try:
                asyncio.get_running_loop().call_later(KEEP_SECONDS, self.flush)
                return
            except RuntimeError:  # no loop runs in this thread
                pass
        self.flush()

    def flush(self) -> None:
        """Write what is kept; what nobody takes is lost."""
        self.acquire()  # another thread may log meanwhile
        try:
            records, self._records = self._records, []
            with contextlib.suppress(OSError):
                self._write(b"".join(map(self._line, records)))
        finally:
            self.release()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _line(self, record: logging.LogRecord) -> bytes:
        try:
            return self.format(record).encode(errors="backslashreplace") + b"\n"
        except Exception:  # noqa: BLE001 (logging never takes its caller down)
            self.handleError(record)
            return b""


class JournalHandler(BatchHandler):
    """Sends records to journald with their fields; where it cannot be reached, lines to its stream as ever.

    Neither is waited for: lines that a journald which hangs takes in neither way are counted, and told of later.

    So does what is critical: the daemon is about to end, and journald would find nobody any more when it looks up
    which unit a datagram is from. Of a stream it knows that.
    """

    def __init__(self, descriptor: int, journal: Journal) -> None:
        super().__init__(descriptor)
        self._journal = journal
        self._formatter = Formatter(for_journal=True)
        self.setFormatter(self._formatter)
        self._lost = 0
        self._is_cut = False
        """Whether the last line that the stream took is not complete."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, or write its line."""
        if record.levelno < logging.CRITICAL:
            try:
                self._journal.send(self._formatter.fields(record))
                if self._lost:
                    self._tell_lost()
                return
            except OSError:
                pass
            except Exception:  # noqa: BLE001 (logging never takes its caller down)
                self.handleError(record)
                return
        super().emit(record)

    def _tell_lost(self) -> None:
        """Say how many lines are missing, now that there is somebody to say it to."""
        lost, self._lost = self._lost, 0
        words = f"lines of this log that are lost, because journald took nothing for a while: {lost}"
        facts = {"levelno": logging.WARNING, "msg": words, "action": "log_lost"}
        self.emit(logging.makeLogRecord(facts))

    def _write(self, data: bytes) -> None:
        """Write what the stream takes without waiting, for its caller is the event loop; the rest is lost."""
        before, written = int(self._is_cut), 0
        data = b"\n" * before + data
        try:
            while written < len(data) and select.select([], [self._descriptor], [], 0)[1]:
                written += os.write(self._descriptor, data[written : written + _AT_ONCE])
        finally:
            self._is_cut = data[written - 1 : written] != b"\n" if written else self._is_cut
            self._lost += data.count(b"\n", max(before, written))

    def close(self) -> None:
        """Close the way to journald."""
        self._journal.close()
        super().close()


def set_up(level: str) -> None:
    """Send records to standard error, as a person wants them, or to journald, where standard error leads there."""
    root = logging.getLogger()
    root.handlers[:] = [_handler(sys.stderr.fileno())]
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)  # it logs each statement at debug
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    set_level(level)
    # What these would find out for every record stands in no line of ours.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 (so logging's documentation, under "Optimization": nor where it was said)


def _handler(descriptor: int) -> logging.Handler:
    if _is_journal():
        return JournalHandler(descriptor, Journal())
    handler = BatchHandler(descriptor)
    handler.setFormatter(Formatter(for_journal=False))
    return handler


def set_level(level: str) -> None:
    """Change what is logged."""
    logging.getLogger().setLevel(level.upper())


def _is_journal() -> bool:
    """Whether standard error is a stream of journald: ``JOURNAL_STREAM`` names its device and inode."""
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    found = os.fstat(sys.stderr.fileno())
    return named == f"{found.st_dev}:{found.st_ino}"
