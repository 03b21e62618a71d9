"""Values that name things, checked once where they enter; no path is built from anything else."""

from __future__ import annotations

import re
from typing import Final, NewType

WorkflowName = NewType("WorkflowName", str)
"""``[a-z0-9][a-z0-9_-]*``, at most 63 characters."""

TaskId = NewType("TaskId", str)
"""``[A-Za-z0-9][A-Za-z0-9_-]*``, at most 63 characters; of a member ``outer.inner``, of a loop's item ``id[3]``."""

RunId = NewType("RunId", str)
"""Ten characters of Crockford's base 32: the millisecond of creation, so ids sort by time."""

SecretName = NewType("SecretName", str)
"""``[a-z0-9][a-z0-9_-]*``, at most 63 characters."""

VersionId = NewType("VersionId", str)
"""The first 16 hexadecimal digits of the SHA-256 of a workflow's text."""

WORKFLOW_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
TASK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""One part of a task's id."""

TASK_PATH: Final = re.compile(rf"{TASK_ID.pattern}(\[\d{{1,9}}\])?(\.{TASK_ID.pattern}(\[\d{{1,9}}\])?)*")
"""The id of any task of a run: of members and of items too."""

MAX_TASK_ID_CHARACTERS: Final = 200
SECRET_NAME: Final = WORKFLOW_NAME
LOCK_NAME: Final = WORKFLOW_NAME
PARAM_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
UNIT_PROPERTY: Final = re.compile(r"[A-Z][A-Za-z0-9]{1,99}")
ACCOUNT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]{0,63}\$?")
RUN_ID: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{10}")
VERSION_ID: Final = re.compile(r"[0-9a-f]{16}")

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_DIGITS: Final = {character: value for value, character in enumerate(_ALPHABET)}


def plain_task_id(task_id: str) -> str:
    """Return a task's id as names of files and units have it: ``id..3`` for ``id[3]``."""
    return task_id.replace("[", "..").replace("]", "") if "[" in task_id else task_id


def run_id_from_number(number: int) -> RunId:
    """Return the id of run ``number`` (0 to 2**50 - 1)."""
    return RunId(
        _PAIRS[number >> 40]
        + _PAIRS[number >> 30 & 1023]
        + _PAIRS[number >> 20 & 1023]
        + _PAIRS[number >> 10 & 1023]
        + _PAIRS[number & 1023]
    )


def run_number(run_id: str) -> int:
    """Return the number of a run id; raise ValueError if it is not one."""
    if not RUN_ID.fullmatch(run_id):
        raise ValueError(f"{run_id!r} is not a run id")
    number = 0
    for character in run_id:
        number = number << 5 | _DIGITS[character]
    return number
