"""The installed service in a container, as an administrator handles it: systemctl, journalctl, barbossactl."""

import json
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.container import Container
from tests.helpers.waiting import eventually

CONFIG = "/etc/barbossa/barbossad.yaml"
STATE = "/var/lib/barbossa"
WAIT_SECONDS = 60.0
UNITS = "barbossad.socket barbossad.service"
_DROP_INS = "/etc/systemd/system/barbossad.service.d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a test does to the service; `container` is the place it runs in."""

    container: Container
    _mark: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Remember where the journal stands, so that a test sees only its own lines."""
        shown = self.container.run("journalctl --sync; journalctl --lines=0 --show-cursor --quiet").stdout
        object.__setattr__(self, "_mark", shown.partition("cursor: ")[2].strip())

    def systemctl(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one systemctl command."""
        return self.container.run(f"systemctl {command}", check=check)

    def start(self) -> None:
        """Start the daemon and wait until it has said that it is ready."""
        self.systemctl("start barbossad")

    def property(self, name: str, unit: str = "barbossad.service") -> str:
        """Return one property of the unit, as systemd prints it."""
        return self.systemctl(f"show --property={name} --value {unit}").stdout.strip()

    def log(self) -> str:
        """Return what the daemon, and systemd about it, has logged since the test began."""
        after = f"--after-cursor='{self._mark}'" if self._mark else ""
        return self.container.run(
            f"journalctl --sync; journalctl {after} --unit=barbossad.service --output=cat --no-pager --quiet"
        ).stdout

    def set_up(self, settings: str) -> None:
        """Put settings of the unit's [Service] section in a drop-in, for this test alone."""
        self.set_up_unit(f"[Service]\n{settings}\n")

    def set_up_unit(self, sections: str) -> None:
        """Put sections of the unit in a drop-in, for this test alone."""
        self.container.write(f"{_DROP_INS}/test.conf", sections)
        self.systemctl("daemon-reload")

    def ctl(
        self, arguments: str, *, user: str = "root", check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run barbossactl as `user`."""
        return self.container.run(f"barbossactl {arguments}", user=user, check=check, stdin=stdin)

    def ping(self, *, user: str = "root") -> dict[str, Any]:
        """Return the daemon's answer to a ping; if nobody answers, the test fails."""
        answer: dict[str, Any] = json.loads(self.ctl("daemon ping --json", user=user).stdout)
        return answer

    def apply(self, workflow: str) -> None:
        """Apply the text of a workflow as root."""
        self.container.write("/root/workflow.yaml", workflow)
        self.ctl("workflow apply /root/workflow.yaml")

    def get_run(self, run_id: str) -> dict[str, Any]:
        """Return a run as the daemon records it."""
        run: dict[str, Any] = json.loads(self.ctl(f"run get {run_id} --json").stdout)
        return run

    def start_run(self, workflow: str) -> str:
        """Start a run, do not wait for it, and return its id."""
        return self.ctl(f"start {workflow} --detach").stdout.strip()

    def processes(self, command: str) -> list[int]:
        """Return the ids, in the container, of the processes whose command line is exactly `command`."""
        wanted = "".join(f"{word}\0" for word in command.split()).encode()
        found = []
        for path in Path(f"/proc/{self.container.leader}/root/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it may have ended since it was listed
                if path.read_bytes() == wanted:
                    found.append(int(path.parent.name))
        return found

    def wait_for_process(self, command: str) -> None:
        """Wait until a process with this command line lives."""
        eventually(lambda: bool(self.processes(command)), WAIT_SECONDS, f"there is a process {command!r}")

    def wipe(self) -> None:
        """Stop the service and forget everything it has: drop-ins, failures, state."""
        self.systemctl(f"stop {UNITS}")
        self.container.run(f"rm -rf {_DROP_INS} {STATE}/* {STATE}/.??*")
        self.systemctl("daemon-reload")
        self.systemctl(f"reset-failed {UNITS}", check=False)
