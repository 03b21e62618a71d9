"""Tables at any width: what is short stays whole, what is long folds where it may, nothing runs over the edge."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from barbossactl import output, tables, text
from barbossactl.commands import run, run_get
from barbossactl.output import Column, Kind

Draw = Callable[[Sequence[Column], Sequence[Sequence[object]], int], tuple[list[str], str]]
WIDTHS = [60, 80, 100, 120]
NOW = datetime.now().astimezone().replace(hour=12, minute=0, second=0)
LONG = "databases[0].upload-to-archive"
WHY = "exit code 7; /mnt/archive/2026/nightly-database-backup.tar.zst could not be written after 3 attempts"


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are those at noon, however long ago this file was read."""
    moment = text.moment
    monkeypatch.setattr(text, "moment", lambda instant, **more: moment(instant, NOW, **more))


def ago(**length: float) -> str:
    return (NOW - timedelta(**length)).isoformat()


RUNS = [
    ["01m84g5xkc", "nightly-database-backup", "failed", ago(seconds=84), 12.3, "manual", WHY],
    ["01m84g5xkd", "nightly-database-backup", "succeeded", ago(days=2), 1234.5, "schedule", None],
    ["01m84g5xke", "tidy", "interrupted", ago(seconds=3), None, "manual", "the daemon ended"],
]
TASKS = [
    ["databases", "parallel", "failed", 0, None, 12.4, "3 items: 2 succeeded, 1 failed"],
    ["  databases[0]", "parallel", "failed", 0, None, 12.4, f"{LONG} failed"],
    [f"    {LONG}", "shell", "failed", 3, 7, 9.1, WHY],
    ["cleanup", "shell", "upstream_failed", 0, None, None, None],
]
VERY_LONG = [["a" * 51, "condition", "succeeded", 1, 0, 3.2, None], ["b", "shell", "failed", 1, 1, 0.1, "no " * 90]]


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Draw:
    """Draw a table on a terminal of some width; return its lines, and what was said beside it."""

    def drawn(columns: Sequence[Column], rows: Sequence[Sequence[object]], width: int) -> tuple[list[str], str]:
        paper = io.StringIO()
        console = Console(file=paper, width=width, highlight=False, markup=False, emoji=False)
        monkeypatch.setattr(output, "is_terminal", lambda: True)
        monkeypatch.setattr(output, "console", lambda: console)
        output.table(columns, rows, empty="nothing")
        return paper.getvalue().splitlines(), capsys.readouterr().err

    return drawn


def whole_words(rows: Sequence[Sequence[object]], columns: Sequence[Column]) -> set[str]:
    """Return what may not be cut: cells that are short by nature."""
    short = {Kind.WORD, Kind.STATE, Kind.INSTANT, Kind.SECONDS, Kind.BYTES}
    return {
        output.cell(column.kind, value, is_brief=True).plain
        for row in rows
        for column, value in zip(columns, row, strict=True)
        if column.kind in short and not column.spare and value is not None
    }


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("columns", "rows"),
    [(run._COLUMNS, RUNS), (run_get._COLUMNS, TASKS), (run_get._COLUMNS, VERY_LONG)],
    ids=["runs", "tasks", "very long"],
)
def test_what_is_short_stays_whole(draw: Draw, columns: list[Column], rows: list[list[object]], width: int) -> None:
    """Ids, states, instants, durations and headings are never cut; no line is too long; no column is lost."""
    lines, said = draw(columns, rows, width)
    assert max(map(cell_len, lines)) <= width
    for word in whole_words(rows, columns):
        assert any(word in line for line in lines), f"{word} is cut in:\n" + "\n".join(lines)
    left_out = re.search("no room for: (.*);", said)
    for column in columns:
        is_below = any(line.lstrip().startswith(f"{column.title}: ") for line in lines)
        is_named = left_out is not None and column.title in left_out[1].split(", ")
        assert (column.title.upper() in lines[0].split()) + is_below + is_named == 1
    together = re.sub(r"\s", "", "".join(lines))
    for row in rows:
        for part in re.findall(r"[a-z]+", f"{row[0]} {row[1]}"):
            assert part[:12] in together or columns[1].spare


@pytest.mark.parametrize(("width", "most"), [(60, 6), (80, 4), (100, 3), (120, 5)])
def test_rows_are_few_lines(draw: Draw, width: int, most: int) -> None:
    """Ordinary names do not make a row of a listing tall."""
    lines, _ = draw(run._COLUMNS, RUNS, width)
    starts = [number for number, line in enumerate(lines) if line.startswith("01m84")]
    assert max(end - start for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)) <= most


def test_ages_are_left_out_first(draw: Draw) -> None:
    """Where a table fits but for its ages, those go, and names and sentences are as they were."""
    columns = [Column("name", Kind.NAME), Column("ended", Kind.INSTANT), Column("reason")]
    rows = [["nightly-database-backup", ago(seconds=84), "it was cancelled"]]
    wide, _ = draw(columns, rows, 80)
    narrow, said = draw(columns, rows, 60)
    assert re.search(r"\(1 min \d\d s ago\)", wide[1])
    assert "ago" not in narrow[1]
    assert (len(wide), len(narrow), said) == (2, 2, "")
    assert "nightly-database-backup" in narrow[1]
    assert narrow[1].endswith("it was cancelled")


def test_names_fold_at_their_dots_and_dashes() -> None:
    """A name that is too long is broken after a dot, a dash or a slash, and keeps its margin."""
    assert tables.fold(f"  {LONG}", 16) == ["  databases[0].", "  upload-to-", "  archive"]
    assert tables.fold("team/nightly.backup", 12) == ["team/", "nightly.", "backup"]
    assert tables.fold("a" * 30, 12) == ["a" * 12, "a" * 12, "a" * 6]
    assert tables.fold("  " * 8 + "archive", 16) == ["    archive"]


def test_sentences_fold_at_spaces() -> None:
    """A sentence is broken between words, and within a word only where that is too long for a line."""
    assert tables.fold("the disk is full again", 12) == ["the disk is", "full again"]
    assert tables.fold("see /var/lib/barbossa/logs/x now", 14) == ["see /var/lib/", "barbossa/logs/", "x now"]
    assert tables.fold("at 2026-03-01 12:00:00", 19) == ["at", "2026-03-01 12:00:00"]
    assert tables.fold("it took 12 min", 12) == ["it took", "12 min"]
    assert tables.fold("short", 12) == ["short"]
    assert tables.fold("日本語日本語", 6) == ["日本語", "日本語"]


def test_a_reason_below_its_row_is_named_and_indented(draw: Draw) -> None:
    """What no column has room for stands below its row with its title, and only where there is something to say."""
    lines, _ = draw(run._COLUMNS, RUNS, 60)
    assert "REASON" not in lines[0]
    assert [line.split(":")[0] for line in lines if "reason:" in line] == ["    reason"] * 2


def test_what_is_left_out_is_told(draw: Draw) -> None:
    """Columns that are left out are named, with what shows them."""
    lines, said = draw(run._COLUMNS, RUNS, 60)
    assert "TRIGGER" not in lines[0]
    assert said == "there is no room for: trigger, took; a wider terminal shows all, and so does --json\n"


def test_a_terminal_that_is_far_too_narrow(draw: Draw) -> None:
    """At ten columns nothing breaks down: what is short is still whole."""
    lines, _ = draw(run._COLUMNS, RUNS, 10)
    assert any("01m84g5xkc" in line for line in lines)
