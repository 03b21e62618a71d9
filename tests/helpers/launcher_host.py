# ruff: noqa: T201
"""A daemon in miniature, to be killed: ``python -m tests.helpers.launcher_host FOLDER`` runs scripts from stdin.

Each line is a shell command, launched at once. It prints ``reaper PID`` and, for each that started, ``started
RUN TASK NUMBER PID TICKS``.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from barbossad.process.launcher import Process, ProcessEnd
from barbossad.process.local.launcher import LocalLauncher
from tests.helpers.launching import make_local


class _Printing:
    def __init__(self) -> None:
        self.process: Process

    def started(self, process: Process, started_at_ms: int) -> None:
        print("started", *process.key, process.pid, process.pid_started_ticks, flush=True)  # type: ignore[attr-defined]

    def ended(self, process: Process, end: ProcessEnd) -> None:
        print("ended", *process.key, end.cause, flush=True)  # type: ignore[attr-defined]


async def _main() -> None:
    bench = make_local(Path(sys.argv[1]))
    await bench.launcher.start()
    assert isinstance(bench.launcher, LocalLauncher)
    print("reaper", bench.launcher.supervisor_pid, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        bench.launcher.launch(bench.spec(line), _Printing())
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
