"""What the tasks of runs print: read from a cursor on, and wait for more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from barbossad.errors import NotFoundError
from barbossad.model.names import RunId, TaskId
from barbossad.model.records import LogRecord
from barbossad.model.states import RUN_ENDED
from barbossad.operations import showing
from barbossad.operations.fields import Limit, Position, RunParams, TaskIdText
from barbossad.operations.registry import define
from barbossad.operations.services import Call
from barbossad.process.launcher import LiveLog
from barbossad.process.output import logs
from barbossad.security.access import Role

READ_TRIES: Final = 3
"""How often a log that changes is looked at before its file counts as gone."""


class LogParams(RunParams):
    """Whose output to read, and from where."""

    task: TaskIdText
    attempt: int | None = Field(None, ge=1, le=1_000_000, description="Which try; the last if not said")
    cursor: Position | None = Field(None, description="next_cursor of the page before")
    limit: Limit = 1000
    stream: Literal["stdout", "stderr"] | None = None
    wait_seconds: Annotated[float, Field(ge=0, le=300, description="How long to wait for more, if there is none")] = 0.0


class LogItem(TypedDict):
    """A line of output; ``partial``: the next one of its stream goes on where this one stops.

    One that is ``partial`` and has no text says that the next one is the last of its stream, and had no line end.
    """

    at: str
    stream: str
    text: str
    partial: bool


class LogPage(TypedDict):
    """A piece of a task's output; ``finished``: the attempt has ended and nothing is left to read."""

    items: list[LogItem]
    next_cursor: str
    finished: bool


@define("run.logs", Role.VIEWER)
async def log(call: Call, params: LogParams) -> LogPage:
    """Read what a task printed, from a cursor on; with ``wait_seconds`` wait for more."""
    cursor = int(params.cursor or 0)
    try:
        async with asyncio.timeout(params.wait_seconds):
            found = await _until_more(call, params, cursor)
    except TimeoutError:
        found = await _output(call, params)
    page = await _read(call, params, found, cursor)
    tries = 1
    while _is_missing(found, page, cursor) and not found.has_ended and tries < READ_TRIES:
        found = await _output(call, params)  # its file was put in order meanwhile, or a piece of it was dropped
        page = await _read(call, params, found, cursor)
        tries += 1
    items: list[LogItem] = [
        {"at": entry.at, "stream": entry.stream, "text": entry.text, "partial": entry.is_partial}
        for entry in page.items
    ]
    next_cursor = max(page.next_cursor, cursor)
    if _is_missing(found, page, cursor):
        next_cursor = found.record.end_cursor
        if found.record.path is not None:
            gone = f"[barbossad: the file of this log is gone: {call.services.logs.root / found.record.path}]"
            items.append({"at": "", "stream": "stderr", "text": gone, "partial": False})
    finished = found.has_ended and next_cursor >= found.record.end_cursor
    return {"items": items, "next_cursor": str(next_cursor), "finished": finished}


@dataclass(frozen=True, slots=True)
class _Output:
    """Where an attempt's output is: growing (``live``), recorded, or between the two for a moment."""

    record: LogRecord
    live: LiveLog | None = None
    has_ended: bool = False


async def _read(call: Call, params: LogParams, found: _Output, cursor: int) -> logs.LogPage:
    where = (call.services.logs, found.record, cursor, params.limit, params.stream)
    # What is in memory is read here: small logs are then answered in the order in which they were asked for.
    if found.record.path is None:
        return logs.read(*where)
    async with call.services.log_reading:
        return await asyncio.to_thread(logs.read, *where)


def _is_missing(found: _Output, page: logs.LogPage, cursor: int) -> bool:
    """Say whether there should be more behind a cursor, and nothing is found there."""
    return not page.items and page.next_cursor <= cursor < found.record.end_cursor


async def _until_more(call: Call, params: LogParams, cursor: int) -> _Output:
    """Return the output when there is some past the cursor, or there will be none.

    What a process printed at its end is returned as it stands in memory: a follower sees it before the next task's.
    """
    run_id = RunId(params.run_id)
    while True:
        changed = call.services.engine.next_change(run_id)
        try:
            found = await _output(call, params)
            if found.has_ended or found.record.end_cursor > cursor or changed is None:
                return found
            if found.live is None:
                await changed
                continue
        finally:
            if changed is not None:
                changed.cancel()
        await found.live.changed(cursor)
        record = found.live.snapshot()
        if record.end_cursor > cursor:
            return _Output(record, live=found.live)


async def _output(call: Call, params: LogParams) -> _Output:
    """Find the output of a task's attempt, the last one if none is named. Raise NotFoundError."""
    run_id, task_id = RunId(params.run_id), TaskId(params.task)
    process = call.services.engine.process(run_id, task_id)
    details = await showing.look_at(call, run_id, task_id)
    tries = details.attempts.get(task_id, ())
    if params.attempt is not None and params.attempt > max(len(tries), 1):
        raise NotFoundError(f"attempt of task {task_id!r}", str(params.attempt), f"it had {len(tries)}")
    number = params.attempt or len(tries)
    if process is not None and number == len(tries) and tries[-1].finished_at_ms is None:
        return _Output(process.log.snapshot(), live=process.log)
    if number and tries[number - 1].finished_at_ms is not None:
        return _Output(call.services.runs.log(run_id, task_id, number) or LogRecord(), has_ended=True)
    task = details.tasks.get(task_id)
    has_ended = details.run.state in RUN_ENDED or (task is not None and task.finished_at_ms is not None)
    return _Output(LogRecord(), has_ended=has_ended)
