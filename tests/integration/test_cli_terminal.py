"""Following runs on a terminal: states, output and Ctrl-C."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import cli_process
from tests.helpers.cli_process import OnTerminal
from tests.helpers.cli_run import RUN_ID, FakeRun, fail, succeed
from tests.helpers.cli_stub import StubDaemon

pytest_plugins = ("tests.helpers.cli_fixtures",)


def plain(terminal_text: str) -> str:
    """Return what was sent to a terminal without its escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal_text)


def test_a_terminal_sees_states_and_output(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """On a terminal, output scrolls by with its task's name, and states stand below it until the end."""
    with OnTerminal(stub_daemon.path, "start", "backup") as terminal:
        fake_run.begin("build")
        fake_run.print("build", "hammering \x1b[2J[bold]")
        terminal.read_until("hammering")
        terminal.read_until("0 of 2 tasks ended")
        fake_run.finish("build")
        terminal.read_until("1 of 2 tasks ended")
        fake_run.begin("test")
        fake_run.print("test", "looking")
        terminal.read_until("looking")
        fake_run.finish("test")
        fake_run.end()
        assert terminal.end() == 0
    shown = plain(terminal.text)
    assert "build │ hammering \\x1b[2J[bold]\n" in shown
    assert "test  │ looking\n" in shown
    assert shown.rstrip().endswith(f"2 of 2 tasks ended\nrun {RUN_ID} succeeded in 2.3 s")
    assert "✔  build  succeeded  1.0 s" in shown
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h") > 0  # the cursor is back


def test_a_quick_run_does_not_flicker(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """A run that has ended when it is first looked at is printed once, with no moving region."""
    succeed(fake_run)
    with OnTerminal(stub_daemon.path, "start", "backup") as terminal:
        assert terminal.end() == 0
    assert "\x1b[?25l" not in terminal.text
    assert plain(terminal.text).count("of 2 tasks ended") == 1


def test_a_failing_run_on_a_terminal(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """The failed task is named with its exit code and its last lines."""
    fail(fake_run)
    with OnTerminal(stub_daemon.path, "start", "backup") as terminal:
        assert terminal.end() == 1
    shown = plain(terminal.text)
    assert "✘  build  failed           1.0 s  exit code 7" in shown
    assert "task build failed: exit code 7\n  | line 10\n" in shown


def test_many_tasks_fit_on_a_small_terminal(stub_daemon: StubDaemon) -> None:
    """Of 200 tasks those that matter are shown, the others counted; the region never outgrows the terminal."""
    names = [f"task-{number:03}" for number in range(200)]
    run = FakeRun(*names)
    stub_daemon.handlers |= run.handlers(stub_daemon)
    for name in names[:100]:
        run.begin(name)
        run.finish(name)
    run.begin("task-150")
    with OnTerminal(stub_daemon.path, "start", "backup", rows=16, columns=80) as terminal:
        terminal.read_until("99 pending")
        assert "task-150" in terminal.text
        run.finish("task-150", "failed", exit_code=3)
        run.end("failed")
        assert terminal.end() == 1
    tallest = max(len(re.findall(r"task-\d", frame)) for frame in re.split(r"\x1b\[\d*A", terminal.text)[:-1])
    assert 1 <= tallest <= 8
    assert "task task-150 failed: exit code 3" in plain(terminal.text)


def test_a_dumb_terminal_gets_lines(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """A terminal that cannot move its cursor is treated as a pipe."""
    succeed(fake_run)
    with OnTerminal(stub_daemon.path, "start", "backup", TERM="dumb") as terminal:
        assert terminal.end() == 0
    assert "build | build is at work" in terminal.text
    assert "\x1b" not in terminal.text


def test_ctrl_c_asks_and_cancels(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """Ctrl-C asks; yes cancels the run, which is followed to its end: exit 5."""
    fake_run.begin("build")
    fake_run.print("build", "busy")
    with OnTerminal(stub_daemon.path, "start", "backup") as terminal:
        terminal.read_until("busy")
        terminal.type("\x03")
        terminal.read_until(f"Cancel run {RUN_ID}?")
        assert not stub_daemon.asked("run.cancel")
        terminal.type("y\n")
        assert terminal.end() == 5
    assert stub_daemon.asked("run.cancel") == [{"run_id": RUN_ID, "reason": "at the keyboard"}]
    assert "was cancelled" in terminal.text


def test_ctrl_c_and_no_goes_on(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """No means that nothing happened: output that came meanwhile is shown."""
    fake_run.begin("build")
    fake_run.print("build", "busy")
    with OnTerminal(stub_daemon.path, "start", "backup") as terminal:
        terminal.read_until("busy")
        terminal.type("\x03")
        terminal.read_until("Cancel run")
        fake_run.print("build", "meanwhile")
        terminal.type("n\n")
        terminal.read_until("meanwhile")
        fake_run.finish("build")
        fake_run.end()
        assert terminal.end() == 0
    assert not stub_daemon.asked("run.cancel")


@pytest.mark.parametrize("arguments", [["start", "backup"], ["start", "backup", "--wait"]])
def test_ctrl_c_twice_leaves_at_once(stub_daemon: StubDaemon, fake_run: FakeRun, arguments: list[str]) -> None:
    """A second Ctrl-C leaves with 130; the run goes on, and how to look at it is said."""
    fake_run.begin("build")
    with OnTerminal(stub_daemon.path, *arguments) as terminal:
        stub_daemon.wait_for_call("run.watch", 2)
        terminal.type("\x03")
        terminal.read_until("Cancel run")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert f"run {RUN_ID} goes on; look at it: barbossactl run get {RUN_ID}" in terminal.text
    assert "Traceback" not in terminal.text
    assert not stub_daemon.asked("run.cancel")


def test_ctrl_c_while_cancelling_leaves(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """Once the run is being cancelled there is nothing left to ask: Ctrl-C leaves."""
    fake_run.on_cancel = lambda: None
    fake_run.begin("build")
    with OnTerminal(stub_daemon.path, "start", "backup") as terminal:
        stub_daemon.wait_for_call("run.watch", 2)
        terminal.type("\x03")
        terminal.read_until("Cancel run")
        terminal.type("y\n")
        stub_daemon.wait_for_call("run.cancel")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert terminal.text.count("Cancel run") == 1


@pytest.mark.parametrize("show", ["terminal", "pipe"])
def test_much_output_is_kept_up_with(stub_daemon: StubDaemon, fake_run: FakeRun, show: str, tmp_path: Path) -> None:
    """50,000 lines are shown in seconds, whole and in order."""
    count = 50_000
    fake_run.begin("build")
    fake_run.print("build", *(f"row {number}" for number in range(count)))
    fake_run.finish("build")
    fake_run.end()
    started = time.monotonic()
    text = _TERMINAL_OR_PIPE[show](stub_daemon)
    assert time.monotonic() - started < 30
    assert re.findall(r"row (\d+)\n", text) == [str(number) for number in range(count)]


def _on_terminal(daemon: StubDaemon) -> str:
    with OnTerminal(daemon.path, "start", "backup") as terminal:
        assert terminal.end(50) == 0
    return plain(terminal.text)


_TERMINAL_OR_PIPE: dict[str, Callable[[StubDaemon], str]] = {
    "terminal": _on_terminal,
    "pipe": lambda daemon: cli_process.run(daemon.path, "start", "backup").stdout,
}
