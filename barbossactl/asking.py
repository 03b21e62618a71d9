"""Say what a run waits for that a person can do, with the command that does it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from barbossactl import output, text
from barbossactl.records import Run, Task


def lines(run: Run) -> Iterator[str]:
    """Yield what a person can do for a run to go on; nothing where it needs nobody."""
    if run.state == "paused":
        yield f"run {run.id} is paused; go on with it: barbossactl resume {run.id}"
    for task in run.asking:
        yield from question(run.id, task)


def question(run_id: str, task: Task) -> Iterator[str]:
    """Yield what a task asks, and the commands that answer."""
    name = text.escape_cell(task.id)
    until = f", until {text.moment(task.waits_until)}" if task.waits_until else ""
    asks = task.asks or {}
    message = text.escape_cell(str(asks.get("message") or task.reason or "whether to go on"))
    yield f"task {name} waits for a person{until}: {message}"
    who = [f"user {user}" for user in asks.get("users") or ()]
    who += [f"members of group {group}" for group in asks.get("groups") or ()]
    if who:
        yield text.escape_cell(f"  to be answered by {' or '.join(who)}")
    for field in asks.get("form") or ():
        yield text.escape_cell(f"  {_field(field)}")
    target = text.escape_cell(shlex.quote(task.id))
    values = "".join(
        f" -v {text.escape_cell(str(field['name']))}=…" for field in asks.get("form") or () if field.get("required")
    )
    yield f"  yes: barbossactl approve {run_id} {target}{values}"
    yield f"  no:  barbossactl reject {run_id} {target}"


def _field(field: dict[str, Any]) -> str:
    about = f": {field['description']}" if field.get("description") else ""
    choices = f", one of {', '.join(map(str, field['choices']))}" if field.get("choices") else ""
    otherwise = "" if field.get("required") else f", {output.plain(field.get('default'))} if not given"
    return f"-v {field['name']}={field['type']}{choices}{otherwise}{about}"
