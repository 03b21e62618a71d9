"""Every example under docs/examples does what its header promises, on a real daemon, by the commands that stand there.

A header's last lines are commands and what comes of them, once or more::

    # secret: NAME = VALUE                       a secret that the daemon has
    # run: barbossactl start NAME …              a run is started
    # when TASK runs: barbossactl …              then, when a task of it runs (or waits for a person), this is called
    # when TASK waits: barbossactl … -> refused  and is to be refused
    # ends: failed, 1 warning, then succeeded    how the runs end, in the order in which they were started
    # task ID: failed, 2 attempts, prints "…"    what becomes of a task of the first of them (succeeded, late, …)
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from barbossad.document import parse
from barbossad.tasks import _registry as tasks
from barbossad.workflows.loader import Loader
from barbossad.workflows.schema import json_schema
from tests.helpers import cli_process
from tests.helpers.daemon import ROOT, Daemon

FOLDER = ROOT / "docs" / "examples"
FILES = sorted(FOLDER.glob("*.yaml"))
SECONDS = 40.0
SCHEMA = json_schema(tasks.load())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

RESTART = "kill -9 the daemon, and start it again"

UNUSED = {
    "run_as.dynamic",  # a daemon without systemd refuses it
    "task.sandbox: offline",  # only profiles that are no must can be had everywhere: those say best_effort
    "task.sandbox: standard",
    "task.sandbox: strict",
    "sandbox.systemd",  # only what the config allows may stand there
    "params.type: secret",  # not there yet
}
"""What no example can show on every host."""

_LINE = re.compile(r"# (?P<word>secret|run|when|ends|task)(?: (?P<what>[^:]+))?: (?P<rest>.+)")
_TASK = re.compile(r'(?P<state>\w+)(?P<late>, late)?(?:, (?P<attempts>\d+) attempts?)?(?:, prints "(?P<prints>.*)")?')
_END = re.compile(r"(?P<state>\w+)(?:, (?P<warnings>\d+) warnings?)?")


@dataclass
class Step:
    """What is called when a task of the first run is where it is waited for."""

    task: str
    word: str
    command: str
    is_refused: bool


@dataclass
class Scenario:
    """Commands, and what comes of them."""

    command: str
    steps: list[Step] = field(default_factory=list)
    ends: list[tuple[str, int]] = field(default_factory=list)
    tasks: list[tuple[str, re.Match[str]]] = field(default_factory=list)


@dataclass
class Header:
    """What the first lines of an example say."""

    words: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    scenarios: list[Scenario] = field(default_factory=list)


def header_of(path: Path) -> Header:
    """Return what the comment at the top of a file says."""
    header = Header()
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        found = _LINE.fullmatch(line)
        if found is None:
            assert not re.match(r"# [a-z]+( \S+)*: \S", line) or not header.scenarios, f"{path.name}: {line}"
            header.words += line.removeprefix("#").strip() + " "
            continue
        what, rest = found["what"] or "", found["rest"]
        if found["word"] == "secret":
            name, _, value = rest.partition(" = ")
            header.secrets[name] = value
        elif found["word"] == "run":
            header.scenarios.append(Scenario(rest))
        elif found["word"] == "when":
            task, _, word = what.rpartition(" ")
            command, _, refused = rest.partition(" -> ")
            header.scenarios[-1].steps.append(Step(task, word, command, refused == "refused"))
        elif found["word"] == "ends":
            for end in rest.split(", then "):
                ended = _END.fullmatch(end)
                assert ended, f"{path.name}: {line}"
                header.scenarios[-1].ends.append((ended["state"], int(ended["warnings"] or 0)))
        else:
            promised = _TASK.fullmatch(rest)
            assert promised, f"{path.name}: {line}"
            header.scenarios[-1].tasks.append((what, promised))
    return header


HEADERS = {path.stem: header_of(path) for path in FILES}


def daemon_in(place: Path) -> Daemon:
    """Return a daemon that finds all examples in its folder of workflows, and the secrets that they ask for."""
    made = Daemon(place)
    folder = made.config_path.parent / "secrets"
    folder.mkdir(mode=0o700)
    for header in HEADERS.values():
        for name, value in header.secrets.items():
            (folder / name).write_text(value)
            (folder / name).chmod(0o600)
    for path in FILES:
        made.write_workflow(path.name, path.read_text())
    return made


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all examples."""
    with daemon_in(tmp_path_factory.mktemp("examples")) as running:
        yield running


def command(daemon: Daemon, line: str, *, is_refused: bool = False) -> str:
    """Call what a header says; of a run that is started the id is returned."""
    home = daemon.environment["HOME"]
    if line == RESTART:
        daemon.kill()
        daemon.start()
        return ""
    program, *arguments = shlex.split(line.replace('"$HOME', f'"{home}'))
    assert program == "barbossactl"
    if arguments[0] == "start":
        arguments.append("--detach")
    ended = cli_process.run(daemon.socket_path, *arguments)
    assert (ended.returncode == 0) is not is_refused, ended.stderr
    return ended.stdout.strip()


def wait_for(daemon: Daemon, run_id: str, task: str, word: str) -> None:
    """Return when a task of a run runs, or waits for a person; the daemon tells of each change."""
    revision = 0
    while True:
        seen = daemon.call("run.watch", run_id=run_id, after=revision, wait_seconds=20)
        found = next((item for item in seen["run"]["tasks"] if item["id"] == task), {"state": None})
        if found["state"] == {"runs": "running", "waits": "waiting"}[word]:
            return
        assert seen["run"]["finished_at"] is None, seen["run"]
        assert seen["revision"] > revision, seen["run"]
        revision = seen["revision"]


def printed(daemon: Daemon, run_id: str, task: str) -> str:
    """Return what the last attempt of a task printed."""
    page = daemon.call("run.logs", run_id=run_id, task=task)
    return "\n".join(item["text"] for item in page["items"])


def ended(daemon: Daemon, run_id: str) -> dict[str, Any]:
    """Return a run when it has ended."""
    run: dict[str, Any] = daemon.call("run.wait", run_id=run_id, timeout_seconds=SECONDS)
    return run


def check(daemon: Daemon, scenario: Scenario) -> None:
    """Do what a scenario says, and compare."""
    run_ids = [command(daemon, scenario.command)]
    for step in scenario.steps:
        wait_for(daemon, run_ids[0], step.task, step.word)
        said = command(daemon, step.command, is_refused=step.is_refused)
        if step.command.startswith("barbossactl start") and not step.is_refused:
            run_ids.append(said)
    runs = [ended(daemon, run_id) for run_id in run_ids]
    told = "\n".join(f"{task['id']} {task['state']}: {task['reason']}" for task in runs[0]["tasks"])
    assert [(run["state"], run.get("warnings") or 0) for run in runs] == scenario.ends, told
    found = {task["id"]: task for task in runs[0]["tasks"]}
    for name, promised in scenario.tasks:
        assert name in found, told
        assert (name, found[name]["state"]) == (name, promised["state"]), told
        assert found[name]["late"] or not promised["late"]
        assert promised["attempts"] in (None, str(len(found[name]["attempts"]))), told
        if promised["prints"] is not None:
            assert promised["prints"] in printed(daemon, run_ids[0], name)


@pytest.mark.parametrize("name", HEADERS)
def test_an_example_does_what_it_says(name: str, daemon: Daemon, tmp_path: Path) -> None:
    """Each run of an example ends as its header promises, and so do the tasks that the header names."""
    for scenario in HEADERS[name].scenarios:
        if any(step.command == RESTART for step in scenario.steps):
            with daemon_in(tmp_path) as own:  # the others need theirs
                check(own, scenario)
        else:
            check(daemon, scenario)


@pytest.mark.parametrize("name", HEADERS)
def test_an_example_can_be_planned(name: str, daemon: Daemon) -> None:
    """What each run of an example would do is told beforehand, and nothing is in its way."""
    for scenario in HEADERS[name].scenarios:
        assert name in command(daemon, scenario.command.replace("start", "plan", 1))


@pytest.mark.parametrize("name", HEADERS)
def test_an_example_has_a_header(name: str) -> None:
    """Each example says in words what it shows, how it is run and how it ends; its name is that of its file."""
    header = HEADERS[name]
    assert len(header.words) > 40
    assert header.scenarios
    assert all(scenario.ends for scenario in header.scenarios)
    assert f"\nname: {name}\n" in (FOLDER / f"{name}.yaml").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_loads(path: Path) -> None:
    """The loader finds no fault in it."""
    assert [str(fault) for fault in Loader(tasks.load()).check(path.read_text())] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_what_the_schema_says(path: Path) -> None:
    """An editor that knows the JSON Schema finds no fault in it either."""
    assert [error.message for error in VALIDATOR.iter_errors(parse(path.read_text()).value)] == []


def test_the_examples_use_the_whole_language() -> None:
    """Every key of the language stands in some example, and so does every word that a key may have."""
    used = {word for path in FILES for word in words_of(parse(path.read_text()).value, SCHEMA, "")}
    assert all_words() - used == UNUSED


def words_of(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    """Yield the keys that a value uses, each after the part of the language that it belongs to, and words chosen."""
    schema, place = resolved(schema, place)
    for option in schema.get("anyOf", ()):
        if VALIDATOR.evolve(schema=option).is_valid(value):
            yield from words_of(value, option, place)
    if value in schema.get("enum", ()):
        yield f"{place}: {value}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for key, item in value.items():
            if key in known:
                yield joined(place, key)
                yield from words_of(item, known[key], joined(place, key))
            elif isinstance(schema.get("additionalProperties"), dict):
                yield from words_of(item, schema["additionalProperties"], place)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            yield from words_of(item, schema["items"], place)


def all_words() -> set[str]:
    """Return what ``words_of`` could yield."""
    found: set[str] = set()
    todo = [(SCHEMA, "")]
    seen: set[tuple[int, str]] = set()
    while todo:
        schema, place = resolved(*todo.pop())
        if (id(schema), place) in seen:
            continue
        seen.add((id(schema), place))
        found |= {f"{place}: {word}" for word in schema.get("enum", ())}
        todo += [(option, place) for option in schema.get("anyOf", ())]
        for key, item in schema.get("properties", {}).items():
            found.add(joined(place, key))
            todo.append((item, joined(place, key)))
        todo += [(schema[key], place) for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    return found


def resolved(schema: Mapping[str, Any], place: str) -> tuple[Mapping[str, Any], str]:
    """Return what a reference refers to; the parts of the language that stand in many places have one name each."""
    if "$ref" not in schema:
        return schema, place
    name = schema["$ref"].removeprefix("#/$defs/")
    short = {
        "Task": "task",
        "Defaults": "task",
        "Param": "params",
        "LimitsSource": "limits",
        "SandboxSource": "sandbox",
    }
    short |= {"RunAsSource": "run_as", "RetrySource": "retry", "RepeatSource": "repeat"}
    return SCHEMA["$defs"][name], short.get(name, name)


def joined(place: str, key: str) -> str:
    """Return the name of a key."""
    return f"{place}.{key}" if place else key
