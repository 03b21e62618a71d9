"""A run that a test moves along by hand, with the daemon's answers about it, long polls included."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.helpers.cli_stub import Handler, StubDaemon, StubError

RUN_ID = "0a1b2c3d4e"
_START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
_ENDED = {"succeeded", "failed", "timed_out", "cancelled", "interrupted"}


def instant(seconds: float = 0.0) -> str:
    """Return the instant so long after the start of the run, as the daemon writes it."""
    return (_START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FakeRun:
    """One run. Every method that changes it wakes whoever polls."""

    def __init__(self, *tasks: str, run_id: str = RUN_ID, workflow: str = "backup") -> None:
        self._changed = threading.Condition()
        self._revision = 1
        self._run: dict[str, Any] = {
            "id": run_id,
            "workflow": workflow,
            "version": "v1",
            "state": "running",
            "trigger": "manual",
            "params": {},
            "reason": None,
            "created_at": instant(),
            "started_at": instant(),
            "finished_at": None,
            "tasks": [
                {"id": task, "type": "shell", "state": "pending", "reason": None, "outputs": None, "attempts": []}
                for task in tasks
            ],
        }
        self._output: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._finished: set[tuple[str, int]] = set()
        self.on_cancel: Callable[[], None] = lambda: self.end("cancelled")
        self.page_limit = 1000

    def begin(self, task: str, at_seconds: float = 0.0) -> None:
        """Start an attempt of ``task``."""
        with self._changed:
            found = self._task(task)
            found["state"] = "running"
            number = len(found["attempts"]) + 1
            found["attempts"].append(
                {
                    "number": number,
                    "state": "running",
                    "exit_code": None,
                    "signal": None,
                    "reason": None,
                    "started_at": instant(at_seconds),
                    "finished_at": None,
                    "launcher": "local",
                    "unit": None,
                }
            )
            self._output[task, number] = []
            self._touch()

    def print(self, task: str, *lines: str, stream: str = "stdout", partial: bool = False) -> None:
        """Let the newest attempt of ``task`` put out lines."""
        with self._changed:
            output = self._output[task, len(self._task(task)["attempts"])]
            for line in lines:
                at = instant(sum(map(len, self._output.values())) / 1000)
                output.append({"at": at, "stream": stream, "text": line, "partial": partial})
            self._changed.notify_all()

    def finish(
        self,
        task: str,
        state: str = "succeeded",
        *,
        exit_code: int | None = 0,
        signal: int | None = None,
        reason: str | None = None,
        at_seconds: float = 1.0,
        task_state: str | None = None,
        log_bytes: int | None = None,
    ) -> None:
        """End the newest attempt of ``task``; ``task_state`` differs where another attempt follows."""
        with self._changed:
            found = self._task(task)
            found["state"] = task_state or state
            found["reason"] = reason
            attempt = found["attempts"][-1]
            attempt |= {"state": state, "exit_code": exit_code, "signal": signal, "finished_at": instant(at_seconds)}
            attempt["log_bytes"] = log_bytes
            self._finished.add((task, attempt["number"]))
            self._touch()

    def leave(self, task: str, state: str) -> None:
        """End ``task`` without an attempt."""
        with self._changed:
            self._task(task)["state"] = state
            self._touch()

    def end(self, state: str = "succeeded", *, reason: str | None = None, at_seconds: float = 2.3) -> None:
        """End the run."""
        with self._changed:
            self._run |= {"state": state, "reason": reason, "finished_at": instant(at_seconds)}
            self._finished |= set(self._output)
            self._touch()

    def handlers(self, daemon: StubDaemon) -> dict[str, Handler]:
        """Return what the daemon answers about this run."""
        return {
            "run.start": lambda _: self._snapshot(),
            "run.get": self._get,
            "run.list": lambda _: {"items": [self._snapshot()], "next_cursor": None},
            "run.watch": lambda params: self._watch(params, daemon),
            "run.logs": lambda params: self._logs(params, daemon),
            "run.wait": lambda params: self._wait(params, daemon),
            "run.cancel": self._cancel,
        }

    def _task(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(task for task in self._run["tasks"] if task["id"] == name)
        return found

    def _touch(self) -> None:
        self._revision += 1
        self._changed.notify_all()

    def _snapshot(self) -> dict[str, Any]:
        with self._changed:
            tasks = [
                {**task, "attempts": [dict(attempt) for attempt in task["attempts"]]} for task in self._run["tasks"]
            ]
            return {**self._run, "tasks": tasks}

    def _get(self, params: dict[str, Any]) -> object:
        if params["run_id"] != self._run["id"]:
            raise StubError("not_found", f"there is no run {params['run_id']!r}")
        return self._snapshot()

    def _poll(self, check: Callable[[], bool], seconds: float, daemon: StubDaemon) -> bool:
        """Wait until ``check`` holds; a stub that stops ends every wait."""
        with self._changed:
            left = seconds
            while not check() and left > 0 and not daemon.stopping.is_set():
                self._changed.wait(min(left, 0.05))
                left -= 0.05
            return check()

    def _watch(self, params: dict[str, Any], daemon: StubDaemon) -> object:
        self._get(params)
        after = params.get("after")
        if after is not None:
            self._poll(lambda: self._revision > after, params["wait_seconds"], daemon)
        with self._changed:
            return {"run": self._snapshot(), "revision": self._revision}

    def _logs(self, params: dict[str, Any], daemon: StubDaemon) -> object:
        key = params["task"], params.get("attempt", 1)
        if key not in self._output:
            raise StubError("not_found", f"there is no log of {key}")
        start = int(params.get("cursor") or 0)
        self._poll(
            lambda: len(self._output[key]) > start or key in self._finished, params.get("wait_seconds", 0), daemon
        )
        with self._changed:
            items = self._output[key][start : start + min(params["limit"], self.page_limit)]
            end = start + len(items)
            wanted = [item for item in items if params.get("stream") in {None, item["stream"]}]
            is_finished = key in self._finished and end == len(self._output[key])
            return {"items": wanted, "next_cursor": str(end), "finished": is_finished}

    def _wait(self, params: dict[str, Any], daemon: StubDaemon) -> object:
        self._get(params)
        if not self._poll(lambda: self._run["state"] in _ENDED, params["timeout_seconds"], daemon):
            raise StubError("timed_out", "the run has not ended")
        return self._snapshot()

    def _cancel(self, params: dict[str, Any]) -> object:
        self._get(params)
        self.on_cancel()
        return self._snapshot()


def succeed(run: FakeRun) -> None:
    """Let both tasks print and succeed."""
    for task in ("build", "test"):
        run.begin(task)
        run.print(task, f"{task} is at work", "\x1b[32mdone")
        run.finish(task)
    run.end()


def fail(run: FakeRun) -> None:
    """Let the first task fail with its 20 lines, the second never run."""
    run.begin("build")
    run.print("build", *(f"line {number}" for number in range(20)))
    run.finish("build", "failed", exit_code=7)
    run.leave("test", "upstream_failed")
    run.end("failed")
