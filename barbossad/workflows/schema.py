"""Make the JSON Schema of the workflow language from its models, for editors that complete and check YAML.

It says what a file may look like; what names refer to, and what expressions are worth, only the loader can say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from barbossad.model.flow import TaskKind
from barbossad.validation import kind_of
from barbossad.workflows.contract import TaskType, form_fields, literal_fields, member_fields
from barbossad.workflows.outline import HOOKS
from barbossad.workflows.schedule_keys import ScheduleEntry, TriggerEntry
from barbossad.workflows.source import ParamSource, TaskSource, WorkflowSource

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
EXPRESSION: Final[Mapping[str, Any]] = {"type": "string", "pattern": r"\{\{"}

_PREFIX: Final = "#/$defs/{model}"

Schema = dict[str, Any]


def json_schema(task_types: Mapping[str, TaskType]) -> Schema:
    """Return the schema of a whole file that may use these task types."""
    definitions: Schema = {}
    workflow = _of(WorkflowSource, definitions)
    workflow["properties"]["params"]["additionalProperties"] = _reference("Param")
    for key in ("tasks", *HOOKS):
        workflow["properties"][key]["items"] = _reference("Task")
    for key, name, entry in (("schedules", "Schedule", ScheduleEntry), ("triggers", "Trigger", TriggerEntry)):
        workflow["properties"][key]["items"] = _reference(name)
        definitions[name] = _of(entry, definitions)
    definitions["Param"] = _of(ParamSource, definitions)
    definitions["Task"] = _task(task_types, definitions)
    return {"$schema": DIALECT, **workflow, "title": "Barbossa workflow", "$defs": definitions}


def _task(task_types: Mapping[str, TaskType], definitions: Schema) -> Schema:
    """Return the schema of a task: the keys of all, and exactly one that names a type."""
    task = _of(TaskSource, definitions)
    rollback = task["properties"]["rollback"]
    rollback["anyOf"] = [_reference("Task"), {"type": "array", "items": _reference("Task"), "minItems": 1}]
    for name, task_type in sorted(task_types.items()):
        definitions[f"type_{name}"] = _params(task_type, definitions)
        task["properties"][name] = _reference(f"type_{name}")
    task["oneOf"] = [{"required": [name]} for name in sorted(task_types)]
    return task


def _params(task_type: TaskType, definitions: Schema) -> Schema:
    """Return the schema of what stands under a type's key: a map, or one of its bare values."""
    schema = _of(task_type.Params, definitions)
    literals = literal_fields(task_type.Params)
    for name in member_fields(task_type.Params):
        schema["properties"][name]["items"] = _reference("Task")
    for name in form_fields(task_type.Params):
        schema["properties"][name]["additionalProperties"] = _reference("Param")
    for name, field in schema["properties"].items():
        if name not in literals and task_type.kind is not TaskKind.GROUP and not _takes_any_text(field):
            description = field.pop("description", "")
            schema["properties"][name] = {"anyOf": [dict(field), dict(EXPRESSION)], "description": description}
    kinds = {kind_of(kind()): field for kind, field in task_type.bare.items()}
    bare = [_bare(schema["properties"][field], kind) for kind, field in kinds.items()]
    return {"anyOf": [*bare, schema]} if bare else schema


def _bare(field: Schema, kind: str) -> Schema:
    """Return the schema of a field for a value of one kind, where it stands bare."""
    wanted = {"text": "string", "a list": "array", "a number": "number"}.get(kind, "object")
    items = {"items": field["items"]} if wanted == "array" and "items" in field else {}
    return {"type": wanted, "description": field.get("description", ""), **items}


def _takes_any_text(field: Schema) -> bool:
    options = field.get("anyOf", [field])
    return any(option == {"type": "string"} or "string" in option.get("type", ()) for option in options)


def _of(model: Any, definitions: Schema) -> Schema:
    schema: Schema = model.model_json_schema(ref_template=_PREFIX)
    definitions.update(schema.pop("$defs", {}))
    return schema


def _reference(name: str) -> Schema:
    return {"$ref": _PREFIX.format(model=name)}
