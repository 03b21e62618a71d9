"""Start systemd-nspawn so that it works with and without a systemd on this host, and leaves nothing behind.

On a host that systemd runs, nspawn asks it for a scope. Where PID 1 is something else (a virtual machine of a CI),
nothing keeps two containers apart: each then gets control groups of its own, removed when it is gone.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_REQUIRED = ("systemd-nspawn", "debootstrap", "nsenter", "setpriv")
_SHUTDOWN_SECONDS = 20.0
_PREFIX = "barbossa-test-"
# Join the control groups, then become nspawn, which is told to end when this test process ends, in whatever way.
_ENTER = 'for group in $GROUPS_OF_ITS_OWN; do echo $$ >"$group/cgroup.procs"; done; exec "$@"'
_WRAPPER = ("setpriv", "--pdeathsig", "TERM", "/bin/sh", "-ec", _ENTER, "sh")


def why_not() -> str | None:
    """Return why this host cannot boot the container, or None if it can."""
    if os.geteuid() != 0:
        return "the systemd ring boots a container, which only root may"
    missing = [name for name in _REQUIRED if shutil.which(name) is None]
    if missing:
        return f"the systemd ring needs {', '.join(missing)} (Debian: systemd-container debootstrap util-linux)"
    return None


@contextmanager
def launched(
    root: Path, options: list[str], output: IO[str], disk: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run nspawn on `root` until the block ends; what is written to the root goes to memory and is gone with it.

    Or it goes to `disk`, a folder, and is there again the next time.
    """
    name = f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    groups = [] if Path("/run/systemd/system").is_dir() else _make_groups(name)
    command = ["systemd-nspawn", "--quiet", "--register=no", f"--machine={name}"]
    command += [f"--directory={root}", "--volatile=overlay"] if disk is None else [f"--directory={disk / 'root'}"]
    command += [*(["--keep-unit"] if groups else []), *options]
    if disk is not None:
        command = [*_on_disk(root, disk), *command]
    environment = {**os.environ, "SYSTEMD_NSPAWN_LOCK": "0", "GROUPS_OF_ITS_OWN": " ".join(map(str, groups))}
    if any((group / "cgroup.subtree_control").exists() for group in groups):
        environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"
    process = subprocess.Popen(
        [*_WRAPPER, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
    )
    try:
        yield process
    finally:
        _end(process)
        for group in groups:
            _remove(group)


def _on_disk(root: Path, disk: Path) -> list[str]:
    """Return what calls a command that finds `root` at `disk`/root, where it may write; others see nothing there."""
    for name in ("root", "written", "work"):
        (disk / name).mkdir(exist_ok=True)
    layers = f"lowerdir={root},upperdir={disk / 'written'},workdir={disk / 'work'}"
    mount = 'mount -t overlay -o "$0" overlay "$1"; shift; exec "$@"'
    return ["unshare", "--mount", "/bin/sh", "-ec", mount, layers, str(disk / "root")]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have the container shut down in good order (that is what nspawn makes of SIGTERM), or end it anyway."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_SHUTDOWN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _make_groups(name: str) -> list[Path]:
    """Make a control group in each hierarchy by which systemd tracks processes (cgroup2, or its own in version 1)."""
    groups = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            _remove_orphans(Path(where))
            groups.append(Path(where) / name)
            groups[-1].mkdir()
    return groups


def _remove_orphans(hierarchy: Path) -> None:
    """Remove the groups of test processes that were killed before they could do it themselves."""
    for group in hierarchy.glob(f"{_PREFIX}*"):
        owner = group.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group and those in it, the innermost first; what is still alive in one is killed."""
    for folder, _, _ in os.walk(group, topdown=False):
        kill = Path(folder, "cgroup.kill")
        with suppress(OSError):  # a process of it is still ending; the next session takes the group away, or just did
            if kill.exists():
                kill.write_text("1")
            Path(folder).rmdir()
