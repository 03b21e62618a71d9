"""Cut the power of a disk at any moment: record what a program wrote and synced, and make what could be left of it.

The program runs with ``disk.c`` preloaded. What stands on a disk after a cut is decided sector by sector: what was not
synced may be there, may be missing, may be torn. A name made or removed is certain once its folder was synced.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
_SOURCE = Path(__file__).with_name("disk.c")
_ROOT = Path(__file__).resolve().parents[2]
_RECORD = struct.Struct("=c3xIqq")
_FOLDER = 1
_CHANCES = (0.0, 0.05, 0.5, 0.95, 1.0)
"""How likely it is that a sector is lost: the same for all of one cut."""


def compiled(folder: Path) -> Path:
    """Compile the library to preload; return where it is."""
    library = folder / "disk.so"
    if not library.exists():
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        assert compiler, "the simulator is a C library and there is no C compiler (Debian: apt install gcc libc6-dev)"
        command = [compiler, "-shared", "-fPIC", "-O1", "-std=gnu11", "-Wall", "-Werror", "-o", library, _SOURCE]
        subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return library


def watching(library: Path, folder: Path, *, trace: Path | None = None, fault: Path | None = None) -> dict[str, str]:
    """Return the environment that puts a program on such a disk; ``fault`` is a file for the number of an error."""
    names = {"LD_PRELOAD": library, "DISK_FOLDER": folder, "DISK_TRACE": trace, "DISK_FAULT": fault}
    return {name: str(value) for name, value in names.items() if value is not None}


def record(library: Path, folder: Path, program: str, *arguments: str) -> list[Record]:
    """Run a module in ``folder`` (its first argument) to its end; return what it did to the disk."""
    folder.mkdir()
    trace = folder.with_suffix(".trace")
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), **watching(library, folder, trace=trace)}
    command = [sys.executable, "-m", program, str(folder), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(_records(trace.read_bytes()))


@dataclass(frozen=True, slots=True)
class Record:
    """One change of the disk. Letters: see ``disk.c``."""

    op: str
    file: int
    offset: int
    data: bytes


def _records(raw: bytes) -> Iterator[Record]:
    position = 0
    while position < len(raw):
        op, file, offset, length = _RECORD.unpack_from(raw, position)
        position += _RECORD.size
        yield Record(op.decode(), file, offset, raw[position : position + length])
        position += length


@dataclass(slots=True)
class _File:
    """A file as its program sees it and as it was at its last sync, with what differs."""

    now: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)
    sizes: list[int] = field(default_factory=list)
    """The sizes that it has had since its last sync."""

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if end > len(self.now):
            self.now.extend(bytes(end - len(self.now)))
            self.sizes.append(end)
        self.now[offset:end] = data
        self.dirty.update(range(offset // SECTOR, -(-end // SECTOR)))

    def truncate(self, size: int) -> None:
        self.now[size:] = bytes(max(0, size - len(self.now)))
        self.sizes.append(size)

    def sync(self) -> None:
        self.synced[len(self.now) :] = bytes(max(0, len(self.now) - len(self.synced)))
        for sector in self.dirty:
            piece = slice(sector * SECTOR, min((sector + 1) * SECTOR, len(self.now)))
            self.synced[piece] = self.now[piece]
        self.dirty.clear()
        self.sizes.clear()

    def left(self, chance: random.Random, lost: float) -> bytes:
        """Return what may be left of it after a cut."""
        size = chance.choice([len(self.synced), *self.sizes, len(self.now)])
        content = bytearray(self.synced[:size].ljust(size, b"\0"))
        for sector in sorted(self.dirty):
            start, end = sector * SECTOR, min((sector + 1) * SECTOR, size, len(self.now))
            luck = chance.random()
            if luck < lost or start >= end:
                continue
            if luck > 1 - 0.05 * (lost > 0):  # torn: the head of the new, the tail of the old
                end = chance.randrange(start, end)
            content[start:end] = self.now[start:end]
        return bytes(content)


class Disk:
    """A folder of files; records are applied to it one by one."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._names: dict[int, str] = {}
        self._entries: dict[str, int] = {}
        self._synced_entries: dict[str, int] = {}

    def apply(self, step: Record) -> None:
        """Do what the program did."""
        if step.op == "N":
            self._names[step.file] = step.data.decode()
            self._files[step.file] = _File()
        elif step.op == "C":
            self._entries[self._names[step.file]] = step.file
        elif step.op == "U":
            self._entries.pop(step.data.decode(), None)
        elif step.op == "W":
            self._files[step.file].write(step.offset, step.data)
        elif step.op == "T":
            self._files[step.file].truncate(step.offset)
        elif step.file == _FOLDER:
            self._synced_entries = dict(self._entries)
        else:
            self._files[step.file].sync()

    def told(self, name: str) -> str:
        """Return what a file says now, cut or not: what the program told the outside."""
        file = self._entries.get(name)
        return self._files[file].now.decode() if file is not None else ""

    def now(self, names: Sequence[str]) -> list[bytes]:
        """Return what these files hold for a program that reads them now."""
        return [bytes(self._files[self._entries[name]].now) for name in names]

    def cut(self, chance: random.Random, names: Sequence[str]) -> Mapping[str, bytes]:
        """Return what may be left of these files if the power failed now."""
        lost = chance.choice(_CHANCES)
        found = {}
        for name in names:
            entry = chance.choice([self._entries.get(name), self._synced_entries.get(name)])
            if entry is not None:
                found[name] = self._files[entry].left(chance, lost)
        return found
