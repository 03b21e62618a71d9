"""The daemon's half of a type with ``run``: a worker of its own for each attempt, and the job that it is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

from pydantic import BaseModel

from barbossad.process.launcher import OUTPUT_LIMIT, SCRIPT
from barbossad.tasks._api import Command, TaskContext, WorkerContext
from barbossad.tasks._job import Job

ARGV: Final = (sys.executable, "-I", "-m", "barbossad.worker", SCRIPT)
"""Our own interpreter, isolated: neither the task's environment nor its folder decides what it imports."""


def command_of(module: str) -> Callable[[TaskContext, BaseModel], Command]:
    """Return what makes the process of a task whose type is defined in ``module``."""

    def command(ctx: TaskContext, params: BaseModel) -> Command:
        job = Job(
            module=module,
            params=params.model_dump(mode="json", by_alias=True, exclude_unset=True),
            context=WorkerContext(run_id=ctx.run_id, task_id=ctx.task_id, attempt=ctx.attempt),
            search_path=tuple(folder for folder in sys.path if os.path.isabs(folder)),  # noqa: PTH117 (they are text)
            report_limit_bytes=OUTPUT_LIMIT,
        )
        return Command(argv=ARGV, script=job.encode())

    return command
