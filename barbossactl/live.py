"""Follow a run on a terminal: its output scrolls by, the states of its tasks stay below it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from barbossactl import asking, output, report, text, tree
from barbossactl.pieces import LineJoiner, Source
from barbossactl.records import TASK_ACTIVE, TASK_ENDED, TASK_FAILED, OutputPiece, Run, Task

CALM_SECONDS: Final = 0.15
"""A run that ends sooner never gets a moving region: nothing flickers."""

FRAME_SECONDS: Final = 0.08
"""How long a drawing stands at least: many quick tasks must not keep us drawing."""

NAME_WIDTH: Final = 24
FINAL_ROWS: Final = 20

_COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
_MARKS: Final = {
    "succeeded": "✔",
    "failed": "✘",
    "timed_out": "✘",
    "interrupted": "✘",
    "cancelled": "■",
    "skipped": "↷",
    "upstream_failed": "○",
    "running": "▶",
    "starting": "▶",
    "waiting": "…",
}


class LiveView:
    """Draws a run. All drawing is done where it is called: no thread of its own."""

    tick_seconds: float | None = 0.25

    def __init__(self) -> None:
        self._console: Console = output.console()
        self._live: Live | None = None
        self._born = time.monotonic()
        self._drawn_at = 0.0
        self._run: Run | None = None
        self._joiner = LineJoiner()
        self._styles: dict[str, Style] = {}
        self._width = 0
        self._ended: dict[str, None] = {}
        self._has_unicode = (self._console.encoding or "").lower().startswith("utf")

    def show(self, run: Run) -> None:
        """Take in the run as it stands."""
        if self._run is None:
            self._console.print(Text(f"run {run.id} of {text.escape_cell(run.workflow)}", style="bold"))
            for index, task in enumerate(run.tasks):
                self._styles[task.id] = Style.parse(_COLOURS[index % len(_COLOURS)])
            self._width = max((min(len(task.id), NAME_WIDTH) for task in run.tasks), default=0)
        self._run = run
        for task in run.tasks:
            if task.state in TASK_ENDED:
                self._ended.setdefault(task.id)
        self._draw()

    def task_changed(self, task: Task) -> None:
        """Print what a task asks a person, so that it stays; the region below shows the rest."""
        if task.state == "waiting" and task.waits_for == "person" and self._run is not None:
            for line in asking.question(self._run.id, task):
                self._console.print(Text(line, style="yellow"))

    def output(self, source: Source, pieces: Sequence[OutputPiece]) -> None:
        """Print the lines above the region, each with its task."""
        self._print_lines(source, list(self._joiner.lines(source, pieces)))

    def tick(self) -> None:
        """Let the running times go on."""
        self._draw()

    def note(self, words: str) -> None:
        """Print it among the output."""
        self._console.print(Text(words, style="yellow"))

    def finish(self, run: Run) -> None:
        """Replace the region by what stays: the tasks as they ended and one line on the run."""
        for source, line in self._joiner.rest():
            self._print_lines(source, [line])
        self.suspend()
        self._console.print(self._region(run, FINAL_ROWS))
        self._console.print(Text(report.summary(run), style=output.STATE_STYLES.get(run.state, "")))

    def suspend(self) -> None:
        """Take the region away, for a question or for good."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def resume(self) -> None:
        """Draw the region again."""
        self._drawn_at = 0.0
        self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        if self._run is None or now - self._born < CALM_SECONDS or now - self._drawn_at < FRAME_SECONDS:
            return
        self._drawn_at = now
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        rows = max(3, min(12, self._console.height // 2))
        self._live.update(self._region(self._run, rows), refresh=True)

    def _print_lines(self, source: Source, lines: Sequence[OutputPiece]) -> None:
        if not lines:
            return
        name = text.escape_cell(source.task)
        head = f"{_shorten(name):<{self._width}} "
        style = self._styles.get(source.task)
        bars = {
            "stdout": Segment("│ " if self._has_unicode else "| ", style),
            "stderr": Segment("┊ " if self._has_unicode else "! ", Style.parse("red")),
        }
        segments: list[Segment] = []
        for line in lines:
            segments += (
                Segment(head, style),
                bars.get(line.stream, bars["stdout"]),
                Segment(text.escape_line(line.text)),
                Segment.line(),
            )
        self._console.print(Segments(segments), soft_wrap=True, end="")

    def _region(self, run: Run, rows: int) -> Group:
        shown = _choose(run, list(self._ended), rows)
        whole = sum(1 for _ in tree.rows(run))
        grid = Table.grid(padding=(0, 2, 0, 0))
        for is_whole in (True, True, True, True, False):
            grid.add_column(no_wrap=True, overflow="ellipsis" if not is_whole else "fold")
        now = datetime.now(UTC)
        cells = [self._row(row, now) for row in shown]
        taken = sum(max((line[column].cell_len for line in cells), default=0) + 2 for column in range(4))
        for line in cells:
            line[-1].truncate(max(self._console.width - taken, 10), overflow="ellipsis")
            grid.add_row(*line)
        return Group(grid, self._counts(run, now, has_more=len(shown) < whole))

    def _row(self, row: tree.Row, now: datetime) -> tuple[Text, Text, Text, Text, Text]:
        task = row.task
        style = output.STATE_STYLES.get(task.state, "")
        mark = _MARKS.get(task.state, "·") if self._has_unicode else "*"
        took = text.seconds_between(task.started_at, task.finished_at, now)
        why = report.cause(task) if task.state != "succeeded" or task.is_kept else ""
        late = "takes longer than it should" if task.is_late and task.state not in TASK_ENDED else ""
        why = "; ".join(words for words in (row.words, why, late) if words)
        return (
            Text(mark, style=style),
            Text("  " * row.depth + _shorten(text.escape_cell(task.id))),
            Text(task.state.replace("_", " "), style=style),
            Text("" if took is None else text.duration(took), style="dim"),
            Text(why, style=style),
        )

    def _counts(self, run: Run, now: datetime, *, has_more: bool) -> Text:
        tally = _tally(run)
        ended = sum(number for state, number in tally.items() if state in TASK_ENDED)
        words = [f"{ended} of {text.count(tally.total(), 'task')} ended"]
        if has_more:
            words += [f"{number} {state.replace('_', ' ')}" for state, number in tally.items()]
        if not run.is_ended:
            took = text.seconds_between(run.started_at or run.created_at, None, now)
            words.append(run.state if took is None else f"{run.state} for {text.duration(took)}")
            why = report.waiting(run) or text.escape_cell(run.reason)
            if why:
                words.append(why)
        return Text(" · ".join(words) if self._has_unicode else ", ".join(words), style="dim", no_wrap=True)


def _tally(run: Run) -> Counter[str]:
    """Count the tasks by state, single items of loops by what the loops say of them."""
    loops = {task.id for task in run.tasks if task.item_states}
    found = Counter(task.state for task in run.tasks if task.parent not in loops)
    for task in run.tasks:
        found.update(task.item_states)
    return found


def _choose(run: Run, ended: Sequence[str], rows: int) -> list[tree.Row]:
    """Return the rows that matter most, at most so many: running, asking, failed, last ended, then the next to come.

    A row brings the groups that it is in, as far as there is room.
    """
    all_rows = list(tree.rows(run))
    if len(all_rows) <= rows:
        return all_rows
    recency = {name: position for position, name in enumerate(ended)}
    groups = {row.task.parent for row in all_rows}

    def weight(row: tree.Row) -> tuple[int, int]:
        task = row.task
        is_group = task.id in groups and not row.words
        if (task.state in TASK_ACTIVE and not is_group) or task.waits_for == "person":
            return (0, 0)
        if task.state in TASK_FAILED and not is_group:
            return (1, -recency.get(task.id, 0))
        if task.state in {"succeeded", "cancelled"}:
            return (2, -recency.get(task.id, 0))
        return (3, 0)

    by_id = {row.task.id: row for row in all_rows}
    chosen: set[str] = set()
    for row in sorted(all_rows, key=weight):
        wanted = [name for name in _with_groups(row, by_id) if name not in chosen]
        if len(chosen) + len(wanted) <= rows:
            chosen.update(wanted)
    return [row for row in all_rows if row.task.id in chosen]


def _with_groups(row: tree.Row, by_id: Mapping[str, tree.Row]) -> Iterator[str]:
    yield row.task.id
    parent = by_id.get(row.task.parent or "")
    while parent is not None:
        yield parent.task.id
        parent = by_id.get(parent.task.parent or "")


def _shorten(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
