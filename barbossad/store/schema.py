"""Bring a state file to the schema of this version, one numbered script at a time, and check it."""

from __future__ import annotations

import re
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Final

from barbossad.errors import StoreError

APPLICATION_ID: Final = 0x42415252
"""``PRAGMA application_id`` of a state file of Barbossa (the letters BARR)."""

_NAME: Final = re.compile(r"(\d{4})_\w+\.sql")
_FULL_CHECK_BYTES: Final = 256 * 1024 * 1024


def scripts() -> dict[int, str]:
    """Return the migration scripts by number; each does its own BEGIN, COMMIT and ``user_version``."""
    found: dict[int, str] = {}
    for entry in resources.files("barbossad.store").joinpath("migrations").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found[int(match[1])] = entry.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def migrate(connection: sqlite3.Connection) -> int:
    """Run every script that this file has not had; return its version."""
    known = scripts()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, script in known.items():
        if number > version:
            connection.executescript(script)
    return max(known)


def inspect(connection: sqlite3.Connection, *, path: Path) -> None:
    """Raise StoreError if the file is not Barbossa's, was made by a newer version, or is damaged.

    Writes nothing, so ``connection`` may be read-only.
    """
    try:
        _refuse_unknown(connection, path)
        verdict = _damage(connection, path.stat().st_size)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise
        verdict = str(error)
    if verdict is not None:
        raise StoreError(
            f"{path} is damaged ({verdict}); it is left as it is. "
            "Stop the daemon, move the file aside and restore a backup of it"
        )


def _refuse_unknown(connection: sqlite3.Connection, path: Path) -> None:
    newest = max(scripts())
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != APPLICATION_ID and (objects or application_id or version):
        raise StoreError(f"{path} is not a state file of Barbossa; it is left as it is. Name another state_dir")
    if version > newest:
        raise StoreError(
            f"{path} was written by a newer Barbossa (schema {version}, this one knows {newest}); "
            "it is left as it is. Start the newer version, or restore a backup made before the upgrade"
        )


def _damage(connection: sqlite3.Connection, size_bytes: int) -> str | None:
    """Return what is wrong with the file, if anything. Beyond 256 MiB indexes are not compared with their tables."""
    pragma = "integrity_check" if size_bytes <= _FULL_CHECK_BYTES else "quick_check"
    connection.execute("PRAGMA cell_size_check = ON")
    (verdict,) = connection.execute(f"PRAGMA {pragma}(1)").fetchone()
    return None if verdict == "ok" else verdict
