"""What one file trigger watches: its folder, those below it, and those above it, which may go away.

Whether the path is that of a folder or of a file shows when it is there. Until then, and for a file always, the
folder above it is watched, or the nearest that exists.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from barbossad.clock import Clock
from barbossad.model.schedules import FileChange, FileTrigger
from barbossad.process import mounts
from barbossad.scheduler.answering import Question
from barbossad.scheduler.inotify import GONE, ITSELF, NAMES, Folders, Happened, why_not
from barbossad.scheduler.mounts import why_unseen
from barbossad.scheduler.settling import Settling

_AWAY: Final = Happened.DELETED | Happened.MOVED_FROM
_HERE: Final = Happened.CREATED | Happened.MOVED_TO
RETRY_SECONDS: Final = 60.0
"""What the kernel has refused is tried again so often: that it would do it now is told by nobody."""

ANSWER_SECONDS: Final = 5.0
"""How long a file system may take to answer before it is told that it does not."""

_TRIES: Final = 10
_COARSE_NS: Final = 20_000_000
"""How far the time of a file may be behind the clock: the kernel takes that of its last tick."""

logger = logging.getLogger(__name__)


class Watched:
    """The files of one trigger. ``told`` is called as by ``Settling``, for all changes."""

    def __init__(
        self, trigger: FileTrigger, folders: Folders, clock: Clock, told: Callable[[str, FileChange, int], None]
    ) -> None:
        self.trigger = trigger
        self.trouble = ""
        """Why it does not see all that it should, in words."""

        self._path = "/" + os.path.normpath(trigger.path).strip("/")
        self._folders = folders
        self._settling = Settling(clock, trigger.debounce_seconds, told)
        self._is_folder = False
        self._chain: dict[str, str] = {}
        """The folders above what is watched, each with the name in it that leads there."""

        self._names: dict[str, set[str]] = {}
        """The names of files that were there, by folder. Kept while the path leads nowhere."""

        self._unseen = {"/"}
        """Below these nothing was seen so far, so what is found there was there all along."""

        self._held: set[str] = set()
        self._question = Question(self._path, self._answered)
        self._asked_since_ns: int | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._place = ("", 0, 0)
        """How far the path leads, and which folder of which device that is."""

        self._device = 0
        """Of the folder, when it was there last: another file system may be mounted on it."""

        self._look()

    def look_again(self, since_ns: int) -> None:
        """Find out what is there now, after news since that instant may have been missed."""
        self._settling.no_longer_open()
        self._look(since_ns)

    def mounted(self) -> None:
        """Find out whether the path leads elsewhere, after something was mounted or unmounted."""
        if mounts.may_wait(self._path) or _place(_nearest(self._path)) != self._place:
            self._look()

    def hurry(self) -> None:
        """Tell now what waits to be told."""
        self._settling.hurry()

    def close(self) -> None:
        """Watch nothing any more, and tell nothing."""
        self._settling.close()
        self._question.close()
        for timer in (self._retry, self._patience):
            if timer is not None:
                timer.cancel()
        self._release(tuple(self._held))

    def happened(self, folder: str, name: str, what: Happened) -> None:
        """See ``inotify.Listener``."""
        if not name:
            if what & GONE and (folder in self._chain or folder == self._path):
                self._look()
        elif folder in self._chain:
            if name == self._chain[folder]:
                self._above(folder, name, what)
        elif folder not in self._names:  # it was let go a moment ago
            return
        elif not what & Happened.IS_FOLDER:
            self._file(folder, name, what)
        elif self.trigger.is_recursive:
            self._below(_join(folder, name), what)

    # Above: what leads there

    def _above(self, folder: str, name: str, what: Happened) -> None:
        """Heed what happened to a name on the way to what is watched."""
        is_file = _join(folder, name) == self._path and not self._is_folder
        if not is_file or what & Happened.IS_FOLDER or mounts.may_wait(self._path) or _is_folder(self._path):
            self._look()
        else:
            self._file(folder, name, what)
            self.trouble = "" if self._names[folder] else self._why_missing(folder)

    def _look(self, since_ns: int | None = None) -> None:
        """Watch what is there now, and note what is otherwise than it was; in a moment where it may keep us waiting."""
        if not mounts.may_wait(self._path):
            self._look_now(since_ns)
            return
        known = [instant for instant in (self._asked_since_ns, since_ns) if instant is not None]
        self._asked_since_ns = min(known, default=None)
        if self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._waits)
        self._question.ask()

    def _waits(self) -> None:
        self.trouble = f"the file system of {self._path} does not answer; it is watched when it does"
        logger.warning("A file trigger waits: %s", self.trouble, extra={"action": "file_trigger_waits"})

    def _answered(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        since_ns, self._asked_since_ns = self._asked_since_ns, None
        self._look_now(since_ns)

    def _look_now(self, since_ns: int | None) -> None:
        before, self.trouble = self.trouble, ""
        unseen, self._unseen = self._unseen, set()
        try:
            base = self._lead()
        except OSError as error:
            self._refused(error)
            self._unseen = unseen
        else:
            self._place = _place(base)
            self._is_folder = base == self._path
            if self._is_folder:
                self._compare(dict(self._walk(base)), since_ns, unseen)
            elif base == os.path.dirname(self._path) and os.path.lexists(self._path):  # noqa: PTH120 (text, often)
                self._compare({base: {os.path.basename(self._path)}}, since_ns, unseen)  # noqa: PTH119
            else:
                self._leave(base)
            self.trouble = why_unseen(self._path) or self.trouble
        if self.trouble != before:
            if self.trouble:
                logger.warning("A file trigger waits: %s", self.trouble, extra={"action": "file_trigger_waits"})
            else:
                logger.info("%s is watched", self._path, extra={"action": "file_trigger_watches"})

    def _refused(self, error: OSError) -> None:
        self.trouble = why_not(error)
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._look)

    def _lead(self) -> str:
        """Watch all that leads to the path, and return how far that goes. Raise OSError if it cannot be."""
        for _ in range(_TRIES):  # whatever goes on there goes on to be told
            base = _nearest(self._path)
            chain = _chain(self._path, base)
            try:
                for folder, name in chain.items():
                    self._hold_above(folder, name, base)
                if base == self._path:
                    self._hold(base, NAMES)
            except (FileNotFoundError, NotADirectoryError):  # it went since it was looked at
                continue
            if _nearest(self._path) == base:  # and nothing came before it was watched
                break
        stays = {*chain, base, *(self._names if base == self._path else ())}
        self._release(tuple(self._held - stays))
        self._chain = chain
        return base

    def _hold_above(self, folder: str, name: str, base: str) -> None:
        """Watch a folder on the way: all names where the next one is missing or may be pointed elsewhere."""
        is_turn = folder == base or os.path.islink(_join(folder, name))  # noqa: PTH114 (text)
        try:
            self._hold(folder, NAMES if is_turn else ITSELF)
        except PermissionError:  # one may pass through a folder that one may not read
            if folder == base:
                raise

    def _leave(self, base: str) -> None:
        """Note that the path leads nowhere. That a folder went is no news of each of its files."""
        parent, name = os.path.split(self._path)
        if base == parent and self._names.get(parent) == {name}:
            self._settling.seen(self._path, was_there=True, is_there=False)
            self._names.clear()
        if base == parent:
            self._names.setdefault(parent, set())
        self.trouble = self._why_missing(base)

    def _why_missing(self, base: str) -> str:
        try:
            Path(self._path).stat()
        except PermissionError:
            return f"{self._path} may not be looked at by Barbossa"
        except OSError:
            pass
        return f"{self._path} is not there; it is waited for in {base}"

    # Below: folders and the files in them

    def _walk(self, top: str) -> Iterator[tuple[str, set[str]]]:
        """Watch a folder, and with ``recursive`` those below it, and yield each with the names of its files.

        Each is watched before it is listed, so what comes meanwhile is seen twice rather than never.
        """
        pending = [top]
        while pending:
            folder = pending.pop()
            names = set()
            try:
                self._hold(folder, NAMES)
                with os.scandir(folder) as items:
                    for item in items:
                        if not item.is_dir(follow_symlinks=False):
                            names.add(item.name)
                        elif self.trigger.is_recursive:
                            pending.append(item.path)
            except (FileNotFoundError, NotADirectoryError):  # it went meanwhile
                continue
            except OSError as error:
                self._refused(error)
                self._unseen.add(folder)
                continue
            yield folder, {name for name in names if fnmatchcase(name, self.trigger.pattern)}

    def _compare(self, found: Mapping[str, set[str]], since_ns: int | None, unseen: Set[str]) -> None:
        """Note what is otherwise than it was known to be."""
        before, self._names = self._names, dict(found)
        is_elsewhere = self._is_on_another_device()
        for folder, names in found.items():
            known = before.get(folder, names if _is_below(folder, unseen) else set())
            for name in names - known:
                self._settling.seen(_join(folder, name), was_there=False, is_there=True)
            for name in names & known:
                if since_ns is not None and _changed_since(_join(folder, name), since_ns):
                    self._settling.seen(_join(folder, name), was_there=True, is_there=True)
        for folder, names in before.items():
            if is_elsewhere or _is_below(folder, self._unseen):  # what was mounted may come back as it was
                self._names[folder] = found.get(folder, set()) | names
                continue
            for name in names - found.get(folder, set()):
                self._settling.seen(_join(folder, name), was_there=True, is_there=False)
            if folder not in found and folder not in self._chain:
                self._release([folder])

    def _is_on_another_device(self) -> bool:
        if not self._is_folder:
            return False
        before, self._device = self._device, self._place[1]
        return before not in {0, self._device}

    def _below(self, path: str, what: Happened) -> None:
        """Heed what happened to a folder within."""
        if what & _HERE:
            for folder, names in self._walk(path):
                known = self._names.setdefault(folder, set())
                for name in names - known:
                    self._settling.seen(_join(folder, name), was_there=False, is_there=True)
                known |= names
            return
        gone = [path]  # one that is deleted was empty
        if what & Happened.MOVED_FROM:
            gone += [folder for folder in self._names if folder.startswith(f"{path}/")]
        for folder in gone:
            for name in self._names.pop(folder, ()):
                self._settling.seen(_join(folder, name), was_there=True, is_there=False)
        self._release(gone)

    def _file(self, folder: str, name: str, what: Happened) -> None:
        """Heed what happened to a file."""
        if self._is_folder and not fnmatchcase(name, self.trigger.pattern):
            return
        path, names = _join(folder, name), self._names[folder]
        is_new = bool(what & Happened.CREATED)  # then it was not there, whatever is known
        was_there = name in names and not is_new
        if what & _AWAY:
            names.discard(name)
            self._settling.seen(path, was_there=was_there, is_there=False)
        else:
            names.add(name)
            self._settling.seen(path, was_there=was_there, is_there=True, is_open=is_new and _will_be_closed(path))

    def _hold(self, folder: str, scope: int) -> None:
        self._folders.add(folder, self, scope)
        self._held.add(folder)

    def _release(self, folders: Iterable[str]) -> None:
        for folder in folders:
            self._folders.drop(folder, self)
            self._held.discard(folder)


def _join(folder: str, name: str) -> str:
    return f"{folder}{name}" if folder == "/" else f"{folder}/{name}"


def _is_below(folder: str, others: Iterable[str]) -> bool:
    """Say whether a folder is one of others, or below one."""
    return any(other in {"/", folder} or folder.startswith(f"{other}/") for other in others)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except OSError:
        return False


def _nearest(path: str) -> str:
    """Return the folder of that path, or the nearest above it that exists."""
    while path != "/" and not _is_folder(path):
        path = path.rpartition("/")[0] or "/"
    return path


def _place(folder: str) -> tuple[str, int, int]:
    """Return a path with what the kernel calls the folder by now."""
    try:
        status = Path(folder).stat()
    except OSError:  # it went, which will be told
        return folder, 0, 0
    return folder, status.st_dev, status.st_ino


def _chain(path: str, base: str) -> dict[str, str]:
    """Return each folder above a path, up to ``base``, with the name in it that leads on."""
    chain = {}
    while path != "/":
        parent, _, name = path.rpartition("/")
        path = parent or "/"
        if path in {base, "/"} or base.startswith(f"{path}/"):
            chain[path] = name
    return chain


def _changed_since(path: str, since_ns: int) -> bool:
    """Say whether a file, or what has its name, changed since then; a rename shows in the second of its times."""
    try:
        status = Path(path).lstat()
    except OSError:  # it went meanwhile, which will be told
        return False
    return max(status.st_mtime_ns, status.st_ctime_ns) >= since_ns - _COARSE_NS


def _will_be_closed(path: str) -> bool:
    """Say whether a new name is that of a file which was opened for it: no link and nothing but a plain file."""
    try:
        status = Path(path).lstat()
    except OSError:  # it is gone, which will be told
        return True
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1
