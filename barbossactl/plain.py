"""Views without a terminal: output as lines on stdout, states as lines on stderr, or nothing at all."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from barbossactl import output, report, text
from barbossactl.pieces import Source
from barbossactl.printer import LogPrinter, LogStyle
from barbossactl.records import TASK_ACTIVE, TASK_ENDED, OutputPiece, Run, Task


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
        self._is_named = False

    def show(self, run: Run) -> None:
        """Say once which run this is."""
        if not self._is_named:
            self._is_named = True
            output.talk(f"run {run.id} of {text.escape_cell(run.workflow)}")

    def task_changed(self, task: Task) -> None:
        """Tell of a task that started or ended."""
        name = text.escape_cell(task.id)
        if task.state in TASK_ACTIVE:
            output.talk(f"task {name} {task.state}") if task.state == "running" else None
        elif task.state in TASK_ENDED:
            took = text.seconds_between(task.started_at, task.finished_at)
            words = f"task {name} {report.ended(task.state)}" + ("" if took is None else f" in {text.duration(took)}")
            why = report.cause(task) if task.state != "succeeded" else ""
            output.talk(f"{words}: {why}" if why else words)

    def finish(self, run: Run) -> None:
        """Say how it ended."""
        super().finish(run)
        output.talk(report.summary(run))
