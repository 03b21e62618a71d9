"""Watch files for the schedules that fire when one is created, changed or deleted.

What happens while the daemon is down is not seen: nothing of what was there is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from barbossad.clock import Clock
from barbossad.model.schedules import FileChange, FileTrigger
from barbossad.scheduler.inotify import Folders
from barbossad.scheduler.mounts import Mounts
from barbossad.scheduler.watched import Watched

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEvent:
    """Something happened to a file, and then nothing for as long as its trigger wants."""

    path: str
    """With escapes where it is no UTF-8."""

    change: FileChange
    """What became of it in all: a file that was made and then written was created; one that came and went is none."""

    at_ms: int
    """When the last of it happened."""


class FileWatcher:
    """Watches for any number of schedules, in the running event loop; ``fired`` is told of each file by itself."""

    def __init__(self, clock: Clock, fired: Callable[[str, FileEvent], None]) -> None:
        self._clock = clock
        self._fired = fired
        self._folders = Folders(clock.now_ns, self._overflowed)
        self._mounts = Mounts(self._mounted)
        self._watched: dict[str, Watched] = {}

    def watch(self, schedule_id: str, trigger: FileTrigger) -> None:
        """Watch for a schedule from now on. One that is watched for already goes on if its trigger is the same."""
        before = self._watched.get(schedule_id)
        if before is not None and before.trigger == trigger:
            return
        self.forget(schedule_id)
        self._mounts.open()
        self._watched[schedule_id] = Watched(trigger, self._folders, self._clock, partial(self._settled, schedule_id))

    def forget(self, schedule_id: str) -> None:
        """Watch no longer for a schedule, if it was watched for. What has not settled yet does not fire."""
        watched = self._watched.pop(schedule_id, None)
        if watched is not None:
            watched.close()
        if not self._watched:
            self._close()

    def trouble(self, schedule_id: str) -> str:
        """Return in words why a schedule does not see all that it should; empty if it does, or is not watched for."""
        watched = self._watched.get(schedule_id)
        return watched.trouble if watched is not None else ""

    def close(self) -> None:
        """Watch for nobody any more; what has happened by now is told, settled or not."""
        self._folders.drain()
        for watched in self._watched.values():
            watched.hurry()
        for schedule_id in tuple(self._watched):
            self.forget(schedule_id)
        self._close()

    def _close(self) -> None:
        self._folders.close()
        self._mounts.close()

    def _settled(self, schedule_id: str, path: str, change: FileChange, at_ms: int) -> None:
        if change in self._watched[schedule_id].trigger.changes:
            words = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
            self._fired(schedule_id, FileEvent(path=words, change=change, at_ms=at_ms))

    def _overflowed(self, since_ns: int) -> None:
        logger.warning(
            "More happened to files than the kernel keeps for one reader (fs.inotify.max_queued_events): all %d file "
            "triggers are looked at anew", len(self._watched), extra={"action": "file_events_lost"},
        )  # fmt: skip
        for watched in tuple(self._watched.values()):
            watched.look_again(since_ns)

    def _mounted(self) -> None:
        for watched in tuple(self._watched.values()):
            watched.mounted()
