"""Start one process from the reaper, with a clean inheritance; part of the reaper's program.

``os.posix_spawn`` costs no more than a C program does, because the reaper is small. What it cannot do, the reaper does
to itself: change the folder, take the tag.
"""

from __future__ import annotations

import errno
import os
import resource
import signal


class SpawnError(Exception):
    """A process could not be started: the stage that failed, the errno, the path concerned, a message."""

    def __init__(self, stage: str, number: int, path: str, message: str) -> None:
        super().__init__(stage, number, path[:1000], message[:1000])


def reset_process(nofile: int) -> None:
    """Make the caller such that its children inherit what tasks are promised: umask, limit of open files, signals."""
    os.umask(0o022)
    os.chdir("/")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = nofile if hard == resource.RLIM_INFINITY else min(nofile, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # handlers, unlike SIG_IGN, do not pass to children; the reaper itself ends by its socket alone
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, lambda *_: None)


def take_tag(tag: int) -> int:
    """Return the tag that attempts' tags count down from, 0 if a limit set by others leaves no room for it."""
    try:
        if tag:
            resource.setrlimit(resource.RLIMIT_RTTIME, (tag, tag))
    except (OSError, ValueError):
        return 0
    return tag


def spawn(argv: tuple[str, ...], env: dict[str, str], working_dir: str, stdout: int, stderr: int, *, tag: int) -> int:
    """Start a process in a session of its own and return its pid; raise SpawnError saying what failed."""
    stage, path = "working_dir", working_dir
    try:
        os.chdir(working_dir)
        stage, path = "program", argv[0] if argv else ""
        path = _find_program(path, env)
        if tag:
            resource.setrlimit(resource.RLIMIT_RTTIME, (tag, tag))
        actions = ((os.POSIX_SPAWN_DUP2, stdout, 1), (os.POSIX_SPAWN_DUP2, stderr, 2))
        return os.posix_spawn(path, argv, env, file_actions=actions, setsid=True, setsigmask=())
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
        if stage == "program" and number == errno.ENOENT and "/" in path and os.access(path, os.F_OK):
            stage = "interpreter"
        raise SpawnError(stage, number, path, str(error)) from None
    finally:
        if working_dir != "/":
            os.chdir("/")  # hold no file system that someone wants to unmount


def _find_program(name: str, env: dict[str, str]) -> str:
    """Return the file to execute for argv[0], as execvp(3) would find it with the task's PATH."""
    if "/" in name:
        return name
    denied = ""
    for folder in env.get("PATH", os.defpath).split(":"):
        path = f"{folder or '.'}/{name}"
        if not os.access(path, os.F_OK) or not os.path.isfile(path):  # noqa: PTH113 (pathlib would cost 2 MB)
            continue  # the first of both raises nothing for the many folders where it is not
        if os.access(path, os.X_OK):
            return path
        denied = denied or path
    if denied:
        raise PermissionError(errno.EACCES, "not executable", denied)
    raise FileNotFoundError(errno.ENOENT, "not on the PATH", name)
