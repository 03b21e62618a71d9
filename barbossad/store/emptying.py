"""Empty the log of the state file into the file, without waiting for who reads it."""

from __future__ import annotations

import sqlite3


def checkpoint(connection: sqlite3.Connection) -> bool:
    """Bring the log into the file and cut it off, as far as no reader needs it; return whether it is empty then.

    Nobody is waited for.
    """
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    wait_for_locks(connection, 0)
    try:
        (is_kept_back, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_kept_back
    finally:
        wait_for_locks(connection, patience / 1000)


def wait_for_locks(connection: sqlite3.Connection, seconds: float) -> None:
    """Have the next transactions wait so long for a lock that another process may hold on the file."""
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")
