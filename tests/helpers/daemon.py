"""A real ``barbossad --user`` as a subprocess, with all its files in one folder."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.helpers.rpc_client import Client

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-W", "error", "-m", "barbossad")
START_SECONDS = 60.0
STOP_SECONDS = 60.0
_PAUSE_SECONDS = 0.01
BROKEN = re.compile(r"Traceback|Warning:|Exception ignored|never (awaited|retrieved)")


class Daemon:
    """Started by ``with`` or ``start``; leaving stops it and looks for signs of faults in its log."""

    def __init__(
        self,
        folder: Path,
        *,
        config: str = "",
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self.config_path = folder / "config" / "barbossa" / "barbossad.yaml"
        self.workflows_dir = self.config_path.parent / "workflows"
        self.state_dir = folder / "state" / "barbossa"
        self.socket_path = folder / "run" / "barbossa" / "barbossad.sock"
        self.log_path = folder / "barbossad.log"
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder / "home"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            **(environment or {}),
        }
        self._wrapper = tuple(wrapper)
        self._pass_fds = tuple(pass_fds)
        self.process: subprocess.Popen[bytes] | None = None
        for made in (folder / "home", folder / "run", self.workflows_dir):
            made.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.write_config(config)

    # -- its files -----------------------------------------------------------------------------------------

    def write_config(self, text: str) -> None:
        """Put the text in its config file."""
        self.config_path.write_text(text)
        self.config_path.chmod(0o600)

    def write_workflow(self, name: str, text: str) -> None:
        """Put a file in its folder of workflows."""
        (self.workflows_dir / name).write_text(text)

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # -- its life ------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def spawn(self) -> None:
        """Start it, and do not wait."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._wrapper, *COMMAND, "--user"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self._pass_fds,
            )

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.spawn()
        self.eventually(self._answers, "it answers", START_SECONDS)

    def eventually(self, check: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
        """Return once ``check`` holds; fail after a while, and at once if the daemon has died."""
        deadline = time.monotonic() + seconds
        while not check():
            assert self.process is not None
            code = self.process.poll()
            assert code is None, f"the daemon ended with {code} before {what}; it said:\n{self.log}"
            assert time.monotonic() < deadline, f"after {seconds} s still not so: {what}; the daemon said:\n{self.log}"
            time.sleep(_PAUSE_SECONDS)

    def says(self, words: str, *, times: int = 1) -> None:
        """Wait until its log has these words so many times."""
        self.eventually(lambda: self.log.count(words) >= times, f"it says {words!r}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end and return its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.signal(signal.SIGKILL)
        self.wait()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.make_sure()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process is not None and self.process.poll() is None and error is None:
                assert self.stop() == 0, f"it ended badly and said:\n{self.log}"
        finally:
            self.make_sure()
        if error is None:
            assert not BROKEN.search(self.log), f"signs of a fault in its log:\n{self.log}"

    def make_sure(self) -> None:
        """Leave nothing behind, however the test went; its reaper ends its tasks."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # -- its clients ---------------------------------------------------------------------------------------

    def client(self) -> Client:
        """Connect."""
        return Client(self.socket_path)

    def call(self, method: str, /, **params: Any) -> Any:
        """Call on a connection of its own."""
        with self.client() as client:
            return client.call(method, **params)

    def apply(self, text: str) -> str:
        """Apply a workflow; return its name."""
        name: str = self.call("workflow.apply", yaml=text)["name"]
        return name

    def _answers(self) -> bool:
        try:
            self.call("daemon.ping")
        except (FileNotFoundError, ConnectionError, EOFError):
            return False
        return True

    # -- what the kernel says of it ------------------------------------------------------------------------

    def open_files(self) -> list[str]:
        """Return what it has open, one item for each descriptor."""
        found = []
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed since it was listed
                found.append(re.sub(r"\d{3,}", "N", str(entry.readlink())))
        return sorted(found)

    def cpu_seconds(self) -> float:
        """Return how long it has had a processor so far, which a busy host does not change."""
        ticks = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Return how much memory it occupies now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def processes_with(word: str) -> list[int]:
    """Return the ids of processes whose command line or environment holds a word that nobody else uses."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if word.encode() in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


SLEEPER = "name: sleeper\ntasks: [{id: nap, shell: exec sleep 600, grace: 30s}, {id: after, shell: 'true'}]\n"


def started(daemon: Daemon, workflow: str = SLEEPER) -> str:
    """Start a run whose first task then runs; return its id."""
    name = daemon.apply(workflow)
    run_id: str = daemon.call("run.start", workflow=name)["id"]
    daemon.eventually(lambda: state_of(daemon, run_id) == "running", "its task runs")
    return run_id


def state_of(daemon: Daemon, run_id: str) -> str:
    """Return the state of the first task of a run."""
    state: str = daemon.call("run.get", run_id=run_id)["tasks"][0]["state"]
    return state
