"""Views without a terminal: output as lines on stdout, states as lines on stderr, or nothing at all."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from barbossactl import asking, output, report, text, tree
from barbossactl.pieces import Source
from barbossactl.printer import LogPrinter, LogStyle
from barbossactl.records import TASK_ENDED, TASK_FAILED, OutputPiece, Run, Task


class QuietView:
    """Shows nothing but what the person must know."""

    tick_seconds: float | None = None

    def show(self, run: Run) -> None:
        """Take no notice."""

    def task_changed(self, task: Task) -> None:
        """Take no notice."""

    def output(self, source: Source, pieces: Sequence[OutputPiece]) -> None:
        """Take no notice."""

    def tick(self) -> None:
        """Take no notice."""

    def note(self, words: str) -> None:
        """Say it on stderr."""
        output.talk(words)

    def finish(self, run: Run) -> None:
        """End without a word: the exit code says it."""

    def suspend(self) -> None:
        """Have nothing in the way of a question."""

    def resume(self) -> None:
        """Go on after a question."""


class LogView(QuietView):
    """Shows output alone, as ``logs --follow`` does."""

    def __init__(self, style: LogStyle) -> None:
        self._printer = LogPrinter(style)

    def output(self, source: Source, pieces: Sequence[OutputPiece]) -> None:
        """Print it at once."""
        self._printer.print(source, pieces)
        sys.stdout.flush()

    def finish(self, run: Run) -> None:  # noqa: ARG002 (the view's signature)
        """Print what is left of unfinished lines."""
        self._printer.finish()


class PlainView(LogView):
    """Shows output as ``task | text`` on stdout and each change of a state as a line on stderr."""

    def __init__(self) -> None:
        super().__init__(LogStyle())
        self._run: Run | None = None
        self._waiting = ""
        self._untold: frozenset[str] = frozenset()

    def show(self, run: Run) -> None:
        """Say once which run this is, and why it waits whenever that is new."""
        if self._run is None:
            retried = f", a retry of {run.retry_of}" if run.retry_of else ""
            output.talk(f"run {run.id} of {text.escape_cell(run.workflow)}{retried}")
            kept = sum(task.is_kept for task in run.tasks)
            if kept:
                output.talk(
                    f"{text.count(kept, 'task')} of that run {'are' if kept > 1 else 'is'} done and not run again"
                )
        self._run = run
        self._untold = tree.hidden_items(run)
        waiting = report.waiting(run)
        if waiting != self._waiting and not run.is_ended:
            self._waiting = waiting
            output.talk(f"run {run.id}: {waiting or 'goes on'}")

    def task_changed(self, task: Task) -> None:
        """Tell of a task that started or ended, or waits for a person; of the items of a long loop the failed ones."""
        if task.is_kept or (task.id in self._untold and task.state not in TASK_FAILED and task.waits_for != "person"):
            return
        name = text.escape_cell(task.id)
        if task.state == "running":
            output.talk(f"task {name} running")
        elif task.state == "waiting" and task.waits_for == "person" and self._run is not None:
            for line in asking.question(self._run.id, task):
                output.talk(line)
        elif task.state == "waiting" and task.waits_for == "delay":
            output.talk(f"task {name} waits: {text.escape_cell(task.reason)}")
        elif task.state in TASK_ENDED:
            took = text.seconds_between(task.started_at, task.finished_at)
            words = f"task {name} {report.ended(task.state)}" + ("" if took is None else f" in {text.duration(took)}")
            why = report.cause(task) if task.state != "succeeded" else self._items(task)
            output.talk(f"{words}: {why}" if why else words)

    def _items(self, task: Task) -> str:
        """Return how the items of a long loop did, nothing for any other task."""
        rows = tree.rows(self._run) if self._run is not None and task.items else ()
        return next((row.words for row in rows if row.task.id == task.id), "")

    def finish(self, run: Run) -> None:
        """Say how it ended."""
        super().finish(run)
        output.talk(report.summary(run))
