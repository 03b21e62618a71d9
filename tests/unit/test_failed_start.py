"""A daemon that cannot start, and what it says of the tasks of the one before."""

from __future__ import annotations

import pytest

from barbossad.config import Config
from barbossad.daemon import Daemon, serve
from barbossad.errors import StoreError

SAID = "tasks of the daemon before this one go on"


@pytest.mark.parametrize("error", [StoreError("no"), RuntimeError("unforeseen")])
@pytest.mark.parametrize(
    ("kept", "is_told"), [(["barbossa-0abcdefghj-a-1.service.stdout.3"], True), (["barbossad-inflight"], False)]
)
async def test_who_leaves_tasks_to_the_next_start_says_so(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    kept: list[str],
    is_told: bool,
) -> None:
    """Whatever the start failed of."""

    async def run(self: Daemon) -> None:
        self._manager.names_kept = frozenset(kept)
        raise error

    monkeypatch.setattr(Daemon, "run", run)
    with pytest.raises(type(error)):
        await serve(Config.model_construct(), None, is_user=False)
    assert (SAID in caplog.text) is is_told
