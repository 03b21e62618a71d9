"""Starting and following runs in a pipe: output, states, how it all ends, and steering."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from functools import partialmethod
from typing import Any

import pytest

from barbossactl.client import Client
from tests.helpers import cli_process
from tests.helpers.cli_process import Ctl, OnTerminal, in_background
from tests.helpers.cli_run import RUN_ID, FakeRun, fail, succeed
from tests.helpers.cli_stub import HangUpError, StubDaemon, StubError

pytest_plugins = ("tests.helpers.cli_fixtures",)


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
    with in_background(stub_daemon.path, "start", "backup") as process:
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
    with in_background(stub_daemon.path, "start", "backup") as process:
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


def test_cancel_waits_for_the_end(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """Cancelling sends the reason and returns when the run has ended."""
    asked = fake_run.on_cancel
    fake_run.on_cancel = lambda: None
    with in_background(stub_daemon.path, "cancel", "last", "--reason", "wrong disk") as process:
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
