"""The page that tells how to write a task type is true: its example, installed as pip would, runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.helpers import daemon as daemons
from tests.helpers import foreign
from tests.helpers.daemon import ROOT, Daemon
from tests.helpers.rpc_client import RpcError

PAGE = (ROOT / "docs" / "task-types.md").read_text()


def block(language: str) -> str:
    """Return the one block of the page in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_type_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, entry point and workflow are taken from the page as they stand."""
    interpreter = foreign.make_venv(tmp_path / "venv")
    (site_packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site_packages / "barbossa_measure.py").write_text(block("python"))
    project = tomllib.loads(block("toml"))["project"]
    info = site_packages / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))

    folder = tmp_path / "measured"
    (folder / "inner").mkdir(parents=True)
    (folder / "a").write_text("1234")
    (folder / "inner" / "b").write_text("56")
    workflow = "name: sizes\n" + block("yml").replace("/srv/backup", str(folder))
    monkeypatch.setattr(daemons, "COMMAND", (str(interpreter), "-W", "error", "-m", "barbossad"))
    with Daemon(tmp_path / "daemon", environment={"PYTHONPATH": "/nonexistent"}) as daemon:
        daemon.apply(workflow)
        run_id = daemon.call("run.start", workflow="sizes")["id"]
        ended = daemon.call("run.wait", run_id=run_id)
        assert ended["state"] == "succeeded", ended
        assert ended["tasks"][0]["outputs"] == {"files": 2, "size_bytes": 6}
        page = daemon.call("run.logs", run_id=run_id, task="size")
        assert [item["text"] for item in page["items"]] == [f"2 files in {folder}"]

        daemon.apply(workflow.replace("50000000", "5"))
        ended = daemon.call("run.wait", run_id=daemon.call("run.start", workflow="sizes")["id"])
        assert ended["tasks"][0]["reason"] == f"{folder} holds 6 bytes, more than 5"


def test_a_type_that_is_gone_costs_its_tasks_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has begun goes on without its type until it comes to it, then says what to install; a retry goes on.

    Nothing new is accepted meanwhile.
    """
    interpreter = foreign.make_venv(tmp_path / "venv")
    (installed,) = (tmp_path / "venv").glob("lib/python*/site-packages/*.dist-info")
    text = (
        "name: probing\ntasks: [{id: ok, approval: Go on?}, {id: before, shell: echo x}, {id: look, probe: nothing}]\n"
    )
    monkeypatch.setattr(daemons, "COMMAND", (str(interpreter), "-W", "error", "-m", "barbossad"))
    with Daemon(tmp_path / "daemon", environment={"PYTHONPATH": "/nonexistent"}) as daemon:
        daemon.apply(text)
        run_id = daemon.call("run.start", workflow="probing")["id"]
        daemon.eventually(lambda: daemon.call("run.get", run_id=run_id)["tasks"][0]["state"] == "waiting", "it asks")
        installed.rename(tmp_path / "aside")
        daemon.stop()
        daemon.start()
        view = daemon.call("run.get", run_id=run_id)
        assert (view["state"], [task["type"] for task in view["tasks"]]) == ("running", ["approval", "shell", "probe"])
        with pytest.raises(RpcError, match="unknown key 'probe'"):
            daemon.call("run.start", workflow="probing")
        daemon.call("run.approve", run_id=run_id, task="ok")
        ended = daemon.call("run.wait", run_id=run_id)
        assert [task["state"] for task in ended["tasks"]] == ["succeeded", "succeeded", "failed"]
        assert ended["tasks"][2]["reason"].startswith("there is no task type 'probe' here: the package that brings it")
        (tmp_path / "aside").rename(installed)
        daemon.stop()
        daemon.start()
        again = daemon.call("run.wait", run_id=daemon.call("run.retry", run_id=run_id)["id"])
        assert [(task["state"], task["kept"]) for task in again["tasks"]] == [
            ("succeeded", True), ("succeeded", True), ("succeeded", False)
        ]  # fmt: skip
