"""The workflows that W1 to W4 run, as YAML."""

from __future__ import annotations

import json

COMMAND = '[sh, -c, "true"]'
"""The task of every workload: the same process as the floor's, as an argument list."""

SCRIPT = '"true"'
"""The same as script text, which costs the daemon a file or a pipe more."""


def one(name: str, command: str = COMMAND) -> str:
    """Return a workflow of one task."""
    return f"name: {name}\ntasks:\n  - id: work\n    shell: {command}\n"


def chain(name: str, length: int) -> str:
    """Return a workflow whose tasks follow each other in written order."""
    tasks = "".join(f"  - id: t{number}\n    shell: {COMMAND}\n" for number in range(length))
    return f"name: {name}\ntasks:\n{tasks}"


def fan(name: str, width: int) -> str:
    """Return a workflow of a root, ``width`` tasks side by side, and a join that depends on all of them."""
    ids = [f"t{number}" for number in range(width)]
    middle = "".join(f"  - id: {name_}\n    depends_on: [root]\n    shell: {COMMAND}\n" for name_ in ids)
    root = f"  - id: root\n    shell: {COMMAND}\n"
    join = f"  - id: join\n    depends_on: {json.dumps(ids)}\n    shell: {COMMAND}\n"
    return f"name: {name}\ntasks:\n{root}{middle}{join}"
