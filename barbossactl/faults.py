"""Faults of a file as compilers print them: ``FILE:LINE:COLUMN: message (hint)``, which editors can jump to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from barbossactl import text


def sentence(fault: Mapping[str, Any], file: str | None = None) -> str:
    """Return one fault as one line."""
    name = file or fault.get("file")
    place = [str(part) for part in (name, fault.get("line"), fault.get("column")) if part]
    if not fault.get("line") and fault.get("path"):
        place.append(str(fault["path"]))
    hint = f" ({fault['hint']})" if fault.get("hint") else ""
    head = f"{':'.join(place)}: " if place else ""
    return text.escape_cell(f"{head}{fault.get('message', 'no reason given')}{hint}")
