"""Render what of a task's values is known before a run exists, and name what the rest waits for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from barbossad.document import Path, dotted
from barbossad.errors import BarbossaError
from barbossad.validation import RefusalError
from barbossad.variables import OWN_PREFIX, check_travels, text_of
from barbossad.workflows import expressions, scope
from barbossad.workflows.expressions import ExpressionError

THE_RUN: Final = "the run has started"
THE_OUTCOME: Final = "the run's outcome is known"
EACH_ITEM: Final = "its items are known"
A_SECRET: Final = "the task starts: a secret is not shown"  # noqa: S105 (words)
THE_START: Final = "the task starts"

_OF_THE_OUTCOME: Final = scope.END_FIELDS | {"failed_tasks"}
_LATER_ROOTS: Final = {"item": EACH_ITEM, "loop": EACH_ITEM, "host": THE_START, "secrets": A_SECRET}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A value as far as it is known: texts whose expressions cannot be rendered yet stand as they are written."""

    value: Any
    later: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """From the place of each such text within the value to what must have happened before it is known."""

    problems: tuple[str, ...] = ()
    """Expressions that have no value, though all that they need is known."""

    @property
    def is_whole(self) -> bool:
        """Whether all of it is known."""
        return not self.later and not self.problems

    def waits(self) -> tuple[str, ...]:
        """Return what all of it waits for, each once."""
        return tuple(dict.fromkeys(wait for waits in self.later.values() for wait in waits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What expressions may see now. ``names`` is a scope without tasks; ``env`` is what is known of the environment."""

    names: Mapping[str, Any]
    secret_params: frozenset[str] = frozenset()
    env: Mapping[str, str] = field(default_factory=dict)
    later_env: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variables whose values are not known yet, and what they wait for."""

    has_item: bool = False

    def render(self, value: object, path: Path = ()) -> Known:
        """Return ``value`` with every expression rendered that can be."""
        later: dict[str, tuple[str, ...]] = {}
        problems: list[str] = []
        return Known(value=self._render(value, path, later, problems), later=later, problems=tuple(problems))

    def with_env(self, env: Mapping[str, str], later: Mapping[str, tuple[str, ...]]) -> Knowledge:
        """Return what is known where the environment is this one."""
        return Knowledge(
            names=self.names, secret_params=self.secret_params, env=env, later_env=later, has_item=self.has_item
        )

    def with_item(self, item: object, index: int, length: int) -> Knowledge:
        """Return what is known for one item of a loop."""
        return Knowledge(
            names={**self.names, **scope.loop_facts(item, index, length)},
            secret_params=self.secret_params,
            env=self.env,
            later_env=self.later_env,
            has_item=True,
        )

    def environment(self, *layers: Mapping[str, str]) -> tuple[Knowledge, Known]:
        """Return what is known under ``layers`` of variables, each seeing those before it, and these variables."""
        env, later = dict(self.env), dict(self.later_env)
        shown: dict[str, str] = {}
        told: dict[str, tuple[str, ...]] = {}
        problems: list[str] = []
        for layer in layers:
            seeing = self.with_env(dict(env), dict(later))
            for name, text in layer.items():
                found = seeing.render(text, (name,))
                env.pop(name, None)
                later.pop(name, None)
                told.pop(name, None)
                if found.is_whole:
                    shown[name] = env[name] = self._travelling(name, found.value, problems)
                else:
                    shown[name] = text
                    problems += found.problems
                    later[name] = found.waits() or (THE_START,)
                    told[name] = later[name]
        return self.with_env(env, later), Known(value=shown, later=told, problems=tuple(problems))

    @staticmethod
    def _travelling(name: str, value: object, problems: list[str]) -> str:
        try:
            return check_travels(text_of(value), name=name)
        except RefusalError as error:
            problems.append(f"{name!r} {error}")
            return ""

    def _render(self, value: object, path: Path, later: dict[str, tuple[str, ...]], problems: list[str]) -> Any:
        if isinstance(value, Mapping):
            return {key: self._render(item, (*path, key), later, problems) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._render(item, (*path, index), later, problems) for index, item in enumerate(value)]
        if not isinstance(value, str) or expressions.MARK not in value:
            return value
        try:
            template = expressions.compile_template(value)
            waits = tuple(dict.fromkeys(wait for name in template.references for wait in self._waits(name)))
            if waits:
                later[dotted(path)] = waits
                return value
            return template.render({**self.names, "env": self.env})
        except ExpressionError as error:
            problems.append(str(error))
        except BarbossaError as error:
            problems.append(f"{value}: {error}")
        return value

    def _waits(self, name: tuple[str, ...]) -> Iterable[str]:
        """Return what must have happened before a name of an expression has a value; nothing if it has one now."""
        root, *rest = name
        known = {"workflow", *scope.FUNCTIONS, *({"item", "loop"} if self.has_item else ())}
        if root in known or (root == "host" and rest and rest[0] in self.names["host"]):
            return ()
        if root == "env":
            return self._env_waits(rest)
        if root == "tasks":
            return (f"{rest[0]} has ended",) if rest else ("the tasks before it have ended",)
        if root == "params":
            is_secret = self.secret_params & set(rest[:1]) if rest else self.secret_params
            return (A_SECRET,) if is_secret else ()
        is_about_the_end = root == "run" and bool(rest) and rest[0] in _OF_THE_OUTCOME
        return (THE_OUTCOME if is_about_the_end else _LATER_ROOTS.get(root, THE_RUN),)

    def _env_waits(self, rest: list[str]) -> Iterable[str]:
        if not rest:
            return dict.fromkeys(wait for waits in self.later_env.values() for wait in waits)
        if rest[0] in self.later_env:
            return self.later_env[rest[0]]
        return (THE_RUN,) if rest[0].startswith(OWN_PREFIX) else ()
