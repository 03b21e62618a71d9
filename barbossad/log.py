"""Log records as one line each: for people on a terminal, with fields of their own for journald.

Every record may carry ``action``, ``run_id``, ``task``, ``attempt`` and other facts as ``extra``. In a line they follow
the sentence as ``name=value``; in the journal they are ``BARBOSSA_ACTION``, ``BARBOSSA_RUN``, ``BARBOSSA_TASK``,
``BARBOSSA_ATTEMPT`` and so on. Source of the prefixes of lines: sd-daemon(3), "Logging".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Final

from barbossad.clock import rfc3339
from barbossad.journal import Journal

IDENTIFIER: Final = "barbossad"

_PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.DEBUG, 7),
)
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
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
    return (fact for fact in vars(record).items() if fact[0] not in _STANDARD and fact[1] is not None)


def _priority(record: logging.LogRecord) -> int:
    return next((number for level, number in _PRIORITIES if record.levelno >= level), 7)


class TurnHandler(logging.Handler):
    """Writes the lines of one turn of the event loop together; a warning, and what is worse, at once."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line until the end of the turn, or write it now where there is no loop."""
        try:
            self._lines.append(self.format(record) + "\n")
            if record.levelno < logging.WARNING:
                if len(self._lines) == 1:
                    asyncio.get_running_loop().call_soon(self.flush)
                return
        except RuntimeError:  # no loop runs in this thread
            pass
        except Exception:  # noqa: BLE001 (logging never takes its caller down)
            self.handleError(record)
        self.flush()

    def flush(self) -> None:
        """Write what is kept; what nobody takes is lost."""
        self.acquire()  # another thread may log meanwhile
        try:
            lines, self._lines = self._lines, []
            data = "".join(lines).encode(errors="backslashreplace")
            with contextlib.suppress(OSError):
                while data:
                    data = data[os.write(self._descriptor, data) :]
        finally:
            self.release()


class JournalHandler(TurnHandler):
    """Sends records to journald with their fields; where it cannot be reached, lines to its stream as ever.

    So does what is critical: the daemon is about to end, and journald would find nobody any more when it looks up
    which unit a datagram is from. Of a stream it knows that.
    """

    def __init__(self, descriptor: int, journal: Journal) -> None:
        super().__init__(descriptor)
        self._journal = journal
        self._formatter = Formatter(for_journal=True)
        self.setFormatter(self._formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, or write its line."""
        if record.levelno < logging.CRITICAL:
            try:
                self._journal.send(self._formatter.fields(record))
                return
            except OSError:
                pass
            except Exception:  # noqa: BLE001 (logging never takes its caller down)
                self.handleError(record)
                return
        super().emit(record)

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
    handler = TurnHandler(descriptor)
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
