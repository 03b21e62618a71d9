"""What a sandbox profile is made of with bubblewrap (bwrap(1)): which mounts, namespaces and capabilities."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from barbossad.model.isolation import Sandbox, SandboxProfile
from barbossad.process.in_force import has_network
from barbossad.process.mounts import TEMPORARY
from barbossad.process.profiles import SHOWN, SYSTEMD_FOLDER, place_of

SOCKETS: Final = ("run/dbus", "run/systemd", "run/initctl", "run/user/*/bus", "run/user/*/systemd")
"""Through which a process could have another do what it may not do itself; below / .

Folders where that is possible: what is mounted over a socket is gone when the socket is made anew.
"""

KERNEL_READ_ONLY: Final = (
    *("/sys", "/proc/sys", "/proc/sysrq-trigger", "/proc/acpi", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/mtrr"),
)
KERNEL_HIDDEN: Final = ("/proc/kcore", "/proc/kmsg", "/dev/kmsg", "/dev/mem", "/dev/port")


DROPPED_IN_STANDARD: Final = (*("CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_WAKE_ALARM", "CAP_SYSLOG"),)
"""What loads modules, sets the clock, reads the kernel's log, and goes to the hardware past the kernel."""

KEPT_IN_STRICT: Final = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID"),
    *("CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"),
)
"""What root needs to be root among files and users, and nothing that undoes a mount or reaches another process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a profile shows of the file system, for one attempt."""

    sandbox: Sandbox
    own: tuple[str, ...] = ()
    """The daemon's folders and sockets: hidden from every task."""

    files: tuple[tuple[str, str], ...] = ()
    """What the attempt needs beneath hidden folders: ``--bind`` or ``--ro-bind``, and the path."""

    @property
    def is_strict(self) -> bool:
        """Whether nothing may be written but what was declared."""
        return self.sandbox.profile is SandboxProfile.STRICT

    @property
    def empty_folders(self) -> tuple[str, ...]:
        """The folders that the attempt finds empty."""
        return (*TEMPORARY, *(("/run",) if self.is_strict else ()))

    def hides(self, path: str) -> bool:
        """Say whether what lies at an absolute path of the host cannot be seen."""
        real = os.path.realpath(path)
        if is_beneath(real, self.own):
            return True
        return is_beneath(real, self.empty_folders) and not is_beneath(real, self.sandbox.writable)


def arguments(view: View, working_dir: str, *, is_root: bool) -> list[str]:
    """Return the options of bwrap that make the view, and its namespaces; ``is_root`` says who starts it.

    Later mounts cover earlier ones: the host, what is taken away, what is given back, the daemon's own.
    """
    profile = view.sandbox.profile
    options = _namespaces(view)
    if profile in {None, SandboxProfile.NONE}:
        options += ("--dev-bind", "/", "/")
        return [*options, "--chdir", working_dir]
    options += ("--ro-bind", "/", "/", "--dev", "/dev") if view.is_strict else ("--dev-bind", "/", "/")
    if view.is_strict:
        options += ("--proc", "/proc")
    for path in KERNEL_READ_ONLY:
        options += ("--ro-bind-try", path, path)
    for folder in view.empty_folders:
        options += ("--perms", "1777" if folder in TEMPORARY else "0755", "--tmpfs", folder)
    if view.is_strict and has_network(view.sandbox):
        options += _resolver()
    for path in view.sandbox.writable:
        options += (*_way_to(path, view), "--bind", path, path)
    options += _hidden(view)
    if is_root:
        options += _capabilities(view)
    return [*options, "--chdir", working_dir]


def _namespaces(view: View) -> list[str]:
    options = [] if has_network(view.sandbox) else ["--unshare-net"]
    if view.is_strict:
        options += ("--unshare-pid", "--unshare-ipc", "--unshare-uts")
    return options


def _hidden(view: View) -> list[str]:
    """Return what covers sockets, the kernel's memory and the daemon's folders, and shows the attempt its own files."""
    covered = [path for path in KERNEL_HIDDEN if not (view.is_strict and path.startswith("/dev/"))]
    hosts = [place_of(path) for path in view.sandbox.writable] if view.is_strict else ["/"]
    sockets = (str(path) for pattern in SOCKETS for path in Path("/").glob(pattern))
    covered += [path for path in sockets if is_beneath(path, hosts) or any(is_beneath(one, [path]) for one in hosts)]
    options: list[str] = []
    for path in (*covered, *view.own):
        if Path(path).is_dir():
            options += ("--perms", "0755", "--tmpfs", path)
        elif Path(path).exists():
            options += ("--ro-bind", "/dev/null", path)
    if SYSTEMD_FOLDER in covered:
        for folder in (f"{SYSTEMD_FOLDER}/{name}" for name in SHOWN):
            options += ("--bind-try" if is_beneath(folder, hosts) else "--ro-bind-try", folder, folder)
    for how, path in view.files:
        options += (*_way_to(path, view), how, path, path)
    return options


def _way_to(path: str, view: View) -> tuple[str, ...]:
    """Return what makes the folder of a path where that is not there; bwrap itself would close it to other users."""
    parent = str(Path(path).parent)
    return ("--perms", "0755", "--dir", parent) if is_beneath(parent, (*view.empty_folders, *view.own)) else ()


def _capabilities(view: View) -> list[str]:
    if not view.is_strict:
        return [word for name in DROPPED_IN_STANDARD for word in ("--cap-drop", name)]
    return ["--cap-drop", "ALL", *(word for name in KEPT_IN_STRICT for word in ("--cap-add", name))]


def _resolver() -> list[str]:
    """Return what shows the file with the name servers, where that lies beneath /run."""
    path = os.path.realpath("/etc/resolv.conf")
    return ["--ro-bind-try", path, path] if is_beneath(path, ("/run",)) else []


def is_beneath(path: str, folders: Sequence[str]) -> bool:
    """Say whether a path is one of ``folders`` or lies in one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
