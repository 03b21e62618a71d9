"""Do something as another user, in a child process, and bring back what came of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any


def as_user(uid: int, function: Callable[[], Any], *, gid: int = 65534, groups: Sequence[int] = ()) -> Any:
    """Return what ``function`` returns (something JSON has), done by this uid with these groups; only root may.

    A child by fork, since the interpreter that runs the tests may be out of reach of everybody else.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover (another process)
        _be(uid, gid, groups, function, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = json.loads(pipe.read() or b'{"fault": "the child died"}')
    os.waitpid(child, 0)
    assert "fault" not in told, f"as user {uid}: {told['fault']}"
    return told["result"]


def _be(uid: int, gid: int, groups: Sequence[int], function: Callable[[], Any], writing: int) -> None:
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        told = {"result": function()}
    except BaseException as error:  # noqa: BLE001 (told to the parent)
        told = {"fault": f"{type(error).__name__}: {error}"}
    os.write(writing, json.dumps(told).encode())
    os._exit(0)
