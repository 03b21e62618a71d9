"""Fixtures of the command line's tests: name this module in ``pytest_plugins``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossactl import cli
from tests.helpers.cli_process import Ctl, Ended
from tests.helpers.cli_run import FakeRun
from tests.helpers.cli_stub import StubDaemon


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A folder with a short name: the path of a socket has at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="ctl-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def stub_daemon(socket_folder: Path) -> Iterator[StubDaemon]:
    """A daemon that answers as the test says."""
    with StubDaemon(socket_folder / "stub.sock") as daemon:
        yield daemon


@pytest.fixture
def ctl(stub_daemon: StubDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ctl:
    """Run a command line in this process, as in a pipe, against the stub."""
    monkeypatch.setenv("BARBOSSA_SOCKET", str(stub_daemon.path))

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        code = cli.run(list(arguments))
        captured = capsys.readouterr()
        return Ended(int(code), captured.out, captured.err)

    return run


@pytest.fixture
def fake_run(stub_daemon: StubDaemon) -> FakeRun:
    """A run of two tasks that the test moves along."""
    run = FakeRun("build", "test")
    stub_daemon.handlers |= run.handlers(stub_daemon)
    return run
