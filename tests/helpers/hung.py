"""A file system that never answers: whoever touches it waits until it is killed, or until it is gone."""

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_DETACH = 2  # MNT_DETACH, umount2(2)
_CATATONIC = 0x9362  # AUTOFS_IOC_CATATONIC, linux/auto_fs.h: whoever waits goes on with an error

needs_fuse = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="only root mounts, where there is FUSE"
)


@contextmanager
def hung_folder(folder: Path) -> Iterator[Path]:
    """Mount one at a folder, which is made."""
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
        if libc.mount(b"hung", os.fsencode(folder), b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), "mount")
        try:
            yield folder
        finally:
            libc.umount2(os.fsencode(folder), _DETACH)
    finally:
        os.close(device)


@contextmanager
def hung_automount(folder: Path) -> Iterator[Path]:
    """Have the kernel ask at a folder, which is made, for something to be mounted, and nobody hear it (autofs)."""
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    options = f"fd={theirs},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct".encode()
    failed = libc.mount(b"hung", os.fsencode(folder), b"autofs", 0, options)
    number = ctypes.get_errno()
    os.close(theirs)
    try:
        if failed:
            raise OSError(number, "mount")
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # this process group is the one that would mount it
        try:
            yield folder
        finally:
            fcntl.ioctl(root, _CATATONIC)
            os.close(root)
            libc.umount2(os.fsencode(folder), _DETACH)
    finally:
        os.close(ours)
