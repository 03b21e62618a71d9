from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from barbossad.document import parse
from barbossad.tasks import _registry
from barbossad.units import DURATION_HINT
from barbossad.workflows.flow_keys import ConcurrencySource, RepeatSource, RetrySource
from barbossad.workflows.schema import json_schema
from barbossad.workflows.source import Defaults, ParamSource, TaskSource, WorkflowSource
from tests.unit.test_docs import workflows_of_the_pages

SCHEMA = json_schema(_registry.load())


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


def test_every_reference_leads_somewhere() -> None:
    """The schema is whole: what it refers to is in it, and it is JSON."""
    references = {schema["$ref"] for schema in walk(SCHEMA) if isinstance(schema.get("$ref"), str)}
    assert references
    assert {reference.removeprefix("#/$defs/") for reference in references} <= SCHEMA["$defs"].keys()
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize(
    ("schema", "model"),
    [
        (SCHEMA, WorkflowSource),
        (SCHEMA["$defs"]["Param"], ParamSource),
        (SCHEMA["$defs"]["Defaults"], Defaults),
        (SCHEMA["$defs"]["RetrySource"], RetrySource),
        (SCHEMA["$defs"]["RepeatSource"], RepeatSource),
        (SCHEMA["$defs"]["ConcurrencySource"], ConcurrencySource),
    ],
)
def test_the_keys_are_those_of_the_models(schema: dict[str, Any], model: Any) -> None:
    """An editor knows the keys that the loader knows, each described, and no others."""
    assert schema["properties"].keys() == {field.alias or name for name, field in model.model_fields.items()}
    assert schema["additionalProperties"] is False
    assert all(field.get("description") for field in schema["properties"].values())


def test_a_task_has_exactly_one_type() -> None:
    """The keys that all tasks have, and one of the types."""
    task = SCHEMA["$defs"]["Task"]
    names = set(_registry.own_names())
    assert task["properties"].keys() == TaskSource.model_fields.keys() | names
    assert task["oneOf"] == [{"required": [name]} for name in sorted(names)]


def test_a_type_may_stand_bare_and_take_expressions() -> None:
    """Bare values are known, and a field that is no text takes an expression too; a program's text is text."""
    text, listing, mapping = SCHEMA["$defs"]["type_shell"]["anyOf"]
    assert (text["type"], listing["type"]) == ("string", "array")
    fields = mapping["properties"]
    assert {"type": "string", "pattern": r"\{\{"} in fields["stop_on_error"]["anyOf"]
    assert {"type": "string", "pattern": r"\{\{"} not in fields["script"]["anyOf"]


def test_patterns_are_those_of_the_loader() -> None:
    """The pattern for durations accepts what is written in the hint."""
    (duration,) = [
        option for option in SCHEMA["properties"]["timeout"]["anyOf"][0]["anyOf"] if option["type"] == "string"
    ]
    for example in re.findall(r"\d+\w+", DURATION_HINT):
        assert re.search(duration["pattern"], example)
    assert not re.search(duration["pattern"], "soon")
    assert re.search(SCHEMA["properties"]["name"]["pattern"], "nightly-backup")


VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_one() -> None:
    """It keeps to its dialect."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("page", "text"), workflows_of_the_pages())
def test_examples_are_valid(page: str, text: str) -> None:
    """What the loader takes an editor does not mark: every example of every page and task type."""
    assert [error.message for error in VALIDATOR.iter_errors(parse(text).value)] == []


@pytest.mark.parametrize(
    "task",
    [
        "{}",
        "{shell: a, python: b}",
        "{shell: a, retry: many}",
        "{shell: a, retry: {on: failed, tries: 2}}",
        "{shell: a, when: params.x}",
        "{shell: a, for_each: []}",
        "{shell: a, trigger: sometimes}",
        "{shell: a, rollback: undo}",
        "{parallel: [{shel: a}]}",
        "{parallel: {tasks: [{shell: a, lock: 5}]}}",
        "{condition: {then: [{shell: a}]}}",
        "{approval: {message: a, form: {x: {type: int}}}}",
        "{workflow: {params: {}}}",
    ],
)
def test_an_editor_marks_what_is_wrong(task: str) -> None:
    """Also in groups, rollbacks and forms."""
    value = parse(f"name: a\ntasks: [{task}]").value
    assert not VALIDATOR.is_valid(value)
    assert not VALIDATOR.is_valid({**value, "tasks": [{"shell": "a"}], "on_exit": value["tasks"]})
