"""Start, watch and stop the servers that are measured, and speak to them like any client."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from barbossad import wire

START_SECONDS = 60.0
STOP_SECONDS = 30.0
CONFIG = "tasks: {limit: 16}\n"


class CallError(Exception):
    """A call was answered with an error, or not at all."""


class Client:
    """A blocking client: one connection, one line a call."""

    def __init__(self, socket_path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(str(socket_path))
        except OSError:
            self.socket.close()
            raise
        self._lines = self.socket.makefile("rb")

    def call(self, method: str, **params: Any) -> Any:
        """Call and return the result. Raise ``CallError`` with the daemon's words."""
        self.socket.sendall(wire.encode(wire.call(method, params, 1)))
        return self.receive()

    def receive(self) -> Any:
        """Return the result of the next answer, whichever call it belongs to."""
        line = self._lines.readline()
        if not line:
            raise CallError("the server closed the connection")
        answer = json.loads(line)
        if "error" in answer:
            raise CallError(str(answer["error"]))
        return answer["result"]

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Server:
    """A program that listens on a Unix socket; running inside ``with``, and started anew by each."""

    def __init__(
        self,
        command: list[str],
        socket_path: Path,
        *,
        log_path: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._command = command
        self._environment = environment
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self.socket_path = socket_path
        self.first_answer_seconds = 0.0
        """From the start of the process to its first answer."""

    @property
    def pid(self) -> int:
        """Return the process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> Client:
        """Connect."""
        return Client(self.socket_path)

    def start(self) -> None:
        """Start the program and wait for its first answer."""
        start = time.perf_counter()
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        while not self._answers():
            taken = time.perf_counter() - start
            if self._process.poll() is not None or taken > START_SECONDS:
                raise CallError(f"{' '.join(self._command)} does not answer; it said:\n{self.log_tail()}")
            time.sleep(0.001)
        self.first_answer_seconds = time.perf_counter() - start

    def stop(self) -> None:
        """End the program in good order, or after a while in any."""
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise CallError(f"{self._command[0]} did not stop; it said:\n{self.log_tail()}") from None

    def log_tail(self) -> str:
        """Return the last words of the program."""
        return self._log_path.read_text(errors="replace")[-2000:]

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                client.call("daemon.ping")
        except (FileNotFoundError, ConnectionError):
            return False
        return True

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Daemon(Server):
    """``barbossad --user`` with folders of its own and at most 16 tasks at a time."""

    def __init__(self, folder: Path, *, wrapper: list[str] | None = None) -> None:
        self.environment = environment(folder)
        for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
            Path(self.environment[name]).mkdir(parents=True, exist_ok=True, mode=0o700)
        config = folder / "barbossad.yaml"
        config.write_text(CONFIG)
        config.chmod(0o600)
        arguments = ["--user", "--config", str(config)]
        command = wrapper + arguments if wrapper else [*program("barbossad"), *arguments]
        socket_path = Path(self.environment["XDG_RUNTIME_DIR"]) / "barbossa" / "barbossad.sock"
        super().__init__(command, socket_path, log_path=folder / "barbossad.log", environment=self.environment)
        self.state_folder = Path(self.environment["XDG_STATE_HOME"]) / "barbossa"

    def apply(self, workflow: str) -> None:
        """Define a workflow from its YAML."""
        with self.client() as client:
            client.call("workflow.apply", yaml=workflow)


def program(name: str) -> list[str]:
    """Return how to run an installed command of this venv, or its module where it is not installed."""
    installed = Path(sys.executable).parent / name
    return [str(installed)] if installed.exists() else [sys.executable, "-m", name]


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a daemon and its clients whose files are all under ``folder``."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(folder / "home"),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_RUNTIME_DIR": str(folder / "run"),
    }
