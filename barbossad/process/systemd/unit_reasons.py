"""Find out why systemd could not start a task: what its exit status leaves open, as far as the daemon can see it.

Most tasks have a /tmp and a /var/tmp of their own, and so has the daemon's unit: it does not see the host's.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from barbossad.model.isolation import SandboxProfile
from barbossad.process import mounts, profiles
from barbossad.process.launcher import LaunchSpec
from barbossad.process.raw_properties import value_of

FOLDER, PROGRAM, GROUP, USER, FILE_SYSTEM = 200, 203, 216, 217, 226
"""Exit statuses of systemd's own whose cause can be looked for; see systemd.exec(5)."""

_LONGEST_ARGUMENT: Final = 128 * 1024
_LONGEST_ALL: Final = 2 * 1024 * 1024
"""What execve(2) takes, with the usual limit of the stack."""

_MISSING: Final = "it does not exist"
_SAYS: Final = {
    (FOLDER, errno.ENOENT): _MISSING,
    (FOLDER, errno.ENOTDIR): "it is not a directory",
    (FOLDER, errno.EACCES): "it may not be entered by this user",
    (PROGRAM, errno.ENOENT): "it, or the interpreter named in its first line, does not exist",
    (PROGRAM, errno.EACCES): "it is not executable (chmod +x), or not for this user",
    (PROGRAM, errno.ENOEXEC): "it is not a program: a script needs a first line such as #!/bin/sh",
}
_OTHERWISE: Final = {
    FOLDER: "it may not be entered by this user",
    PROGRAM: "it is not a program that this user may execute: a script needs a first line such as #!/bin/sh",
}
_INACCESSIBLE: Final = "InaccessiblePaths"
_JOURNAL: Final = f"{profiles.SYSTEMD_FOLDER}/journal"


def detail(status: int, spec: LaunchSpec, error_number: int = 0) -> str:
    """Return the reason for an exit status of systemd's; ``error_number`` is what it says itself, 0 if nothing."""
    found = established(status, spec)
    if found is not None:
        return found
    said = _SAYS.get((status, error_number)) or (os.strerror(error_number) if error_number else "")
    unseen = next((path for path in _paths(status, spec) if not _is_seen(path)), None)
    if unseen is not None:
        return said or f"it may lie in {_temporary(unseen)}, which the daemon does not see: does it exist?"
    return _otherwise(status, spec) or said or "systemd could not do it"


def hides_journal(spec: LaunchSpec) -> bool:
    """Say whether a process that cannot be set up may be unable to tell the journal so."""
    return any(key == _INACCESSIBLE and _holds(path, _JOURNAL) for path, key in _listed(spec))


def established(status: int, spec: LaunchSpec) -> str | None:
    """Return the reason for an exit status of systemd's if it can be seen from here, None if nothing is amiss."""
    look = _LOOK.get(status)
    return look(spec) if look is not None else None


def _paths(status: int, spec: LaunchSpec) -> Sequence[Path]:
    """Return where what an exit status is about is looked for, as far as the task sees anything there."""
    if status == FOLDER:
        return (Path(spec.working_dir),)
    if status != PROGRAM or not spec.argv:
        return ()
    name = spec.argv[0]
    if "/" in name:
        return (Path(spec.working_dir, name),)
    found = (Path(folder, name) for folder in spec.env.get("PATH", "").split(":") if folder.startswith("/"))
    return [path for path in found if not _hidden(path, spec)]


def _folder_of(path: Path, folders: Sequence[str]) -> str | None:
    """Return in which of some folders a path lies."""
    places = (os.path.normpath(path), os.path.realpath(path))
    return next((folder for folder in folders for place in places if place.startswith(f"{folder}/")), None)


def _temporary(path: Path) -> str | None:
    """Return which of the folders that are not the same for everybody a path lies in."""
    return _folder_of(path, profiles.TEMPORARY)


def _is_seen(path: Path) -> bool:
    """Say whether what lies at a path is the host's for the daemon too."""
    folder = _temporary(path)
    return folder is None or mounts.private_tmp(folder) is None


def _hidden(path: Path, spec: LaunchSpec) -> str | None:
    """Return why a task cannot see what lies at a path of the host; None if it can, or nothing is known."""
    folder = _folder_of(path, profiles.own_folders(spec.isolation))
    if folder is None:
        return None
    profile, is_dynamic = profiles.profile_of(spec.isolation), spec.isolation.run_as.is_dynamic
    who = "a user of its own" if profile is SandboxProfile.NONE else f"the profile {profile}"
    mend = "put it elsewhere" if is_dynamic else "put it elsewhere, or let the task say 'sandbox: none'"
    return f"{who} hides it: the task is given a {folder} of its own; {mend}"


def _listed(spec: LaunchSpec) -> Iterator[tuple[str, str]]:
    """Yield the paths of which a task's view of the file system is made, as written, and which key names them."""
    sandbox = spec.isolation.sandbox
    yield from ((path, "writable") for path in sandbox.writable)
    for name in (*sorted(profiles.SHOWING), _INACCESSIBLE):
        if name in sandbox.properties:
            yield from ((path, name) for path in value_of(name, sandbox.properties[name])[1])


def _otherwise(status: int, spec: LaunchSpec) -> str | None:
    """Return what an exit status most likely means where nothing is seen to be amiss."""
    if status != FILE_SYSTEM:
        return _OTHERWISE.get(status)
    keys = [repr(key) for key in dict.fromkeys(key for _, key in _listed(spec))]
    return f"does each path under {' and '.join(keys)} exist for the task?" if keys else None


def _of_file_system(spec: LaunchSpec) -> str | None:
    return next(filter(None, (_of_listed(path, key, spec) for path, key in _listed(spec))), None)


def _of_listed(text: str, key: str, spec: LaunchSpec) -> str | None:
    path = Path(text.lstrip("-+"))
    if key == _INACCESSIBLE and _holds(text, profiles.SYSTEMD_FOLDER):
        return f"{str(path)!r} is under {key!r}, and systemd needs what it has in {profiles.SYSTEMD_FOLDER} to make it"
    if text.startswith("-"):
        return None  # it need not be there
    hidden = _hidden(path, spec)
    if hidden or not _is_seen(path):
        return hidden and f"{str(path)!r} is under {key!r}, and {hidden}"
    missing = f"{str(path)!r}, which is under {key!r}, does not exist"
    return _first_true((lambda: not path.exists(), missing))


def _holds(path: str, other: str) -> bool:
    """Say whether a path that a task names leads to another one, or to a folder above it."""
    place = profiles.place_of(path)
    return f"{other}/".startswith(f"{place.rstrip('/')}/")


def _of_folder(spec: LaunchSpec) -> str | None:
    folder = Path(spec.working_dir)
    hidden = _hidden(folder, spec)
    if hidden or not _is_seen(folder):
        return hidden
    return _first_true(
        (lambda: not folder.exists(), _MISSING),
        (lambda: not folder.is_dir(), "it is not a directory"),
    )


def _of_program(spec: LaunchSpec) -> str | None:
    if too_long := _too_long(spec):
        return too_long
    paths = _paths(PROGRAM, spec)
    if not spec.argv or "/" not in spec.argv[0]:
        return _of_name(paths)
    return _hidden(paths[0], spec) or (_of_file(paths[0]) if _is_seen(paths[0]) else None)


def _too_long(spec: LaunchSpec) -> str | None:
    if any(len(word.encode()) >= _LONGEST_ARGUMENT for word in (*spec.argv, *spec.env.values())):
        return "one argument or variable is too long (128 KiB at most)"
    if sum(len(word.encode()) + 9 for word in (*spec.argv, *spec.env, *spec.env.values())) > _LONGEST_ALL:
        return "the argument list and the environment are too long together"
    return None


def _of_name(paths: Sequence[Path]) -> str | None:
    """Return what is amiss with a program that is sought at some paths."""
    if not all(map(_is_seen, paths)):
        return None
    name, folders = paths[0].name if paths else "", os.pathsep.join(str(path.parent) for path in paths)
    found = shutil.which(name, path=folders) or shutil.which(name, mode=os.F_OK, path=folders)
    return _of_file(Path(found)) if found else "there is no such program on the task's PATH"


def _of_file(path: Path) -> str | None:
    return _first_true(
        (lambda: not path.exists(), _MISSING),
        (path.is_dir, "it is a directory, and so not executable"),
        (lambda: not path.stat().st_mode & 0o111, "it is not executable (chmod +x)"),
        (lambda: _interpreter_is_missing(path), "the interpreter named in its first line does not exist"),
    )


def _interpreter_is_missing(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(256)
    words = first[2:].split()
    return first.startswith(b"#!") and bool(words) and not Path(words[0].decode(errors="replace")).exists()


def _of_user(spec: LaunchSpec) -> str | None:
    return _of_account(pwd.getpwnam, spec.isolation.run_as.user)


def _of_group(spec: LaunchSpec) -> str | None:
    return _of_account(grp.getgrnam, spec.isolation.run_as.group)


def _of_account(look_up: Callable[[str], object], name: str | None) -> str | None:
    try:
        if name and not name.isdecimal():
            look_up(name)
    except KeyError:
        return "there is no such account"
    return None


def _first_true(*reasons: tuple[Callable[[], bool], str]) -> str | None:
    """Return the first reason that holds; None if none does, or none can be looked for."""
    for holds, reason in reasons:
        try:
            if holds():
                return reason
        except OSError:
            return None
    return None


_LOOK: Final[Mapping[int, Callable[[LaunchSpec], str | None]]] = {
    FOLDER: _of_folder,
    PROGRAM: _of_program,
    USER: _of_user,
    GROUP: _of_group,
    FILE_SYSTEM: _of_file_system,
}
