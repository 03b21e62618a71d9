"""Let one daemon own a state folder: a second one is refused, with the pid of the first."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from barbossad.errors import AlreadyRunningError, StoreError


@contextlib.contextmanager
def own(state_dir: Path) -> Iterator[None]:
    """Hold the lock of ``state_dir``.

    Raise AlreadyRunningError if a live process holds it, StoreError if the file cannot be made. The lock is the
    kernel's (flock(2)): it is gone with its process, so it can never be stale.
    """
    path = state_dir / "barbossad.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(f"cannot lock {path}: {error.strerror}; is this the right user?") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise AlreadyRunningError(
                f"another barbossad (pid {pid}) owns {state_dir}; "
                "stop it first, or name another folder (state_dir in the config)"
            ) from None
        with contextlib.suppress(OSError):  # a full disk; whose the lock is matters more than whose it says to be
            os.ftruncate(descriptor, os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0))
        yield
    finally:
        os.close(descriptor)
