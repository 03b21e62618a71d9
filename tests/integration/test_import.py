"""``barbossactl import``: crontabs become workflows of a real daemon, and run as cron would have run them."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import cli_process
from tests.helpers.daemon import Daemon
from tests.helpers.rpc_client import Pinger

USER = pwd.getpwuid(os.geteuid()).pw_name
CRONTAB = r"""MAILTO=ops@example.com
GREETING='hello  there'

# Say what was given
0 2 * * * echo "$GREETING, $MAILTO"; cat; false; echo on%one%two: 100\%
61 * * * * never
@reboot true
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d")) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A crontab with a broken line."""
    (tmp_path / "crontab").write_text(CRONTAB)
    return str(tmp_path / "crontab")


def run(daemon: Daemon, *arguments: str, **given: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return cli_process.run(daemon.socket_path, "import", *arguments, **given)


def log_of(daemon: Daemon, run_id: str, task: str) -> str:
    """Return what a task printed."""
    return "\n".join(line["text"] for line in daemon.call("run.logs", run_id=run_id, task=task)["items"])


def test_a_crontab_is_shown_first(daemon: Daemon, file: str) -> None:
    """Files on stdout, what is to be known on stderr, the broken line with its place; nothing is applied; exit 1."""
    done = run(daemon, "cron", file, "--timezone", "Europe/London")
    assert done.returncode == 1
    first, second = done.stdout.split("---\n")
    assert first.startswith(f'# From {file}, line 5\n#   0 2 * * * echo "$GREETING')
    assert "description: Say what was given\n" in first
    assert '  - cron: "0 2 * * *"\n    timezone: Europe/London\n' in first
    assert "  - boot: true\n" in second
    assert "cat, job: cron mailed its output to ops@example.com (MAILTO)" in done.stderr
    assert f"no user is named, so its tasks run as {USER}, who runs this daemon" in done.stderr
    assert f"not imported: {file}:6: the minute (61) is from 0 to 59, not 61" in done.stderr
    assert daemon.call("workflow.list")["items"] == []


def test_what_is_applied_does_what_cron_did(daemon: Daemon, file: str) -> None:
    """The task has the variables and the standard input, and does not stop where a shell of cron's would not."""
    done = run(daemon, "cron", file, "--apply", "--yes")
    assert done.returncode == 1, done.stderr
    assert "cat is applied, version " in done.stderr
    ended = daemon.call("run.wait", run_id=daemon.call("run.start", workflow="cat")["id"])
    assert ended["state"] == "succeeded"
    said = log_of(daemon, ended["id"], ended["tasks"][0]["id"])
    assert said == "hello  there, ops@example.com\none\ntwo: 100%\non"
    again = run(daemon, "cron", file, "--apply", "--yes")
    assert "cat is unchanged" in again.stderr
    assert "there is a workflow" not in again.stderr
    for name in ("cat", "job"):
        daemon.call("workflow.delete", name=name)


def test_json(daemon: Daemon, file: str) -> None:
    """The answer as it is, the same as without it."""
    done = run(daemon, "cron", "-", "--json", stdin=Path(file).read_text())
    answer = json.loads(done.stdout)
    assert [item["name"] for item in answer["items"]] == ["cat", "job"]
    assert answer["items"][0]["source"] == "stdin, line 5"
    assert [fault["line"] for fault in answer["faults"]] == [6]
    assert done.returncode == 1


def test_a_crontab_without_jobs(daemon: Daemon) -> None:
    """Where there is nothing to import that is said."""
    done = run(daemon, "cron", "-", stdin="# m h dom mon dow command\nMAILTO=ada\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "there is nothing to import\n")


def test_files_are_never_overwritten_unasked(daemon: Daemon, tmp_path: Path) -> None:
    """-o writes NAME.yaml; one that is there stays, is told and makes the exit code 1, but with --force."""
    folder = tmp_path / "out"
    given = "0 1 * * * alpha\n0 2 * * * beta\n"
    done = run(daemon, "cron", "-", "-o", str(folder), stdin=given)
    assert (done.returncode, done.stdout.splitlines()) == (0, [f"{folder}/alpha.yaml", f"{folder}/beta.yaml"])
    whole = (folder / "alpha.yaml").read_text()
    assert daemon.call("workflow.validate", yaml=whole)["valid"]
    (folder / "alpha.yaml").write_text("mine")
    (folder / "beta.yaml").unlink()
    done = run(daemon, "cron", "-", "-o", str(folder), stdin=given)
    assert (done.returncode, done.stdout.splitlines()) == (1, [f"{folder}/beta.yaml"])
    assert "alpha.yaml is there already and was not written" in done.stderr
    assert (folder / "alpha.yaml").read_text() == "mine"
    assert run(daemon, "cron", "-", "-o", str(folder), "--force", stdin=given).returncode == 0
    assert (folder / "alpha.yaml").read_text() == whole


def test_apply_asks(daemon: Daemon, file: str) -> None:
    """On a terminal it asks, and no is no; where nobody can be asked it wants --yes."""
    done = run(daemon, "cron", file, "--apply")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    with cli_process.OnTerminal(daemon.socket_path, "import", "cron", file, "--apply") as terminal:
        terminal.read_until("Apply 2 workflows (cat, job)?")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert "nothing was applied" in terminal.text
    assert daemon.call("workflow.list")["items"] == []


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with a crontab(1) that knows one user."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "crontab"
    program.write_text('#!/bin/sh\necho "# called with $*"\necho "0 1 * * * gamma"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def test_the_crontab_of_a_user(daemon: Daemon, programs: Path, tmp_path: Path) -> None:
    """It is what crontab -l says; tasks run as that user."""
    done = run(daemon, "cron", USER, more={"PATH": f"{programs}:/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"# From the crontab of {USER}, line 2\n")
    assert "no user is named" not in done.stderr
    if os.geteuid() == 0:
        assert f"called with -l -u {USER}" in done.stdout
        assert f"run_as: {USER}\n" in done.stdout
    (programs / "crontab").write_text("#!/bin/sh\necho no crontab for you >&2\nexit 1\n")
    done = run(daemon, "cron", USER, more={"PATH": f"{programs}:/usr/bin:/bin"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"barbossactl: cannot read the crontab of {USER}: no crontab for you\n"
    done = run(daemon, "cron", USER, more={"PATH": str(tmp_path)})
    assert (done.returncode, "barbossactl import cron FILE" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cron", "nobody-of-that-name"), "neither a file nor a user"),
        (("cron", "--", "-u"), "neither a file nor a user"),
        (("cron", "/nonexistent/crontab"), "cannot read /nonexistent/crontab"),
        (("cron", "/etc/hostname", "--force"), "--force is for -o"),
        (("cron", "/etc/hostname", "--yes"), "--yes is for --apply"),
        (("cron", "/etc/hostname", "--system", "--user", "ada"), "contradict"),
        (("cron", "/etc/hostname", "--timezone", "Europe/Londn"), "Europe/London"),
        (("cron", "/etc/hostname", "--user", "a b"), "no name of a user"),
    ],
)
def test_what_is_not_acceptable(daemon: Daemon, arguments: tuple[str, ...], words: str) -> None:
    """It is one line on stderr, with exit code 2."""
    done = run(daemon, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_line_that_the_language_refuses_is_a_fault(daemon: Daemon) -> None:
    """Such as a day that never comes, or a time zone that is none; the others are imported."""
    given = "0 0 31 2 * never\n0 1 * * * once\nCRON_TZ=Europe/Londn\n0 2 * * * nowhere\n"
    answer = daemon.call("import.cron", text=given)
    assert [item["name"] for item in answer["items"]] == ["once"]
    assert [fault["line"] for fault in answer["faults"]] == [1, 4]
    assert all("no workflow can be made of it" in fault["message"] for fault in answer["faults"])


@pytest.mark.parametrize(
    "text", ["* * * * * echo hi\n" * 60_000, "0 0 31 2 * never\n" * 60_000, "* * * * * " + "a" * 1_000_000]
)
def test_a_crontab_that_takes_long_to_read(daemon: Daemon, text: str) -> None:
    """It is read aside, up to a bound, and others are served meanwhile."""
    with Pinger(daemon.socket_path), daemon.client() as client:
        client.socket.settimeout(60)
        answer = client.call("import.cron", text=text)
    assert answer["faults"][-1]["line"] in {1, 1001}


def test_timers_where_there_is_no_systemd(daemon: Daemon) -> None:
    """It is said in words."""
    if Path("/run/systemd/system").exists():
        pytest.skip("there is a systemd here; tests/systemd has this")
    done = run(daemon, "timers")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("barbossactl: there are no timers to import: systemd cannot be reached over D-Bus")
