"""Runs over the socket: start, wait, watch, read the output, list, cancel."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.daemon import Daemon, processes_with
from tests.helpers.rpc_client import Client, RpcError

TYPED = """
name: typed
params:
  target: {type: path}
  days: {type: integer, default: 7, minimum: 1, maximum: 365}
  mode: {type: choice, choices: [full, incremental], default: full}
tasks:
  - shell: echo "$target $days $mode"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d"), config="tasks: {limit: 8}\n") as running:
        running.apply(TYPED)
        running.apply("name: quick\ntasks: [{shell: 'true'}]\n")
        running.apply("name: broken\ntasks: [{shell: exit 3}]\n")
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.client() as connected:
        yield connected


@pytest.fixture
def word() -> str:
    """Something that no other process has in its command line."""
    return f"barbossa-test-{secrets.token_hex(8)}"


def refused(client: Client, method: str, /, **params: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        client.call(method, **params)
    return caught.value


def start(client: Client, name: str, /, **params: Any) -> str:
    run_id: str = client.call("run.start", workflow=name, params=params)["id"]
    return run_id


def lines_of(client: Client, run_id: str, task: str = "shell-1", **more: Any) -> list[str]:
    return [item["text"] for item in client.call("run.logs", run_id=run_id, task=task, **more)["items"]]


# -- start -----------------------------------------------------------------------------------------------------


def test_start_with_params(client: Client) -> None:
    """Params are bound, converted from text, filled with defaults, and shown."""
    run = client.call("run.start", workflow="typed", params={"target": "/srv/x", "days": "30"})
    assert run["params"] == {"target": "/srv/x", "days": 30, "mode": "full"}
    assert run["state"] in {"queued", "running"}
    ended = client.call("run.wait", run_id=run["id"])
    assert (ended["state"], ended["reason"]) == ("succeeded", None)
    assert lines_of(client, run["id"]) == ["/srv/x 30 full"]


def test_start_with_wrong_params(client: Client) -> None:
    """Missing, unknown and impossible params are refused all at once, before a run exists."""
    before = client.call("run.list", workflow="typed")
    error = refused(client, "run.start", workflow="typed", params={"days": 366, "mode": "half", "dayz": 1})
    assert (error.code, error.kind) == (-32602, "invalid_params")
    assert {fault["path"].rpartition(".")[2] for fault in error.data["faults"]} == {"target", "days", "mode", "dayz"}
    assert client.call("run.list", workflow="typed") == before


def test_the_idempotency_key(client: Client) -> None:
    """A second call with the same key gives the run of the first, also long after it ended; another key another run."""
    first = client.call("run.start", workflow="quick", idempotency_key="once")
    again = client.call("run.start", workflow="quick", idempotency_key="once")
    assert again["id"] == first["id"]
    ended = client.call("run.wait", run_id=first["id"])
    assert client.call("run.start", workflow="quick", idempotency_key="once") == ended
    assert client.call("run.start", workflow="quick", idempotency_key="twice")["id"] != first["id"]


def test_the_same_key_at_once(daemon: Daemon) -> None:
    """Calls with the same key that arrive together start one run."""
    clients = [daemon.client() for _ in range(8)]
    try:
        for client in clients:
            client.begin("run.start", workflow="quick", idempotency_key="together")
        answers = [client.receive() for client in clients]
    finally:
        for client in clients:
            client.close()
    assert len({answer["result"]["id"] for answer in answers}) == 1


def test_a_key_wins_over_what_is_refused(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    """Whoever repeats a call, for its answer was lost, gets the first answer, whatever would be refused by now."""
    hold = tmp_path / "hold"
    os.mkfifo(hold)
    head = "name: once\nconcurrency: {limit: 1, policy: skip}"
    daemon.apply(f"{head}\nparams: {{days: {{type: integer}}}}\ntasks: [{{shell: 'read x < {hold}; exit 3'}}]\n")
    asked = {"workflow": "once", "params": {"days": 3}, "idempotency_key": "monday"}
    first = client.call("run.start", **asked)
    assert client.call("run.start", **asked)["id"] == first["id"]
    hold.write_text("go\n")
    assert client.call("run.wait", run_id=first["id"])["state"] == "failed"
    again = {"run_id": first["id"], "params": {"days": 4}, "idempotency_key": "tuesday"}
    retry = client.call("run.retry", **again)
    assert refused(client, "run.start", **{**asked, "idempotency_key": "wednesday"}).kind == "conflict"  # it is skipped
    daemon.apply(f"{head}\nparams: {{hours: {{type: integer}}}}\ntasks: [{{shell: 'true'}}]\n")
    assert refused(client, "run.start", **{**asked, "idempotency_key": "wednesday"}).kind == "invalid_params"
    assert client.call("run.start", **asked)["id"] == first["id"]
    client.call("workflow.disable", name="once")
    assert refused(client, "run.retry", **{**again, "idempotency_key": "wednesday"}).kind == "conflict"
    assert client.call("run.start", **asked)["id"] == first["id"]
    assert client.call("run.retry", **again)["id"] == retry["id"]
    client.call("workflow.delete", name="once")
    assert refused(client, "run.start", **{**asked, "idempotency_key": "wednesday"}).kind == "not_found"
    assert client.call("run.start", **asked)["id"] == first["id"]
    assert client.call("run.retry", **again)["id"] == retry["id"]
    hold.write_text("go\n")


def test_the_key_of_a_retry_outlives_the_run_that_it_is_of(client: Client) -> None:
    """A retry is found again by its key when the run that had failed was deleted since; another one is not made."""
    failed = client.call("run.wait", run_id=start(client, "broken"))["id"]
    again = {"run_id": failed, "idempotency_key": "again"}
    retry = client.call("run.retry", **again)
    client.call("run.delete", run_id=failed)
    assert client.call("run.retry", **again)["id"] == retry["id"]
    assert refused(client, "run.retry", run_id=failed, idempotency_key="once more").kind == "not_found"
    assert client.call("run.wait", run_id=retry["id"])["state"] == "failed"


# -- get and list ----------------------------------------------------------------------------------------------


def test_a_run_that_does_not_exist(client: Client) -> None:
    """Every operation on a run says that there is none."""
    for method in ("run.get", "run.wait", "run.watch", "run.cancel"):
        assert refused(client, method, run_id="0000000000").kind == "not_found"
    assert refused(client, "run.logs", run_id="0000000000", task="x").kind == "not_found"


def test_a_failed_run(client: Client) -> None:
    """A run that fails says which task failed and how."""
    ended = client.call("run.wait", run_id=start(client, "broken"))
    assert ended["state"] == "failed"
    (task,) = ended["tasks"]
    assert (task["state"], task["attempts"][0]["exit_code"]) == ("failed", 3)
    assert "exit code 3" in task["reason"]


def test_listing_with_filters(client: Client, daemon: Daemon) -> None:
    """Runs are listed newest first, by workflow, by state, and those that have not ended."""
    daemon.apply("name: listed\ntasks: [{shell: 'test \"$ok\" = yes'}]\nparams: {ok: {type: string}}\n")
    daemon.apply("name: open\ntasks: [{shell: exec sleep 600, grace: 1s}]\n")
    runs = [start(client, "listed", ok=ok) for ok in ("yes", "no", "yes")]
    for run_id in runs:
        client.call("run.wait", run_id=run_id)
    active = start(client, "open")

    def listed(**filters: Any) -> list[str]:
        return [item["id"] for item in client.call("run.list", **filters)["items"]]

    assert listed(workflow="listed") == runs[::-1]
    assert listed(workflow="listed", state="failed") == [runs[1]]
    assert listed(workflow="listed", state="succeeded") == [runs[2], runs[0]]
    assert listed(workflow="listed", active=True) == []
    assert active in listed(active=True)
    assert not set(runs) & set(listed(active=True))
    assert listed(workflow="open", active=True) == [active]
    assert listed(workflow="nobody") == []
    client.call("run.cancel", run_id=active)
    client.call("run.wait", run_id=active)
    assert active not in listed(active=True)


def test_listing_page_by_page(client: Client, daemon: Daemon) -> None:
    """Pages join without a gap or a repetition, also while new runs appear."""
    daemon.apply("name: paged\ntasks: [{shell: 'true'}]\n")
    runs = [start(client, "paged") for _ in range(7)]
    found, cursor = [], None
    while True:
        page = client.call("run.list", workflow="paged", limit=2, cursor=cursor)
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        start(client, "paged")
    assert found == runs[::-1]


# -- wait and watch --------------------------------------------------------------------------------------------


@pytest.fixture
def open_run(client: Client, daemon: Daemon) -> Iterator[str]:
    """Run something that does not end by itself."""
    daemon.apply("name: open\ntasks: [{id: one, shell: exec sleep 600, grace: 1s}, {id: two, shell: 'true'}]\n")
    run_id = start(client, "open")
    yield run_id
    with contextlib.suppress(RpcError):  # it has ended already
        daemon.call("run.cancel", run_id=run_id)
    daemon.call("run.wait", run_id=run_id)


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_a_wait_that_is_too_short(client: Client, open_run: str, seconds: float) -> None:
    """A wait whose time is up is an error of its own kind; the run goes on."""
    error = refused(client, "run.wait", run_id=open_run, timeout_seconds=seconds)
    assert (error.code, error.kind) == (-32007, "timed_out")
    assert client.call("run.get", run_id=open_run)["finished_at"] is None


def test_many_wait_for_one_run(daemon: Daemon, open_run: str) -> None:
    """Everybody who waits is told the same end."""
    clients = [daemon.client() for _ in range(20)]
    try:
        for client in clients:
            client.begin("run.wait", run_id=open_run)
        cancelled = daemon.call("run.cancel", run_id=open_run)
        ends = [client.receive()["result"] for client in clients]
    finally:
        for client in clients:
            client.close()
    assert cancelled["id"] == open_run
    assert all(end == ends[0] for end in ends)
    assert ends[0]["state"] == "cancelled"


def test_watch_tells_each_change_once(client: Client, open_run: str) -> None:
    """A watch answers when there is something new, with a revision to go on from, and else when its time is up."""
    seen = client.call("run.watch", run_id=open_run)
    while seen["run"]["tasks"][0]["state"] != "running":
        seen = client.call("run.watch", run_id=open_run, after=seen["revision"], wait_seconds=10)
    begun = time.monotonic()
    same = client.call("run.watch", run_id=open_run, after=seen["revision"], wait_seconds=0.2)
    assert time.monotonic() - begun >= 0.2
    assert {**same, "told_at": seen["told_at"]} == seen
    client.begin("run.watch", run_id=open_run, after=seen["revision"], wait_seconds=30)
    with pytest.raises(TimeoutError):
        client.socket.settimeout(0.1)
        client.receive()
    client.socket.settimeout(30)


def test_watch_to_the_end(client: Client, daemon: Daemon, open_run: str) -> None:
    """A watcher sees revisions grow until the run has ended; then a watch answers at once, whatever it knows."""
    revision = 0
    states: list[str] = []
    daemon.call("run.cancel", run_id=open_run)
    while not states or states[-1] != "cancelled":
        seen = client.call("run.watch", run_id=open_run, after=revision, wait_seconds=30)
        assert seen["revision"] > revision
        revision = seen["revision"]
        states.append(seen["run"]["state"])
    begun = time.monotonic()
    last = client.call("run.watch", run_id=open_run, after=revision, wait_seconds=30)
    assert time.monotonic() - begun < 25
    assert last["revision"] == revision
    assert last["run"]["finished_at"]


# -- cancel ----------------------------------------------------------------------------------------------------


def test_cancel_ends_every_process(client: Client, daemon: Daemon, word: str) -> None:
    """Cancelling ends the whole process tree: children, and those in another session; what had not begun never runs."""
    daemon.apply(f"""
name: tree
tasks:
  - id: tree
    grace: 1s
    shell: |
      export WORD={word}
      sleep 600 &
      setsid sleep 600 &
      (setsid sleep 600 & )
      echo ready
      wait
  - id: after
    shell: "true"
""")
    run_id = start(client, "tree")
    assert lines_of(client, run_id, "tree", wait_seconds=20) == ["ready"]
    daemon.eventually(lambda: len(processes_with(word)) == 3, "its processes are there")
    answer = client.call("run.cancel", run_id=run_id, reason="enough is enough")
    assert answer["state"] in {"running", "cancelled"}
    ended = client.call("run.wait", run_id=run_id)
    assert processes_with(word) == []
    assert ended["state"] == "cancelled"
    assert "enough is enough" in ended["reason"]
    assert [task["state"] for task in ended["tasks"]] == ["cancelled", "cancelled"]
    assert ended["tasks"][1]["attempts"] == []
    assert refused(client, "run.cancel", run_id=run_id).kind == "conflict"


def test_cancel_with_grace(client: Client, daemon: Daemon) -> None:
    """A task may tidy up when it gets SIGTERM; its last words are in the log."""
    daemon.apply("""
name: tidy
tasks:
  - shell: |
      trap 'echo tidied; exit 0' TERM
      echo ready
      while :; do sleep 0.05; done
    grace: 20s
""")
    run_id = start(client, "tidy")
    assert lines_of(client, run_id, wait_seconds=20) == ["ready"]
    client.call("run.cancel", run_id=run_id)
    ended = client.call("run.wait", run_id=run_id)
    assert ended["state"] == "cancelled"
    assert ended["tasks"][0]["state"] == "cancelled"
    assert lines_of(client, run_id, stream="stdout") == ["ready", "tidied"]


def test_cancel_of_what_will_not_end(client: Client, daemon: Daemon, word: str) -> None:
    """A task that ignores SIGTERM is killed when its grace is over, not before."""
    daemon.apply(f"""
name: deaf
tasks:
  - shell: |
      trap '' TERM
      echo ready
      while :; do sleep 0.05; done
    env: {{WORD: {word}}}
    grace: 3s
""")
    run_id = start(client, "deaf")
    assert lines_of(client, run_id, wait_seconds=20) == ["ready"]
    begun = time.monotonic()
    client.call("run.cancel", run_id=run_id)
    assert processes_with(word)
    ended = client.call("run.wait", run_id=run_id)
    assert time.monotonic() - begun > 2.9
    assert processes_with(word) == []
    assert ended["state"] == "cancelled"
    assert ended["tasks"][0]["attempts"][0]["signal"] == 9


# -- logs ------------------------------------------------------------------------------------------------------


def test_logs_of_both_streams(client: Client, daemon: Daemon) -> None:
    """Output is read whole or by stream, page by page, and says when there is nothing more to come."""
    daemon.apply("""
name: talks
tasks:
  - shell: for i in 1 2 3 4 5; do echo "out $i"; echo "err $i" >&2; done
""")
    run_id = start(client, "talks")
    client.call("run.wait", run_id=run_id)
    wanted = {f"{stream} {number}" for stream in ("out", "err") for number in range(1, 6)}
    assert set(lines_of(client, run_id)) == wanted
    assert lines_of(client, run_id, stream="stderr") == [f"err {n}" for n in range(1, 6)]
    assert lines_of(client, run_id, stream="stdout") == [f"out {n}" for n in range(1, 6)]
    found, cursor, finished = [], "0", False
    while not finished:
        page = client.call("run.logs", run_id=run_id, task="shell-1", cursor=cursor, limit=3)
        assert len(page["items"]) <= 3
        found += [item["text"] for item in page["items"]]
        cursor, finished = page["next_cursor"], page["finished"]
    assert len(found) == 10
    assert set(found) == wanted
    beyond = client.call("run.logs", run_id=run_id, task="shell-1", cursor=cursor)
    assert beyond == {"items": [], "next_cursor": cursor, "finished": True}


def test_logs_of_a_live_task(client: Client, daemon: Daemon) -> None:
    """A reader with wait_seconds gets each line soon after it was printed, each once, and then the end."""
    fifo = daemon.folder / "fifo"
    daemon.apply(
        f"name: live\ntasks:\n  - shell: mkfifo {fifo}; exec 3<>{fifo}; while read -r line <&3; do echo $line; done\n"
    )
    run_id = start(client, "live")
    daemon.eventually(fifo.is_fifo, "the task is there")
    cursor = "0"
    for word in ("one", "two", "three"):
        client.begin("run.logs", run_id=run_id, task="shell-1", cursor=cursor, wait_seconds=30)
        fifo.write_text(word + "\n")
        page = client.receive()["result"]
        assert [item["text"] for item in page["items"]] == [word]
        assert page["finished"] is False
        cursor = page["next_cursor"]
    begun = time.monotonic()
    page = client.call("run.logs", run_id=run_id, task="shell-1", cursor=cursor, wait_seconds=0.2)
    assert time.monotonic() - begun >= 0.2
    assert page == {"items": [], "next_cursor": cursor, "finished": False}
    client.begin("run.logs", run_id=run_id, task="shell-1", cursor=cursor, wait_seconds=30)
    daemon.call("run.cancel", run_id=run_id)
    assert client.receive()["result"] == {"items": [], "next_cursor": cursor, "finished": True}


def test_logs_of_a_live_task_that_are_gone(client: Client, daemon: Daemon) -> None:
    """Who follows a log whose file somebody removes is told so and waits for more, rather than to ask for ever."""
    daemon.apply("name: rid\ntasks: [{id: a, shell: 'seq 3000; sleep 600'}]\n")
    run_id = start(client, "rid")
    daemon.eventually(
        lambda: client.call("run.logs", run_id=run_id, task="a", cursor="0")["next_cursor"] != "0", "it has printed"
    )
    shutil.rmtree(daemon.state_dir / "logs")
    page = client.call("run.logs", run_id=run_id, task="a", wait_seconds=30)
    assert ["the file of this log is gone" in item["text"] for item in page["items"]] == [True]
    assert (int(page["next_cursor"]) > 0, page["finished"]) == (True, False)
    client.begin("run.logs", run_id=run_id, task="a", cursor=page["next_cursor"], wait_seconds=30)
    daemon.call("run.cancel", run_id=run_id)
    assert client.receive()["result"]["items"] == []


def test_logs_before_the_task_has_begun(client: Client, daemon: Daemon, open_run: str) -> None:
    """A reader may wait for a task that has not started; that there will be no output is told as its end."""
    page = client.call("run.logs", run_id=open_run, task="two")
    assert page == {"items": [], "next_cursor": "0", "finished": False}
    client.begin("run.logs", run_id=open_run, task="two", wait_seconds=30)
    daemon.call("run.cancel", run_id=open_run)
    assert client.receive()["result"] == {"items": [], "next_cursor": "0", "finished": True}


def test_logs_of_what_does_not_exist(client: Client) -> None:
    """A task or an attempt that there is not is told, with the nearest name."""
    run_id = start(client, "quick")
    client.call("run.wait", run_id=run_id)
    error = refused(client, "run.logs", run_id=run_id, task="shel-1")
    assert error.kind == "not_found"
    assert "shell-1" in error.message
    assert refused(client, "run.logs", run_id=run_id, task="shell-1", attempt=2).kind == "not_found"


# -- many at once ----------------------------------------------------------------------------------------------


def test_tasks_wait_for_a_slot(client: Client, daemon: Daemon) -> None:
    """No more tasks run at once than tasks.limit allows; the others say why they wait, and all get their turn."""
    daemon.apply("name: slow\ntasks: [{shell: sleep 0.3}]\n")
    runs = [start(client, "slow") for _ in range(12)]
    status = client.call("daemon.status")["tasks"]
    assert status["running"] <= status["limit"] == 8
    waiting = client.call("run.get", run_id=runs[-1])["tasks"][0]
    assert (waiting["state"], waiting["reason"]) == ("waiting", "waiting for a slot: 8 of 8 taken")
    assert {client.call("run.wait", run_id=run_id)["state"] for run_id in runs} == {"succeeded"}


def test_a_log_whose_file_is_gone(client: Client, daemon: Daemon) -> None:
    """That is said, instead of nothing, and the reader is at the end."""
    client.call("workflow.apply", yaml="name: much\ntasks: [{shell: 'seq 1 5000'}]\n")
    run_id = start(client, "much")
    client.call("run.wait", run_id=run_id)
    (file,) = (daemon.state_dir / "logs").rglob(f"{run_id}-*.log")
    file.unlink()
    page = client.call("run.logs", run_id=run_id, task="shell-1")
    assert [item["text"] for item in page["items"]] == [f"[barbossad: the file of this log is gone: {file}]"]
    assert client.call("run.logs", run_id=run_id, task="shell-1", cursor=page["next_cursor"])["items"] == []
