"""worker: a task type with ``run``, as a whole process that does nothing else."""

from __future__ import annotations

import os
import sys

from barbossad.process.launcher import OUTPUT_LIMIT, SCRIPT
from barbossad.tasks._api import WorkerContext
from barbossad.tasks._job import Job
from barbossad.tasks._worker import ARGV
from benchmarks.floors import run_process
from benchmarks.harness import Bench, Figure, compare

CONTEXT = WorkerContext(run_id="0123456789", task_id="wait-1", attempt=1)


def run(bench: Bench) -> list[Figure]:
    """Measure a wait of no time against an isolated interpreter that imports pydantic, which all types need."""
    params = {"duration": 0.0}
    module = "barbossad.tasks.wait"
    job = Job(module=module, params=params, context=CONTEXT, search_path=(), report_limit_bytes=OUTPUT_LIMIT)
    path = bench.folder / "job"
    path.write_bytes(job.encode())
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "BARBOSSA_OUTPUT": str(bench.folder / "output")}
    ours = [str(path) if word == SCRIPT else word for word in ARGV]
    floor = [sys.executable, "-I", "-c", "import pydantic"]
    starts = compare(
        lambda: run_process(ours, environment),
        lambda: run_process(floor, environment),
        bench.samples(50, 20),
        warm_up=2,
    )
    return [starts.figure("worker", "wait: 0s as a process", bar=2.0)]
