"""Turn values into what SQLite keeps and back: run ids into integers, mappings into JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from barbossad.model.names import run_number

Row = tuple[Any, ...]
"""What a query gives."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=4096)
def number(run_id: str) -> int:
    """Return the integer key of a run; a commit asks for the same one several times."""
    return run_number(run_id)


def text(value: str | None) -> str | None:
    """Return text as SQLite's JSON can have it.

    Half a surrogate pair (of a path that is not UTF-8, say) becomes ``?``, and a NUL, at which text would end,
    the replacement character. A fact must never be kept from the record by the words it is told in.
    """
    if value is None:
        return None
    value = value.replace("\0", "\ufffd")
    return value if value.isascii() else value.encode(errors="replace").decode()


def to_json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return a mapping or a list as compact JSON text."""
    plain = _ENCODER.encode(value if isinstance(value, dict | list | tuple) else dict(value))
    return plain if plain.isascii() else plain.encode(errors="replace").decode()


def to_json_in_turns(values: Sequence[Any]) -> str:
    """Return a long list as ``to_json`` does, member by member: one call would keep the interpreter until its end."""
    plain = f"[{','.join([_ENCODER.encode(value) for value in values])}]"
    return plain if plain.isascii() else plain.encode(errors="replace").decode()


def from_json(text: str | None) -> Any:
    """Return JSON text as the mapping or list that it is, None as None."""
    if text is None:
        return None
    if text == "{}":  # most runs have no params; a listing has many runs
        return {}
    return json.loads(text)


def to_json_list(values: Sequence[str]) -> str:
    """Return names as a JSON array, for ``json_each``."""
    return json.dumps(list(values), ensure_ascii=False)


def of_table(table: str, columns: str) -> str:
    """Return a list of columns as a query with several tables has it: ``runs.id, runs.state``."""
    return ", ".join(f"{table}.{column.strip()}" for column in columns.split(","))
