"""Runs that tasks of other runs call: started once, waited for, ended with their caller, found after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from barbossad.engine.active import ActiveRun, LiveAttempt
from barbossad.errors import BarbossaError
from barbossad.model.names import RunId
from barbossad.model.states import AttemptState, RunState, StopCause
from barbossad.store.run_details import RunDetails

LAUNCHER: Final = "workflow"
"""What stands for the launcher in the record of an attempt that is a call."""

_STATES: Final = {
    RunState.SUCCEEDED: AttemptState.SUCCEEDED,
    RunState.TIMED_OUT: AttemptState.TIMED_OUT,
    RunState.INTERRUPTED: AttemptState.INTERRUPTED,
}
_WORDS: Final = {
    RunState.TIMED_OUT: "timed out",
    RunState.CANCELLED: "was cancelled",
    RunState.INTERRUPTED: "was interrupted",
}

Ended = Callable[[ActiveRun, LiveAttempt, AttemptState, str | None, Mapping[str, Any]], None]


class Cancel(Protocol):
    """What cancels a called run."""

    def __call__(self, run_id: RunId, reason: str, *, unless_ending: bool) -> Awaitable[bool]:
        """Cancel it; with ``unless_ending`` it is left to that if it ends by now."""


class Calls:
    """All calls that go on. One asyncio task each, which waits for the called run."""

    def __init__(self) -> None:
        self.begin: Callable[[ActiveRun, LiveAttempt], Awaitable[RunId]]
        """Starts the called run, or finds it where it was started before; raises BarbossaError."""

        self.wait: Callable[[RunId], Awaitable[RunDetails]]
        self.cancel: Cancel
        self.started: Callable[[ActiveRun, LiveAttempt], None]
        self.ended: Ended
        self.crashed: Callable[[Exception], None]
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, active: ActiveRun, live: LiveAttempt) -> None:
        """Start the run that an attempt calls, or go on waiting for it."""
        name = f"call-{active.progress.run.id}-{active.progress.cells[live.index].id}"
        self._keep(asyncio.get_running_loop().create_task(self._call(active, live), name=name))

    def stop(self, live: LiveAttempt, stopped: tuple[StopCause, str] | None, *, is_again: bool) -> None:
        """End the run that was called, if it does not end by now or that is asked again; its end is told as usual."""
        if stopped is None:
            return
        live.stop_reason = live.stop_reason or stopped[1]
        if live.child is not None:
            cancelling = self._cancel(live, live.child, is_again=is_again)
            self._keep(asyncio.get_running_loop().create_task(cancelling, name="call-cancel"))

    async def close(self) -> None:
        """Wait for nobody any more; the called runs are left as they are."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cancel(self, live: LiveAttempt, child: RunId, *, is_again: bool = False) -> None:
        await self.cancel(child, f"its caller was ended: {live.stop_reason}", unless_ending=not is_again)

    async def _call(self, active: ActiveRun, live: LiveAttempt) -> None:
        try:
            try:
                live.child = await self.begin(active, live)
            except BarbossaError as error:
                self.ended(active, live, AttemptState.FAILED, f"could not be started: {error}", {})
                return
            self.started(active, live)
            if live.stop_cause not in (None, StopCause.SHUTDOWN, StopCause.HOST_DOWN):
                await self._cancel(live, live.child)
            details = await self.wait(live.child)
            self.ended(active, live, *_result(details))
        except Exception as error:  # noqa: BLE001 (without its end the caller would stay live for ever)
            self.crashed(error)


def _result(details: RunDetails) -> tuple[AttemptState, str | None, Mapping[str, Any]]:
    """Return what a caller is told of a run that has ended."""
    run = details.run
    state = _STATES.get(run.state, AttemptState.FAILED)
    outputs = {**(run.outputs or {}), "run_id": run.id}
    if state is AttemptState.SUCCEEDED:
        return state, None, outputs
    why = f": {run.reason}" if run.reason else ""
    return state, f"run {run.id} of {run.workflow} {_WORDS.get(run.state, 'failed')}{why}", outputs
