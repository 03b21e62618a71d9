"""Tell paths that can be looked at from those whose file system may never answer, without touching the latter.

Its other end is a server, over a network or in a process. `local/native/mounts.c` knows the same types.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

TABLE: Final = Path("/proc/self/mountinfo")
_SERVED: Final = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "fuseblk", "gfs2", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "pvfs2", "smb3", "smbfs", "virtiofs"),
    )
)
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_MOST_LINKS: Final = 40


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


def _link(path: str) -> str | None:
    try:
        return str(Path(path).readlink())
    except OSError:
        return None


def _served_points() -> frozenset[str]:
    """Return where such file systems are mounted."""
    found = set()
    for line in TABLE.read_text(errors="surrogateescape").splitlines():
        place, _, source = line.partition(" - ")
        kind = source.split(" ", 1)[0]
        if kind in _SERVED or kind.startswith("fuse."):
            found.add(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), place.split(" ")[4]))
    return frozenset(found)
