"""Turn values into what SQLite keeps and back: run ids into integers, mappings into JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from barbossad.model.names import run_number


def number(run_id: str) -> int:
    """Return the integer key of a run."""
    return run_number(run_id)


def text(value: str | None) -> str | None:
    """Return text as SQLite's JSON can have it.

    Half a surrogate pair (of a path that is not UTF-8, say) becomes ``?``, and a NUL, at which text would end,
    the replacement character. A fact must never be kept from the record by the words it is told in.
    """
    return None if value is None else value.replace("\0", "\ufffd").encode(errors="replace").decode()


def to_json(value: Mapping[str, Any]) -> str:
    """Return a mapping as compact JSON text."""
    plain = json.dumps(dict(value), ensure_ascii=False, separators=(",", ":"))
    return plain.encode(errors="replace").decode()


def from_json(text: str | None) -> dict[str, Any] | None:
    """Return JSON text as a mapping, None as None."""
    if text is None:
        return None
    if text == "{}":  # most runs have no params; a listing has many runs
        return {}
    value: dict[str, Any] = json.loads(text)
    return value


def to_json_list(values: Sequence[str]) -> str:
    """Return names as a JSON array, for ``json_each``."""
    return json.dumps(list(values), ensure_ascii=False)
