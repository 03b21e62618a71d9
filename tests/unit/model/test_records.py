"""Records: frozen, and what little they compute."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from barbossad.model import definition, records
from barbossad.model.records import LogRecord
from tests.helpers.records import workflow

CLASSES = [
    found
    for module in (records, definition)
    for _, found in inspect.getmembers(module, dataclasses.is_dataclass)
    if found.__module__ == module.__name__
]


@pytest.mark.parametrize("record", CLASSES)
def test_records_are_values(record: type) -> None:
    """A record cannot be changed, has no room for other attributes, and is made by names."""
    assert record.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__dict__" not in dir(record) or "__slots__" in vars(record)
    assert all(field.kw_only or not field.init for field in dataclasses.fields(record))
    assert record.__doc__


def test_end_cursor() -> None:
    """Cursors count dropped records too."""
    assert LogRecord(size_bytes=10, dropped_bytes=5, dropped_at=3).end_cursor == 15
    assert LogRecord().end_cursor == 0


def test_positions() -> None:
    """A workflow knows where each of its tasks stands, and is called by its name."""
    made = workflow({"b": ["a"], "a": []}, name="x")
    assert made.positions == {"b": 0, "a": 1}
    assert made.workflow_id == "x"
