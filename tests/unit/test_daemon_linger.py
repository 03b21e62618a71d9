"""A daemon that cannot start, and what it leaves time for."""

from __future__ import annotations

import asyncio

import pytest

from barbossad import daemon
from barbossad.config import Config
from barbossad.daemon import Daemon, serve
from barbossad.errors import StoreError

SAID = "tasks of the daemon before this one go on"


@pytest.mark.parametrize("error", [StoreError("no"), RuntimeError("unforeseen")])
@pytest.mark.parametrize(
    ("kept", "lingers"), [(["barbossa-0abcdefghj-a-1.service.stdout.3"], True), (["barbossad-inflight"], False)]
)
async def test_who_has_tasks_to_take_over_lingers(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    kept: list[str],
    lingers: bool,
) -> None:
    """Whatever the start failed of; or else systemd would give the unit up, and the tasks with it."""

    async def run(self: Daemon) -> None:
        self._manager.names_kept = frozenset(kept)
        raise error

    monkeypatch.setattr(Daemon, "run", run)
    monkeypatch.setattr(daemon, "LINGER_SECONDS", 0.2)
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(type(error)):
        await serve(Config.model_construct(), None, is_user=False)
    assert (loop.time() - start >= 0.2, SAID in caplog.text) == (lingers, lingers)
