"""Do what a page of the documentation says, and compare what comes of it: ``python -m tests.helpers.pages PAGE…``.

Each YAML block that is a whole workflow is saved as NAME.yaml. Each line ``$ …`` of a ``console`` block is called, on a
plain terminal, in the order of the page, with a daemon of its own for each page; what it says has to stand beneath it,
but for what is never the same twice: ids, instants, durations, sizes, the order of lines. ``--write`` puts what was
said into the page. Before each command the runs that go on come to rest, as they do while a reader reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import pwd
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.daemon import ROOT, Daemon

BLOCK = re.compile(r"^```(?P<kind>yaml|console)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"^name: (\S+)$", re.MULTILINE)
HOME = "/home/you"
FOLLOWS = re.compile(r"^barbossactl ((run )?(start|retry)|schedule trigger)\b")
"""What draws a table again and again on a terminal that can do so; on others it says a line for each change."""

START = "barbossad --user &"
COLUMNS = 110
_REST_SECONDS = 1.5

_NEVER_THE_SAME = (
    (re.compile(r"\b01[0-9a-z]{8}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "HASH"),
    (re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(\.\d+)?Z?)?"), "WHEN"),
    (re.compile(r"\b\d\d:\d\d(:\d\d)?\b"), "WHEN"),
    (re.compile(r"\((just now|in? ?[\w. ]+|[\w. ]+ ago)\)"), "(AGO)"),
    (re.compile(r"(just now|\b\d+ \w+ ago)"), "AGO"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|min|h)\b"), "LONG"),
    (re.compile(r"\b(\d+m)?\d+(\.\d+)?s\b"), "LONG"),
    (re.compile(r"\b\d+(\.\d+)? (bytes|KiB|MiB|GiB)\b"), "SIZE"),
    (re.compile(r"\bpid \d+"), "PID"),
    (re.compile(r"\bin \d+ (h|min|s)( \d+ min)?"), "AGO"),
)

_IN_PASSING = re.compile(r"task \S+ (running$|waits: )|run ID: ")
"""What a follower says of a run only if it looks in time."""


@dataclass
class Command:
    """One line after ``$``, and what stands beneath it."""

    line: str
    said: list[str] = field(default_factory=list)


def commands(block: str) -> list[Command]:
    """Return the commands of a block; a line that ends with a backslash goes on."""
    found: list[Command] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:]))
        elif found and not found[-1].said and found[-1].line.endswith("\\"):
            found[-1].line += "\n" + line
        else:
            found[-1].said.append(line)
    return found


def words(lines: list[str]) -> list[str]:
    """Return the words of lines, but for what is never the same twice and what may pass unseen."""
    text = "\n".join(lines)
    for pattern, word in _NEVER_THE_SAME:
        text = pattern.sub(word, text)
    return sorted(word for line in text.split("\n") if not _IN_PASSING.match(line) for word in line.split())


def agree(page: list[str], said: list[str]) -> bool:
    """Say whether a page is right about what a command says; words, not lines, as tables are broken by their widths."""
    return words(page) == words(said)


class Reader:
    """Reads one page with the eyes of somebody who tries everything."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._home = Path(daemon.environment["HOME"])
        self._code = 0
        (self._home / ".config").symlink_to(daemon.folder / "config")
        programs = daemon.folder / "bin"
        programs.mkdir()
        for name in ("barbossactl", "barbossad"):
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {name} "$@"\n')
            (programs / name).chmod(0o755)
        self._environment = {
            **daemon.environment,
            "PATH": f"{programs}:{daemon.environment['PATH']}",
            "NO_COLOR": "1",
            "TZ": "UTC",
        }

    def read(self, text: str) -> Iterator[tuple[Command, list[str]]]:
        """Do what the page says; yield each command with what was really said."""
        for found in BLOCK.finditer(text):
            if found["kind"] == "yaml":
                name = NAME.search(found["text"])
                if name:
                    (self._home / f"{name[1]}.yaml").write_text(found["text"])
            else:
                for command in commands(found["text"]):
                    self._rest()
                    yield command, self._call(command.line)

    def _call(self, line: str) -> list[str]:
        if line == START:
            self._daemon.wait()
            self._daemon.start()
            return []
        master, slave = pty.openpty()
        try:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
            process = subprocess.Popen(
                ["bash", "-c", f"(exit {self._code}); {line}"],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env={**self._environment, "TERM": "dumb" if FOLLOWS.search(line) else "xterm"},
                cwd=self._home,
                start_new_session=True,
            )
            os.close(slave)
            said = b""
            while chunk := _read(master):
                said += chunk
            self._code = process.wait(60)
        finally:
            os.close(master)
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
        user = pwd.getpwuid(os.getuid())
        plain = re.sub(rf"\b{user.pw_name}\b", "you", plain.replace(str(self._home), HOME).replace(user.pw_dir, HOME))
        return [each.rstrip() for each in plain.splitlines()]

    def _rest(self) -> None:
        """Return when nothing has happened for a moment in any run, or the daemon is gone."""
        with contextlib.suppress(EOFError, OSError):
            self._wait_for_rest()

    def _wait_for_rest(self) -> None:
        for run in self._daemon.call("run.list", active=True)["items"]:
            before = -1
            while True:
                wait = 0 if before < 0 else _REST_SECONDS
                seen = self._daemon.call("run.watch", run_id=run["id"], after=max(before, 0), wait_seconds=wait)
                if seen["revision"] == before or seen["run"]["finished_at"] is not None:
                    break
                before = seen["revision"]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the last process on the terminal has gone
        return b""


def differences(page: Path, folder: Path) -> list[str]:
    """Return where a page says something else than its commands."""
    found = []
    with Daemon(folder) as daemon:
        for command, said in Reader(daemon).read(page.read_text()):
            if not agree(command.said, said):
                found.append("\n".join([f"$ {command.line}", "says:", *said, "the page:", *command.said]))
    return found


def write(page: Path, folder: Path) -> None:
    """Put into a page what its commands say, all of it where some is something else, so that its ids agree."""
    text = page.read_text()
    with Daemon(folder) as daemon:
        read = list(Reader(daemon).read(text))
    if all(agree(command.said, said) for command, said in read):
        return
    place = 0
    for command, said in read:
        place = text.index(f"$ {command.line}\n", place) + len(command.line) + 3
        old, new = ("".join(f"{line}\n" for line in lines) for lines in (command.said, said))
        text = text[:place] + new + text[place + len(old) :]
        place += len(new)
    page.write_text(text)


if __name__ == "__main__":
    is_write = "--write" in sys.argv
    for name in sys.argv[1:]:
        if name == "--write":
            continue
        with tempfile.TemporaryDirectory(dir="/tmp") as place:
            if is_write:
                write(ROOT / name, Path(place))
            else:
                sys.stdout.write("\n\n".join(differences(ROOT / name, Path(place))))
