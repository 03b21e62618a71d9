"""Watch folders, all on one descriptor of the kernel. Source: inotify(7)."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from enum import IntFlag
from typing import Final, Protocol

from inotify_simple import INotify, flags, parse_events


class Happened(IntFlag):
    """What the kernel tells of a folder and the names in it."""

    CLOSED = flags.CLOSE_WRITE
    """A file that was open for writing."""

    MOVED_FROM = flags.MOVED_FROM
    MOVED_TO = flags.MOVED_TO
    CREATED = flags.CREATE
    DELETED = flags.DELETE
    IS_FOLDER = flags.ISDIR
    """The name is, or was, that of a folder."""

    SELF_DELETED = flags.DELETE_SELF
    SELF_MOVED = flags.MOVE_SELF
    UNMOUNTED = flags.UNMOUNT


Scope = int
NAMES: Final[Scope] = int(
    Happened.CLOSED | Happened.MOVED_FROM | Happened.MOVED_TO | Happened.CREATED | Happened.DELETED
    | Happened.SELF_DELETED | Happened.SELF_MOVED
)  # fmt: skip
"""All that happens to names in a folder."""

ITSELF: Final[Scope] = int(Happened.SELF_DELETED | Happened.SELF_MOVED)
"""Only that the folder itself goes away: nobody is woken by what happens in it."""

GONE: Final = Happened.SELF_DELETED | Happened.SELF_MOVED | Happened.UNMOUNTED
_HOW: Final = int(flags.ONLYDIR | flags.EXCL_UNLINK)
"""What is closed after its name was deleted has none any more."""

_READ_BYTES: Final = 256 * 1024
_LONGEST_BYTES: Final = 16 + 256
"""One event: there may have been more to read if there was no place for so much."""


class Listener(Protocol):
    """Whoever wants to know of folders."""

    def happened(self, folder: str, name: str, what: Happened) -> None:
        """Be told of a name in a folder, empty for the folder itself. The folder is called as it was asked for."""


class Folders:
    """The folders that are watched, each for any number of listeners and once in the kernel.

    ``overflowed`` is called when events were lost, with the instant since which they may have been, in nanoseconds
    of the wall clock.
    """

    def __init__(self, now_ns: Callable[[], int], overflowed: Callable[[int], None]) -> None:
        self._now_ns = now_ns
        self._overflowed = overflowed
        self._inotify: INotify | None = None
        self._listeners: dict[str, dict[Listener, Scope]] = {}
        self._number: dict[str, int] = {}
        self._folders: dict[int, set[str]] = {}
        """Folders by their number in the kernel: one may be reached by several paths."""

        self._drained_at_ns = 0
        """When nothing was left to be read: what was lost was lost since."""

    def add(self, folder: str, listener: Listener, scope: Scope) -> None:
        """Watch a folder, or anew if another one has its name by now. Raise OSError."""
        inotify = self._opened()
        try:
            number = inotify.add_watch(folder, scope | _HOW | flags.MASK_ADD)
        except OSError as error:
            raise OSError(error.errno, error.strerror, folder) from error
        before = self._number.get(folder)
        if before is not None and before != number:
            self._part(folder, before)
        self._number[folder] = number
        self._folders.setdefault(number, set()).add(folder)
        listeners = self._listeners.setdefault(folder, {})
        wanted = listeners.get(listener, 0)
        listeners[listener] = scope
        if wanted & ~scope:
            self._lessen(number)

    def drop(self, folder: str, listener: Listener) -> None:
        """Do not tell a listener of a folder any more; it need not have been told."""
        listeners = self._listeners.get(folder, {})
        if listeners.pop(listener, None) is None:
            return
        number = self._number[folder]
        if not listeners:
            del self._listeners[folder], self._number[folder]
            self._part(folder, number)
        if number in self._folders:
            self._lessen(number)

    def drain(self) -> None:
        """Tell all that has happened by now, however much it is."""
        while self._inotify is not None and self._read():
            pass

    def close(self) -> None:
        """Watch nothing any more."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _opened(self) -> INotify:
        """Return the descriptor, which is there only when something is watched."""
        if self._inotify is None:
            self._inotify = INotify(nonblocking=True)
            self._drained_at_ns = self._now_ns()
            asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._read)
        return self._inotify

    def _part(self, folder: str, number: int) -> None:
        """Take a path from a number, and the number from the kernel if it has none left."""
        paths = self._folders.get(number)
        if paths is None:
            return
        paths.discard(folder)
        if not paths:
            del self._folders[number]
            self._remove(number)

    def _lessen(self, number: int) -> None:
        """Tell the kernel what is wanted of a folder by those who are left."""
        paths = self._folders[number]
        scope = 0
        for path in paths:
            for wanted in self._listeners[path].values():
                scope |= wanted
        path = next(iter(paths))
        try:
            found = self._opened().add_watch(path, scope | _HOW)
        except OSError:  # it is gone, which will be told
            return
        if found not in self._folders:  # another one has its name by now, which will be told too
            self._remove(found)

    def _remove(self, number: int) -> None:
        try:
            self._opened().rm_watch(number)
        except OSError as error:
            if error.errno != errno.EINVAL:  # the kernel has removed it together with the folder
                raise

    def _read(self) -> bool:
        """Tell what has happened, a piece at a time so that others get their turn; say whether there was anything."""
        inotify = self._opened()
        began_ns = self._now_ns()
        try:
            data = os.read(inotify.fileno(), _READ_BYTES)
        except BlockingIOError:
            return False
        since_ns = self._drained_at_ns
        if len(data) < _READ_BYTES - _LONGEST_BYTES:
            self._drained_at_ns = began_ns
        for number, mask, _, name in parse_events(data):
            if mask & flags.Q_OVERFLOW:
                self._overflowed(since_ns)
            elif mask & flags.IGNORED:
                self._forget(number)
            else:
                self._tell(number, name, Happened(mask))
        return True

    def _tell(self, number: int, name: str, what: Happened) -> None:
        for folder in tuple(self._folders.get(number, ())):
            for listener in tuple(self._listeners.get(folder, ())):
                listener.happened(folder, name, what)

    def _forget(self, number: int) -> None:
        """Note that the kernel watches a folder no longer; who listens there has been told why."""
        for folder in self._folders.pop(number, ()):
            if self._number.get(folder) == number:
                del self._number[folder], self._listeners[folder]


def why_not(error: OSError) -> str:
    """Return in words why a folder cannot be watched."""
    what = f"{error.filename} cannot be watched" if error.filename else "nothing more can be watched"
    limits = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}
    if error.errno in limits:
        return f"{what}: the limit of this host is reached (sysctl fs.inotify.{limits[error.errno]})"
    return f"{what}: {error.strerror}"
