"""The end of the daemon's process, when all that it does has ended."""

from __future__ import annotations

import subprocess
import sys
import time

HANGING = """
import asyncio, os
from barbossad import cli
async def main():
    pipe, _ = os.pipe()
    asyncio.get_running_loop().run_in_executor(None, os.read, pipe, 1)
cli.run_to_the_end(main(), thread_seconds=0.2)
"""


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    """What waits in a system call for ever is left behind, and that is said."""
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "a thread hangs" in done.stderr
    assert time.monotonic() - begin < 25
