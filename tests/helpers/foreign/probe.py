"""A task type that does what its test wants to see."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from barbossad.tasks import TaskError, TaskParams, WorkerContext

SUMMARY = "Do something odd"

EXAMPLE = """\
- probe: typed
- probe: {do: exit, value: 3}
"""

BARE = {str: "do"}


class Params(TaskParams):
    """What to do."""

    do: Literal[
        *("typed", "nothing", "returned", "fail", "crash", "order", "told", "children"),
        *("tidy", "stubborn", "blocked", "quits", "sys_exit", "exit", "fork", "cancel_itself"),
        *("close", "close_fds"),
    ] = Field(description="What to do")
    value: Any = Field(None, description="Something that it needs for that")


async def run(ctx: WorkerContext, params: Params) -> Any:
    """Do it."""
    return await globals()[f"_{params.do}"](ctx, params.value)


async def _typed(_ctx: WorkerContext, _value: Any) -> Any:
    nested = {"list": [1, "a", None], "map": {"a": {"b": [True]}}}
    return {"number": 1.5, "count": 3, "yes": True, "none": None, "text": "é\n\0", "half": "x\udc80y", **nested}


async def _nothing(_ctx: WorkerContext, _value: Any) -> None:
    return None


async def _returned(_ctx: WorkerContext, value: Any) -> Any:
    circle: list[Any] = []
    circle.append(circle)
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    values = {
        "set": {"things": {1}},
        "nan": {"n": float("nan")},
        "name": {"a b": 1},
        "number": {5: 1},
        "circle": {"c": circle},
        "deep": {"d": deep},
        "list": [1],
        "much": {"text": "x" * 2**20},
        "enough": {"text": "é" * (2**19 - 100)},
    }
    return values[value]


async def _fail(_ctx: WorkerContext, value: Any) -> None:
    raise TaskError(value)


async def _crash(_ctx: WorkerContext, value: Any) -> None:
    raise ValueError(*([value] if value else []))


async def _close(_ctx: WorkerContext, value: Any) -> None:
    sys.stdout.close()
    sys.stderr.close()
    raise ValueError(value)


async def _close_fds(_ctx: WorkerContext, value: Any) -> None:
    os.close(1)
    os.close(2)
    raise ValueError(value)


async def _order(_ctx: WorkerContext, _value: Any) -> None:
    print("one é \udc80")
    os.write(1, b"two\n")
    await (await asyncio.create_subprocess_exec("echo", "three")).wait()
    subprocess.run(["echo", "four"], check=True)
    print("five")
    print("to stderr", file=sys.stderr)


async def _told(ctx: WorkerContext, value: Any) -> Any:
    return {
        "context": [ctx.run_id, ctx.task_id, ctx.attempt],
        "value": value,
        "isolated": sys.flags.isolated,
        "argv": len(sys.argv),
        "folder": str(Path.cwd()),
        "output": os.environ.get("BARBOSSA_OUTPUT"),
        "first": sys.path[0],
    }


async def _children(_ctx: WorkerContext, _value: Any) -> Any:
    subprocess.run('echo "a=b" >> "${BARBOSSA_OUTPUT:-/dev/null}"', shell=True, check=True)
    return {"a": 1}


async def _tidy(_ctx: WorkerContext, value: Any) -> None:
    try:
        print("waiting")
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("tidied up")
        if value:
            raise TaskError(value)


async def _stubborn(_ctx: WorkerContext, _value: Any) -> None:
    while True:
        try:
            print("waiting")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("not yet")


async def _blocked(_ctx: WorkerContext, _value: Any) -> None:
    print("waiting")
    while True:
        time.sleep(0.01)


async def _quits(_ctx: WorkerContext, _value: Any) -> Any:
    try:
        print("waiting")
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return {"came": "half way"}


async def _sys_exit(_ctx: WorkerContext, value: Any) -> None:
    sys.exit(value)


async def _exit(_ctx: WorkerContext, value: Any) -> None:
    os._exit(value)


async def _fork(_ctx: WorkerContext, _value: Any) -> Any:
    child = os.fork()
    if child == 0:
        return {"from": "the child"}
    _, status = os.waitpid(child, 0)
    return {"from": "the parent", "status": os.waitstatus_to_exitcode(status)}


async def _cancel_itself(_ctx: WorkerContext, _value: Any) -> None:
    raise asyncio.CancelledError
