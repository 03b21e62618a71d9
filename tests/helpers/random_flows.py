"""Make workflows by chance that use the whole language: as the text that a person would write, and loaded like it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

from barbossad.model.definition import WorkflowDefinition
from barbossad.tasks import _registry
from barbossad.workflows.loader import Loader

LOADER: Final = Loader(_registry.load())

TRIGGERS: Final = ("all_success", "all_done", "one_success", "one_failed", "none_failed", "always")
DEEPEST: Final = 2
PROCESSES: Final = {"shell": {"shell": "make"}, "wait": {"wait": "1s"}, "workflow": {"workflow": {"name": "other"}}}


def random_workflow(chance: random.Random) -> WorkflowDefinition:
    """Return a workflow of 1 to 9 tasks and groups, with hooks and rollback."""
    return LOADER.load(json.dumps(random_tree(chance)))


def random_tree(chance: random.Random) -> dict[str, Any]:
    """Return such a workflow as what its file would hold."""
    return _Writer(chance).workflow()


class _Writer:
    """Writes one workflow; every name and every expression of it is there once."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.count = 0
        self.is_after = False
        """Whether it writes what comes after the main part."""

    def maybe(self, keys: dict[str, Any], share: float, key: str, make: Callable[[], Any]) -> None:
        """Give ``keys`` one more in that share of all cases."""
        if self.chance.random() < share:
            keys[key] = make()

    def expression(self) -> str:
        """Return an expression that stands nowhere else; the tests say what it is worth."""
        self.count += 1
        return f"{{{{ {self.count} > 0 }}}}"

    def workflow(self) -> dict[str, Any]:
        """Return the whole file."""
        made: dict[str, Any] = {"name": "chance", "tasks": self._tasks(self.chance.randint(1, 9), 0, [])}
        self.maybe(made, 0.2, "timeout", lambda: self.chance.choice(["20s", "2m"]))
        self.maybe(made, 0.2, "warn_after", lambda: "10s")
        self.is_after = True
        for hook in ("on_success", "on_failure", "on_cancel", "on_exit"):
            self.maybe(made, 0.4, hook, lambda: self._tasks(self.chance.randint(1, 2), 1, []))
        return made

    def _tasks(
        self, count: int, depth: int, around: list[str], *, is_parallel: bool = False, is_limited: bool = False
    ) -> list[Any]:
        """Return tasks of one list; ``around`` are names outside of it that they may depend on.

        Where the list is limited, what is in one of them must not wait for another: it would hold the place.
        """
        made: list[dict[str, Any]] = []
        for _ in range(count):
            self.count += 1
            name = f"t{self.count}"
            before = [task["id"] for task in made]
            task: dict[str, Any] = {"id": name}
            if before and self.chance.random() < 0.6:
                task["depends_on"] = self.chance.sample(before, self.chance.randint(0, min(3, len(before))))
            if around and (is_parallel or "depends_on" in task) and self.chance.random() < 0.2:
                task["depends_on"] = [*task.get("depends_on", []), self.chance.choice(around)]
            made.append(task | self._keys(depth, around if is_limited else [*around, *before]))
        self.chance.shuffle(made) if is_parallel else None
        return made

    def _keys(self, depth: int, around: list[str]) -> dict[str, Any]:
        chance = self.chance
        kind = chance.choices(
            ["shell", "wait", "workflow", "approval", "parallel", "condition"], [52, 8, 8, 6, 15, 10]
        )[0]
        if kind in ("parallel", "condition") and depth >= DEEPEST:
            kind = "shell"
        keys: dict[str, Any] = {}
        self.maybe(keys, 0.4, "trigger", lambda: chance.choice(TRIGGERS if around else ["always", "all_done"]))
        self.maybe(keys, 0.2, "when", self.expression)
        self.maybe(keys, 0.2, "continue_on_error", lambda: True)
        if chance.random() < 0.18:
            keys["for_each"] = self._items()
            self.maybe(keys, 0.4, "max_parallel", lambda: chance.randint(1, 2))
            self.maybe(keys, 0.3, "fail_fast", lambda: True)
        if kind in PROCESSES:
            keys |= PROCESSES[kind]
            self._of_processes(keys)
            self.maybe(keys, 0.1 if kind == "shell" else 0, "creates", lambda: "/srv/made")
        elif kind == "approval":
            keys["approval"] = {"message": "Go on?"} | ({"deadline": "9s"} if chance.random() < 0.4 else {})
        else:
            self.maybe(keys, 0.3, "timeout", lambda: chance.choice(["4s", "15s"]))
            self.maybe(keys, 0.1, "warn_after", lambda: "3s")
            keys[kind] = self._parallel(depth, around) if kind == "parallel" else self._condition(depth, around)
        return keys

    def _items(self) -> Any:
        if self.chance.random() < 0.5:
            return self.expression().replace(" > 0", "")
        return list(range(self.chance.randint(1, 4)))

    def _parallel(self, depth: int, around: list[str]) -> Any:
        keys: dict[str, Any] = {}
        self.maybe(keys, 0.4, "max_parallel", lambda: self.chance.randint(1, 2))
        is_limited, count = bool(keys), self.chance.randint(1, 4)
        keys["tasks"] = self._tasks(count, depth + 1, around, is_parallel=True, is_limited=is_limited)
        self.maybe(keys, 0.4, "fail_fast", lambda: True)
        return keys

    def _condition(self, depth: int, around: list[str]) -> Any:
        keys: dict[str, Any] = {
            "if": self.expression(),
            "then": self._tasks(self.chance.randint(1, 2), depth + 1, around),
        }
        self.maybe(keys, 0.6, "else", lambda: self._tasks(self.chance.randint(1, 2), depth + 1, around))
        return keys

    def _of_processes(self, keys: dict[str, Any]) -> None:
        chance = self.chance
        self.maybe(keys, 0.4, "retry", self._retry)
        self.maybe(keys, 0.1, "repeat", self._repeat)
        self.maybe(keys, 0.12, "expect", self.expression)
        self.maybe(keys, 0.15, "warn_after", lambda: chance.choice(["1s", "5s"]))
        if "shell" in keys:
            self.maybe(keys, 0.5, "on_interrupt", lambda: chance.choice(["fail", "retry", "ask"]))
        elif "wait" in keys:
            keys["on_interrupt"] = "resume"
        if not self.is_after:
            self.maybe(keys, 0.35, "rollback", self._rollback)

    def _retry(self) -> dict[str, Any]:
        chance = self.chance
        retry: dict[str, Any] = {"attempts": chance.randint(1, 4)}
        self.maybe(retry, 0.6, "delay", lambda: chance.choice(["10ms", "1s", "4s"]))
        self.maybe(retry, 0.5, "backoff", lambda: chance.choice(["constant", "linear", "exponential"]))
        self.maybe(retry, 0.3, "max_delay", lambda: "5s")
        self.maybe(retry, 0.3, "jitter", lambda: chance.choice([0.1, 1]))
        self.maybe(
            retry, 0.4, "on", lambda: chance.sample(["failed", "timed_out", "interrupted"], chance.randint(1, 3))
        )
        self.maybe(retry, 0.3, "exit_codes", lambda: chance.choice([[1], [1, 75]]))
        self.maybe(retry, 0.2, "max_elapsed", lambda: "6s")
        return retry

    def _repeat(self) -> dict[str, Any]:
        key = self.chance.choice(["until", "while"])
        repeat = {key: self.expression(), "max": self.chance.randint(1, 4)}
        self.maybe(repeat, 0.5, "interval", lambda: "2s")
        return repeat

    def _rollback(self) -> Any:
        shapes = [{"shell": "a"}, [{"shell": "a"}, {"shell": "b"}], {"parallel": [{"shell": "a"}, {"shell": "b"}]}]
        return self.chance.choices(shapes, [6, 1, 1])[0]
