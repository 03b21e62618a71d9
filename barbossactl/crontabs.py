"""Find the crontab that is meant: a file, stdin, or that of a user."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from barbossactl import params
from barbossactl.exits import CommandError, Exit

_SYSTEM: Final = re.compile(r"/etc/crontab|/etc/cron\.d/[^/]+")
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*\$?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crontab:
    """A crontab, whose it is, and what it is called."""

    text: str
    name: str
    user: str | None
    is_system: bool


def read(source: str, *, user: str | None, is_system: bool | None) -> Crontab:
    """Return the crontab that ``source`` names: a file, ``-`` for stdin, or a user if there is no such file.

    ``is_system`` says whether its lines name users; None: where that is usual. Raise ``CommandError``.
    """
    if source == "-" or "/" in source or Path(source).exists():
        path = source if source == "-" else os.path.abspath(source)  # noqa: PTH100 (links are to keep their names)
        of_system = bool(_SYSTEM.fullmatch(path)) and user is None if is_system is None else is_system
        if of_system and user is not None:
            raise CommandError(
                "--system and --user contradict each other: each line of a system's crontab names its user",
                exit_code=Exit.USAGE,
            )
        name = "stdin" if source == "-" else path
        return Crontab(text=params.read_text(source), name=name, user=user, is_system=of_system)
    if is_system or user is not None:
        raise CommandError(f"there is no file {source!r}", exit_code=Exit.USAGE)
    return Crontab(text=_of_user(source), name=f"the crontab of {source}", user=source, is_system=False)


def _of_user(user: str) -> str:
    if not _USER.fullmatch(user) or not _is_known(user):
        raise CommandError(f"there is neither a file nor a user {user!r}", exit_code=Exit.USAGE)
    is_own = os.geteuid() != 0 and pwd.getpwuid(os.geteuid()).pw_name == user
    command = ["crontab", "-l"] if is_own else ["crontab", "-l", "-u", user]  # only root may say -u
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise CommandError(
            f"cannot read the crontab of {user}: {command[0]}: {error.strerror or error}",
            hint="where cron is not installed, give the file: barbossactl import cron FILE",
        ) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"it ended with {done.returncode}"
        raise CommandError(f"cannot read the crontab of {user}: {said}")
    try:
        return done.stdout.decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"the crontab of {user} is not UTF-8 (byte {error.start})") from error


def _is_known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
