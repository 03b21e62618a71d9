"""Write the reference pages from the code itself; ``--check`` fails if a page is not what it would be.

Usage: python docs/generate.py [--check]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import BaseModel

from barbossactl.cli import cli as barbossactl
from barbossad import wire
from barbossad.cli import main as barbossad
from barbossad.config import RELOADABLE, Config
from barbossad.model.flow import TaskKind
from barbossad.operations import registry as operations
from barbossad.tasks import _registry as tasks
from barbossad.workflows import kinds, scope
from barbossad.workflows.flow_keys import ConcurrencySource, RepeatSource, RetrySource
from barbossad.workflows.isolation import Confined, LimitsSource, RunAsSource, SandboxSource
from barbossad.workflows.reserved import RESERVED
from barbossad.workflows.schedule_keys import (
    BetweenSource,
    BootSource,
    EndSource,
    ExpectSource,
    FileSource,
    HolidaysSource,
    ScheduleEntry,
    ScheduleRetrySource,
    TriggerEntry,
    UnitSource,
)
from barbossad.workflows.schema import json_schema
from barbossad.workflows.source import Defaults, ParamSource, TaskSource, TemplateSource, WorkflowSource

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the code; change it there. -->\n"


def operations_page() -> str:
    """Return the page of every operation."""
    lines = [
        "# Operations",
        "",
        NOTE,
        "What may be asked for over the control socket (JSON-RPC 2.0, one message a line). `rpc.discover` gives",
        "the same as an OpenRPC document. A role may all that the ones before it may: viewer, operator, author,",
        "admin.",
        "",
    ]
    for operation in operations.load().values():
        lines += [f"## {operation.name}", "", f"{operation.summary} Role: {operation.role.word}.", ""]
        if operation.description:
            lines += [operation.description, ""]
        fields = operation.params.model_json_schema().get("properties", {})
        required = operation.params.model_json_schema().get("required", [])
        if fields:
            lines += ["| parameter | type | default | |", "| --- | --- | --- | --- |"]
            for name, field in fields.items():
                default = "required" if name in required else _code(field.get("default"))
                lines.append(f"| `{name}` | {_type(field)} | {default} | {field.get('description', '')} |")
            lines.append("")
        members = ", ".join(f"`{name}`" for name in operation.result_schema().get("properties", {}))
        lines += [f"Result: {members}.", ""]
    lines += ["## Errors", "", "`error.data.kind` says which; further members of `data` hold the details.", ""]
    lines += ["| kind | code | exit code of barbossactl |", "| --- | --- | --- |"]
    lines += [f"| `{kind}` | {known.rpc_code} | {known.exit_code} |" for kind, known in wire.ERRORS.items()]
    return "\n".join(lines) + "\n"


def config_page() -> str:
    """Return the page of every setting."""
    lines = [
        "# Settings",
        "",
        NOTE,
        "`/etc/barbossa/barbossad.yaml`, or `~/.config/barbossa/barbossad.yaml` for a daemon of your own. Each has a",
        "default; `barbossad check-config` tells every fault. Those marked *reload* are put in force by",
        "`barbossactl daemon reload` (or SIGHUP), the others by a restart.",
        "",
        "| setting | default | | |",
        "| --- | --- | --- | --- |",
    ]
    for name, default, description in _settings(Config, ""):
        mark = "reload" if name in RELOADABLE or name.split(".")[0] in RELOADABLE else "restart"
        lines.append(f"| `{name}` | {default} | {description} | {mark} |")
    return "\n".join(lines) + "\n"


def tasks_page() -> str:
    """Return the page of every task type."""
    lines = ["# Task types", "", NOTE]
    for task_type in tasks.discover().types.values():
        lines += [f"## {task_type.name}", "", task_type.summary, "", "```yaml", task_type.example.strip(), "```", ""]
        lines += ["| key | type | default | |", "| --- | --- | --- | --- |"]
        schema = task_type.Params.model_json_schema()
        for name, field in schema.get("properties", {}).items():
            default = "required" if name in schema.get("required", []) else _code(field.get("default"))
            lines.append(f"| `{name}` | {_type(field)} | {default} | {field.get('description', '')} |")
        lines.append("")
        if task_type.Outputs is not None:
            lines += ["| output | type | |", "| --- | --- | --- |"]
            for name, field in task_type.Outputs.model_json_schema(mode="serialization")["properties"].items():
                lines.append(f"| `{name}` | {_type(field)} | {field.get('description', '')} |")
            lines.append("")
        if task_type.is_repeatable:
            lines += ["It may be done again after an interruption: that does no harm.", ""]
    return "\n".join(lines)


PARTS: dict[str, tuple[type[BaseModel], str]] = {
    "The file": (WorkflowSource, "Keys at the top level."),
    "A task": (TaskSource, ""),
    "`defaults`": (
        Defaults,
        "What holds for every task that does not say otherwise, as far as its kind takes the key.",
    ),
    "`retry`": (RetrySource, "A number alone is `attempts`."),
    "`repeat`": (RepeatSource, "One of `until` and `while`."),
    "`concurrency`": (ConcurrencySource, ""),
    "`run_as`": (RunAsSource, "A word alone is `user`."),
    "`limits`": (LimitsSource, ""),
    "`sandbox`": (SandboxSource, "A word alone is `profile`."),
    "An entry of `schedules`": (ScheduleEntry, "Exactly one of `cron`, `every`, `at` and `boot`."),
    "An entry of `triggers`": (TriggerEntry, "Exactly one of `file`, `workflow` and `unit`; `webhook` is reserved."),
    "`boot`": (BootSource, "`true` alone is right after it."),
    "`between`": (BetweenSource, "At least one of them."),
    "`holidays`": (HolidaysSource, "A word alone is `country`."),
    "`expect` of an entry": (ExpectSource, ""),
    "`retry` of an entry": (ScheduleRetrySource, "A number alone is `attempts`."),
    "`file` of a trigger": (FileSource, "A word alone is `path`."),
    "`workflow` of a trigger": (EndSource, "A word alone is `name`."),
    "`unit` of a trigger": (UnitSource, "A word alone is `name`."),
    "A param": (ParamSource, "Also a field of an approval's `form`."),
    "`template`": (TemplateSource, ""),
}
KINDS = {TaskKind.PROCESS: "process", TaskKind.GROUP: "group", TaskKind.CALL: "call", TaskKind.APPROVAL: "approval"}


def keys_page() -> str:
    """Return the page of every key of a workflow file, and of every name in its expressions."""
    lines = [
        "# Keys of a workflow file",
        "",
        NOTE,
        "[Writing workflows](../workflows.md) tells what they are for; [task types](tasks.md) tells what stands under",
        "the key of a task's type.",
        "",
    ]
    for title, (model, about) in PARTS.items():
        lines += [f"## {title}", ""]
        if model is TaskSource:
            lines += _task_keys()
            continue
        lines += [about, ""] if about else []
        lines += ["| key | type | default | |", "| --- | --- | --- | --- |"]
        lines += [f"| {' | '.join(row)} |" for row in _keys(model)]
        lines.append("")
    lines += ["## Names in expressions", "", "| name | keys |", "| --- | --- |"]
    end = ", ".join(f"`{key}`" for key in sorted(scope.END_FIELDS))
    fields = {**scope.FIELDS, "tasks.ID": scope.TASK_FIELDS}
    for root in sorted({*scope.ROOTS - {"tasks"}, *scope.LOOP_ROOTS, "tasks.ID"}):
        keys = ", ".join(f"`{key}`" for key in sorted(fields.get(root, ())))
        lines.append(f"| `{root}` | {keys}{f'; when the run has ended, {end}' if root == 'run' else ''} |")
    for kind, names in scope.TRIGGER_FIELDS.items():
        keys = ", ".join(f"`{key}`" for key in sorted(names))
        lines.append(f"| `trigger`, in the params of a trigger with `{kind}` | {keys} |")
    return "\n".join([*lines, ""])


def _task_keys() -> Iterator[str]:
    yield "Beside the key of its type. Which of them a task takes depends on what carries it out: a process (`shell`,"
    yield "`python`, `wait`, and types of your own), the tasks of a group (`parallel`, `condition`), a call"
    yield "(`workflow`), or an `approval`."
    yield ""
    yield f"| key | type | default | | {' | '.join(KINDS.values())} |"
    yield "| --- | --- | --- | --- |" + " --- |" * len(KINDS)
    rows = dict(zip(TaskSource.model_fields, _keys(TaskSource), strict=True))
    own = [name for name in rows if name not in Confined.model_fields]
    for name in (*own, *Confined.model_fields):
        takes = ["yes" if kinds.takes(kind, name) else "" for kind in KINDS]
        yield f"| {' | '.join((*rows[name], *takes))} |"
    yield ""


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    schema = model.model_json_schema()
    for name, field in schema["properties"].items():
        value = field.get("default")
        default = (
            "required"
            if name in schema.get("required", [])
            else _code(None if isinstance(value, dict) else value or None)
        )
        yield f"`{name}`", _word(field), default, field.get("description", "")


def _word(field: dict[str, Any]) -> str:
    """Return the type of a key as authors of YAML say it."""
    notes = [item.get("description", "") for item in field.get("anyOf", [])]
    for unit in ("duration", "size"):
        if any(note.startswith(f"A {unit}:") for note in notes):
            return unit
    words = {"object": "map", "array": "list", "string": "text", "integer": "number", "number": "number"}
    return " or ".join(dict.fromkeys(words.get(name, name) for name in _type(field).split(" or ")))


def reserved_page() -> str:
    """Return the page of names that no param may have."""
    lines = [
        "# Names that no param may have",
        "",
        NOTE,
        "As an environment variable each of these steers programs rather than feeds them: who may choose the values of",
        "a run's params could choose what code it runs. The author of a workflow may set them in `env`. `*` stands",
        "for any text.",
        "",
        "| such a variable | names |",
        "| --- | --- |",
    ]
    for reason, names in RESERVED.items():
        lines.append(f"| {reason} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines) + "\n"


def schema_file() -> str:
    """Return the JSON Schema of workflow files, for editors."""
    return json.dumps(json_schema(tasks.discover().types), indent=2) + "\n"


def command_page() -> str:
    """Return the page of both command lines, as their help has it."""
    lines = ["# Command lines", "", NOTE]
    for name, command in (("barbossad", barbossad), ("barbossactl", barbossactl)):
        for path, found in _commands(name, command):
            # As the programs themselves set it; click keeps the first help option that a command was asked for.
            context = click.Context(
                found, info_name=path, terminal_width=100, max_content_width=100, help_option_names=["-h", "--help"]
            )
            lines += [f"## {path}", "", "```text", found.get_help(context).rstrip(), "```", ""]
    return "\n".join(lines)


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in sorted(command.list_commands(context)):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from _commands(f"{path} {name}", found)


def _settings(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, f"{prefix}{name}.")
        else:
            default = "see *Files* in the README" if field.is_required() else _code(field.default)
            choices = ", ".join(f"`{choice}`" for choice in get_args(kind) if isinstance(choice, str))
            yield prefix + name, default, (field.description or "") + (f" ({choices})" if choices else "")


def _type(field: dict[str, Any]) -> str:
    variants = [item for item in _variants(field) if item.get("type") != "null"]
    names = []
    for item in variants:
        choices = item.get("enum")
        kind = item.get("type", "object" if "$ref" in item else "any")
        kind = " or ".join(kind) if isinstance(kind, list) else kind
        names.append(" or ".join(f"`{choice}`" for choice in choices) if choices else kind)
    return " or ".join(dict.fromkeys(names))


def _variants(field: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a field may be, unions within unions taken apart."""
    for item in field.get("anyOf", [field]):
        yield from _variants(item) if "anyOf" in item else [item]


def _code(value: object) -> str:
    return "" if value is None else f"`{value}`"


PAGES = {
    "operations.md": operations_page,
    "settings.md": config_page,
    "tasks.md": tasks_page,
    "commands.md": command_page,
    "keys.md": keys_page,
    "reserved.md": reserved_page,
    "workflow.schema.json": schema_file,
}


def run(*, is_check: bool) -> int:
    """Write the pages, or compare them; return the exit code."""
    stale = []
    FOLDER.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        path = FOLDER / name
        text = make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not is_check:
                path.write_text(text, encoding="utf-8")
    if stale and is_check:
        click.echo(f"out of date: {', '.join(stale)}; run `make docs`", err=True)
    return int(is_check and bool(stale))


if __name__ == "__main__":
    sys.exit(run(is_check="--check" in sys.argv[1:]))
