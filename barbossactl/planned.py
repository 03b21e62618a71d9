"""Write the plan of a run for people: an indented list of tasks, each with what it would be given."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from barbossactl import output, text

MARKS: Final = {"run": "+", "skip": "-", "maybe": "?"}
SCRIPT_LINES: Final = 12
"""So many lines of a program are shown; --json has all of it."""

_INDENT: Final = "    "
_SECTIONS: Final = {
    "rollback": "rollback, that of the last task first",
    "on_success": "on_success",
    "on_failure": "on_failure",
    "on_cancel": "on_cancel",
    "on_exit": "on_exit",
}


def lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the plan."""
    counts = plan["counts"]
    yield _safe(f"plan {plan['hash']} of {plan['workflow']}, version {plan['version']}")
    if plan["params"]:
        yield _safe(f"params: {_pairs(plan['params'])}")
    if plan["env"]:
        yield _safe(f"env of all tasks: {_pairs(plan['env'])}")
    yield from _limits(plan)
    yield (
        f"{text.count(counts['run'], 'task')} would run if nothing fails, {counts['skip']} would be skipped, "
        f"{counts['maybe']} cannot be told yet  (+ runs, - is skipped, ? hangs on something)"
    )
    section = "main"
    for task in plan["tasks"]:
        if task["section"] != section:
            section = task["section"]
            yield ""
            yield f"{_SECTIONS.get(section, section)}:"
        yield from _task(task)
    problems = sum(bool(task["problems"]) for task in plan["tasks"])
    if problems:
        yield ""
        yield f"{text.count(problems, 'task')} would fail as things are: see the lines that begin with problem"


def _limits(plan: Mapping[str, Any]) -> Iterator[str]:
    words = []
    if plan["timeout_seconds"] is not None:
        words.append(f"timeout {text.duration(plan['timeout_seconds'])}")
    if plan["concurrency"]:
        words.append(plan["concurrency"])
    if plan["locks"]:
        words.append(f"locks {', '.join(plan['locks'])}")
    if plan["priority"]:
        words.append(f"priority {plan['priority']}")
    if words:
        yield _safe("; ".join(words))


def _task(task: Mapping[str, Any]) -> Iterator[str]:
    """Yield one task: its name and verdict on the first line, what it is given beneath."""
    margin = "  " * task["depth"]
    what = task["type"] if not task["branch"] else f"{task['type']}, {task['branch']}"
    of_item = "" if task["item"] is None else f" for {output.plain(task['item'])}"
    yield _safe(f"{margin}{MARKS.get(task['verdict'], '?')} {task['id']}  ({what}){of_item}")
    inner = margin + _INDENT
    for why in task["why"]:
        yield _safe(f"{inner}{why}")
    if task["verdict"] == "skip":
        return
    for line in (*_order(task), *_given(task), *_conditions(task)):
        yield _safe(f"{inner}{line}")
    for later in task["later"]:
        yield _safe(f"{inner}as written: {later['place']}, known when {' and '.join(later['known_when'])}")
    for problem in task["problems"]:
        yield _safe(f"{inner}problem: {problem}")


def _order(task: Mapping[str, Any]) -> Iterator[str]:
    is_item = task["item"] is not None
    if task["depends_on"] and task["section"] == "main" and not is_item and task["after"] not in task["why"]:
        yield task["after"]
    if task["when"] is not None and task["verdict"] == "run" and not is_item:
        yield f"its when holds: {' '.join(str(task['when']).split())}"
    loop = task["loop"]
    if loop is not None:
        of = "items not known yet" if loop["total"] is None else text.count(loop["total"], "item")
        beside = f", at most {loop['max_parallel']} at a time" if loop["max_parallel"] else ""
        fast = ", until one fails" if loop["fail_fast"] else ""
        yield f"for each of {output.plain(loop['written'])}: {of}{beside}{fast}"
        if loop["total"] and loop["total"] > loop["shown"]:
            yield f"the first {loop['shown']} are shown"
    elif task["max_parallel"]:
        yield f"at most {task['max_parallel']} of its tasks at a time"


def _given(task: Mapping[str, Any]) -> Iterator[str]:
    if task["loop"] is not None and task["loop"]["total"]:
        return  # its items say it
    yield from _params(task)
    if task["env"]:
        yield f"env: {_pairs(task['env'])}"
    if task["secrets"]:
        pairs = ", ".join(f"{variable} (secret {name})" for variable, name in task["secrets"].items())
        yield f"secrets: {pairs}"
    words = []
    if task["user"] is not None:
        words.append("as a user made for it" if task["user"] == "dynamic" else f"as {task['user']}")
    if task["working_dir"] is not None:
        words.append(f"in {task['working_dir']}")
    words += [f"{name.replace('_', ' ')} {output.words(value)}" for name, value in task["confinement"].items()]
    if words:
        yield ", ".join(words)


def _params(task: Mapping[str, Any]) -> Iterator[str]:
    params = dict(task["params"])
    argv = params.pop("argv", None)
    if isinstance(argv, list):
        yield f"$ {shlex.join(map(str, argv))}"
    for name, value in params.items():
        if isinstance(value, str) and "\n" in value.rstrip("\n"):
            shown = value.rstrip("\n").split("\n")
            yield f"{name}:"
            yield from (f"  | {line}" for line in shown[:SCRIPT_LINES])
            if len(shown) > SCRIPT_LINES:
                yield f"  | … {len(shown) - SCRIPT_LINES} more lines"
        else:
            yield f"{name}: {value.strip() if isinstance(value, str) else output.plain(value)}"


def _conditions(task: Mapping[str, Any]) -> Iterator[str]:
    words = []
    if task["timeout_seconds"] is not None:
        words.append(f"timeout {text.duration(task['timeout_seconds'])}")
    if task["warn_after_seconds"] is not None:
        words.append(f"told of after {text.duration(task['warn_after_seconds'])}")
    words += [task[key] for key in ("retry", "repeat") if task[key]]
    if task["continue_on_error"]:
        words.append("may fail")
    if task["locks"]:
        words.append(f"locks {', '.join(task['locks'])}")
    if words:
        yield "; ".join(words)
    if task["expect"]:
        yield f"must hold afterwards: {task['expect']}"


def _pairs(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={output.plain(value)}" for name, value in values.items())


def _safe(line: str) -> str:
    return text.escape_line(line)
