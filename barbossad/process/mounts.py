"""What the kernel's table of mounts tells of a path: whether it may never answer, and whether it will be there later.

A file system may never answer whose other end is a server, over a network or in a process, or which waits for another
to be mounted (autofs); it is not touched to find
that out. `local/native/mounts.c` knows the same types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TABLE: Final = Path("/proc/self/mountinfo")
_SERVED: Final = frozenset(
    (
        *("9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "fuse", "fuseblk", "gfs2", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "pvfs2", "smb3", "smbfs", "virtiofs"),
    )
)
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_MOST_LINKS: Final = 40
_PRIVATE: Final = "/systemd-private-"
"""In the place where systemd keeps what a service with ``PrivateTmp=`` sees as one of ``TEMPORARY``."""

TEMPORARY: Final = ("/tmp", "/var/tmp")  # noqa: S108 (named, not used)
"""The folders that are not the same for everybody."""


def may_wait(path: str, working_dir: str = "/") -> bool:
    """Say whether somebody who looks at what lies at a path may have to wait for ever."""
    points = _served_points()
    if not points:
        return False
    left = f"{working_dir}/{path}".split("/") if not path.startswith("/") else path.split("/")
    left.reverse()
    at, links = "", 0
    while left:
        name = left.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            at = at.rpartition("/")[0]
            continue
        at = f"{at}/{name}"
        if at in points:
            return True
        target = _link(at)
        if target is None:
            continue
        links += 1
        if links > _MOST_LINKS:
            return False  # which leads nowhere
        at = "" if target.startswith("/") else at.rpartition("/")[0]
        left += reversed(target.split("/"))
    return False


def private_tmp(path: str) -> str | None:
    """Return which of ``TEMPORARY`` a path is in by its letters, if systemd made that for this service alone.

    Nobody else sees what lies there, and it goes when the service stops. Source: systemd.exec(5), ``PrivateTmp=``.
    """
    folder = next((folder for folder in TEMPORARY if f"{path}/".startswith(f"{folder}/")), None)
    is_own = folder is not None and any(point == folder and _PRIVATE in root for point, root, _ in _table())
    return folder if is_own else None


def _link(path: str) -> str | None:
    try:
        return str(Path(path).readlink())
    except OSError:
        return None


def _served_points() -> frozenset[str]:
    """Return where such file systems are mounted."""
    return frozenset(point for point, _, kind in _table() if kind in _SERVED or kind.startswith("fuse."))


def _table() -> Iterator[tuple[str, str, str]]:
    """Yield of each mount its point, which folder of its file system is there, and the type of that; the top last."""
    for line in TABLE.read_text(errors="surrogateescape").splitlines():
        place, _, source = line.partition(" - ")
        root, point = place.split(" ")[3:5]
        yield _unescaped(point), _unescaped(root), source.split(" ", 1)[0]


def _unescaped(path: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), path)
