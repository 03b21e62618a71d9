"""Timers of systemd become workflows that start the same units at the same times, and say what differs."""

from __future__ import annotations

from typing import Any

import pytest

from barbossad.importing import compose, timers
from barbossad.importing.draft import Draft
from barbossad.model.schedules import CatchUp, ScheduleKind
from barbossad.model.timers import ServiceFacts, TimerFacts
from barbossad.process.systemd.timers import facts
from tests.unit.importing.reading import loaded


def one(**given: Any) -> Draft:
    """Return the draft of a timer."""
    found = timers.read([TimerFacts(**{"name": "backup.timer", "unit": "backup.service", **given})], "Europe/London")
    assert not found.faults
    (draft,) = found.drafts
    assert loaded(draft).name == draft.name
    return draft


def test_a_calendar_timer() -> None:
    """The whole file, as a person would write it."""
    draft = one(
        calendars=("Mon..Fri *-*-* 02:00:00",),
        random_delay_seconds=900.0,
        is_persistent=True,
        path="/etc/systemd/system/backup.timer",
        description="Back up: the shop",
    )
    assert compose.text_of(draft) == (
        "# From backup.timer (/etc/systemd/system/backup.timer)\n"
        "#   OnCalendar=Mon..Fri *-*-* 02:00:00\n"
        "#   RandomizedDelaySec=15m\n"
        "#   Persistent=yes\n"
        "name: backup\n"
        'description: "Back up: the shop"\n'
        "schedules:\n"
        '  - cron: "0 2 * * 1-5"\n'
        "    timezone: Europe/London\n"
        "    jitter: 15m\n"
        "    catch_up: last\n"
        "    catch_up_window: 366d\n"
        "tasks:\n"
        "  - shell: [systemctl, start, --wait, backup.service]\n"
        "    sandbox: none  # for systemd to be reached; the unit keeps its own\n"
    )
    assert draft.notes == (
        "the timer itself was not changed; when the workflow is in force: systemctl disable --now backup.timer",
    )


def test_several_calendars_may_name_one_instant() -> None:
    """That it then fires for each of them, which systemd does not, is told."""
    assert any("name one instant" in note for note in one(calendars=("Mon 03:00", "*-*-01 03:00")).notes)
    assert not any("name one instant" in note for note in one(calendars=("*-04,05~02 03:00",)).notes)


def test_what_is_missed_is_caught_up_if_it_is_persistent() -> None:
    """Else not."""
    for is_persistent, expected in ((True, CatchUp.LAST), (False, CatchUp.NONE)):
        draft = one(calendars=("daily",), is_persistent=is_persistent)
        assert loaded(draft).schedules[0].catch_up is expected


def test_spans_after_boot_and_runs() -> None:
    """OnBootSec is boot with a delay, OnUnitActiveSec an interval, which is told to differ."""
    draft = one(monotonic=(("OnBootSec", 900.0), ("OnUnitActiveSec", 86_400.0)), file_state="static")
    boot, every = loaded(draft).schedules
    assert (boot.kind, boot.delay_seconds) == (ScheduleKind.BOOT, 900.0)
    assert every.timing is not None
    assert every.timing.every_ms == 86_400_000
    assert any(note.startswith("OnUnitActiveSec counts from the start of the run before") for note in draft.notes)
    assert any("systemctl mask --now backup.timer" in note for note in draft.notes)


def test_what_cannot_be_said_is_told_beside_the_rest() -> None:
    """Then the timer is not to be switched off without a thought."""
    draft = one(calendars=("*-*-* 03:00:00.5", "daily"), on_changes=("OnClockChange",))
    assert len(draft.schedules) == 1
    assert draft.notes[0] == "OnCalendar=*-*-* 03:00:00.5 is finer than a second: '00.5'"
    assert draft.notes[1].startswith("OnClockChange=yes cannot be said")
    assert any("does more than the workflow" in note for note in draft.notes)


def test_a_timer_that_wakes_the_host_is_told() -> None:
    """No schedule does that, so the timer is not to be switched off without a thought."""
    draft = one(calendars=("daily",), wakes_system=True)
    assert "WakeSystem=yes" in draft.origin
    assert draft.notes[0] == "WakeSystem=yes cannot be said: no schedule wakes a host that sleeps"
    assert any("does more than the workflow" in note for note in draft.notes)


def test_a_timer_of_which_nothing_can_be_said_is_a_fault() -> None:
    """It hides no other."""
    given = [
        TimerFacts(name="odd.timer", unit="odd.service", calendars=("*-*-* 03:00:00.5",)),
        TimerFacts(name="good.timer", unit="good.service", calendars=("daily",)),
    ]
    found = timers.read(given, "UTC")
    assert [draft.name for draft in found.drafts] == ["good"]
    assert [(fault.path, "finer than a second" in fault.message) for fault in found.faults] == [("odd.timer", True)]


def test_jitter_is_kept_within_what_the_language_takes() -> None:
    """A longer one is cut, and that is told."""
    draft = one(calendars=("weekly",), monotonic=(("OnUnitInactiveSec", 600.0),), random_delay_seconds=200_000.0)
    assert [schedule.jitter_seconds for schedule in loaded(draft).schedules] == [86_400.0, 300.0]
    assert sum("more than jitter can be here" in note for note in draft.notes) == 2


@pytest.mark.parametrize(
    ("unit", "service", "words"),
    [
        ("backup.service", ServiceFacts(), ["systemctl", "start", "--wait", "backup.service"]),
        ("backup.service", ServiceFacts(stays_active=True), ["systemctl", "start", "backup.service"]),
        ("night.target", None, ["systemctl", "start", "night.target"]),
    ],
)
def test_it_waits_only_for_what_ends(unit: str, service: ServiceFacts | None, words: list[str]) -> None:
    """systemctl would wait for ever for what stays active."""
    assert one(unit=unit, service=service, calendars=("daily",)).task == {"shell": words, "sandbox": "none"}


def test_a_simple_service_may_be_run_directly() -> None:
    """A note shows the task; what is no expression in it is none."""
    service = ServiceFacts(
        command=("/opt/backup", "--format={{x}}", "a b"),
        user="ada",
        working_directory="/srv",
        environment=("MODE=full",),
        is_simple=True,
    )
    (note,) = [note for note in one(calendars=("daily",), service=service).notes if "journal" in note]
    assert note.endswith(
        """write the task as {shell: [/opt/backup, "--format={{ '{' }}{x}}", a b], run_as: ada, working_dir: /srv,"""
        " env: {MODE: full}}"
    )


UNIT = {
    "Id": "backup.timer",
    "Description": "Timer",
    "LoadState": "loaded",
    "UnitFileState": "enabled",
    "FragmentPath": "/x",
}
TIMER = {
    "Unit": "backup.service",
    "TimersCalendar": [["OnCalendar", "*-*-* 00:00:00", 0]],
    "TimersMonotonic": [["OnBootUSec", 900_000_000, 0]],
    "RandomizedDelayUSec": 1_500_000,
    "Persistent": True,
    "OnClockChange": False,
    "OnTimezoneChange": None,
    "WakeSystem": True,
}
SERVICE: dict[str, Any] = {
    "Description": "Service",
    "ExecStart": [["/bin/true", ["/bin/true", "x"], False, 0, 0, 0, 0, 0, 0, 0]],
    "ExecStartPre": [],
    "ExecStartPost": [],
    "ExecCondition": None,
    "User": "ada",
    "WorkingDirectory": "!/srv",
    "Environment": [],
    "EnvironmentFiles": [],
    "DynamicUser": False,
    "RemainAfterExit": False,
    "RootDirectory": "",
    "RootImage": None,
}


def test_properties_become_facts() -> None:
    """As systemd tells them over D-Bus; one that it does not know is None."""
    found = facts(UNIT, TIMER, SERVICE)
    assert found == TimerFacts(
        name="backup.timer",
        unit="backup.service",
        description="Service",
        calendars=("*-*-* 00:00:00",),
        monotonic=(("OnBootSec", 900.0),),
        random_delay_seconds=1.5,
        is_persistent=True,
        wakes_system=True,
        file_state="enabled",
        path="/x",
        service=ServiceFacts(command=("/bin/true", "x"), user="ada", working_directory="/srv", is_simple=True),
    )


@pytest.mark.parametrize(
    "more",
    [
        {"ExecStartPre": [["/bin/a", ["/bin/a"], False]]},
        {"EnvironmentFiles": [["/etc/default/x", True]]},
        {"DynamicUser": True},
        {"ExecStart": [["/bin/sh", ["/bin/sh", "$X"], False]]},
        {"ExecStart": [["/bin/a", ["/bin/a"], True]]},
        {"ExecStart": []},
        {"RootDirectory": "/srv/root"},
    ],
)
def test_services_that_are_more_than_a_command(more: dict[str, Any]) -> None:
    """Nobody is told to run them as a plain command."""
    service = facts(UNIT, TIMER, {**SERVICE, **more}).service
    assert service is not None
    assert not service.is_simple
