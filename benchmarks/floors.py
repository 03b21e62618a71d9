"""Compile and drive the floors: the least that the host can do for the same work."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import daemon

HERE = Path(__file__).parent


class BenchError(Exception):
    """Say why the bench cannot measure, in one sentence."""


def compile_program(source_name: str) -> Path:
    """Compile a C program of this folder into the cache folder, once for each version of its source."""
    source = HERE / source_name
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise BenchError(
            "the floors are C programs and there is no C compiler here (Debian: apt install gcc libc6-dev)"
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barbossa-benchmarks"
    cache.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(source.read_bytes() + compiler.encode()).hexdigest()[:16]
    program = cache / f"{source.stem}-{digest}"
    if not program.exists():
        fresh = program.with_suffix(f".{os.getpid()}")
        command = [compiler, "-O2", "-std=c11", "-Wall", "-o", str(fresh), str(source), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"{compiler} could not compile {source_name}: {done.stderr.strip()}")
        fresh.rename(program)
    return program


class Spawner:
    """The floor of W1 to W4: a C program that spawns, waits and commits."""

    def __init__(self, program: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shell = shutil.which("sh") or "/bin/sh"
        command = [str(program), str(folder / "floor.db"), shell]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self, *stages: int, in_flight: int = 1, rows: int = 1) -> float:
        """Run ``stages`` of spawns one after another, commit ``rows``, and return the seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(in_flight, rows, *stages, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise BenchError(f"the floor ended with {self._process.wait()}")
        return int(answer) / 1e9

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class FloorServer(daemon.Server):
    """The floor of W5 to W8: a minimal asyncio program with a Unix socket and SQLite open."""

    def __init__(self, folder: Path, *, timers: int = 0, runs: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        program = str(HERE / "floor_server.py")
        options = ["--timers", str(timers), "--runs", str(runs)]
        socket_path = folder / "floor.sock"
        command = [base_python(), "-I", program, str(socket_path), str(folder / "floor.db"), *options]
        super().__init__(command, socket_path, log_path=folder / "floor.log")


class Pinger:
    """A second client that pings a server every other millisecond, in a process of its own."""

    INTERVAL_MICROSECONDS = 2000

    def __init__(self, program: Path, socket_path: Path) -> None:
        command = [str(program), str(socket_path), str(self.INTERVAL_MICROSECONDS)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop(self) -> list[float]:
        """End the pings and return the seconds that each took."""
        output, _ = self._process.communicate(timeout=30)
        if self._process.returncode != 0:
            raise BenchError("the pinger lost its server")
        return [int(line) / 1e9 for line in output.split()]


def base_python() -> str:
    """Return the interpreter behind the venv: a floor does not pay for what is installed beside us."""
    base = getattr(sys, "_base_executable", "") or sys.executable
    return str(base)


def run_process(command: list[str], environment: dict[str, str]) -> float:
    """Run a whole process with no output and return its seconds from spawn to exit."""
    silent = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    start = time.perf_counter()
    child = os.posix_spawn(command[0], command, environment, file_actions=silent)
    _, status = os.waitpid(child, 0)
    taken = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        raise BenchError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return taken
