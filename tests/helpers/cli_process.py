"""Run the command line as people do: as a process, with pipes or on a terminal."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "barbossactl"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str


Ctl = Callable[..., Ended]


def environment(socket: Path, **more: str) -> dict[str, str]:
    """Return the environment of a command that talks to ``socket``."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "BARBOSSA_SOCKET": str(socket),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **more,
    }


def run(
    socket: Path, *arguments: str, stdin: str = "", more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command line with pipes to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        env=environment(socket, **(more or {})),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class OnTerminal:
    """A command line on a terminal of its own. ``text`` is what the terminal was sent so far."""

    def __init__(self, socket: Path, *arguments: str, rows: int = 40, columns: int = 100, **more: str) -> None:
        self._command = [*COMMAND, *arguments]
        self._environment = environment(socket, **more)
        self._size = struct.pack("HHHH", rows, columns, 0, 0)
        self.text = ""
        self._tail = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.process: subprocess.Popen[bytes]
        self._master = -1

    def __enter__(self) -> OnTerminal:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, self._size)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *self._command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self._environment,
            start_new_session=True,
        )
        os.close(slave)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        os.close(self._master)

    def type(self, keys: str) -> None:
        """Press keys; ``\\x03`` is Ctrl-C."""
        os.write(self._master, keys.encode())

    def read_until(self, words: str, seconds: float = 40.0) -> None:
        """Read what is sent to the terminal until it holds ``words``."""
        deadline = time.monotonic() + seconds
        while words not in self.text:
            assert self._read(deadline - time.monotonic()), f"{words!r} never came:\n{self.text}"

    def end(self, seconds: float = 40.0) -> int:
        """Read on to the end of the process; return its exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], max(0.0, seconds))[0]:
            return False
        try:
            chunk = os.read(self._master, 65536)
        except OSError:  # the last process on the terminal has gone
            return False
        self._tail += self._decoder.decode(chunk)
        held = "\r" if self._tail.endswith("\r") else ""  # its line feed may come with the next chunk
        self.text += self._tail.removesuffix("\r").replace("\r\n", "\n")
        self._tail = held
        return bool(chunk)


_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"  # so that Ctrl-C reaches it as a signal
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


@contextmanager
def in_background(socket_path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command line with pipes while the test goes on."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(socket_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
