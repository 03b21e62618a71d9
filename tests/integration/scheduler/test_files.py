"""What the watcher of files sees of a real file system."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from inotify_simple import INotify

from barbossad.clock import SystemClock
from barbossad.model.schedules import FileChange, FileTrigger
from barbossad.scheduler import settling, watched
from barbossad.scheduler.files import FileEvent, FileWatcher
from barbossad.scheduler.inotify import Folders, Happened
from barbossad.scheduler.watched import Watched
from tests.helpers import mounts
from tests.helpers.hung import hung_folder, needs_fuse
from tests.helpers.waiting import eventually_async

CREATED, CHANGED, DELETED = FileChange.CREATED, FileChange.CHANGED, FileChange.DELETED
DEBOUNCE_SECONDS = 0.05
WAIT_SECONDS = 20.0


@dataclass
class Seen:
    """A watcher, and what it has told so far."""

    folder: Path
    told: list[tuple[str, FileEvent]] = field(default_factory=list)
    watcher: FileWatcher = field(init=False)

    def __post_init__(self) -> None:
        self.watcher = FileWatcher(SystemClock(), lambda schedule, event: self.told.append((schedule, event)))

    def watch(self, path: Path | None = None, *, schedule: str = "w/file-1", debounce: float = DEBOUNCE_SECONDS,
              changes: tuple[FileChange, ...] = tuple(FileChange), pattern: str = "*",
              is_recursive: bool = False) -> None:  # fmt: skip
        self.watcher.watch(schedule, FileTrigger(
            path=str(path or self.folder), pattern=pattern, changes=changes, is_recursive=is_recursive,
            debounce_seconds=debounce,
        ))  # fmt: skip

    @property
    def trouble(self) -> str:
        return self.watcher.trouble("w/file-1")

    def changes(self) -> list[tuple[str, FileChange]]:
        """What was told, by the paths within the folder."""
        return [(os.path.relpath(event.path, self.folder), event.change) for _, event in self.told]

    async def all_in_all(self, *expected: tuple[str, FileChange]) -> None:
        """Wait until so much has been told, and until what comes after that would have been; compare."""
        await eventually_async(
            lambda: len(self.told) >= len(expected), WAIT_SECONDS, f"{expected} are told of, not {self.told}"
        )
        await self.nothing_more()
        assert Counter(self.changes()) == Counter(expected)

    async def nothing_more(self) -> None:
        """Wait until a file that comes now has been told of by a trigger that is no quicker than the others."""
        marks = FileWatcher(SystemClock(), lambda *_: told.set())
        told = asyncio.Event()
        beside = self.folder.parent / f"mark-{random.random()}"
        beside.mkdir()
        marks.watch("mark", FileTrigger(path=str(beside), debounce_seconds=3 * DEBOUNCE_SECONDS))
        (beside / "mark").write_text("")
        async with asyncio.timeout(WAIT_SECONDS):
            await told.wait()
        marks.close()


@pytest.fixture
async def seen(tmp_path: Path) -> AsyncIterator[Seen]:
    folder = tmp_path / "in"
    folder.mkdir()
    seen = Seen(folder)
    yield seen
    seen.watcher.close()


async def the_loop_has_read() -> None:
    """Let the watcher read what the kernel has for it."""
    for _ in range(3):
        await asyncio.sleep(0)


# What happened to a file


async def test_a_file_is_created_changed_and_deleted(seen: Seen) -> None:
    """Each is told once, with the path, and when it was; what was there before is no news."""
    (seen.folder / "old").write_text("there")
    seen.watch()
    before_ms = SystemClock().now_ms()
    (seen.folder / "new").write_text("1")
    (seen.folder / "old").write_text("2")
    await seen.all_in_all(("new", CREATED), ("old", CHANGED))
    (seen.folder / "new").unlink()
    await seen.all_in_all(("new", CREATED), ("old", CHANGED), ("new", DELETED))
    schedule, event = seen.told[0]
    assert schedule == "w/file-1"
    assert before_ms <= event.at_ms <= SystemClock().now_ms()
    assert seen.trouble == ""


def replaced(path: Path) -> None:
    path.with_name(".draft").write_text("new")
    path.with_name(".draft").rename(path)


def removed_and_made(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_text("again")


def made_and_removed(path: Path) -> None:
    path.write_text("for a moment")
    path.unlink()


def written_thrice(path: Path) -> None:
    for text in "abc":
        path.write_text(text)


def linked(path: Path) -> None:
    path.unlink(missing_ok=True)
    beside = path.parent.parent / "elsewhere"
    beside.write_text("")
    path.hardlink_to(beside)


def pointed(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")


def deleted_while_open(path: Path) -> None:
    with path.open("w") as file:
        path.unlink()
        file.write("nobody will see it")


@pytest.mark.parametrize(
    ("act", "when_new", "when_there"),
    [
        (replaced, CREATED, CHANGED),
        (removed_and_made, CREATED, CHANGED),
        (made_and_removed, None, DELETED),
        (written_thrice, CREATED, CHANGED),
        (linked, CREATED, CHANGED),
        (pointed, CREATED, CHANGED),
        (os.mkfifo, CREATED, None),
        (deleted_while_open, None, DELETED),
    ],
)
@pytest.mark.parametrize("is_there", [False, True])
async def test_what_becomes_of_a_file_in_all(
    seen: Seen, act: Callable[[Path], None], when_new: FileChange | None, when_there: FileChange | None, *,
    is_there: bool,
) -> None:  # fmt: skip
    """It is told by what it was before and what it is when nothing happens any more, however many steps that took."""
    path = seen.folder / "name"
    if is_there:
        if act is os.mkfifo:
            return
        path.write_text("old")
    seen.watch(pattern="name")
    act(path)
    expected = when_there if is_there else when_new
    await seen.nothing_more()
    assert seen.changes() == ([("name", expected)] if expected else [])


async def test_a_file_is_created_when_it_is_closed(seen: Seen) -> None:
    """While it is written it is no news, however long that takes; then it is created, not changed."""
    seen.watch()
    with (seen.folder / "upload").open("w") as file:
        for text in "slow":
            file.write(text)
            file.flush()
            await seen.nothing_more()
        assert seen.told == []
    await seen.all_in_all(("upload", CREATED))


async def test_a_new_file_that_stays_open(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told when nothing was written for a minute: some files, such as logs, are closed by no one."""
    monkeypatch.setattr(settling, "QUIET_SECONDS", 1.5)
    seen.watch()
    writes = 'exec 3>"$0/log"; for i in $(seq 40); do echo x >&3; sleep 0.05; done; echo done; read wait'
    async with writer(writes, seen.folder) as has_written:
        await has_written()
        assert seen.told == []
        await seen.all_in_all(("log", CREATED))


async def test_a_file_that_comes_while_its_folder_is_listed(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is created then, though it was found there: the folder is watched before it is listed."""
    listed = os.scandir

    def a_little_later(path: str) -> os.ScandirIterator[str]:  # type: ignore[name-defined]
        (seen.folder / "new").write_text("")
        return listed(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", a_little_later)
        seen.watch()
    await seen.all_in_all(("new", CREATED))


async def test_debounce_begins_anew_with_each_event(seen: Seen) -> None:
    """A file that is written again and again is told once, when it is left alone."""
    seen.watch(debounce=1.5)
    writes = 'for i in $(seq 40); do echo x >"$0/busy"; sleep 0.05; done; echo done; read wait'
    async with writer(writes, seen.folder) as has_written:
        await has_written()
        assert seen.told == []
        await seen.all_in_all(("busy", CREATED))


@asynccontextmanager
async def writer(script: str, folder: Path) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Run a script that writes at a pace of its own, says so when it is done, and stays until it is dismissed."""
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", script, str(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    out = process.stdout

    async def has_written() -> None:
        assert await out.readline() == b"done\n"

    yield has_written
    process.stdin.close()
    await process.wait()


@pytest.mark.parametrize("changes", [(CREATED,), (CHANGED,), (DELETED,)])
async def test_only_what_was_asked_for(seen: Seen, changes: tuple[FileChange, ...]) -> None:
    """Changes and names that a trigger does not want are not told, and folders are no files."""
    (seen.folder / "b.csv").write_text("")
    (seen.folder / "c.csv").write_text("")
    seen.watch(pattern="*.csv", changes=changes)
    (seen.folder / "a.csv").write_text("")
    (seen.folder / "b.csv").write_text("")
    (seen.folder / "c.csv").unlink()
    (seen.folder / "a.CSV").write_text("")
    (seen.folder / "d.csv").mkdir()
    (seen.folder / "d.csv" / "below.csv").write_text("")
    await seen.all_in_all(*(item for item in [("a.csv", CREATED), ("b.csv", CHANGED), ("c.csv", DELETED)]
                            if item[1] in changes))  # fmt: skip


async def test_a_name_that_is_no_text(seen: Seen) -> None:
    """Bytes that are no UTF-8 are told as escapes, so that what is told can be written down."""
    seen.watch()
    Path(os.fsdecode(os.fsencode(seen.folder) + b"/caf\xe9")).write_text("")
    await seen.all_in_all(("caf\\xe9", CREATED))
    assert seen.told[0][1].path.encode()


# Many


async def test_a_burst(seen: Seen) -> None:
    """Of a thousand files each is told once, whether it is written or moved there."""
    seen.watch()
    for number in range(1000):
        path = seen.folder / f"{number}"
        if number % 2:
            path.write_text("x")
        else:
            beside = seen.folder.parent / "draft"
            beside.write_text("x")
            beside.rename(path)
    await seen.all_in_all(*((f"{number}", CREATED) for number in range(1000)))


async def test_thousands_of_paths_need_one_descriptor(seen: Seen) -> None:
    """What is open does not grow with what is watched, and what is let go is let go in the kernel too."""
    folders = [seen.folder / f"{number}" for number in range(2000)]
    for number, folder in enumerate(folders):
        folder.mkdir()
        seen.watch(folder, schedule=f"w/{number}")
    links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert links.count("anon_inode:inotify") == 1
    (folders[1234] / "x").write_text("")
    await seen.all_in_all(("1234/x", CREATED))
    assert seen.told[0][0] == "w/1234"
    for number in range(1, 2000):
        seen.watcher.forget(f"w/{number}")
    assert kernel_watches() == 1 + len(seen.folder.parents) + 1
    seen.watcher.forget("w/0")
    assert kernel_watches() == 0


def kernel_watches() -> int:
    """How many folders the kernel watches for this process."""
    return len(kernel_masks())


def kernel_masks() -> list[int]:
    """What of them it watches for, see proc_pid_fdinfo(5)."""
    found: list[int] = []
    for path in Path("/proc/self/fdinfo").iterdir():
        with suppress(OSError):  # the one that lists the folder
            found += [int(mask, 16) for mask in re.findall(r"^inotify .* mask:(\w+)", path.read_text(), re.MULTILINE)]
    return found


async def test_what_happens_above_wakes_nobody(seen: Seen) -> None:
    """Of folders that only lead to the one that is watched, which may be busy, the kernel tells nothing but their end.

    Those in which the folder was waited for meanwhile are no exception.
    """
    folder = seen.folder / "a" / "b"
    seen.watch(folder)
    assert sum(bool(mask & Happened.CREATED) for mask in kernel_masks()) == 1
    folder.mkdir(parents=True)
    (folder / "f").write_text("")
    await seen.all_in_all(("a/b/f", CREATED))
    masks = kernel_masks()
    assert len(masks) == len(folder.parents) + 1
    assert sum(bool(mask & Happened.CREATED) for mask in masks) == 1
    assert all(mask & Happened.SELF_MOVED for mask in masks)


async def test_several_schedules_on_one_folder(seen: Seen) -> None:
    """Each is told by its own wishes, by whatever path it reaches the folder, and stays when another goes."""
    alias = seen.folder.parent / "alias"
    alias.symlink_to(seen.folder)
    seen.watch(schedule="w/all")
    seen.watch(schedule="w/text", pattern="*.txt")
    seen.watch(alias, schedule="w/alias")
    seen.watch(seen.folder / "one.txt", schedule="w/one")
    (seen.folder / "one.txt").write_text("")
    (seen.folder / "two").write_text("")
    await seen.nothing_more()
    told = Counter((schedule, Path(event.path).name) for schedule, event in seen.told)
    assert told == Counter([
        ("w/all", "one.txt"), ("w/all", "two"), ("w/text", "one.txt"), ("w/alias", "one.txt"), ("w/alias", "two"),
        ("w/one", "one.txt"),
    ])  # fmt: skip
    assert all(event.path.startswith(str(alias)) == (schedule == "w/alias") for schedule, event in seen.told)
    seen.told.clear()
    seen.watcher.forget("w/all")
    seen.watcher.forget("w/alias")
    (seen.folder / "one.txt").write_text("")
    await seen.nothing_more()
    assert {schedule for schedule, _ in seen.told} == {"w/text", "w/one"}


async def test_watching_again(seen: Seen) -> None:
    """With the same trigger nothing is lost that has not settled; with another one it begins anew."""
    seen.watch()
    (seen.folder / "a").write_text("")
    await the_loop_has_read()
    seen.watch()
    await seen.all_in_all(("a", CREATED))
    seen.told.clear()
    (seen.folder / "b").write_text("")
    await the_loop_has_read()
    seen.watch(pattern="c")
    (seen.folder / "c").write_text("")
    await seen.all_in_all(("c", CREATED))


async def test_who_is_told_may_forget(seen: Seen) -> None:
    """A schedule that is disabled by the first of many files hears of no other."""
    told: list[str] = []

    def once(schedule: str, event: FileEvent) -> None:
        told.append(event.path)
        watcher.forget(schedule)

    watcher = FileWatcher(SystemClock(), once)
    watcher.watch("w/x", FileTrigger(path=str(seen.folder), debounce_seconds=DEBOUNCE_SECONDS))
    for name in "abc":
        (seen.folder / name).write_text("")
    await eventually_async(lambda: bool(told), WAIT_SECONDS, "a file is told of")
    await seen.nothing_more()
    assert len(told) == 1
    watcher.close()


# Folders below


async def test_folders_below(seen: Seen) -> None:
    """With ``recursive`` a new folder is watched at once, and what came into it before is seen."""
    (seen.folder / "there").mkdir()
    seen.watch(is_recursive=True, pattern="*.csv")
    (seen.folder / "there" / "a.csv").write_text("")
    deep = seen.folder / "x" / "y" / "z"
    deep.mkdir(parents=True)
    (deep / "b.csv").write_text("")
    await seen.all_in_all(("there/a.csv", CREATED), ("x/y/z/b.csv", CREATED))
    (deep / "b.csv").write_text("more")
    shutil.rmtree(seen.folder / "there")
    await seen.all_in_all(("there/a.csv", CREATED), ("x/y/z/b.csv", CREATED), ("x/y/z/b.csv", CHANGED),
                          ("there/a.csv", DELETED))  # fmt: skip


async def test_no_file_is_lost_in_new_folders(seen: Seen) -> None:
    """Another process makes folders and files in them as fast as it can: each file is created, once."""
    seen.watch(is_recursive=True, debounce=0.3)
    script = 'for i in $(seq 300); do mkdir -p "$0/$i/a/b"; echo x >"$0/$i/f"; echo x >"$0/$i/a/b/g"; done'
    maker = await asyncio.create_subprocess_exec("/bin/sh", "-c", script, str(seen.folder))
    assert await maker.wait() == 0
    await seen.all_in_all(*((f"{number}/{name}", CREATED) for number in range(1, 301) for name in ("f", "a/b/g")))


async def test_a_folder_that_is_moved(seen: Seen) -> None:
    """Its files are created where it comes in, deleted where it goes out, and seen where it is by then."""
    outside = seen.folder.parent / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub" / "f").write_text("")
    (seen.folder / "moves").mkdir()
    (seen.folder / "moves" / "g").write_text("")
    seen.watch(is_recursive=True)
    outside.rename(seen.folder / "inside")
    (seen.folder / "moves").rename(seen.folder / "moved")
    expected = [("inside/sub/f", CREATED), ("moves/g", DELETED), ("moved/g", CREATED)]
    await seen.all_in_all(*expected)
    (seen.folder / "moved" / "g").write_text("changed")
    (seen.folder / "inside").rename(outside)
    expected += [("moved/g", CHANGED), ("inside/sub/f", DELETED)]
    await seen.all_in_all(*expected)
    (outside / "sub" / "h").write_text("nobody watches here any more")
    await seen.all_in_all(*expected)
    assert kernel_watches() == 1 + len(seen.folder.parents) + 1


# What is not there


async def test_a_single_file(seen: Seen) -> None:
    """It is watched by its name, so that an editor may replace it; what else is in its folder does not matter."""
    path = seen.folder / "settings"
    path.write_text("1")
    seen.watch(path, pattern="*.never")
    assert seen.trouble == ""
    replaced(path)
    (seen.folder / "other").write_text("")
    await seen.all_in_all(("settings", CHANGED))
    path.unlink()
    await seen.all_in_all(("settings", CHANGED), ("settings", DELETED))
    assert seen.trouble == f"{path} is not there; it is waited for in {seen.folder}"
    path.write_text("2")
    await seen.all_in_all(("settings", CHANGED), ("settings", DELETED), ("settings", CREATED))
    assert seen.trouble == ""


@pytest.mark.parametrize("missing", ["a", "a/b/c"])
async def test_a_folder_that_comes_later(seen: Seen, missing: str) -> None:
    """That it is missing is said in words; when it comes, what is in it is created, and it is watched."""
    folder = seen.folder / missing
    seen.watch(folder)
    assert seen.trouble == f"{folder} is not there; it is waited for in {seen.folder}"
    folder.mkdir(parents=True)
    (folder / "x").write_text("")
    await seen.all_in_all((f"{missing}/x", CREATED))
    assert seen.trouble == ""
    (folder / "y").write_text("")
    await seen.all_in_all((f"{missing}/x", CREATED), (f"{missing}/y", CREATED))


async def test_a_file_that_comes_later_with_its_folder(seen: Seen) -> None:
    """Whether the path is a folder's or a file's shows when it is there."""
    path = seen.folder / "a" / "b"
    seen.watch(path)
    path.parent.mkdir()
    path.write_text("")
    await seen.all_in_all(("a/b", CREATED))
    path.unlink()
    path.mkdir()
    (path / "c").write_text("")
    await seen.all_in_all(("a/b", CREATED), ("a/b", DELETED), ("a/b/c", CREATED))
    assert seen.trouble == ""


@pytest.mark.parametrize("level", [0, 1])
async def test_a_folder_that_goes_and_comes_back(seen: Seen, level: int) -> None:
    """Moved away, itself or one above it: that is trouble, but no news of each file; back again, what is new is."""
    folder = seen.folder / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "old").write_text("")
    (folder / "lost").write_text("")
    seen.watch(folder)
    moves = [folder, *folder.parents][level]
    away = seen.folder / "away"
    moves.rename(away)
    await eventually_async(lambda: "is not there" in seen.trouble, WAIT_SECONDS, "it is missed")
    inside = away if level == 0 else away / "b"
    (inside / "new").write_text("")
    (inside / "lost").unlink()
    await seen.nothing_more()
    assert seen.told == []
    away.rename(moves)
    await seen.all_in_all(("a/b/new", CREATED), ("a/b/lost", DELETED))
    assert seen.trouble == ""
    (folder / "more").write_text("")
    await seen.all_in_all(("a/b/new", CREATED), ("a/b/lost", DELETED), ("a/b/more", CREATED))


async def test_a_folder_that_is_removed_and_made_anew(seen: Seen) -> None:
    """Its files are deleted, and those of the new one created, also if that was too quick to be seen."""
    folder = seen.folder / "sub"
    folder.mkdir()
    (folder / "f").write_text("")
    seen.watch(folder)
    shutil.rmtree(folder)
    await seen.all_in_all(("sub/f", DELETED))
    assert "is not there" in seen.trouble
    folder.mkdir()
    (folder / "f").write_text("")
    await seen.all_in_all(("sub/f", DELETED), ("sub/f", CREATED))
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "g").write_text("")
    await seen.all_in_all(("sub/f", DELETED), ("sub/f", CREATED), ("sub/f", DELETED), ("sub/g", CREATED))
    (folder / "h").write_text("")
    await eventually_async(lambda: ("sub/h", CREATED) in seen.changes(), WAIT_SECONDS, "the new folder is watched")


async def test_what_leads_to_a_new_folder_is_watched(seen: Seen) -> None:
    """Those above it may go away like those above the first one."""
    folder = seen.folder / "sub"
    folder.mkdir()
    seen.watch(folder)
    folder.rmdir()
    await eventually_async(lambda: "is not there" in seen.trouble, WAIT_SECONDS, "it is missed")
    folder.mkdir()
    await eventually_async(lambda: seen.trouble == "", WAIT_SECONDS, "it is watched")
    seen.folder.rename(seen.folder.with_name("out"))
    await eventually_async(lambda: "is not there" in seen.trouble, WAIT_SECONDS, "it is missed again")


async def test_a_folder_that_comes_just_before_it_is_waited_for(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was looked for before the one above it was watched, so nobody told of it: it is looked for again."""
    folder = seen.folder / "sub"
    add = Folders.add

    def late(self: Folders, path: str, listener: Watched, scope: int) -> None:
        folder.mkdir(exist_ok=True)
        add(self, path, listener, scope)

    with monkeypatch.context() as patch:
        patch.setattr(Folders, "add", late)
        seen.watch(folder)
    assert seen.trouble == ""
    (folder / "f").write_text("")
    await seen.all_in_all(("sub/f", CREATED))


async def test_a_link_that_is_pointed_elsewhere(seen: Seen) -> None:
    """The folder that the path leads to now is the one that is watched."""
    for name in ("v1", "v2"):
        (seen.folder / name).mkdir()
        (seen.folder / name / name).write_text("")
    link = seen.folder / "current"
    link.symlink_to("v1")
    seen.watch(link)
    (seen.folder / "next").symlink_to("v2")
    (seen.folder / "next").rename(link)
    await seen.all_in_all(("current/v2", CREATED), ("current/v1", DELETED))
    (seen.folder / "v1" / "x").write_text("")
    (seen.folder / "v2" / "y").write_text("")
    await seen.all_in_all(("current/v2", CREATED), ("current/v1", DELETED), ("current/y", CREATED))


async def test_a_mounted_file_system(seen: Seen) -> None:
    """What is mounted on the folder is watched when it comes; what went with it is not deleted, nor created again."""
    (seen.folder / "beneath").write_text("")
    with mounts.tmpfs(seen.folder.parent / "disk", "1m") as disk:
        (disk / "f").write_text("")
        seen.watch()
        with mounts.bound(disk, seen.folder):
            await seen.all_in_all(("f", CREATED))
            (seen.folder / "g").write_text("")
            await seen.all_in_all(("f", CREATED), ("g", CREATED))
        await seen.nothing_more()
        with mounts.bound(disk, seen.folder):
            (seen.folder / "h").write_text("")
            await seen.all_in_all(("f", CREATED), ("g", CREATED), ("h", CREATED))


# When it is too much


async def test_events_that_the_kernel_dropped(seen: Seen, caplog: pytest.LogCaptureFixture) -> None:
    """When more happens than the kernel keeps, all is looked at: nothing is lost, and it is told."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for name in ("changes", "goes", "stays"):
        (seen.folder / name).write_text("")
        os.utime(seen.folder / name, (1, 1))
    noise = seen.folder / "noise"
    noise.mkdir()
    seen.watch(is_recursive=True, pattern="[!0-9]*")
    await seen.nothing_more()
    for number in range(most // 2):  # the loop does not run meanwhile
        (noise / f"{number}").touch()
    (seen.folder / "comes").write_text("")
    (seen.folder / "changes").write_text("")
    (seen.folder / "goes").unlink()
    (seen.folder / "sub").mkdir()
    (seen.folder / "sub" / "f").write_text("")
    expected = [("comes", CREATED), ("changes", CHANGED), ("goes", DELETED), ("sub/f", CREATED)]
    await eventually_async(lambda: len(seen.told) >= 4, WAIT_SECONDS, "what was dropped is found")
    assert "max_queued_events" in caplog.text
    changes = Counter(seen.changes())
    del changes["stays", CHANGED]  # its inode was touched a moment before
    assert changes == Counter(expected)
    (seen.folder / "sub" / "g").write_text("")
    await eventually_async(lambda: ("sub/g", CREATED) in seen.changes(), WAIT_SECONDS, "the new folder is watched")


async def test_a_limit_of_the_host(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel watches no more, the trigger says which setting of the host that is, and tries again."""
    monkeypatch.setattr(watched, "RETRY_SECONDS", 0.05)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (seen.folder / "old").write_text("")
    with monkeypatch.context() as patch:
        patch.setattr("barbossad.scheduler.inotify.INotify.add_watch", full)
        seen.watch()
        assert seen.trouble.endswith("the limit of this host is reached (sysctl fs.inotify.max_user_watches)")
    await eventually_async(lambda: seen.trouble == "", WAIT_SECONDS, "it is watched")
    (seen.folder / "f").write_text("")
    await seen.all_in_all(("f", CREATED))


async def test_a_limit_of_the_host_that_is_reached_on_the_way(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in a folder that could not be watched at first is not taken for new when it can."""
    monkeypatch.setattr(watched, "RETRY_SECONDS", 0.05)
    for name in ("a", "b"):
        (seen.folder / name / "deep").mkdir(parents=True)
        (seen.folder / name / "deep" / "old").write_text("")
    real = INotify.add_watch

    def full_below(self: INotify, path: str, mask: int) -> int:
        if str(path).startswith(str(seen.folder / "a")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(real(self, path, mask))

    with monkeypatch.context() as patch:
        patch.setattr("barbossad.scheduler.inotify.INotify.add_watch", full_below)
        seen.watch(is_recursive=True)
        assert seen.trouble.startswith(str(seen.folder / "a"))
    (seen.folder / "b" / "deep" / "new").write_text("")
    await eventually_async(lambda: seen.trouble == "", WAIT_SECONDS, "all is watched")
    (seen.folder / "a" / "deep" / "new").write_text("")
    await seen.all_in_all(("a/deep/new", CREATED), ("b/deep/new", CREATED))


# -- a file system that does not answer -----------------------------------------------------------------------


@needs_fuse
async def test_one_that_never_answers(seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it, it is told as the trigger's trouble, and when it is gone what is beneath is watched."""
    monkeypatch.setattr(watched, "ANSWER_SECONDS", 0.5)
    with hung_folder(tmp_path / "hung") as folder:
        beside = tmp_path / "beside"
        beside.mkdir()
        seen.watch(folder / "inbox")
        seen.watch(beside, schedule="w/file-2")
        await eventually_async(lambda: "does not answer" in seen.trouble, WAIT_SECONDS, "the trouble is told")
        (beside / "f").write_text("1")
        await eventually_async(lambda: bool(seen.told), WAIT_SECONDS, "another is told of")
    await eventually_async(lambda: "is not there" in seen.trouble, WAIT_SECONDS, "it answers by being gone")
    (folder / "inbox").mkdir()
    await eventually_async(lambda: not seen.trouble, WAIT_SECONDS, "it is watched")
    (folder / "inbox" / "g").write_text("2")
    await eventually_async(lambda: len(seen.told) == 2, WAIT_SECONDS, "it is told of")


@needs_fuse
async def test_one_that_never_answers_and_is_forgotten(seen: Seen, tmp_path: Path) -> None:
    """Its answer, when it comes in the end, is nobody's."""
    with hung_folder(tmp_path / "hung") as folder:
        seen.watch(folder)
        seen.watcher.forget("w/file-1")
    await asyncio.sleep(0.1)
    assert seen.trouble == ""
    assert seen.told == []
