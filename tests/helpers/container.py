"""A small Debian with a real systemd as PID 1, booted for the tests and gone without a trace after them.

It has no network and starts from a clean root each time: what is written goes to an overlay in memory. The checkout
lies in it, read-only, at `/src`, and the dependencies' wheels at `/wheels`, which pip finds by its environment.
"""

import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import container_image, nspawn
from tests.helpers.waiting import eventually

_BOOT_SECONDS = 180.0
_SOURCE_FILES = (
    "Makefile", "pyproject.toml", "setup.cfg", "setup.py", "README.md", "LICENSE", "barbossad", "barbossactl",
    "workflow_templates", "packaging", "docs", "tests",
)  # fmt: skip
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "LANG": "C.UTF-8"}


class CommandError(AssertionError):
    """A command in the container ended otherwise than the test needs; the message is what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A running container; its commands are run from the outside, in all its namespaces.

    `leader` is the process id, on the host, of the container's PID 1.
    """

    leader: int

    def run(
        self, command: str, *, user: str = "root", check: bool = True, stdin: str = "", timeout_seconds: float = 180.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell as `user` and wait for its end; with `check`, a status other than 0 raises."""
        done = subprocess.run(
            self._command(command, user),
            input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout_seconds, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise CommandError(f"{command!r} as {user} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def start(self, command: str, *, user: str = "root", stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a line of shell as `user` without waiting for it; its output is readable from the process returned."""
        return subprocess.Popen(
            self._command(command, user),
            stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip

    def write(self, path: str, text: str) -> None:
        """Write a file, making its folder."""
        quoted = shlex.quote(path)
        self.run(f'mkdir -p "$(dirname {quoted})" && cat >{quoted}', stdin=text)

    def property(self, unit: str, name: str) -> str:
        """Return one property of a unit, as systemd prints it."""
        return self.run(f"systemctl show --property={name} --value {unit}").stdout.strip()

    def journal(self, unit: str) -> str:
        """Return what the unit, and systemd about it, has logged so far."""
        self.run("journalctl --sync")
        return self.run(f"journalctl --unit={unit} --output=cat --no-pager").stdout

    def _command(self, command: str, user: str) -> list[str]:
        home = "/root" if user == "root" else f"/home/{user}"
        environment = {**_ENVIRONMENT, "PATH": _PATH, "HOME": home, "USER": user, "LOGNAME": user}
        settings = [f"{name}={value}" for name, value in environment.items()]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        enter = ["nsenter", f"--target={self.leader}", "--all", f"--wd=/proc/{self.leader}/root{home}"]
        return [*enter, *become, "env", "-i", *settings, "/bin/sh", "-c", command]


@contextmanager
def booted(binds: Mapping[Path, str] | None = None, disk: Path | None = None) -> Iterator[Container]:
    """Boot a container and wait until all its units have started; shut it down at the end of the block.

    `binds` are folders of this host, by where they lie in the container: what is written there is not in memory.
    `disk` is a folder for all else that is written but in /run and /tmp; a container that boots from it finds it again.
    """
    image = container_image.prepare()
    options = ["--boot", "--console=passive", "--private-network", f"--bind-ro={image.wheels}:/wheels"]
    options += [f"--bind-ro={path}:/src/{path.name}" for path in _source_files()]
    options += [f"--bind={folder}:{path}" for folder, path in (binds or {}).items()]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as console,
        nspawn.launched(image.root, options, console, disk) as process,
    ):
        try:
            eventually(lambda: _leader(process) is not None, _BOOT_SECONDS, "the container has a PID 1")
            container = Container(leader=_leader(process) or 0)
            eventually(lambda: _has_booted(container), _BOOT_SECONDS, "the container has booted")
        except AssertionError as error:
            console.seek(0)
            raise AssertionError(f"{error}\nThe container said:\n{console.read()[-4000:]}") from error
        yield container


def _source_files() -> list[Path]:
    """Return what a clone of the repository has at its top level, without what tools have made there since."""
    paths = [container_image.REPOSITORY / name for name in _SOURCE_FILES]
    return [path for path in paths if path.exists()]


def _leader(process: subprocess.Popen[bytes]) -> int | None:
    """Return the process id of the container's PID 1, once nspawn has one."""
    if process.poll() is not None:
        raise AssertionError(f"systemd-nspawn ended at once, with status {process.returncode}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return next((int(child) for child in children if _comm(child) == "systemd"), None)


def _comm(pid: str) -> str | None:
    """Return the name of a process; none if it has gone, as nspawn's own helpers do while it starts."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _has_booted(container: Container) -> bool:
    state = container.run("systemctl is-system-running", check=False).stdout.strip()
    if state == "degraded":
        raise AssertionError(container.run("systemctl --failed --no-pager", check=False).stdout)
    return state == "running"
