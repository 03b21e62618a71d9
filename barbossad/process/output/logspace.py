"""The files of logs as they lie on the disk: how large they are, whose they are, and removing them; blocking."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from barbossad.model.names import run_number
from barbossad.process.output import logfile

_DAY: Final = re.compile(r"\d{4,}-\d\d-\d\d")
_FILE: Final = re.compile(r"([0-9a-hjkmnp-tv-z]{10})-.+\.(log|tail)")


def days(root: Path) -> list[tuple[str, int]]:
    """Return the folders of days, the oldest first, with how much of the disk each takes."""
    try:
        names = sorted(entry.name for entry in root.iterdir() if _DAY.fullmatch(entry.name))
    except FileNotFoundError:
        return []
    return [(day, sum(_bytes(entry) for entry in _entries(root / day))) for day in names]


def runs_of(root: Path, day: str) -> dict[int, int]:
    """Return how much of the disk the files of each run of a day take, by the run's number."""
    found: defaultdict[int, int] = defaultdict(int)
    for entry in _entries(root / day):
        match = _FILE.fullmatch(entry.name)
        if match:
            found[run_number(match[1])] += _bytes(entry)
    return dict(found)


def files_of(root: Path, day: str, runs: Iterable[int]) -> list[str]:
    """Return the paths of the files of some runs of a day, relative to the folder of logs."""
    wanted = set(runs)
    matches = (_FILE.fullmatch(entry.name) for entry in _entries(root / day))
    names = {match.string for match in matches if match and run_number(match[1]) in wanted}
    return sorted(f"{day}/{Path(name).with_suffix('.log')}" for name in names)


def remove(root: Path, paths: Iterable[str]) -> int:
    """Remove logs, and the folders of days that are empty then; return how much of the disk that frees.

    What is not there is no fault. Raise OSError for what cannot be removed, when all the others are.
    """
    freed = 0
    touched: set[Path] = set()
    refused: OSError | None = None
    for path in paths:
        file = root / path
        touched.add(file.parent)
        try:
            freed += _remove(file)
        except OSError as error:
            refused = error
    for folder in touched:
        with contextlib.suppress(OSError):  # there is something in it
            folder.rmdir()
    if refused is not None:
        raise refused
    return freed


def remove_empty_day(root: Path, day: str) -> None:
    """Remove the folder of a day if nothing is in it."""
    with contextlib.suppress(OSError):
        (root / day).rmdir()


def _remove(file: Path) -> int:
    freed = 0
    with contextlib.suppress(FileNotFoundError):
        size = file.lstat().st_blocks * 512
        file.unlink()
        freed = size
    tail = logfile.tail_folder(file)
    if tail.is_dir():
        freed += sum(_bytes(entry) for entry in _entries(tail))
        shutil.rmtree(tail)
    return freed


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            yield from found
    except (FileNotFoundError, NotADirectoryError):
        return  # removed meanwhile, or nothing of ours


def _bytes(entry: os.DirEntry[str]) -> int:
    try:
        size = entry.stat(follow_symlinks=False).st_blocks * 512
        if entry.is_dir(follow_symlinks=False):
            size += sum(_bytes(inner) for inner in _entries(Path(entry.path)))
    except FileNotFoundError:
        return 0
    return size
