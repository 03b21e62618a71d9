"""Wait for the end of a run without looking at it meanwhile, then say how it ended."""

from __future__ import annotations

import time
from typing import Any, Final

from barbossactl import output, report
from barbossactl.client import LOST, Client
from barbossactl.exits import CommandError, DaemonError, Exit, UnreachableError
from barbossactl.pieces import Source, Tails
from barbossactl.records import Run, piece_from

WAIT_SECONDS: Final = 3600.0
"""How long one call waits before it is made again."""

MARGIN_SECONDS: Final = 30.0
"""How much later than it said a daemon may answer that the time is up."""

TAIL_SECONDS: Final = 5.0
"""How long to read through logs for their last lines."""


def wait(client: Client, run_id: str, *, limit_seconds: float | None = None, is_whole: bool = False) -> dict[str, Any]:
    """Return the run once it has ended, through restarts of the daemon; of long loops in brief, or ``is_whole``.

    Raise ``CommandError`` with exit code 6 if it has not after ``limit_seconds``.
    """
    deadline = None if limit_seconds is None else time.monotonic() + limit_seconds
    while True:
        left = WAIT_SECONDS if deadline is None else max(0.0, min(WAIT_SECONDS, deadline - time.monotonic()))
        try:
            answer: dict[str, Any] = client.call_patiently(
                "run.wait",
                {"run_id": run_id, "timeout_seconds": left, "brief": not is_whole},
                timeout=left + MARGIN_SECONDS,
                on_loss=lambda: output.talk(f"{LOST} (Ctrl-C to leave)"),
            )
        except UnreachableError as error:
            raise out_of_sight(run_id, error) from error
        except DaemonError as error:
            if error.kind != "timed_out":
                raise
            if deadline is not None and time.monotonic() >= deadline:
                raise CommandError(
                    f"run {run_id} has not ended within {limit_seconds:g} s and goes on",
                    hint=f"look at it: barbossactl run get {run_id}",
                    exit_code=Exit.TIMED_OUT,
                ) from error
        else:
            return answer


def out_of_sight(run_id: str, error: UnreachableError) -> UnreachableError:
    """Return what to say where the daemon is lost while a run goes on: which run it is, and how to hear of its end."""
    return UnreachableError(
        f"what becomes of run {run_id} is not known: {error}",
        hint=f"once the daemon runs again: barbossactl run wait {run_id}",
        exit_code=error.exit_code,
    )


def tell(client: Client, run: Run) -> None:
    """Say on stderr how a run ended, and of a failed one which tasks failed, why, and what they printed last."""
    output.talk(report.summary(run))
    if run.state != "succeeded":
        for line in report.explain(run, _tails(client, run)):
            output.talk(line)


def _tails(client: Client, run: Run) -> Tails:
    tails = Tails()
    deadline = time.monotonic() + TAIL_SECONDS
    for task in run.failed_tasks[: report.EXPLAINED_TASKS]:
        if task.last_attempt is not None:
            _read(client, run.id, Source(task.id, task.last_attempt.number), tails, deadline)
    return tails


def _read(client: Client, run_id: str, source: Source, tails: Tails, deadline: float) -> None:
    asked: dict[str, Any] = {"run_id": run_id, "task": source.task, "attempt": source.attempt, "limit": 1000}
    while time.monotonic() < deadline:
        try:
            page = client.call("run.logs", asked)
        except (DaemonError, UnreachableError):
            return  # the report goes without the lines: that it failed is said already
        tails.add(source, [piece_from(item) for item in page["items"]])
        if page["finished"] or page["next_cursor"] in {None, asked.get("cursor")}:
            return
        asked["cursor"] = page["next_cursor"]
