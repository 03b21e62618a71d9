"""Where a storm takes place: over a daemon of one's own, whose tasks die with it, or over the service."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Final, Protocol

from barbossad.crashpoints import POINTS
from tests.helpers.daemon import BROKEN, Daemon, processes_with
from tests.helpers.rpc_client import Client
from tests.helpers.service import CONFIG, STATE, WAIT_SECONDS, Service
from tests.helpers.waiting import eventually

LOCAL_POINTS: Final = ("starting-recorded", "running-recorded", "chunk-taken", "chunk-written")


class Host(Protocol):
    """A daemon and the place that it runs in."""

    ledger: Path
    """The folder in which tasks note that they began, as this process sees it."""

    ledger_inside: str
    """And as tasks see it."""

    points: tuple[str, ...]
    """Where the daemon may die by itself."""

    endings: tuple[str, ...]
    """How it may be ended from outside."""

    def configure(self, config: str) -> None:
        """Write its config, which a start or a reload puts in force."""

    def begin(self, point: str) -> None:
        """Start the daemon, or wait for the one that systemd has started, until it answers."""

    def arm(self) -> None:
        """Have it die at its point from now on, once."""

    def end(self, how: str) -> None:
        """End it; clients may not have heard yet."""

    def gone(self, how: str, token: str) -> None:
        """Check that it is gone, and with it what has to go."""

    def freeze(self, *, is_on: bool) -> None:
        """Let it stand still, or go on."""

    def client(self) -> Client:
        """Connect."""

    def database(self) -> Path:
        """Return its state file, or a copy; nothing writes to it meanwhile."""

    def check(self) -> None:
        """Check its log, and that nothing is left; it has been stopped."""

    def close(self) -> None:
        """Leave nothing behind, however it went."""


class OwnHost:
    """A daemon of somebody's own."""

    points = LOCAL_POINTS
    endings = ("kill", "stop")

    def __init__(self, folder: Path) -> None:
        self.daemon = Daemon(folder)
        self.ledger = folder / "ledger"
        self.ledger.mkdir()
        self.ledger_inside = str(self.ledger)
        self._flag = folder / "crash"

    def configure(self, config: str) -> None:
        self.daemon.write_config(config)

    def begin(self, point: str) -> None:
        self._flag.unlink(missing_ok=True)
        self.daemon.environment["BARBOSSA_CRASH_AT"] = f"{point}:{self._flag}"
        self.daemon.start()

    def arm(self) -> None:
        self._flag.touch()

    def end(self, how: str) -> None:
        self.daemon.signal(signal.SIGTERM if how == "stop" else signal.SIGKILL)

    def gone(self, how: str, token: str) -> None:
        code = self.daemon.wait()
        assert code == -signal.SIGKILL or (how == "stop" and code == 0), f"after {how} it ended with {code}"
        eventually(lambda: not processes_with(token), 30, "no process of a task outlives the daemon")

    def freeze(self, *, is_on: bool) -> None:
        self.daemon.signal(signal.SIGSTOP if is_on else signal.SIGCONT)

    def client(self) -> Client:
        return self.daemon.client()

    def database(self) -> Path:
        return self.daemon.state_dir / "barbossa.db"

    def check(self) -> None:
        assert not BROKEN.search(self.daemon.log), f"signs of a fault in its log:\n{self.daemon.log}"

    def close(self) -> None:
        self.daemon.make_sure()


class ServiceHost:
    """The service under systemd, which starts it again when it dies."""

    points = POINTS
    endings = ("kill", "kill", "restart", "stop")

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.ledger_inside = "/root/ledger"
        self._root = Path(f"/proc/{service.container.leader}/root")
        self.ledger = self._root / "root/ledger"
        service.container.run(f"rm -rf {self.ledger_inside}; mkdir -p {self.ledger_inside} {STATE}")
        self._flag = self._root / STATE[1:] / "crash"
        self._copy = folder / "copy"
        self._point = ""

    def configure(self, config: str) -> None:
        self.service.container.write(CONFIG, config)

    def begin(self, point: str) -> None:
        if not self._point:
            self._point = point
            self.service.set_up_unit(
                "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=20ms\nExecStopPost=\n"
                f"Environment=BARBOSSA_CRASH_AT={point}:{STATE}/crash\n"
            )
        self._flag.unlink(missing_ok=True)
        self.service.start()
        with self.client() as client:
            client.call("daemon.ping")

    def arm(self) -> None:
        self._flag.touch()

    def end(self, how: str) -> None:
        command = "kill --signal=KILL --kill-whom=main" if how == "kill" else how
        self.service.systemctl(f"{command} barbossad.service")

    def gone(self, how: str, token: str) -> None:
        if how == "stop":
            eventually(lambda: not processes_with(token), 30, "no process of a task outlives a stop")

    def freeze(self, *, is_on: bool) -> None:
        number = "STOP" if is_on else "CONT"
        self.service.systemctl(f"kill --signal={number} --kill-whom=main barbossad.service", check=False)

    def client(self) -> Client:
        return Client(self._root / "run/barbossa/barbossad.sock")

    def database(self) -> Path:
        self.service.systemctl("stop barbossad.socket barbossad.service")
        shutil.rmtree(self._copy, ignore_errors=True)
        self._copy.mkdir()
        for name in ("barbossa.db", "barbossa.db-wal"):
            if (self._root / STATE[1:] / name).exists():
                shutil.copy(self._root / STATE[1:] / name, self._copy)
        self.service.systemctl("start barbossad.socket")
        return self._copy / "barbossa.db"

    def check(self) -> None:
        log = self.service.log()
        assert not BROKEN.search(log), f"signs of a fault in its log:\n{log}"
        assert "code=exited, status=" not in log, f"it ended by itself:\n{log}"
        run = self.service.container.run
        units = "systemctl list-units --all --plain --no-legend 'barbossa-*.service'"
        eventually(lambda: not run(units).stdout, WAIT_SECONDS, "no unit is left")
        files = "find /run/barbossa-tasks /run/barbossa/env -mindepth 1 2>/dev/null"
        eventually(lambda: not run(files, check=False).stdout, WAIT_SECONDS, "no file is left")

    def close(self) -> None:
        self.service.container.run("systemctl stop 'barbossa-*.service'", check=False)
