"""The output of what a loop ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.rpc_client import RpcError

LOOP = "name: x\ntasks: [{id: l, for_each: [a, b], parallel: [{id: m, shell: [echo, '{{ item }}']}]}]\n"


def test_each_item_has_its_own_output(tmp_path: Path) -> None:
    """It is asked for by the item's id; of an item that there is not, nothing is told."""
    with Daemon(tmp_path) as daemon:
        daemon.apply(LOOP)
        run_id = daemon.call("run.start", workflow="x")["id"]
        assert daemon.call("run.wait", run_id=run_id)["state"] == "succeeded"
        page = daemon.call("run.logs", run_id=run_id, task="l[1].m")
        assert [line["text"] for line in page["items"]] == ["b"]
        with pytest.raises(RpcError, match="there is no task"):
            daemon.call("run.logs", run_id=run_id, task="l[2].m")
