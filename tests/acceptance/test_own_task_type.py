"""The page that tells how to write a task type is true: its example, installed as pip would, runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.helpers import daemon as daemons
from tests.helpers import foreign
from tests.helpers.daemon import ROOT, Daemon

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
