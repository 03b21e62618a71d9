"""Reading commands: tab-separated in a pipe, JSON on demand, tables on a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import cli_process
from tests.helpers.cli_process import Ctl
from tests.helpers.cli_run import RUN_ID, FakeRun, instant
from tests.helpers.cli_stub import StubDaemon, StubError

pytest_plugins = ("tests.helpers.cli_fixtures",)

STATUS = {
    "version": "0.1.0",
    "pid": 42,
    "uptime_seconds": 7500.0,
    "state": "running",
    "launcher": {"name": "local", "lacks": ["limits.memory", "sandbox"]},
    "store": {
        "path": "/var/lib/barbossa/barbossa.db",
        "size_bytes": 1536,
        "healthy": True,
        "reason": None,
        "reserve_bytes": 4194304,
        "rolled_back": None,
    },
    "runs": {"active": 2, "queued": 1},
    "tasks": {"running": 3, "waiting": 4, "limit": 16},
    "workflows": 5,
    "socket": "/run/barbossa/barbossad.sock",
    "config": {"path": None},
    "user": "ada",
    "role": "operator",
}

WORKFLOW = {
    "name": "backup",
    "version": "3fa9c1",
    "enabled": True,
    "description": "Keep a week\nof archives",
    "labels": {"team": "infra"},
    "params": [
        {"name": "keep_days", "type": "integer", "default": 7, "required": False, "description": "How long"},
        {"name": "target", "type": "path", "default": None, "required": True, "description": None},
    ],
    "tasks": [
        {"id": "dump", "type": "shell", "depends_on": []},
        {"id": "archive", "type": "shell", "depends_on": ["dump"]},
    ],
    "yaml": "name: backup\ntasks:\n\t# \x1b[31mred\n",
    "applied_at": instant(),
    "applied_by": "ada",
}


def test_ping(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """A pipe gets version, pid and uptime."""
    stub_daemon.handlers["daemon.ping"] = lambda _: {"version": "0.1.0", "pid": 42, "uptime_seconds": 1.5}
    assert ctl("daemon", "ping").out == "0.1.0\t42\t1.5\n"
    assert json.loads(ctl("daemon", "ping", "--json").out)["pid"] == 42


def test_status_tells_what_follows_from_the_launcher(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """A field a line, in a pipe with plain numbers."""
    stub_daemon.handlers["daemon.status"] = lambda _: STATUS
    told = dict(line.split("\t") for line in ctl("status").out.splitlines())
    assert told["state"] == "running"
    assert told["therefore"] == "limits.memory; sandbox"
    assert told["uptime"] == "7500.0"
    assert told["config"] == "-"
    assert (told["runs as"], told["your role"]) == ("ada", "operator")
    assert json.loads(ctl("status", "--json").out) == STATUS


def test_status_tells_why_a_store_is_ill(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """A degraded daemon is shown with the reason."""
    bad = {"healthy": False, "reason": "disk full", "reserve_bytes": 0, "rolled_back": "it is an older one"}
    store = {**STATUS["store"], **bad}  # type: ignore[dict-item]
    logs = {"healthy": False, "reason": "output is being lost"}
    stub_daemon.handlers["daemon.status"] = lambda _: {**STATUS, "state": "degraded", "store": store, "logs": logs}
    told = ctl("status").out
    assert "store state\tnot healthy: disk full\n" in told
    assert "store reserve\t0\nrolled back\tit is an older one\nlogs\toutput is being lost\n" in told


def test_reload_reports_faults_and_what_changed(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Changes are data, faults are told with their place, and then the exit code is 2."""
    fault = {"file": "a.yaml", "line": 3, "column": 5, "path": "tasks", "message": "unknown key", "hint": "tasks?"}
    stub_daemon.handlers["daemon.reload"] = lambda _: {"changed": ["log_level"], "faults": [fault]}
    ended = ctl("daemon", "reload")
    assert (ended.code, ended.out) == (2, "changed: log_level\n")
    assert ended.err == "a.yaml:3:5: unknown key (tasks?)\n"
    for told, said in (
        ({**fault, "path": "a.yaml:tasks", "line": None}, "a.yaml:tasks: unknown key (tasks?)\n"),
        ({**fault, "path": "a.yaml", "line": None}, "a.yaml: unknown key (tasks?)\n"),
        ({**fault, "path": "a.yaml:tasks", "file": None}, "a.yaml:tasks:3:5: unknown key (tasks?)\n"),
    ):
        answer = {"changed": [], "faults": [told]}
        stub_daemon.handlers["daemon.reload"] = lambda _, answer=answer: answer  # type: ignore[misc]
        assert ctl("daemon", "reload").err == said
    stub_daemon.handlers["daemon.reload"] = lambda _: {"changed": [], "needing_restart": ["socket"], "faults": []}
    assert ctl("daemon", "reload").err == "in force after a restart of the daemon: socket\n"
    stub_daemon.handlers["daemon.reload"] = lambda _: {"changed": [], "faults": []}
    assert (ctl("daemon", "reload").code, ctl("daemon", "reload").err) == (0, "nothing has changed\n")


def runs(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{number:010}",
            "workflow": "backup",
            "version": "v",
            "state": "succeeded",
            "trigger": "manual",
            "reason": None,
            "created_at": instant(),
            "started_at": instant(),
            "finished_at": instant(2.3),
        }
        for number in range(count)
    ]


def paged(items: list[dict[str, Any]]) -> Any:
    """Return a handler that answers pages of ``items``."""

    def handler(params: dict[str, Any]) -> object:
        start = int(params.get("cursor", 0))
        end = start + params["limit"]
        return {"items": items[start:end], "next_cursor": str(end) if end < len(items) else None}

    return handler


def test_runs_are_listed_with_their_fields(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """A run is one line of seven fields, absent ones a dash."""
    stub_daemon.handlers["run.list"] = paged(runs(1))
    line = ctl("run", "list").out
    assert line == f"0000000000\tbackup\tsucceeded\t{instant()}\t2.3\tmanual\t-\n"


@pytest.mark.parametrize(
    ("arguments", "shown", "pages"), [([], 20, 1), (["--limit", "250"], 250, 3), (["--all"], 301, 4)]
)
def test_listings_go_through_pages(
    stub_daemon: StubDaemon, ctl: Ctl, arguments: list[str], shown: int, pages: int
) -> None:
    """As many pages are read as the limit needs, and no more."""
    stub_daemon.handlers["run.list"] = paged(runs(301))
    assert len(ctl("run", "list", *arguments).out.splitlines()) == shown
    assert len(stub_daemon.asked("run.list")) == pages
    listed = json.loads(ctl("run", "list", *arguments, "--json").out)
    assert len(listed["items"]) == shown
    assert listed["next_cursor"] is None


def test_filters_are_sent(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """The daemon filters, not the client; ``ps`` asks for what is under way."""
    stub_daemon.handlers["run.list"] = paged([])
    ctl("run", "list", "--workflow", "backup", "--state", "failed")
    ctl("ps")
    ctl("ps", "--all")
    assert stub_daemon.asked("run.list") == [
        {"workflow": "backup", "state": "failed", "limit": 20},
        {"active": True, "limit": 100},
        {"limit": 20},
    ]


def test_an_empty_listing_is_empty(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """A program reads nothing, or an empty list."""
    stub_daemon.handlers["run.list"] = paged([])
    assert ctl("ps").out == ""
    assert json.loads(ctl("ps", "--json").out) == {"items": [], "next_cursor": None}


def test_names_cannot_break_a_table(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Tabs, line ends and escapes in what a name or a reason holds stay in their field."""
    stub_daemon.handlers["run.list"] = paged([{**runs(1)[0], "reason": "a\tb\nc\x1b[2J"}])
    assert ctl("run", "list").out.endswith("\ta\\tb\\nc\\x1b[2J\n")


def test_workflows_are_listed(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Each workflow with its last run; one that never ran has dashes."""
    item = {key: WORKFLOW[key] for key in ("name", "version", "enabled", "description", "labels", "applied_at")}
    last = {"id": RUN_ID, "state": "failed", "finished_at": instant(3)}
    stub_daemon.handlers["workflow.list"] = paged(
        [{**item, "tasks": 2, "last_run": last}, {**item, "name": "x", "tasks": 1, "last_run": None}]
    )
    assert ctl("ls").out.splitlines() == [
        f"backup\tyes\t2\tfailed\t{instant(3)}\tKeep a week",
        "x\tyes\t1\t-\t-\tKeep a week",
    ]


def test_a_workflow_is_shown(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Fields, params and tasks are lines that begin with what they are."""
    stub_daemon.handlers["workflow.get"] = lambda params: WORKFLOW
    lines = ctl("workflow", "get", "backup").out.splitlines()
    assert "labels\tteam=infra" in lines
    assert "param\tkeep_days\tinteger\tno\t7\tHow long" in lines
    assert "param\ttarget\tpath\tyes\t-\t-" in lines
    assert "task\tarchive\tshell\tdump" in lines
    ctl("workflow", "get", "backup", "--version", "old")
    assert stub_daemon.asked("workflow.get")[-1] == {"name": "backup", "version": "old"}


def test_a_workflow_file_comes_back_as_it_was(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """--yaml into a pipe is the file, byte for byte."""
    stub_daemon.handlers["workflow.get"] = lambda params: WORKFLOW
    assert ctl("workflow", "get", "backup", "--yaml").out == WORKFLOW["yaml"]


def test_versions_are_listed(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Each version with who applied it and whether it is in force."""
    stub_daemon.handlers["workflow.versions"] = paged(
        [{"version": "v2", "applied_at": instant(), "applied_by": "ada", "current": True}]
    )
    assert ctl("workflow", "versions", "backup").out == f"v2\tyes\t{instant()}\tada\n"


@pytest.mark.parametrize("verb", ["delete", "enable", "disable"])
def test_small_changes_say_what_they_did(stub_daemon: StubDaemon, ctl: Ctl, verb: str) -> None:
    """They send the name and confirm on stderr; without a terminal nothing is asked."""
    stub_daemon.handlers[f"workflow.{verb}"] = lambda params: {}
    ended = ctl("workflow", verb, "backup")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"backup is {verb}d\n"
    assert stub_daemon.asked(f"workflow.{verb}") == [{"name": "backup"}]


FAULTS = [
    {"line": 3, "column": 5, "path": "tasks[0].shel", "message": "unknown key 'shel'", "hint": "shell"},
    {"line": None, "column": None, "path": "tasks", "message": "there is no task", "hint": ""},
]


def _apply(params: dict[str, Any]) -> object:
    if "bad" in params["yaml"]:
        raise StubError("invalid_workflow", "the workflow has faults", faults=FAULTS)
    return {"name": "backup", "version": "v1", "changed": "new" in params["yaml"]}


def test_apply_does_what_it_can_and_tells_every_fault(stub_daemon: StubDaemon, ctl: Ctl, tmp_path: Path) -> None:
    """A broken file is told fault by fault with its place and keeps no other from being applied."""
    stub_daemon.handlers["workflow.apply"] = _apply
    files = {"bad.yaml": "bad", "new.yaml": "new", "same.yaml": "same"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    paths = [str(tmp_path / name) for name in (*files, "gone.yaml")]
    ended = ctl("apply", *paths)
    assert ended.code == 2
    assert ended.out == "backup\tv1\tapplied\nbackup\tv1\tunchanged\n"
    assert ended.err.splitlines() == [
        f"{paths[0]}:3:5: unknown key 'shel' (shell)",
        f"{paths[0]}:tasks: there is no task",
        f"{paths[3]}: cannot be read: No such file or directory",
    ]
    assert ctl("apply", paths[1]).code == 0
    told = json.loads(ctl("apply", "--json", *paths).out)["items"]
    assert [one.get("changed", len(one.get("faults", []))) for one in told] == [2, True, False, 1]


def test_apply_stops_at_what_is_not_the_files_fault(stub_daemon: StubDaemon, ctl: Ctl, tmp_path: Path) -> None:
    """A refusal concerns all files: it is told once, with its own exit code."""

    def refuse(_: dict[str, Any]) -> object:
        raise StubError("permission_denied", "your role is viewer; this needs author")

    stub_daemon.handlers["workflow.apply"] = refuse
    (tmp_path / "a.yaml").write_text("new")
    ended = ctl("apply", str(tmp_path / "a.yaml"), str(tmp_path / "a.yaml"))
    assert ended.code == 4
    assert ended.err.count("your role is viewer") == 1


def test_validate_asks_the_daemon_where_told_to(stub_daemon: StubDaemon, ctl: Ctl, tmp_path: Path) -> None:
    """The faults are what validate is asked for, so they go to stdout; a valid file is said to be so."""
    stub_daemon.handlers["workflow.validate"] = lambda params: (
        {"valid": False, "faults": FAULTS} if "bad" in params["yaml"] else {"valid": True, "faults": []}
    )
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("good")
    bad.write_text("bad")
    ended = ctl("validate", "--daemon", str(good), str(bad))
    assert (ended.code, ended.err) == (2, "")
    assert ended.out.splitlines()[0] == f"{good}: valid"
    assert ended.out.splitlines()[1:3] == [f"{bad}:3:5: unknown key 'shel'", "  hint: shell"]
    assert ctl("validate", "--daemon", str(good)).code == 0
    assert ctl("validate", "--daemon", str(tmp_path / "gone.yaml")).code == 2


def test_apply_reads_stdin(stub_daemon: StubDaemon) -> None:
    """A file called - is stdin."""
    stub_daemon.handlers["workflow.apply"] = _apply
    done = cli_process.run(stub_daemon.path, "apply", "-", stdin="new: ü")
    assert done.stdout == "backup\tv1\tapplied\n"
    assert stub_daemon.asked("workflow.apply") == [{"yaml": "new: ü"}]


def test_a_run_is_shown_task_by_task(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Fields of the run, then a line a task with its exit code and cause."""
    run = FakeRun("dump", "archive")
    run.begin("dump")
    run.finish("dump", "failed", exit_code=7)
    run.leave("archive", "upstream_failed")
    run.end("failed")
    stub_daemon.handlers |= run.handlers(stub_daemon)
    lines = ctl("run", "get", "last").out.splitlines()
    assert lines[0] == f"run\t{RUN_ID}"
    assert "state\tfailed" in lines
    assert "took\t2.3" in lines
    assert [line for line in lines if line.startswith("task\t")] == [
        "task\tdump\tshell\tfailed\t1\t7\t1.0\texit code 7\t-",
        "task\tarchive\tshell\tupstream_failed\t0\t-\t-\t-\t-",
    ]
    assert json.loads(ctl("run", "get", RUN_ID, "--json").out)["tasks"][0]["attempts"][0]["exit_code"] == 7


def test_last_needs_a_run(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Before the first run, ``last`` says how to make one."""
    stub_daemon.handlers["run.list"] = paged([])
    ended = ctl("run", "get", "last")
    assert ended.code == 1
    assert "barbossactl start NAME" in ended.err


TABLE_CASES: list[tuple[str, list[str], list[str]]] = [
    ("run.list", ["ps"], ["ID", "WORKFLOW", "0000000000", "backup", "succeeded", "2.3 s", "ago)"]),
    ("workflow.list", ["ls"], ["NAME", "backup", "failed"]),
    ("daemon.status", ["status"], ["running", "2 h 05 min", "1.5 KiB", "limits.memory"]),
    ("daemon.ping", ["daemon", "ping"], ["barbossad 0.1.0 is there: pid 42, up for 2 h 05 min"]),
    ("workflow.get", ["workflow", "get", "backup"], ["PARAM", "keep_days", "AFTER", "archive", "of archives"]),
]


@pytest.mark.parametrize(("method", "arguments", "words"), TABLE_CASES, ids=lambda value: str(value)[:20])
def test_a_terminal_gets_tables(stub_daemon: StubDaemon, method: str, arguments: list[str], words: list[str]) -> None:
    """On a terminal there are headings, local times with ages, and words for numbers."""
    listed = [{**WORKFLOW, "tasks": 2, "last_run": {"state": "failed", "finished_at": instant()}}]
    answers: dict[str, Any] = {
        "run.list": paged(runs(3)),
        "workflow.list": paged(listed),
        "daemon.status": lambda _: STATUS,
        "daemon.ping": lambda _: STATUS,
        "workflow.get": lambda _: WORKFLOW,
    }
    stub_daemon.handlers[method] = answers[method]
    with cli_process.OnTerminal(stub_daemon.path, *arguments, columns=140) as terminal:
        assert terminal.end() == 0
    for word in words:
        assert word in terminal.text


def test_colour_is_for_terminals_that_want_it(stub_daemon: StubDaemon) -> None:
    """States have colours on a terminal, none with NO_COLOR and none in a pipe."""
    stub_daemon.handlers["run.list"] = paged([{**runs(1)[0], "state": "failed", "reason": "[red]not markup[/red]"}])
    with cli_process.OnTerminal(stub_daemon.path, "ps", columns=200) as terminal:
        assert terminal.end() == 0
    assert "\x1b[1;31mfailed" in terminal.text
    assert "[red]not markup[/red]" in terminal.text
    with cli_process.OnTerminal(stub_daemon.path, "ps", NO_COLOR="1") as terminal:
        assert terminal.end() == 0
    assert "\x1b[1;31m" not in terminal.text
    assert "\x1b" not in cli_process.run(stub_daemon.path, "ps").stdout


def test_an_id_is_never_cut_on_a_narrow_terminal(stub_daemon: StubDaemon) -> None:
    """Where columns do not fit, ids stay whole."""
    stub_daemon.handlers["run.list"] = paged(runs(1))
    with cli_process.OnTerminal(stub_daemon.path, "ps", columns=50) as terminal:
        assert terminal.end() == 0
    assert "0000000000" in terminal.text


def test_an_empty_table_says_what_to_do(stub_daemon: StubDaemon) -> None:
    """A person is told that there is nothing, and what shows more."""
    stub_daemon.handlers["run.list"] = paged([])
    with cli_process.OnTerminal(stub_daemon.path, "ps") as terminal:
        assert terminal.end() == 0
    assert "nothing is running; barbossactl ps --all" in terminal.text


def test_delete_asks_on_a_terminal(stub_daemon: StubDaemon) -> None:
    """Deleting is confirmed by a person; no means that nothing is sent."""
    stub_daemon.handlers["workflow.delete"] = lambda _: {}
    with cli_process.OnTerminal(stub_daemon.path, "workflow", "delete", "backup") as terminal:
        terminal.read_until("[y/N]")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert not stub_daemon.asked("workflow.delete")
    with cli_process.OnTerminal(stub_daemon.path, "workflow", "delete", "backup", "--yes") as terminal:
        assert terminal.end() == 0
    assert stub_daemon.asked("workflow.delete")


@pytest.mark.parametrize("asked", [(), ("--json",)], ids=["as it is", "as asked for"])
@pytest.mark.parametrize("task", [None, "build"], ids=["of the run", "of a task"])
def test_outputs_are_json(stub_daemon: StubDaemon, ctl: Ctl, asked: tuple[str, ...], task: str | None) -> None:
    """The outputs of a run, or of one of its tasks, are printed whole, and as JSON with the option and without."""
    found = {"version": "1.2", "text": "\u00fc" * 5000}
    stub_daemon.handlers["run.outputs"] = lambda params: {"run_id": RUN_ID, "task": task, "outputs": found}
    done = ctl("run", "outputs", RUN_ID, *([task] if task else []), *asked)
    assert (done.code, json.loads(done.out)) == (0, found)
    assert stub_daemon.asked("run.outputs") == [{"run_id": RUN_ID, **({"task": task} if task else {})}]
