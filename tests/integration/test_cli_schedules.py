"""The command line of schedules against a real daemon: what is printed, completed and refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.helpers import cli_process
from tests.helpers.cli_process import Ctl, OnTerminal
from tests.helpers.cli_stub import StubDaemon
from tests.helpers.daemon import Daemon

pytest_plugins = ("tests.helpers.cli_fixtures",)

WORKFLOW = """
name: backup
labels: {team: infra}
params: {mode: {type: choice, choices: [full, quick], default: full}}
schedules:
  - {name: nightly, cron: "30 1 * * *", timezone: Europe/London, params: {mode: quick}}
  - {name: often, every: 1h, overlap: allow}
tasks: [{id: one, shell: 'echo "$mode for $BARBOSSA_SCHEDULED_FOR"'}]
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a workflow that has two schedules."""
    with Daemon(tmp_path_factory.mktemp("schedules")) as running:
        running.apply(WORKFLOW)
        yield running


def run(daemon: Daemon, *arguments: str) -> tuple[int, str, str]:
    """Run a command line in a pipe; return its code, what it printed, and what it said."""
    done = cli_process.run(daemon.socket_path, *arguments)
    return done.returncode, done.stdout, done.stderr


def rows(daemon: Daemon, *arguments: str) -> list[list[str]]:
    """Return the rows that a command prints in a pipe."""
    code, out, err = run(daemon, *arguments)
    assert (code, err) == (0, "")
    return [line.split("\t") for line in out.splitlines()]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_list_on_a_terminal(daemon: Daemon, columns: int) -> None:
    """A person sees when, where and what next in lines that fit, no word cut in two; of what never fired, no column."""
    daemon.apply(WORKFLOW.replace("backup", "listed").replace("1h,", "1h, enabled: false,"))
    arguments = ("schedule", "list", "--workflow", "listed")
    with OnTerminal(daemon.socket_path, *arguments, columns=columns, NO_COLOR="1") as terminal:
        assert terminal.end() == 0
    title, *shown = (line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", terminal.text).splitlines())
    assert title.split() == ["SCHEDULE", "WHEN", "NEXT"]
    assert max(map(len, shown)) <= columns
    assert {"listed/nightly", "Europe/London", "01:30:00", "listed/often", "disabled"} <= set(" ".join(shown).split())


def test_list_and_next(daemon: Daemon) -> None:
    """Every schedule is a row; the next fires are merged by time, each with its own zone's time."""
    listed = rows(daemon, "schedule", "list", "--workflow", "backup")
    assert [row[:4] for row in listed] == [
        ["backup/nightly", "enabled", "30 1 * * *", "Europe/London"],
        ["backup/often", "enabled", "every 1h", "-"],
    ]
    coming = rows(daemon, "next", "-n", "60")  # two nights: in one of a year there is no half past one
    assert len(coming) == 60
    assert [row[0] for row in coming] == sorted(row[0] for row in coming)
    assert any(row[1] == "backup/nightly" and " 01:30:00 " in row[2] for row in coming)


def test_json(daemon: Daemon) -> None:
    """Reading commands print JSON on demand, as the operation answers."""
    for command in (["next"], ["schedule", "list"], ["schedule", "get", "backup/nightly"],
                    ["schedule", "explain", "backup/nightly"], ["schedule", "history"], ["schedule", "holds"],
                    ["schedule", "stats", "backup/often"], ["schedule", "preview", "0 2 * * *"]):  # fmt: skip
        code, out, _ = run(daemon, *command, "--json")
        assert code == 0, command
        assert json.loads(out), command


def test_explain(daemon: Daemon) -> None:
    """A schedule is told in words, with its fires around both changes of the clocks."""
    code, out, _ = run(daemon, "schedule", "explain", "backup/nightly")
    assert code == 0
    assert out.startswith("At 01:30, Europe/London time.\n")
    assert "02:00:00 BST" in out  # in spring there is no half past one
    assert out.count("when the clocks go from") == 2


def test_explain_what_fires_by_no_clock(daemon: Daemon) -> None:
    """A boot and each kind of trigger is told in words as well, and so is what keeps it from firing."""
    daemon.apply(
        "name: eager\nschedules: [{boot: {delay: 2m}}]\ntriggers: [{file: /srv/in}]\ntasks: [{shell: 'true'}]\n"
    )
    code, boot, _ = run(daemon, "schedule", "explain", "eager/boot-1")
    assert code == 0
    assert boot == (
        "Once after each boot of the host, 2m later.\n"
        "While a run of it goes on, a fire is skipped.\n"
    )  # fmt: skip
    run(daemon, "schedule", "disable", "eager/file-1")
    _, file, _ = run(daemon, "schedule", "explain", "eager/file-1")
    assert file.startswith("When a file in /srv/in, or /srv/in itself, was created or changed, and ")
    assert "It is disabled" in file
    daemon.call("workflow.delete", name="eager")


def test_explain_marks_what_is_skipped(daemon: Daemon) -> None:
    """A fire around a change of the clocks that will be let pass says so: they change on Sundays."""
    daemon.apply(
        "name: weekdays\nschedules: [{name: one, cron: '0 9 * * *', timezone: Europe/London, blackout: Sat-Sun}]\n"
        "tasks: [{shell: 'true'}]\n"
    )
    for change in daemon.call("schedule.explain", name="weekdays")["changes"]:
        assert len(change["fires"]) == 10
        for fire in change["fires"]:
            assert fire.endswith("skipped: blackout Sat-Sun") == fire.startswith(("Sat", "Sun")), fire
    daemon.call("workflow.delete", name="weekdays")


def test_explain_begins_with_what_is_due_next(daemon: Daemon) -> None:
    """A fire whose nominal time has passed, and which its jitter has come later, is told as the next one."""
    every_second = "{cron: '* * * * * *', timezone: UTC, jitter: 23h}"
    daemon.apply(f"name: late\nschedules: [{every_second}]\ntasks: [{{shell: 'true'}}]\n")
    (first,) = daemon.call("schedule.next", workflow="late", limit=1)["items"]
    nominal = datetime.fromisoformat(first["nominal_at"])
    daemon.eventually(lambda: datetime.now(UTC) > nominal + timedelta(seconds=1), "its nominal time has passed")
    assert daemon.call("schedule.explain", name="late")["next"][0] == first["local"]
    daemon.call("workflow.delete", name="late")


def test_explain_says_what_keeps_it_from_firing(daemon: Daemon) -> None:
    """Disabled, held, or of a disabled workflow: no fire is told as if it would come."""
    daemon.apply("name: kept\nlabels: {kept: now}\nschedules: [{name: one, every: 1h}]\ntasks: [{shell: 'true'}]\n")
    _, enabled, _ = run(daemon, "schedule", "explain", "kept")
    assert "disabled" not in enabled
    run(daemon, "schedule", "disable", "kept", "--reason", "a move")
    _, disabled, _ = run(daemon, "schedule", "explain", "kept")
    assert (
        "It is disabled: a move. No fire comes until it is enabled (barbossactl schedule enable kept/one)." in disabled
    )
    run(daemon, "schedule", "enable", "kept")
    run(daemon, "schedule", "hold", "kept", "--reason", "new disks")
    _, held, _ = run(daemon, "schedule", "explain", "kept")
    assert "It is held by label kept: new disks; until it is released its fires are skipped." in held
    assert "the next fires" not in held
    assert "skipped on the way" in held
    run(daemon, "schedule", "release", "kept")
    run(daemon, "workflow", "disable", "kept")
    _, off, _ = run(daemon, "schedule", "explain", "kept")
    assert "Its fires are skipped: workflow kept is disabled; barbossactl workflow enable kept." in off
    daemon.call("workflow.delete", name="kept")


def test_preview(daemon: Daemon) -> None:
    """An expression is tried without being saved; one that is wrong is told of with the field."""
    found = rows(
        daemon, "schedule", "preview", "30 1 * * *", "--timezone", "Europe/London", "--after", "2026-03-28T00:00:00Z",
        "--count", "2",
    )  # fmt: skip
    assert found == [["2026-03-28T01:30:00.000Z"], ["2026-03-29T01:00:00.000Z"]]
    code, out, err = run(daemon, "schedule", "preview", "0 25 * * *")
    assert (code, out) == (2, "")
    assert "the hour field has '25', but 25 is not between 0 and 23" in err


def test_holidays_end(daemon: Daemon) -> None:
    """Where the first fires lie beyond the years of which holidays are known, that is said."""
    asked = {"cron": "0 9 25 12 *", "timezone": "Europe/London", "holidays": "GB", "count": 1}
    found = daemon.call("schedule.preview", **asked)
    assert found["items"] == ["2101-12-25T09:00:00.000Z"]
    assert found["words"][-1].startswith("Holidays of GB are known up to the end of 2100")
    assert not any(
        "known" in said for said in daemon.call("schedule.preview", **asked | {"cron": "0 9 1 7 *"})["words"]
    )


def test_far_futures(daemon: Daemon) -> None:
    """What cannot be told ends a series, and stands in the way of no other schedule."""
    daemon.apply("name: far\nschedules: [{name: seldom, every: 36500d}]\ntasks: [{shell: 'true'}]\n")
    found = daemon.call("schedule.explain", name="far", count=100)["next"]
    assert 60 < len(found) < 100
    assert len(rows(daemon, "next", "-n", "100", "--workflow", "far")) == len(found)
    assert len(rows(daemon, "next", "-n", "100")) == 100
    assert len(rows(daemon, "schedule", "preview", "--every", "36500d", "-n", "100")) == len(found)
    daemon.call("workflow.delete", name="far")


@pytest.mark.parametrize("after", ["0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "9999-12-31T23:59:59-12:00"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati"])
def test_instants_that_nobody_means(daemon: Daemon, after: str, zone: str) -> None:
    """A year that no calendar reckons with is refused in a sentence."""
    code, out, err = run(daemon, "schedule", "preview", "0 2 * * *", "--timezone", zone, "--after", after)
    assert (code, out) == (2, "")
    assert f"'after' is not between the years 1900 and 9000: '{after}'" in err


def test_trigger_runs_with_the_params_of_the_schedule(daemon: Daemon) -> None:
    """A fire by hand prints its run, which has the schedule's params."""
    code, out, _ = run(daemon, "schedule", "trigger", "backup/nightly", "--detach")
    assert code == 0
    details = daemon.call("run.wait", run_id=out.strip())
    assert (details["params"], details["schedule"]) == ({"mode": "quick"}, "backup/nightly")
    assert rows(daemon, "schedule", "history", "backup/nightly")[0][4] == details["id"]


def test_trigger_is_followed(daemon: Daemon) -> None:
    """As with start: the output on stdout, the states on stderr, and the exit code is that of the run."""
    daemon.apply(
        "name: fails\nschedules: [{name: never, at: '2100-01-01T00:00:00Z'}]\n"
        "tasks: [{id: one, shell: 'echo tried; exit 7'}]\n"
    )
    code, out, err = run(daemon, "schedule", "trigger", "fails")
    assert (code, out) == (1, "one | tried\n")
    assert "exit code 7" in err
    code, out, _ = run(daemon, "schedule", "trigger", "fails", "--wait", "--json")
    assert (code, json.loads(out)["state"]) == (1, "failed")
    assert run(daemon, "schedule", "trigger", "fails", "--wait", "--detach")[0] == 2


def test_a_disabled_workflow(daemon: Daemon) -> None:
    """Its schedules tell of it in every listing; a fire by hand is refused with what to do, and counted as let pass."""
    daemon.apply("name: idle\nschedules: [{name: late, at: '2100-01-01T00:00:00Z'}]\ntasks: [{shell: 'true'}]\n")
    assert rows(daemon, "schedule", "stats", "idle")[2] == ["fires", "none: it has not fired in this time"]
    daemon.call("workflow.disable", name="idle")
    assert "workflow idle is disabled" in rows(daemon, "schedule", "list", "--workflow", "idle", "--kind", "at")[0][1]
    assert "workflow idle is disabled" in rows(daemon, "next", "--workflow", "idle")[0][3]
    code, out, err = run(daemon, "schedule", "trigger", "idle")
    assert (code, out) == (1, "")
    assert "barbossactl workflow enable idle" in err
    (skip,) = daemon.call("schedule.statistics", name="idle")["skips"]
    assert (skip["count"], "'idle' is disabled" in skip["reason"]) == (1, True)
    daemon.call("workflow.delete", name="idle")


def test_history_outlives_its_schedule(daemon: Daemon) -> None:
    """Fires of a schedule that was removed are listed and counted, by its id and by its workflow."""
    daemon.apply("name: past\ntasks: [{shell: 'true'}]\n")
    for name in ("one", "two"):
        assert run(daemon, "schedule", "add", "past", "--name", name, "--at", "2100-01-01T00:00:00Z")[0] == 0
        assert run(daemon, "schedule", "trigger", f"past/{name}", "--wait")[0] == 0
    assert [row[0] for row in rows(daemon, "schedule", "history", "past")] == ["past/two", "past/one"]
    assert run(daemon, "schedule", "remove", "past/one")[0] == 0
    assert [row[0] for row in rows(daemon, "schedule", "history", "past/one")] == ["past/one"]
    assert [row[0] for row in rows(daemon, "schedule", "history", "past")] == ["past/two", "past/one"]
    assert daemon.call("schedule.statistics", name="past/one")["fires"] == {"succeeded": 1}
    code, _, err = run(daemon, "schedule", "history", "past/tw")
    assert code == 1
    assert "did you mean 'past/two'?" in err
    assert run(daemon, "schedule", "history", "nothing")[0] == 1


def test_add_disable_remove(daemon: Daemon) -> None:
    """What is added is listed, switched off and removed; what stands in a file is removed there."""
    code, out, err = run(daemon, "schedule", "add", "backup", "--cron", "@daily", "-p", "mode=quick")
    assert (code, out) == (0, "backup/added-1\n")
    assert "the zone of the daemon's host" in err
    assert run(daemon, "schedule", "disable", "backup/added-1", "--reason", "no disk")[0] == 0
    assert daemon.call("schedule.get", name="backup/added-1")["disabled_reason"] == "no disk"
    assert run(daemon, "schedule", "enable", "backup/added-1")[0] == 0
    assert run(daemon, "schedule", "remove", "backup/added-1")[0] == 0
    code, _, err = run(daemon, "schedule", "remove", "backup/often")
    assert code == 1
    assert "stands in the file of its workflow" in err


def test_what_never_fires_says_so(daemon: Daemon) -> None:
    """A schedule whose instants have passed is told of when it is added, and in the listing."""
    code, _, err = run(daemon, "schedule", "add", "backup", "--name", "past", "--at", "2020-01-01T00:00:00Z")
    assert code == 0
    assert "it never fires" in err
    states = {row[0]: row[1] for row in rows(daemon, "schedule", "list")}
    assert states["backup/past"] == "over: no fire is left"
    assert run(daemon, "schedule", "remove", "backup/past")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "backup"], "one thing makes a schedule fire"),
        (["add", "backup", "--every", "1h", "--cron", "@daily"], "one thing makes a schedule fire"),
        (["add", "backup", "--cron", "@daily", "-p", "mode=no"], "mode"),
        (["hold", "--reason", "x"], "a label is missing"),
        (["hold", "a=b", "--reason", "x", "--until", "soon"], "is not a duration"),
        (["hold", "a=b", "--reason", "x", "--until", "2020-01-01"], "has passed"),
        (["hold", "a=b", "--label", "c=d", "--reason", "x"], "one label is held at a time"),
        (["hold", "a=b", "--all", "--reason", "x"], "exclude each other"),
    ],
)
def test_wrong_usage(daemon: Daemon, arguments: list[str], words: str) -> None:
    """What cannot be meant is refused in one line that says what to do."""
    code, out, err = run(daemon, "schedule", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def test_several_schedules_need_a_name(daemon: Daemon) -> None:
    """A workflow stands for its schedule only if it has just one; otherwise they are named."""
    code, _, err = run(daemon, "schedule", "get", "backup")
    assert code == 1
    assert "backup/nightly, backup/often" in err
    code, _, err = run(daemon, "schedule", "get", "backup/nightl")
    assert code == 1
    assert "did you mean 'backup/nightly'?" in err


def test_hold_and_release(daemon: Daemon) -> None:
    """What is held says so in every listing, until it is released."""
    held = ["--label", "team=infra", "--until", "2h", "--reason", "disks"]
    assert run(daemon, "schedule", "hold", *held)[0] == 0
    assert rows(daemon, "schedule", "list")[0][1] == "held: disks"
    assert rows(daemon, "next", "-n", "1")[0][3] == "held: disks"
    assert rows(daemon, "schedule", "holds")[0][:2] == ["team=infra", "disks"]
    assert run(daemon, "schedule", "release", "team=infra")[0] == 0
    assert run(daemon, "schedule", "release", "team=infra")[0] == 1
    assert rows(daemon, "schedule", "holds") == []


def test_a_file_fires(daemon: Daemon, tmp_path: Path) -> None:
    """A trigger that was added from the command line fires for a file, which its run is told of."""
    daemon.apply("name: files\nparams: {path: {type: path}}\ntasks: [{id: one, shell: 'echo \"$path\"'}]\n")
    code, _, err = run(daemon, "schedule", "add", "files", "--file", str(tmp_path), "-p", "path={{ trigger.path }}")
    assert code == 0, err
    (tmp_path / "it").write_text("x")
    daemon.eventually(lambda: bool(daemon.call("schedule.history", name="files")["items"]), "it has fired")
    run_id = daemon.call("schedule.history", name="files")["items"][0]["run"]
    assert daemon.call("run.wait", run_id=run_id)["params"] == {"path": str(tmp_path / "it")}


def test_next_fires_after_a_hold(daemon: Daemon) -> None:
    """Only fires that are due while something holds them are told as held, whichever hold that is."""
    assert run(daemon, "schedule", "hold", "team=infra", "--reason", "short", "--until", "90m")[0] == 0
    assert next(row[3] for row in rows(daemon, "next", "-n", "3") if row[1] == "backup/often") == "held: short"
    assert [row[3] for row in rows(daemon, "next", "-n", "9") if row[1] == "backup/often"][2] == "-"
    assert run(daemon, "schedule", "hold", "team", "--reason", "long", "--until", "900d")[0] == 0
    assert {row[3] for row in rows(daemon, "next", "-n", "9") if row[1] == "backup/often"} == {"held: long"}
    for label in ("team", "team=infra"):
        assert run(daemon, "schedule", "release", "--label", label)[0] == 0


# -- on a terminal, and what a small daemon does not come to -----------------------------------------------------


def fire(**more: object) -> dict[str, object]:
    """Return a fire to come."""
    return {
        "schedule": "backup/nightly",
        "due_at": "2100-01-02T01:30:00.000Z",
        "local": "Sat 2100-01-02 01:30:00 GMT (+00:00)",
        "skip": None,
        **more,
    }


@pytest.mark.parametrize(("zone", "is_told"), [("UTC", False), ("Asia/Tokyo", True)])
def test_next_on_a_terminal(stub_daemon: StubDaemon, zone: str, is_told: bool) -> None:
    """The viewer's time with what is left until then; the time there only where that is another."""
    stub_daemon.handlers["schedule.next"] = lambda _: {"items": [fire()]}
    with cli_process.OnTerminal(stub_daemon.path, "next", columns=140, TZ=zone) as terminal:
        assert terminal.end() == 0
    assert ("2100-01-02 10:30:00 (in " if is_told else "2100-01-02 01:30:00 (in ") in terminal.text
    assert ("Sat 2100-01-02 01:30:00 GMT" in terminal.text) == ("THERE" in terminal.text) == is_told
    assert "SKIPPED" not in terminal.text


def test_next_on_a_terminal_marks_what_is_skipped(stub_daemon: StubDaemon) -> None:
    """The reason has a column of its own once there is one."""
    stub_daemon.handlers["schedule.next"] = lambda _: {"items": [fire(skip="held: disks"), fire()]}
    with cli_process.OnTerminal(stub_daemon.path, "next", columns=140) as terminal:
        assert terminal.end() == 0
    assert "SKIPPED" in terminal.text
    assert terminal.text.count("held: disks") == 1


def test_trigger_that_waits(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Where the run before it has to end first there is no run to follow; that is said, and is no failure."""
    waiting = {"fire": {"schedule": "backup/nightly", "state": "queued"}, "run": None}
    stub_daemon.handlers["schedule.trigger"] = lambda _: waiting
    ended = ctl("schedule", "trigger", "backup")
    assert (ended.code, ended.out) == (0, "")
    assert "barbossactl schedule history backup/nightly" in ended.err
    assert json.loads(ctl("schedule", "trigger", "backup", "--json").out) == waiting
