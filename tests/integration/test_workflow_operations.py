"""Workflows over the socket: apply, look at, switch off, take away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.rpc_client import Client, RpcError

BROKEN = """name: broken
tasks:
  - id: one
    shel: echo
  - id: two
    shell: echo
    timeout: soon
  - id: three
    depends_on: [nobody]
    shell: echo {{ params.x }}
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d")) as running:
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.client() as connected:
        yield connected


def text(name: str, command: str = "true") -> str:
    return f"name: {name}\ntasks:\n  - shell: {command!r}\n"


def refused(client: Client, method: str, /, **params: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        client.call(method, **params)
    return caught.value


def test_applying_twice_changes_nothing(client: Client) -> None:
    """Applying what is in force is answered with the version and changed: false, and makes no version."""
    first = client.call("workflow.apply", yaml=text("twice"))
    assert first["changed"] is True
    assert client.call("workflow.apply", yaml=text("twice")) == {**first, "changed": False}
    assert len(client.call("workflow.versions", name="twice")["items"]) == 1


def test_a_broken_file_is_refused_with_every_fault(client: Client) -> None:
    """A broken file is refused as a whole; every fault has its line and column, the way validate tells them."""
    error = refused(client, "workflow.apply", yaml=BROKEN)
    assert (error.code, error.kind) == (-32003, "invalid_workflow")
    places = [(fault["line"], fault["column"]) for fault in error.data["faults"]]
    assert [line for line, _ in places] == [4, 7, 9, 10]
    assert all(column >= 1 for _, column in places)
    assert client.call("workflow.validate", yaml=BROKEN) == {"valid": False, "faults": error.data["faults"]}
    assert refused(client, "workflow.get", name="broken").kind == "not_found"


def test_a_broken_file_leaves_the_version_in_force(client: Client) -> None:
    """When a file of a workflow that exists is refused, nothing about the workflow changes."""
    client.call("workflow.apply", yaml=text("kept"))
    before = client.call("workflow.get", name="kept")
    refused(client, "workflow.apply", yaml=text("kept") + "  - nonsense: 1\n")
    assert client.call("workflow.get", name="kept") == before


@pytest.mark.parametrize(
    "yaml", ["", "\0", "\t", "a: b: c", "[" * 100_000, "&a [*a]", "name: \ud83d\ude00", "- 1", "7"]
)
def test_what_is_no_workflow(client: Client, yaml: str) -> None:
    """Any text at all is answered with its faults."""
    assert client.call("workflow.validate", yaml=yaml)["valid"] is False
    assert refused(client, "workflow.apply", yaml=yaml).kind == "invalid_workflow"


def test_versions(client: Client) -> None:
    """Each text is a version, the last applied first; applying an old text again puts the old version in force."""
    applied = [client.call("workflow.apply", yaml=text("many", f"echo {n}"))["version"] for n in (1, 2, 3)]
    again = client.call("workflow.apply", yaml=text("many", "echo 1"))
    assert again == {"name": "many", "version": applied[0], "changed": True, "kept_file": None}
    page = client.call("workflow.versions", name="many")
    assert [item["version"] for item in page["items"] if item["current"]] == [applied[0]]
    assert {item["version"] for item in page["items"]} == set(applied)
    assert page["next_cursor"] is None
    assert all(item["applied_by"] for item in page["items"])


def test_versions_page_by_page(client: Client) -> None:
    """The history comes in pages that join without a gap or a repetition."""
    for number in range(7):
        client.call("workflow.apply", yaml=text("paged", f"echo {number}"))
    whole = client.call("workflow.versions", name="paged")["items"]
    found, cursor = [], None
    while True:
        page = client.call("workflow.versions", name="paged", limit=3, cursor=cursor)
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert len(page["items"]) == 3
    assert found == whole
    assert len(found) == 7


def test_one_version_as_it_was_written(client: Client) -> None:
    """An older version is shown with the text that was applied, comments and all."""
    written = "# why\n" + text("shown", "echo old")
    old = client.call("workflow.apply", yaml=written)["version"]
    new = client.call("workflow.apply", yaml=text("shown", "echo new"))["version"]
    assert client.call("workflow.get", name="shown")["version"] == new
    assert client.call("workflow.get", name="shown", version=old)["yaml"] == written
    assert refused(client, "workflow.get", name="shown", version="0" * 16).kind == "not_found"


def test_listing_page_by_page(client: Client) -> None:
    """Workflows are listed by name, in pages that join, each with its newest run."""
    names = [f"listed-{number}" for number in range(5)]
    for name in names:
        client.call("workflow.apply", yaml=text(name))
    run_id = client.call("run.start", workflow="listed-3")["id"]
    client.call("run.wait", run_id=run_id)
    found, cursor = [], None
    while True:
        page = client.call("workflow.list", limit=2, cursor=cursor)
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [item["name"] for item in found] == sorted(item["name"] for item in found)
    assert [item["name"] for item in found if item["name"].startswith("listed-")] == names
    by_name = {item["name"]: item for item in found}
    assert by_name["listed-3"]["last_run"]["id"] == run_id
    assert by_name["listed-3"]["last_run"]["state"] == "succeeded"
    assert by_name["listed-0"]["last_run"] is None


def test_a_disabled_workflow(client: Client) -> None:
    """A disabled workflow starts no run, which is a conflict that says how to mend it; enabled again it does."""
    client.call("workflow.apply", yaml=text("switched"))
    assert client.call("workflow.disable", name="switched") == {"name": "switched", "enabled": False}
    error = refused(client, "run.start", workflow="switched")
    assert (error.code, error.kind) == (-32002, "conflict")
    assert "enable switched" in error.message
    client.call("workflow.apply", yaml=text("switched", "echo new"))
    assert client.call("workflow.get", name="switched")["enabled"] is False
    assert client.call("workflow.enable", name="switched") == {"name": "switched", "enabled": True}
    assert client.call("run.start", workflow="switched")["id"]


def test_a_workflow_tells_of_its_schedules(client: Client) -> None:
    """How many there are and when the next fire is due, in both; one that fires by events is only counted."""
    assert client.call("workflow.apply", yaml=text("clockless"))
    assert client.call("workflow.get", name="clockless")["schedules"] == {"count": 0, "next_at": None}
    timed = "schedules: [{name: late, at: '2100-01-02T00:00:00Z'}, {name: soon, at: '2100-01-01T00:00:00Z'}]\n"
    boot = "triggers: [{workflow: clockless}]\n"
    client.call("workflow.apply", yaml=timed + boot + text("clocked"))
    expected = {"count": 3, "next_at": "2100-01-01T00:00:00.000Z"}
    assert client.call("workflow.get", name="clocked")["schedules"] == expected
    items = {item["name"]: item["schedules"] for item in client.call("workflow.list", limit=1000)["items"]}
    assert items["clocked"] == expected
    client.call("schedule.disable", name="clocked/soon")
    assert client.call("workflow.get", name="clocked")["schedules"]["next_at"] == "2100-01-02T00:00:00.000Z"


def test_a_deleted_workflow(client: Client) -> None:
    """A deleted workflow is gone from every listing and starts nothing; its runs and their output stay."""
    client.call("workflow.apply", yaml=text("deleted", "echo still here"))
    run_id = client.call("run.start", workflow="deleted")["id"]
    ended = client.call("run.wait", run_id=run_id)
    assert client.call("workflow.delete", name="deleted") == {"name": "deleted", "deleted": True, "kept_file": None}
    for method in ("workflow.get", "workflow.delete", "workflow.enable", "workflow.versions"):
        assert refused(client, method, name="deleted").kind == "not_found"
    assert refused(client, "run.start", workflow="deleted").kind == "not_found"
    assert "deleted" not in {item["name"] for item in client.call("workflow.list", limit=1000)["items"]}
    assert client.call("run.get", run_id=run_id) == ended
    assert [item["id"] for item in client.call("run.list", workflow="deleted")["items"]] == [run_id]
    lines = client.call("run.logs", run_id=run_id, task="shell-1")["items"]
    assert [line["text"] for line in lines] == ["still here"]
    again = client.call("workflow.apply", yaml=text("deleted", "echo still here"))
    assert again["changed"] is True
    assert client.call("run.start", workflow="deleted")["id"] != run_id


def test_a_name_that_is_nearly_right(client: Client) -> None:
    """A workflow that does not exist is answered with the nearest name."""
    client.call("workflow.apply", yaml=text("nightly-backup"))
    error = refused(client, "run.start", workflow="nightly-backpu")
    assert error.kind == "not_found"
    assert "nightly-backup" in error.message


def test_changes_survive_a_kill(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What was answered is there after kill -9: workflows in force, disabled, deleted."""
    daemon = Daemon(tmp_path_factory.mktemp("k"))
    with daemon:
        for name in ("one", "two", "three"):
            daemon.apply(text(name))
        daemon.call("workflow.disable", name="two")
        daemon.call("workflow.delete", name="three")
        daemon.kill()
        daemon.start()
        items = daemon.call("workflow.list")["items"]
        assert [(item["name"], item["enabled"]) for item in items] == [("one", True), ("two", False)]
