from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from barbossad.document import parse
from barbossad.errors import InvalidParamsError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Backoff
from barbossad.model.schedules import (
    CatchUp,
    Dst,
    Expectation,
    FileChange,
    FileTrigger,
    Holidays,
    OnHoliday,
    Overlap,
    ScheduleDefinition,
    ScheduleKind,
    ScheduleRetry,
    Timing,
    UnitTrigger,
    WorkflowTrigger,
)
from barbossad.model.states import RunState
from barbossad.tasks import _registry
from barbossad.workflows.loader import Loader
from barbossad.workflows.schedule_keys import EVENT_KEYS, TIME_KEYS, ScheduleEntry, TriggerEntry
from barbossad.workflows.schedules import read_entry, render_params
from barbossad.workflows.schema import json_schema

HEAD = """\
name: nightly
params:
  mode: {type: choice, choices: [full, part], default: part}
  what: {type: string, default: nothing}
  many: {type: list, default: []}
"""
TASKS = "tasks:\n  - shell: echo\n"
SCHEMA = json_schema(_registry.load())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def text_of(key: str, *entries: str) -> str:
    """Return a workflow with entries under ``schedules`` or ``triggers``."""
    return HEAD + f"{key}:\n" + "".join(f"  - {entry}\n" for entry in entries) + TASKS


def load(loader: Loader, key: str, *entries: str) -> tuple[ScheduleDefinition, ...]:
    return loader.load(text_of(key, *entries)).schedules


def ms(text: str) -> int:
    """Return an instant of UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def workflow(loader: Loader) -> WorkflowDefinition:
    return loader.load(HEAD + TASKS)


def test_a_workflow_need_not_start_by_itself(loader: Loader) -> None:
    """Without the keys, and with empty lists, there are no schedules."""
    assert loader.load(HEAD + TASKS).schedules == ()
    assert loader.load(HEAD + "schedules: []\ntriggers: []\n" + TASKS).schedules == ()


def test_what_is_not_said_is_the_default(loader: Loader) -> None:
    """The shortest schedule is skipped while a run goes on, catches up one fire of a day, and has no jitter."""
    (schedule,) = load(loader, "schedules", '{cron: "0 2 * * *", timezone: Europe/London}')
    assert schedule == ScheduleDefinition(
        name="cron-1",
        kind=ScheduleKind.CRON,
        timing=Timing(cron="0 2 * * *", timezone="Europe/London"),
    )
    assert (schedule.overlap, schedule.catch_up, schedule.catch_up_window_seconds) == ("skip", "last", 86_400)


def test_all_that_can_be_said_by_time(loader: Loader) -> None:
    """Every key of a schedule reaches its definition, instants as milliseconds and durations as seconds."""
    entry = """\
name: full
    description: Everything
    cron: "30 0 2 * * *"
    timezone: Europe/London
    dst: both
    between: {start: 2026-01-01, end: 2026-12-31}
    within: Mon-Fri 00:00-06:00
    blackout: [2026-12-24/2026-12-27, Sat-Sun]
    holidays: {country: GB, subdivision: SCT, file: /etc/barbossa/company.ics}
    on_holiday: before
    jitter: 5m
    overlap: queue
    queue_depth: 3
    catch_up: all
    catch_up_window: 2d
    catch_up_limit: 7
    params: {mode: full}
    enabled: false
    expect: {start_within: 10m, max_duration: 2h, min_duration: 1m}
    disable_after: 5
    retry: {attempts: 3, delay: 10m, backoff: exponential, max_delay: 1h}"""
    (schedule,) = load(loader, "schedules", entry)
    assert schedule == ScheduleDefinition(
        name="full",
        kind=ScheduleKind.CRON,
        timing=Timing(
            cron="30 0 2 * * *",
            timezone="Europe/London",
            dst=Dst.BOTH,
            start_ms=ms("2026-01-01"),
            end_ms=ms("2027-01-01"),
            within=("Mon-Fri 00:00-06:00",),
            blackout=("2026-12-24/2026-12-27", "Sat-Sun"),
            holidays=Holidays(country="GB", subdivision="SCT", file="/etc/barbossa/company.ics"),
            on_holiday=OnHoliday.BEFORE,
        ),
        description="Everything",
        params={"mode": "full"},
        is_enabled=False,
        jitter_seconds=300,
        overlap=Overlap.QUEUE,
        queue_depth=3,
        catch_up=CatchUp.ALL,
        catch_up_window_seconds=172_800,
        catch_up_limit=7,
        expect=Expectation(start_within_seconds=600, max_duration_seconds=7200, min_duration_seconds=60),
        disable_after=5,
        retry=ScheduleRetry(attempts=3, delay_seconds=600, backoff=Backoff.EXPONENTIAL, max_delay_seconds=3600),
    )


def test_kinds_of_schedules_and_their_names(loader: Loader) -> None:
    """An entry without a name is called by its kind and its number among those of its kind."""
    found = load(
        loader,
        "schedules",
        '{cron: "0 2 * * *", timezone: UTC}',
        "{every: 15m}",
        '{cron: "@reboot"}',
        "{name: mine, every: 1h}",
        "{boot: {delay: 2m}}",
        '{cron: "@daily", timezone: UTC}',
        "{every: 2h}",
        "{at: 2026-12-24T18:00:00Z}",
    )
    names = ["cron-1", "every-1", "boot-1", "mine", "boot-2", "cron-2", "every-3", "at-1"]
    assert [schedule.name for schedule in found] == names
    assert [schedule.kind for schedule in found] == ["cron", "every", "boot", "every", "boot", "cron", "every", "at"]
    assert [schedule.delay_seconds for schedule in found if schedule.kind == "boot"] == [0, 120]
    assert all((schedule.timing is None) == (schedule.kind == "boot") for schedule in found)


@pytest.mark.parametrize(
    ("entry", "anchor"),
    [
        ("{every: 15m}", "1970-01-01T00:00"),
        ("{every: 15m, timezone: America/New_York}", "1970-01-01T05:00"),
        ("{every: 15m, anchor: 2026-01-01T00:05:00Z}", "2026-01-01T00:05"),
        ("{every: 15m, anchor: 2026-07-01 00:05, timezone: America/New_York}", "2026-07-01T04:05"),
    ],
)
def test_an_interval_has_an_anchor(entry: str, anchor: str, loader: Loader) -> None:
    """It is midnight of 1970-01-01, where the schedule is, or the instant that is given."""
    (schedule,) = load(loader, "schedules", entry)
    assert schedule.timing is not None
    assert (schedule.timing.every_ms, schedule.timing.anchor_ms) == (900_000, ms(anchor))


def test_instants_are_those_of_the_time_zone(loader: Loader) -> None:
    """Local times are read where the schedule is, offsets win, and the instants stand in their order."""
    entry = "{at: [2026-12-24 18:00, 2026-07-01T12:00:00+02:00, 2026-07-01 12:00], timezone: Europe/London}"
    (schedule,) = load(loader, "schedules", entry)
    assert schedule.timing is not None
    assert schedule.timing.at_ms == (ms("2026-07-01T10:00"), ms("2026-07-01T11:00"), ms("2026-12-24T18:00"))


@pytest.mark.parametrize(
    ("between", "start", "end"),
    [
        ("{start: 2026-07-01}", "2026-06-30T23:00", None),
        ("{end: 2026-07-01}", None, "2026-07-01T23:00"),
        ("{end: 2026-07-01 18:00}", None, "2026-07-01T17:00"),
        ("{start: 2026-12-31, end: 2026-12-31}", "2026-12-31T00:00", "2027-01-01T00:00"),
        ("{start: 2026-10-25, end: 2026-10-25}", "2026-10-24T23:00", "2026-10-26T00:00"),
    ],
)
def test_a_bare_date_counts_to_its_end(between: str, start: str | None, end: str | None, loader: Loader) -> None:
    """Also on a day of 25 hours; an end with a time of day is just that."""
    entry = f'{{cron: "@hourly", timezone: Europe/London, between: {between}}}'
    (schedule,) = load(loader, "schedules", entry)
    assert schedule.timing is not None
    assert schedule.timing.start_ms == (ms(start) if start else None)
    assert schedule.timing.end_ms == (ms(end) if end else None)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("GB", Holidays(country="GB")),
        ("GB-SCT", Holidays(country="GB", subdivision="SCT")),
        ('"NO"', Holidays(country="NO")),
        ("{country: GB, subdivision: SCT}", Holidays(country="GB", subdivision="SCT")),
        ("{country: GB-SCT}", Holidays(country="GB", subdivision="SCT")),
        ("{file: /etc/a.ics}", Holidays(file="/etc/a.ics")),
    ],
)
def test_holidays(said: str, meant: Holidays, loader: Loader) -> None:
    """Those of a country or a part of it in one word or two, and those of a file."""
    (schedule,) = load(loader, "schedules", f'{{cron: "@daily", timezone: UTC, holidays: {said}}}')
    assert schedule.timing is not None
    assert schedule.timing.holidays == meant


def test_retry_may_be_a_number(loader: Loader) -> None:
    """Of the runs in all, a minute apart."""
    (schedule,) = load(loader, "schedules", "{every: 1h, retry: 3}")
    assert schedule.retry == ScheduleRetry(attempts=3, delay_seconds=60, backoff=Backoff.CONSTANT)


@pytest.mark.parametrize(
    ("entry", "kind", "member"),
    [
        ("{file: /srv/in}", "file", FileTrigger(path="/srv/in")),
        (
            '{file: {path: /srv/in, pattern: "*.csv", changes: deleted, recursive: true, debounce: 0}}',
            "file",
            FileTrigger(
                path="/srv/in", pattern="*.csv", changes=(FileChange.DELETED,), is_recursive=True, debounce_seconds=0
            ),
        ),
        ("{workflow: backup}", "workflow", WorkflowTrigger(name="backup", states=(RunState.SUCCEEDED,))),  # type: ignore[arg-type]
        (
            "{workflow: {name: backup, states: [failed, timed_out]}}",
            "workflow",
            WorkflowTrigger(name="backup", states=(RunState.FAILED, RunState.TIMED_OUT)),  # type: ignore[arg-type]
        ),
        ("{unit: nginx.service}", "unit", UnitTrigger(name="nginx.service", states=("failed",))),
        (
            '{unit: {name: "dev-disk-by\\\\x2duuid.swap", states: [active, inactive]}}',
            "unit",
            UnitTrigger(name="dev-disk-by\\x2duuid.swap", states=("active", "inactive")),
        ),
    ],
)
def test_kinds_of_triggers(entry: str, kind: str, member: object, loader: Loader) -> None:
    """One obvious word stands for the map, and nothing of time is set."""
    (trigger,) = load(loader, "triggers", entry)
    assert (trigger.name, trigger.kind, trigger.timing) == (f"{kind}-1", kind, None)
    assert [getattr(trigger, name) for name in EVENT_KEYS if name != kind] == [None, None]
    assert getattr(trigger, kind) == member


def test_both_lists_share_their_names(loader: Loader) -> None:
    """Schedules come first; a name that stands in both is refused."""
    text = HEAD + "triggers: [{file: /srv/in}]\nschedules: [{every: 1h}]\n" + TASKS
    assert [schedule.name for schedule in loader.load(text).schedules] == ["every-1", "file-1"]
    faults = loader.check(text.replace("{file:", "{name: every-1, file:"))
    assert [str(fault) for fault in faults] == [
        "line 6, column 13: the name 'every-1' is taken by the entry in line 7 (give each entry a name of its own)"
    ]


def test_a_template_may_have_schedules(loader: Loader) -> None:
    """They have to be whole there already: what is made of it is put in force as it stands."""
    head = "name: a\ntemplate: {title: A}\nparams: {folder: {type: path}}\n"
    whole = head + "schedules: [{every: 1h, params: {folder: /srv}}]\n" + TASKS
    assert [schedule.params for schedule in loader.load(whole).schedules] == [{"folder": "/srv"}]
    faults = loader.check(head + "schedules: [{every: 1h}]\n" + TASKS)
    assert [fault.message for fault in faults] == ["the param 'folder' is missing"]


def test_an_entry_that_stands_in_no_file(workflow: WorkflowDefinition, loader: Loader) -> None:
    """It is read as in a file, under the name that it is given where it has none."""
    mapping = {"cron": "0 2 * * *", "timezone": "Europe/London", "params": {"mode": "full"}}
    definition, faults = read_entry(mapping, workflow, [], default_name="added-1")
    assert faults == []
    assert definition is not None
    assert definition.name == "added-1"
    (same,) = load(
        loader, "schedules", '{name: added-1, cron: "0 2 * * *", timezone: Europe/London, params: {mode: full}}'
    )
    assert definition == same
    trigger, faults = read_entry({"name": "mine", "file": "/srv/in"}, workflow, ["added-1"], default_name="added-2")
    assert (trigger and trigger.name, trigger and trigger.kind, faults) == ("mine", "file", [])


def test_faults_of_an_entry_that_stands_in_no_file(workflow: WorkflowDefinition) -> None:
    """All at once, each with its path and without a line; the mapping is left as it was."""
    mapping: dict[str, Any] = {
        "name": "taken",
        "every": "15m",
        "dst": "skip",
        "between": {"start": "spring"},
        "timezone": "UTC",
        "params": {"mode": "fuul", "wat": 1},
        "retry": None,
    }
    before = {**mapping}
    definition, faults = read_entry(mapping, workflow, {"taken"}, default_name="added-1")
    assert definition is None
    assert mapping == before
    paths = ["retry", "dst", "between.start", "params.wat", "params.mode", "name"]
    assert [fault.path for fault in faults] == paths
    assert {fault.line for fault in faults} == {None}
    assert faults[-1].message == "the name 'taken' is taken by another schedule of 'nightly'"


@pytest.mark.parametrize(
    ("mapping", "path", "words"),
    [
        ({}, "", "a schedule needs one of"),
        ({"webhook": "x"}, "webhook", "comes with the REST API"),
        ({"file": "/srv/in", "cron": "@daily", "timezone": "UTC"}, "file", "is an event"),
        ({"workflow": "nightly"}, "workflow", "would start itself"),
        ({"every": 1.5, "within": [5]}, "within[0]", "must be text"),
        ({"every": 60, "description": "\ud800"}, "description", "half a character"),
        ({"file": {"path": "/srv/in", "pattern": "\ud800*"}}, "file", "half a character"),
        ({"at": "9999-12-31", "timezone": "UTC"}, "at", "between the years"),
        ({"every": 60, "between": {"end": "9999-12-31"}, "timezone": "UTC"}, "between.end", "between the years"),
    ],
)
def test_one_fault_of_an_entry(mapping: dict[str, Any], path: str, words: str, workflow: WorkflowDefinition) -> None:
    """The first fault names its key."""
    definition, faults = read_entry(mapping, workflow, [], default_name="added-1")
    assert definition is None
    assert any(fault.path == path and words in fault.message for fault in faults), faults


def trigger_with(loader: Loader, params: str) -> ScheduleDefinition:
    (trigger,) = load(loader, "triggers", f"{{workflow: backup, params: {params}}}")
    return trigger


EVENT = {"run": "01abcdefgh", "workflow": "backup", "state": "failed", "outputs": {"size": 3, "names": ["a", "b"]}}


def test_params_of_a_trigger_are_rendered(loader: Loader) -> None:
    """A lone expression keeps its type, text around one makes text, and what holds none is as it was written."""
    params = '{what: "{{ trigger.workflow }} {{ trigger.state }}", many: "{{ trigger.outputs.names }}", mode: full}'
    trigger = trigger_with(loader, params)
    assert trigger.params["many"] == "{{ trigger.outputs.names }}"
    assert render_params(trigger, EVENT) == {"what": "backup failed", "many": ["a", "b"], "mode": "full"}


def test_params_may_hold_expressions_at_any_depth(loader: Loader) -> None:
    """In lists too; and what an event says is never taken for an expression."""
    trigger = trigger_with(loader, '{many: [fixed, "{{ trigger.state }}", {of: "{{ trigger.run }}"}]}')
    event = {**EVENT, "state": "{{ 1 + 1 }}"}
    assert render_params(trigger, event) == {"many": ["fixed", "{{ 1 + 1 }}", {"of": "01abcdefgh"}]}


def test_nothing_within_a_value_is_a_value(loader: Loader) -> None:
    """A param itself needs one; what a list or a map of it holds is its own affair."""
    text = text_of("schedules", "{every: 1h, params: {many: [{a: null}]}}")
    assert loader.load(text).schedules[0].params == {"many": [{"a": None}]}
    wanted = "'what' has no value"
    assert [fault.message for fault in loader.check(text.replace("many: [{a: null}]", "what: null"))] == [wanted]


def test_an_expression_without_a_value_is_told(loader: Loader) -> None:
    """All of them at once, each with the param's name."""
    trigger = trigger_with(
        loader, '{what: "{{ trigger.outputs.nope }}", many: "{{ trigger.outputs.size | first }}", mode: full}'
    )
    with pytest.raises(InvalidParamsError) as refused:
        render_params(trigger, EVENT)
    assert [fault.path for fault in refused.value.faults] == ["params.what", "params.many"]
    assert "nope" in str(refused.value)
    assert "params of 'workflow-1'" in str(refused.value)


def test_what_an_event_says_steers_nothing(loader: Loader) -> None:
    """The sandbox holds in triggers as it does in tasks: no way leads from a value to its class."""
    trigger = trigger_with(loader, '{what: "{{ trigger.outputs.__class__.__mro__ }}"}')
    with pytest.raises(InvalidParamsError):
        render_params(trigger, EVENT)


@pytest.mark.parametrize(("name", "model"), [("Schedule", ScheduleEntry), ("Trigger", TriggerEntry)])
def test_an_editor_knows_the_keys(name: str, model: type[ScheduleEntry | TriggerEntry]) -> None:
    """Each is described, no others are taken, and exactly one of those that make it fire must stand there."""
    schema = SCHEMA["$defs"][name]
    kinds = TIME_KEYS if name == "Schedule" else EVENT_KEYS
    assert schema["properties"].keys() == model.model_fields.keys()
    assert schema["additionalProperties"] is False
    assert all(field.get("description") for field in schema["properties"].values())
    assert schema["oneOf"] == [{"required": [kind]} for kind in kinds]
    assert SCHEMA["properties"][f"{name.lower()}s"]["items"] == {"$ref": f"#/$defs/{name}"}


@pytest.mark.parametrize(
    ("key", "entry"),
    [
        ("schedules", '{cron: "0 2 * * *", timezone: Europe/London, jitter: 5m, retry: 3, params: {mode: full}}'),
        ("schedules", "{every: 15m, anchor: 2026-01-01T00:05:00Z, within: Mon-Fri 08:00-18:00, timezone: UTC}"),
        ("schedules", "{at: [2026-12-24T18:00:00Z, 2026-12-25T18:00:00Z], holidays: {country: GB}, timezone: UTC}"),
        ("schedules", "{boot: true}"),
        ("schedules", "{boot: {delay: 2m}, expect: {max_duration: 1h}}"),
        ("triggers", "{file: /srv/in, overlap: queue, queue_depth: 5}"),
        ("triggers", '{file: {path: /srv/in, pattern: "*.csv", changes: created}}'),
        ("triggers", "{workflow: {name: backup, states: failed}}"),
        ("triggers", "{unit: nginx.service, enabled: false, disable_after: 3}"),
    ],
)
def test_loader_and_editor_take_the_same(key: str, entry: str, loader: Loader) -> None:
    """What the loader takes an editor does not mark."""
    text = text_of(key, entry)
    assert loader.check(text) == []
    assert [error.message for error in VALIDATOR.iter_errors(parse(text).value)] == []


@pytest.mark.parametrize(
    ("key", "entry"),
    [
        ("schedules", "{}"),
        ("schedules", "{every: 15m, boot: true}"),
        ("schedules", "{boot: false}"),
        ("schedules", "{every: soon}"),
        ("schedules", "{every: 15m, overlap: wait}"),
        ("schedules", "{every: 15m, retry: often}"),
        ("schedules", "{every: 15m, within: {from: Mon}}"),
        ("schedules", "{every: 15m, file: /srv/in}"),
        ("triggers", "{file: {pattern: x}}"),
        ("triggers", "{file: /srv/in, jitter: 5m}"),
        ("triggers", "{workflow: {name: a, states: [running]}}"),
        ("triggers", "{webhook: x}"),
    ],
)
def test_loader_and_editor_mark_the_same(key: str, entry: str, loader: Loader) -> None:
    """What an editor marks the loader refuses."""
    text = text_of(key, entry)
    assert loader.check(text) != []
    assert not VALIDATOR.is_valid(parse(text).value)


def test_too_many_entries_are_refused(loader: Loader) -> None:
    """A list of entries has an end, and so has the list of what is wrong with them."""
    text = HEAD + "schedules:\n" + "  - {every: 1h}\n" * 1001 + TASKS
    assert [fault.message for fault in loader.check(text)] == ["'schedules' must have at most 1000 items"]
    many = loader.check(HEAD + "schedules:\n" + "  - {every: never}\n" * 1000 + TASKS)
    assert 200 < len(many) <= 202
    assert re.fullmatch(r"and \d+ more faults", many[-1].message)


@pytest.mark.parametrize(
    "entry",
    [
        "{every: 1s, timezone: UTC, blackout: [Mon-Fri, Sat]}",
        '{cron: "* * * * * *", timezone: UTC, blackout: "22:00-21:59:59"}',
        '{cron: "0 2 * * *", timezone: UTC, blackout: 03-01/02-28}',
        '{cron: "0 12 29 2 *", timezone: UTC, blackout: Mon-Sat}',
        '{cron: "0 2 * * *", timezone: UTC, blackout: 2020-01-01/2050-12-31}',
        "{at: [2020-12-24T18:00:00Z, 2020-12-25T18:00:00Z], timezone: UTC, blackout: 12-25}",
        '{every: 1h, timezone: UTC, between: {end: 2020-01-01}, blackout: "08:00-07:00"}',
    ],
)
def test_a_blackout_that_leaves_something(loader: Loader, entry: str) -> None:
    """One that ends, however late, or leaves however little, is none that leaves nothing."""
    assert len(load(loader, "schedules", entry)) == 1


def test_no_entry_is_worked_on_for_long(workflow: WorkflowDefinition) -> None:
    """Whether a schedule ever fires is found out soon, or it is refused: such windows took hours."""
    times = [(number % 24, number // 24) for number in range(100)]
    seldom = [f"02-29 {hour:02}:{minute:02}-{hour:02}:{minute + 1:02}" for hour, minute in times]
    at_noon = {"cron": "30 12 * * *", "timezone": "Europe/London"}
    for windows in ({"within": seldom}, {"blackout": ["00:00-12:00", *seldom[:90], "12:00-23:59"]}):
        start = time.process_time()
        found, faults = read_entry({**at_noon, **windows}, workflow, [], default_name="x")
        assert found is None
        assert re.search("leaves nothing of|takes too long to work out", faults[0].message)
        assert time.process_time() - start < 20
