"""The logs of runs and tasks, whole and as they grow."""

from __future__ import annotations

import json
import re

import pytest

from tests.helpers.cli_process import Ctl, in_background
from tests.helpers.cli_run import RUN_ID, FakeRun
from tests.helpers.cli_stub import StubDaemon

pytest_plugins = ("tests.helpers.cli_fixtures",)


def test_logs_of_a_run_are_in_the_order_of_time(fake_run: FakeRun, ctl: Ctl) -> None:
    """Without a task, lines of all tasks are merged by time and named."""
    for task in ("build", "test"):
        fake_run.begin(task)
    for number in range(3):
        fake_run.print("build", f"b{number}")
        fake_run.print("test", f"t{number}")
    assert ctl("logs", "last").out.splitlines() == [
        "build | b0",
        "test | t0",
        "build | b1",
        "test | t1",
        "build | b2",
        "test | t2",
    ]
    assert ctl("logs", "last", "--tail", "2").out == "build | b2\ntest | t2\n"


def test_the_last_lines_are_whole(fake_run: FakeRun, ctl: Ctl) -> None:
    """--tail counts lines and not the pieces that they came in; one that is open is a line."""
    fake_run.begin("build")
    fake_run.print("build", "one")
    fake_run.print("build", "t", partial=True)
    fake_run.print("build", "err", stream="stderr")
    for piece in "wo":
        fake_run.print("build", piece, partial=True)
    assert ctl("logs", "last", "build", "-n", "2").out == "err\ntwo\n"
    fake_run.print("build", "!")
    fake_run.print("build", "thr", partial=True)
    assert ctl("logs", "last", "build", "-n", "2").out == "two!\nthr\n"
    assert ctl("logs", "last", "build", "-n", "0").out == ""


def test_logs_of_a_task(fake_run: FakeRun, ctl: Ctl) -> None:
    """With a task, its lines alone; of one stream, of an older attempt, with times, as JSON."""
    fake_run.begin("build")
    fake_run.print("build", "first try")
    fake_run.finish("build", "failed", exit_code=1)
    fake_run.begin("build")
    fake_run.print("build", "out")
    fake_run.print("build", "err", stream="stderr")
    assert ctl("logs", RUN_ID, "build").out == "out\nerr\n"
    assert ctl("logs", RUN_ID, "build", "--stream", "stderr").out == "err\n"
    assert ctl("logs", RUN_ID, "build", "--attempt", "1").out == "first try\n"
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} out\n", ctl("logs", RUN_ID, "build", "-t", "--stream", "stdout").out)
    told = [json.loads(line) for line in ctl("logs", RUN_ID, "build", "--json").out.splitlines()]
    assert [(one["task"], one["attempt"], one["stream"], one["text"]) for one in told] == [
        ("build", 2, "stdout", "out"),
        ("build", 2, "stderr", "err"),
    ]


def test_logs_escape_control_characters_unless_raw(fake_run: FakeRun, ctl: Ctl) -> None:
    """What could act on a terminal is escaped; --raw gives the output as it is kept, pieces without a line end too."""
    fake_run.begin("build")
    fake_run.print("build", "\x1b[31mre", partial=True)
    fake_run.print("build", "d\r")
    assert ctl("logs", RUN_ID, "build").out == "\\x1b[31mred\\r\n"
    assert ctl("logs", RUN_ID, "build", "--raw").out == "\x1b[31mred\r\n"


@pytest.mark.parametrize("options", [("--raw",), ("--raw", "-f"), ("--raw", "-n", "9")])
def test_raw_ends_as_the_output_did(fake_run: FakeRun, ctl: Ctl, options: tuple[str, ...]) -> None:
    """What was printed without a line end at its end comes without, for each stream; everywhere else lines end."""
    fake_run.begin("build")
    for stream in ("stdout", "stderr"):
        fake_run.print("build", "a", stream=stream)
        fake_run.print("build", "", stream=stream, partial=True)
    fake_run.print("build", "b")
    fake_run.print("build", "c", stream="stderr")
    fake_run.finish("build", "succeeded")
    fake_run.end("succeeded")
    shown = ctl("logs", RUN_ID, "build", "--stream", "stdout", *options).out
    assert shown == "a\nb"
    assert ctl("logs", RUN_ID, "build", *options[1:]).out == "a\na\nb\nc\n"


def test_logs_where_there_are_none(fake_run: FakeRun, ctl: Ctl) -> None:
    """Only what may still come is waited for."""
    waiting = f"has no output yet; barbossactl logs {RUN_ID} --follow waits for it\n"
    assert ctl("logs", RUN_ID).err == f"run {RUN_ID} {waiting}"
    waiting = f"has no output yet; barbossactl logs {RUN_ID} test --follow waits for it\n"
    assert ctl("logs", RUN_ID, "test").err == f"task test of run {RUN_ID} {waiting}"
    fake_run.end("cancelled")
    assert ctl("logs", RUN_ID).err == f"run {RUN_ID} has no output: it ended without\n"


def test_logs_of_tasks_that_print_nothing(fake_run: FakeRun, ctl: Ctl) -> None:
    """A task that has started and printed nothing, on the stream that is asked for, is told of too."""
    fake_run.begin("build")
    waiting = f"task build of run {RUN_ID} has no output yet; barbossactl logs {RUN_ID} build --follow waits for it\n"
    assert ctl("logs", RUN_ID, "build").err == waiting
    fake_run.print("build", "out")
    fake_run.finish("build", "succeeded")
    fake_run.begin("test")
    fake_run.finish("test", "succeeded")
    fake_run.end("succeeded")
    assert ctl("logs", RUN_ID, "test").err == f"task test of run {RUN_ID} has no output: it ended without\n"
    assert ctl("logs", RUN_ID, "--stream", "stderr").err == f"run {RUN_ID} has no output on stderr: it ended without\n"
    assert (
        ctl("logs", RUN_ID, "test", "--attempt", "1").err == f"attempt 1 of task test of run {RUN_ID} has no output\n"
    )
    assert ctl("logs", RUN_ID, "--tail", "0").err == ""
    assert ctl("logs", RUN_ID, "test").err == f"task test of run {RUN_ID} has no output: it ended without\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([RUN_ID, "bild"], "it has: build, test"),
        ([RUN_ID, "bild", "--follow"], "it has: build, test"),
        ([RUN_ID, "build", "--attempt", "9"], "it has 1 so far"),
        (["zzzzzzzzzz"], "there is no run"),
        (["zzzzzzzzzz", "--follow"], "there is no run"),
    ],
)
def test_logs_of_what_is_not_there(fake_run: FakeRun, ctl: Ctl, arguments: list[str], words: str) -> None:
    """A wrong task, attempt or run is an error that names the right ones."""
    fake_run.begin("build")
    ended = ctl("logs", *arguments)
    assert ended.code == 1
    assert words in ended.err


def test_logs_follow_no_attempt_that_there_will_not_be(fake_run: FakeRun, ctl: Ctl) -> None:
    """Of a task that has ended there comes no other attempt."""
    fake_run.begin("build")
    fake_run.finish("build")
    ended = ctl("logs", RUN_ID, "build", "--attempt", "9", "--follow")
    assert ended.code == 1
    assert "'build' had no attempt 9" in ended.err


def test_logs_follow_one_task_to_its_end(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """Following one task ends with that task, though the run goes on, and shows nothing of others."""
    fake_run.begin("build")
    fake_run.begin("test")
    fake_run.print("test", "not wanted")
    with in_background(stub_daemon.path, "logs", RUN_ID, "build", "--follow") as process:
        assert process.stdout is not None
        fake_run.print("build", "wanted")
        assert process.stdout.readline() == "wanted\n"
        fake_run.finish("build")
        assert process.wait(20) == 0
        assert process.stdout.read() == ""
