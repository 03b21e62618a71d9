"""Starting and following runs: output, states, Ctrl-C, restarts of the daemon, and how it all ends."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from pydantic import ConfigDict

from barbossactl import follow
from barbossactl.client import Client
from barbossad.operations.registry import Operation, Params
from barbossad.operations.services import Call
from tests.helpers import cli_process
from tests.helpers.cli_process import Ctl, OnTerminal
from tests.helpers.cli_run import RUN_ID, FakeRun
from tests.helpers.cli_stub import Handler, HangUpError, StubDaemon, StubError
from tests.helpers.rpc_operations import make
from tests.helpers.rpc_server import serving

pytest_plugins = ("tests.helpers.cli_fixtures",)


@pytest.fixture
def fake_run(stub_daemon: StubDaemon) -> FakeRun:
    """A run of two tasks that the test moves along."""
    run = FakeRun("build", "test")
    stub_daemon.handlers |= run.handlers(stub_daemon)
    return run


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


@contextmanager
def in_background(daemon: StubDaemon, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command line with pipes while the test goes on."""
    with subprocess.Popen(
        [*cli_process.COMMAND, *arguments],
        env=cli_process.environment(daemon.path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_a_pipe_gets_output_as_lines_and_states_on_stderr(fake_run: FakeRun, ctl: Ctl) -> None:
    """In a pipe, stdout is ``task | text`` and nothing else; stderr tells the states and the end."""
    succeed(fake_run)
    ended = ctl("start", "backup")
    assert ended.code == 0
    assert sorted(ended.out.splitlines()) == [
        "build | \\x1b[32mdone",
        "build | build is at work",
        "test | \\x1b[32mdone",
        "test | test is at work",
    ]
    first, *tasks, last = ended.err.splitlines()
    assert first == f"run {RUN_ID} of backup"
    assert sorted(tasks) == ["task build succeeded in 1.0 s", "task test succeeded in 1.0 s"]
    assert last == f"run {RUN_ID} succeeded in 2.3 s"


def test_params_and_key_are_sent(stub_daemon: StubDaemon, fake_run: FakeRun, ctl: Ctl) -> None:
    """Params go as typed; each start has a key of its own unless one is given."""
    ctl("start", "backup", "--detach", "-p", "keep_days=3", "-p", 'hosts:=["a"]')
    ctl("start", "backup", "--detach", "--idempotency-key", "nightly-1")
    ctl("start", "backup", "--detach")
    first, second, third = stub_daemon.asked("run.start")
    assert first["workflow"] == "backup"
    assert first["params"] == {"keep_days": "3", "hosts": ["a"]}
    assert second["idempotency_key"] == "nightly-1"
    assert len({first["idempotency_key"], third["idempotency_key"]}) == 2


def test_a_run_that_has_the_key_already_is_told(stub_daemon: StubDaemon, fake_run: FakeRun, ctl: Ctl) -> None:
    """Whoever gives a key learns whether it started a run or found one; the id stays alone on stdout."""
    ended = ctl("start", "backup", "--detach", "--idempotency-key", "nightly-1")
    assert (ended.code, ended.out) == (0, f"{RUN_ID}\n")
    assert ended.err.startswith(f"nothing is started: run {RUN_ID} of ")
    assert ended.err.endswith(" ago) has this key already\n")
    start = stub_daemon.handlers["run.start"]
    stub_daemon.handlers["run.start"] = lambda params: {
        **start(params),  # type: ignore[dict-item]
        "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    assert ctl("start", "backup", "--detach", "--idempotency-key", "nightly-2").err == ""


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("run.start", ["start", "backup"]),
        ("run.retry", ["retry", RUN_ID]),
        ("schedule.trigger", ["schedule", "trigger", "backup"]),
    ],
)
def test_ctrl_c_before_the_answer_says_what_may_come(
    stub_daemon: StubDaemon, method: str, arguments: list[str]
) -> None:
    """Who leaves while the daemon does not answer is told that the run may start all the same."""
    stub_daemon.handlers[method] = lambda _: stub_daemon.stopping.wait(20)
    with OnTerminal(stub_daemon.path, *arguments) as terminal:
        stub_daemon.wait_for_call(method)
        terminal.type("\x03")
        assert terminal.end() == 130
    assert "left before the daemon answered: the run may start all the same; barbossactl ps --all" in terminal.text


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("run.start", ["start", "backup"]),
        ("run.retry", ["retry", RUN_ID]),
        ("schedule.trigger", ["schedule", "trigger", "backup"]),
    ],
)
def test_a_start_without_an_answer_says_what_may_come(
    stub_daemon: StubDaemon, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, method: str, arguments: list[str]
) -> None:
    """A daemon that is lost before it answers may have started the run: to try again is never the advice."""
    monkeypatch.setattr(Client, "reconnect", partialmethod(Client.reconnect, 0.1))

    def go(_: dict[str, Any]) -> object:
        stub_daemon.path.unlink()  # nobody comes in any more
        raise HangUpError

    stub_daemon.handlers[method] = go
    ended = ctl(*arguments)
    assert ended.code == 3
    assert ended.err.endswith(": the run may start all the same; barbossactl ps --all shows it then\n")
    assert "try again" not in ended.err


@pytest.mark.parametrize("arguments", [["start", "backup"], ["start", "backup", "--wait"], ["run", "wait", RUN_ID]])
def test_a_run_of_which_the_end_is_not_heard_is_named(
    stub_daemon: StubDaemon, fake_run: FakeRun, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Where the daemon goes and stays away while a run goes on, its id is told, and how to hear of its end."""
    monkeypatch.setattr(Client, "reconnect", partialmethod(Client.reconnect, 0.1))

    def go(_: dict[str, Any]) -> object:
        stub_daemon.path.unlink()
        raise HangUpError

    stub_daemon.handlers |= {"run.watch": go, "run.wait": go}
    ended = ctl(*arguments)
    assert ended.code == 3
    assert f"barbossactl: what becomes of run {RUN_ID} is not known: barbossad is not running" in ended.err
    assert ended.err.endswith(f"; once the daemon runs again: barbossactl run wait {RUN_ID}\n")


@pytest.mark.parametrize(
    ("arguments", "out", "told"),
    [
        (["--wait"], "", f"run {RUN_ID} failed in 2.3 s\ntask build failed: exit code 7\n"),
        (["--json"], "", f"barbossactl: run {RUN_ID} failed, and cannot be read: barbossad is not running"),
        ([], "", f"not all of the output of run {RUN_ID} could be read: barbossad is not running"),
    ],
)
def test_a_run_whose_end_is_heard_is_the_exit_code(
    stub_daemon: StubDaemon,
    fake_run: FakeRun,
    ctl: Ctl,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    out: str,
    told: str,
) -> None:
    """A daemon that is stopped tells the end of its runs first: that is what the command ends with."""
    monkeypatch.setattr(Client, "reconnect", partialmethod(Client.reconnect, 0.1))
    fail(fake_run)

    def go(_: dict[str, Any]) -> object:
        stub_daemon.path.unlink(missing_ok=True)
        raise HangUpError

    stub_daemon.handlers |= {"run.get": go, "run.logs": go}
    ended = ctl("start", "backup", *arguments)
    assert (ended.code, ended.out) == (1, out)
    assert told in ended.err
    assert "try again" not in ended.err


def test_detach_prints_the_id_alone(fake_run: FakeRun, ctl: Ctl) -> None:
    """The id is all of stdout, and nobody waits."""
    ended = ctl("start", "backup", "--detach")
    assert (ended.code, ended.out, ended.err) == (0, f"{RUN_ID}\n", "")
    assert json.loads(ctl("start", "backup", "--detach", "--json").out)["state"] == "running"


def test_wait_is_quiet_on_success(stub_daemon: StubDaemon, fake_run: FakeRun, ctl: Ctl) -> None:
    """--wait says nothing of a run that succeeds and fetches no output."""
    succeed(fake_run)
    ended = ctl("start", "backup", "--wait")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert not stub_daemon.asked("run.logs")


@pytest.mark.parametrize("arguments", [["start", "backup"], ["start", "backup", "--wait"], ["run", "wait", "last"]])
def test_a_failed_run_is_explained(fake_run: FakeRun, ctl: Ctl, arguments: list[str]) -> None:
    """However one waits, a failed run exits 1 and names the failed task, its exit code and its last lines."""
    fail(fake_run)
    ended = ctl(*arguments)
    assert ended.code == 1
    report = ended.err.splitlines()
    start = report.index("task build failed: exit code 7")
    assert report[start - 1] == f"run {RUN_ID} failed in 2.3 s"
    assert report[start + 1 : start + 11] == [f"  | line {number}" for number in range(10, 20)]
    assert report[start + 11] == "1 task did not run because of that"
    assert f"barbossactl logs {RUN_ID}" in report[start + 12]


@pytest.mark.parametrize(
    ("state", "code"), [("succeeded", 0), ("failed", 1), ("interrupted", 1), ("cancelled", 5), ("timed_out", 6)]
)
@pytest.mark.parametrize("arguments", [["start", "backup"], ["run", "wait", RUN_ID]])
def test_the_end_of_a_run_is_the_exit_code(
    fake_run: FakeRun, ctl: Ctl, state: str, code: int, arguments: list[str]
) -> None:
    """Each state in which a run ends has its own exit code, and JSON does not change it."""
    fake_run.end(state)
    assert ctl(*arguments).code == code
    ended = ctl(*arguments, "--json")
    assert ended.code == code
    assert json.loads(ended.out)["state"] == state


def test_a_wait_that_takes_too_long_exits_6(fake_run: FakeRun, ctl: Ctl) -> None:
    """A bounded wait gives up with 6 and says that the run goes on."""
    ended = ctl("run", "wait", RUN_ID, "--timeout", "0.1s")
    assert ended.code == 6
    assert "goes on" in ended.err


def test_output_arrives_as_it_is_printed(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """Lines come out while the task runs, not at its end; retries and their output are followed too."""
    with in_background(stub_daemon, "start", "backup") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        fake_run.begin("build")
        for number in range(3):
            fake_run.print("build", f"step {number}")
            assert process.stdout.readline() == f"build | step {number}\n"
        fake_run.finish("build", "failed", exit_code=1, task_state="waiting")
        fake_run.begin("build")
        fake_run.print("build", "again")
        assert process.stdout.readline() == "build | again\n"
        fake_run.finish("build")
        fake_run.end()
        assert process.wait(20) == 0
        assert "task build running\n" in process.stderr.read()


def test_an_ended_task_is_told_after_all_of_its_output(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """Every line of a task stands before the line that says how it ended, and none is lost over many pages."""
    fake_run.page_limit = 7
    fake_run.begin("build")
    fake_run.print("build", *(str(number) for number in range(100)))
    fake_run.finish("build")
    fake_run.end()
    done = subprocess.run(
        [*cli_process.COMMAND, "start", "backup"],
        env=cli_process.environment(stub_daemon.path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == f"run {RUN_ID} of backup"
    assert lines[1:101] == [f"build | {number}" for number in range(100)]
    assert lines[101] == "task build succeeded in 1.0 s"


def test_two_hundred_tasks_at_once(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """More logs than may be asked for at once are all read, each in its turn."""
    names = [f"task-{number}" for number in range(200)]
    run = FakeRun(*names)
    stub_daemon.handlers |= run.handlers(stub_daemon)
    for name in names:
        run.begin(name)
        run.print(name, f"from {name}")
        run.finish(name)
    run.end()
    ended = ctl("start", "backup")
    assert ended.code == 0
    assert sorted(ended.out.splitlines()) == sorted(f"{name} | from {name}" for name in names)


def test_a_restart_of_the_daemon_loses_nothing(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """A command that follows a run waits for the daemon to come back and goes on where it was."""
    with in_background(stub_daemon, "start", "backup") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        fake_run.begin("build")
        fake_run.print("build", "before")
        assert process.stdout.readline() == "build | before\n"
        stub_daemon.drop_connections()
        fake_run.print("build", "meanwhile")
        assert process.stdout.readline() == "build | meanwhile\n"
        fake_run.finish("build")
        fake_run.end()
        assert process.wait(20) == 0
        assert process.stdout.read() == ""
        told = process.stderr.read()
    assert told.count("the connection to the daemon is lost; waiting until it answers again (Ctrl-C to leave)\n") == 1
    assert told.count("the daemon answers again\n") == 1


def test_a_second_restart_is_waited_for_as_the_first(
    stub_daemon: StubDaemon, fake_run: FakeRun, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patience begins anew with each loss, also when nothing but output is left to be read."""
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 0.2)
    fake_run.page_limit = 10
    fake_run.begin("build")
    fake_run.print("build", *(str(number) for number in range(100)))
    fake_run.finish("build")
    fake_run.end()
    read = stub_daemon.handlers["run.logs"]
    hung_up: list[float] = []

    def hang_up(params: dict[str, Any]) -> object:
        if int(params.get("cursor") or 0) == (30, 60, 100)[len(hung_up)]:
            stub_daemon.stopping.wait(0.3)
            hung_up.append(time.monotonic())
            raise HangUpError
        return read(params)

    stub_daemon.handlers["run.logs"] = hang_up
    ended = ctl("logs", RUN_ID, "build", "--follow")
    assert (ended.code, ended.out.splitlines()) == (0, [str(number) for number in range(100)])
    assert len(hung_up) == 2
    assert ended.err.count("is lost") == ended.err.count("the daemon answers again") == 2


class _Anything(Params):
    model_config = ConfigDict(extra="allow")


def _operation(name: str, handler: Handler) -> Operation:
    async def answer(_call: Call, params: _Anything) -> object:
        return await asyncio.to_thread(handler, params.model_dump())

    return make(name, answer, params=_Anything)


def test_a_reader_may_pause(stub_daemon: StubDaemon, fake_run: FakeRun, tmp_path: Path) -> None:
    """Whoever reads slowly, in a pager say, gets all of it, however long they stop; nothing is told of the daemon."""
    lines = [f"{number:05} {'x' * 300}" for number in range(20_000)]
    fake_run.begin("build")
    fake_run.print("build", *lines)
    fake_run.finish("build")
    fake_run.end()
    operations = {name: _operation(name, handler) for name, handler in fake_run.handlers(stub_daemon).items()}
    with (
        serving(tmp_path, operations, stall_seconds=0.3) as path,
        subprocess.Popen(
            [*cli_process.COMMAND, "logs", RUN_ID, "build", "--follow"],
            env=cli_process.environment(path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        shown = ""
        for _ in range(2):
            shown += process.stdout.read(1_500_000)
            stub_daemon.stopping.wait(1.0)  # more than the server allows
        shown += process.stdout.read()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    assert shown.splitlines() == lines


def test_a_daemon_that_stops_is_waited_for(stub_daemon: StubDaemon, fake_run: FakeRun, ctl: Ctl) -> None:
    """An answer ``unavailable`` in the middle counts as a restart, too."""
    watch = stub_daemon.handlers["run.watch"]

    def once(params: dict[str, Any]) -> object:
        stub_daemon.handlers["run.watch"] = watch
        raise StubError("unavailable", "the daemon stops")

    stub_daemon.handlers["run.watch"] = once
    succeed(fake_run)
    assert ctl("start", "backup").code == 0


def test_a_start_is_never_made_twice(stub_daemon: StubDaemon, fake_run: FakeRun, ctl: Ctl) -> None:
    """A start whose answer was lost is asked again under the same key, so that there is one run."""
    start = stub_daemon.handlers["run.start"]

    def lose(_: dict[str, Any]) -> object:
        stub_daemon.handlers["run.start"] = start
        raise HangUpError

    stub_daemon.handlers["run.start"] = lose
    assert ctl("start", "backup", "--detach").code == 0
    first, second = stub_daemon.asked("run.start")
    assert first == second
    assert first["idempotency_key"]


def test_a_wait_survives_a_restart(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """``run wait`` goes on waiting after a restart of the daemon."""
    with in_background(stub_daemon, "run", "wait", RUN_ID) as process:
        stub_daemon.wait_for_call("run.wait")
        stub_daemon.drop_connections()
        stub_daemon.wait_for_call("run.wait", 2)
        fake_run.end()
        assert process.wait(20) == 0


def test_cancel_waits_for_the_end(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """Cancelling sends the reason and returns when the run has ended."""
    asked = fake_run.on_cancel
    fake_run.on_cancel = lambda: None
    with in_background(stub_daemon, "cancel", "last", "--reason", "wrong disk") as process:
        assert stub_daemon.wait_for_call("run.cancel") == {"run_id": RUN_ID, "reason": "wrong disk"}
        stub_daemon.wait_for_call("run.wait")
        asked()
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == f"run {RUN_ID} was cancelled in 2.3 s\n"


def test_cancelling_what_has_ended_is_an_error(stub_daemon: StubDaemon, fake_run: FakeRun, ctl: Ctl) -> None:
    """A run that ended otherwise was not cancelled, and the exit code says so."""
    fake_run.on_cancel = lambda: fake_run.end("succeeded")
    ended = ctl("cancel", RUN_ID)
    assert ended.code == 1
    assert "succeeded" in ended.err

    def refuse(_: dict[str, Any]) -> object:
        raise StubError("conflict", "the run has ended")

    stub_daemon.handlers["run.cancel"] = refuse
    assert ctl("cancel", RUN_ID).err == (
        f"barbossactl: the run has ended; see how it ended: barbossactl run get {RUN_ID}\n"
    )


def test_deleting_a_run(stub_daemon: StubDaemon, fake_run: FakeRun, ctl: Ctl) -> None:
    """A run is deleted by its id or as the last one; the refusal of one that has not ended says what to do first."""
    stub_daemon.handlers["run.delete"] = lambda params: {"id": params["run_id"], "deleted": True}
    deleted = ctl("run", "delete", "last")
    assert (deleted.code, deleted.out, deleted.err) == (0, "", f"run {RUN_ID} is deleted\n")
    assert stub_daemon.asked("run.delete") == [{"run_id": RUN_ID}]

    def refuse(_: dict[str, Any]) -> object:
        raise StubError("conflict", "the run is running")

    stub_daemon.handlers["run.delete"] = refuse
    assert ctl("run", "delete", RUN_ID).err == f"barbossactl: the run is running; barbossactl cancel {RUN_ID}\n"


def test_a_backup(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Where the backup is, is all that is printed, so that a script can take it from there."""
    stub_daemon.handlers["daemon.backup"] = lambda _: {"path": "/var/lib/barbossa/backups/one.db", "size_bytes": 7}
    assert ctl("daemon", "backup").out == "/var/lib/barbossa/backups/one.db\n"


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
    with in_background(stub_daemon, "logs", RUN_ID, "build", "--follow") as process:
        assert process.stdout is not None
        fake_run.print("build", "wanted")
        assert process.stdout.readline() == "wanted\n"
        fake_run.finish("build")
        assert process.wait(20) == 0
        assert process.stdout.read() == ""


@pytest.mark.parametrize("arguments", [["logs", RUN_ID, "-f"], ["run", "wait", RUN_ID], ["start", "backup"]])
def test_sigint_without_a_keyboard_leaves_with_130(
    stub_daemon: StubDaemon, fake_run: FakeRun, arguments: list[str]
) -> None:
    """Where nobody can be asked, an interrupt leaves at once and the run goes on."""
    fake_run.begin("build")
    with in_background(stub_daemon, *arguments) as process:
        stub_daemon.wait_for_call("run.wait" if "wait" in arguments else "run.logs")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        told = process.stderr.read()
    assert "Traceback" not in told
    assert ("goes on" in told) == (arguments[0] == "start")
    assert not stub_daemon.asked("run.cancel")


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


# -- large runs ------------------------------------------------------------------------------------------------


def test_what_ended_without_a_word_is_not_read(fake_run: FakeRun, stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Nobody is asked for a log that is known to be empty: thousands of items would each cost a call."""
    for task in ("build", "test"):
        fake_run.begin(task)
        fake_run.finish(task, log_bytes=0)
    fake_run.end()
    assert ctl("start", "backup").code == 0
    assert ctl("logs", "last").code == 0
    assert stub_daemon.asked("run.logs") == []


def test_a_large_run_is_looked_at_less_often(stub_daemon: StubDaemon) -> None:
    """Whoever follows a run of thousands of tasks does not ask for all of it at each change, and misses no end."""
    run = FakeRun(*(f"t{number}" for number in range(2000)))
    stub_daemon.handlers |= run.handlers(stub_daemon)
    with in_background(stub_daemon, "start", "backup") as process:
        stub_daemon.wait_for_call("run.watch")
        for number in range(200):
            run.leave(f"t{number}", "succeeded")
        run.end()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err.count("succeeded") >= 200
    assert len(stub_daemon.asked("run.watch")) <= 4
    assert out == ""


def test_it_says_since_when_it_knows(fake_run: FakeRun, stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Each look at a run says when the last one was, by the daemon's clock, so that old news is left out."""
    watch = stub_daemon.handlers["run.watch"]

    def move_on(params: dict[str, Any]) -> object:
        answer: Any = watch({"run_id": params["run_id"]})
        if not fake_run_ended:
            fake_run_ended.append(True)
            succeed(fake_run)
        return {**answer, "told_at": "2026-03-01T12:00:00.000Z"}

    fake_run_ended: list[bool] = []
    stub_daemon.handlers["run.watch"] = move_on
    assert ctl("start", "backup").code == 0
    assert [params.get("since") for params in stub_daemon.asked("run.watch")] == [None, "2026-03-01T12:00:00.000Z"]
