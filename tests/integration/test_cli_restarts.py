"""Following runs over restarts of the daemon, with readers that pause, and after a signal."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ConfigDict

from barbossactl import follow
from barbossad.operations.registry import Operation, Params
from barbossad.operations.services import Call
from tests.helpers import cli_process
from tests.helpers.cli_process import Ctl, in_background
from tests.helpers.cli_run import RUN_ID, FakeRun, succeed
from tests.helpers.cli_stub import Handler, HangUpError, StubDaemon, StubError
from tests.helpers.rpc_operations import make
from tests.helpers.rpc_server import serving

pytest_plugins = ("tests.helpers.cli_fixtures",)


def test_a_restart_of_the_daemon_loses_nothing(stub_daemon: StubDaemon, fake_run: FakeRun) -> None:
    """A command that follows a run waits for the daemon to come back and goes on where it was."""
    with in_background(stub_daemon.path, "start", "backup") as process:
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
        serving(tmp_path, operations, stall_seconds=1.5) as path,
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
            stub_daemon.stopping.wait(2.5)  # more than the server allows
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
    with in_background(stub_daemon.path, "run", "wait", RUN_ID) as process:
        stub_daemon.wait_for_call("run.wait")
        stub_daemon.drop_connections()
        stub_daemon.wait_for_call("run.wait", 2)
        fake_run.end()
        assert process.wait(20) == 0


@pytest.mark.parametrize("arguments", [["logs", RUN_ID, "-f"], ["run", "wait", RUN_ID], ["start", "backup"]])
def test_sigint_without_a_keyboard_leaves_with_130(
    stub_daemon: StubDaemon, fake_run: FakeRun, arguments: list[str]
) -> None:
    """Where nobody can be asked, an interrupt leaves at once and the run goes on."""
    fake_run.begin("build")
    with in_background(stub_daemon.path, *arguments) as process:
        stub_daemon.wait_for_call("run.wait" if "wait" in arguments else "run.logs")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        told = process.stderr.read()
    assert "Traceback" not in told
    assert ("goes on" in told) == (arguments[0] == "start")
    assert not stub_daemon.asked("run.cancel")
