"""The keys that say whether a task runs, how often, and beside whom."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from barbossad.model.flow import Backoff, Concurrency, Policy, Repeat, Retry, RetryCause
from barbossad.model.names import LOCK_NAME, WorkflowName
from barbossad.units import Duration, PositiveDuration
from barbossad.validation import RefusalError, kind_of, shown
from barbossad.workflows.contract import IN_SHELL, refuse_expressions
from barbossad.workflows.expressions import MARK
from barbossad.workflows.part import Bare, Source

MAX_ATTEMPTS: Final = 1000
MAX_REPETITIONS: Final = 1_000_000
MAX_ITEMS: Final = 10_000
MOST_PRIORITY: Final = 1000
MOST_NAMES: Final = 100

_CONDITION_HINT: Final = "write an expression in braces, such as {{ params.count > 0 }}, or true or false"
_OPERATOR: Final = re.compile(r"==|!=|[<>]|\b(?:and|or|not|in|is)\b")
_EXPRESSION: Final = re.compile(r"\{\{.*?\}\}", flags=re.DOTALL)


def one_or_many(value: Any) -> Any:
    """Return one text as a list of it."""
    return [value] if isinstance(value, str) else value


TEXTS: Final = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
"""The JSON Schema of what ``one_or_many`` takes."""


def _condition(value: Any) -> str:
    """Return the text of a condition; true and false become expressions too."""
    if isinstance(value, bool):
        return "{{ true }}" if value else "{{ false }}"
    if not isinstance(value, str):
        raise RefusalError(f"must be a condition, not {kind_of(value)}", _CONDITION_HINT)
    if MARK not in value:
        raise RefusalError(f"is text without an expression: {shown(value)}", _condition_hint(value))
    is_lone = value.count(MARK) == 1 and value.strip().startswith(MARK) and value.strip().endswith("}}")
    operator = None if is_lone else _OPERATOR.search(_EXPRESSION.sub(" ", value))
    if operator:
        raise RefusalError(
            f"has {operator[0]!r} outside the braces, where it is mere text: {shown(value)}",
            f"put all of it inside one pair of braces: {_in_one_pair(value)}",
        )
    return value


def _in_one_pair(text: str) -> str:
    return f"{{{{ {' '.join(text.replace(MARK, ' ').replace('}}', ' ').split())[:80]} }}}}"


def _condition_hint(text: str) -> str:
    if re.search(r"\b(?:params|env|tasks|run|item|loop|workflow|host)\b", text):
        return f"write it in braces: {{{{ {' '.join(text.split())[:80]} }}}}"
    return _CONDITION_HINT


Condition = Annotated[
    str,
    BeforeValidator(_condition),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": r"\{\{"}]}),
]
"""An expression, or true or false."""


def _lock(name: str) -> str:
    if MARK in name:
        raise RefusalError(f"cannot hold an expression: {shown(name)}", "locks are known before anything runs")
    if not LOCK_NAME.fullmatch(name):
        raise RefusalError(f"is not usable: {shown(name)}", "use up to 63 small letters, digits, - and _")
    return name


def distinct(names: list[str]) -> list[str]:
    """Return names of which none stands twice. Raise RefusalError."""
    seen: set[str] = set()
    twice = next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]
    if twice is not None:
        raise RefusalError(f"names {twice!r} twice", "name it once")
    return names


LockName = Annotated[
    str, AfterValidator(_lock), WithJsonSchema({"type": "string", "pattern": f"^{LOCK_NAME.pattern}$"})
]
Locks = Annotated[
    list[LockName],
    Field(min_length=1, max_length=MOST_NAMES),
    AfterValidator(distinct),
    BeforeValidator(one_or_many),
    WithJsonSchema(TEXTS),
]
Priority = Annotated[int, Field(ge=-MOST_PRIORITY, le=MOST_PRIORITY)]
Parallel = Annotated[int, Field(ge=1, le=MAX_ITEMS)]
TriggerName = Literal["all_success", "all_done", "one_success", "one_failed", "none_failed", "always"]


def _items(value: Any) -> Any:
    if isinstance(value, str):
        if MARK not in value:
            raise RefusalError(
                f"is text, not a list: {shown(value)}",
                'write [one, two], or an expression that gives a list: "{{ … }}"',
            )
        return value
    if isinstance(value, dict):
        value = [{"key": key, "value": item} for key, item in value.items()]
    if not isinstance(value, list):
        raise RefusalError(f"must be a list or a map, or an expression that gives one, not {kind_of(value)}")
    if not value:
        raise RefusalError("is empty, so that the task would never run", "list what it is to run for")
    if len(value) > MAX_ITEMS:
        raise RefusalError(f"must have at most {MAX_ITEMS} items, not {len(value)}")
    return value


Items = Annotated[
    Any,
    BeforeValidator(_items),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "minItems": 1},
                {"type": "object", "minProperties": 1},
                {"type": "string", "pattern": r"\{\{"},
            ]
        }
    ),
]
"""A list, a map (each item is a pair of it, with ``key`` and ``value``), or an expression that gives one."""


def _made(path: str) -> str:
    if MARK not in path and not path.startswith("/"):
        raise RefusalError(f"is not an absolute path: {shown(path)}", "write it from / on; ~ is not expanded")
    if "\0" in path:
        raise RefusalError("holds a NUL character, which no path can")
    return path


Paths = Annotated[
    list[Annotated[str, AfterValidator(_made)]],
    Field(min_length=1, max_length=MOST_NAMES),
    BeforeValidator(one_or_many),
    WithJsonSchema(TEXTS),
]


def _probe(script: str) -> str:
    if not script.strip():
        raise RefusalError("is empty", "write a command that exits with 0 where there is nothing to do")
    if "\0" in script:
        raise RefusalError("holds a NUL character, which no script can")
    return refuse_expressions(script, IN_SHELL)


Probe = Annotated[str, Field(max_length=65_536), AfterValidator(_probe)]
"""A shell script that is asked, not told."""


def _codes(value: Any) -> Any:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


Cause = Literal["failed", "timed_out", "interrupted"]
_CAUSE: Final = {"enum": list(get_args(Cause))}
_CODE: Final = {"type": "integer", "minimum": 1, "maximum": 255}

Causes = Annotated[
    list[Cause],
    Field(min_length=1),
    BeforeValidator(one_or_many),
    WithJsonSchema({"anyOf": [_CAUSE, {"type": "array", "items": _CAUSE}]}),
]
ExitCodes = Annotated[
    list[Annotated[int, Field(ge=1, le=255)]],
    Field(min_length=1),
    BeforeValidator(_codes),
    WithJsonSchema({"anyOf": [_CODE, {"type": "array", "items": _CODE}]}),
]


class RetrySource(Source):
    """Whether and when a task is tried again."""

    attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)] | None = Field(
        None, description="How often it is tried in all, the first time included"
    )
    delay: Duration | None = Field(None, description="How long to wait before another attempt; 0 by default")
    backoff: Literal["constant", "linear", "exponential"] | None = Field(
        None, description="How the delay grows: not at all (the default), by itself each time, or twofold each time"
    )
    max_delay: PositiveDuration | None = Field(None, description="The longest delay")
    jitter: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Which part of the delay chance may add or take away, 0 to 1"
    )
    on: Causes | None = Field(None, description="After which ends it is tried again; [failed, timed_out] by default")
    exit_codes: ExitCodes | None = Field(
        None,
        description="What failed is tried again only after these exit codes, so not after a signal; by default always",
    )
    max_elapsed: PositiveDuration | None = Field(
        None, description="No attempt starts later than this after the first one did"
    )


RetryKey = Annotated[RetrySource, Bare("attempts", "the number of attempts", int)]
"""A map, or how many attempts there are."""


def retry_of(own: RetrySource | None, defaults: RetrySource | None) -> Retry:
    """Return what a task says of its attempts; each key that it does not have is the defaults'."""
    said: dict[str, Any] = {}
    for source in (defaults, own):
        if source is not None:
            said.update({name: getattr(source, name) for name in source.model_fields_set})
    said = {name: value for name, value in said.items() if value is not None}
    return Retry(
        attempts=said.get("attempts", 1),
        delay_seconds=said.get("delay", 0.0),
        backoff=Backoff(said.get("backoff", Backoff.CONSTANT)),
        max_delay_seconds=said.get("max_delay"),
        jitter=float(said.get("jitter", 0.0)),
        on=frozenset(map(RetryCause, said["on"])) if "on" in said else Retry().on,
        exit_codes=frozenset(said["exit_codes"]) if "exit_codes" in said else None,
        max_elapsed_seconds=said.get("max_elapsed"),
    )


class RepeatSource(Source):
    """Do it again after a success."""

    until: Condition | None = Field(None, description="Done again until this holds, looked at after each time")
    while_: Condition | None = Field(
        None, alias="while", description="Done again while this holds, looked at after each time"
    )
    max: Annotated[int, Field(ge=1, le=MAX_REPETITIONS)] = Field(100, description="How often in all at most")
    interval: Duration = Field(0.0, description="How long to wait in between")

    @model_validator(mode="after")
    def _is_one(self) -> RepeatSource:
        if (self.until is None) == (self.while_ is None):
            given = "neither 'until' nor 'while'" if self.until is None else "both 'until' and 'while'"
            raise RefusalError(f"has {given}", 'write one of them, such as until: "{{ tasks.ID.outputs.NAME == 1 }}"')
        return self

    def repeat(self) -> Repeat:
        """Return it as the engine reads it."""
        return Repeat(until=self.until, while_=self.while_, max_times=self.max, interval_seconds=self.interval)


def check_map(value: Any) -> Any:
    """Refuse a number or a word in place of a map. Raise RefusalError with the map that was probably meant."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        meant = f"{{limit: 1, group: {value}}}" if isinstance(value, str) else f"{{limit: {value}}}"
        raise RefusalError(f"must be a map, not {kind_of(value)}", f"write {meant}")
    return value


class ConcurrencySource(Source):
    """How many runs there may be at once."""

    limit: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = Field(description="How many runs of the group go on at once")
    policy: Literal["queue", "skip", "replace"] = Field(
        "queue",
        description="A run too many waits (queue), does not run (skip), or has the oldest cancelled (replace)",
    )
    group: LockName | None = Field(
        None, description="Runs of all workflows that name the same group are counted together; by default its own"
    )

    def concurrency(self, workflow: WorkflowName) -> Concurrency:
        """Return it as the engine reads it."""
        return Concurrency(limit=self.limit, policy=Policy(self.policy), group=self.group or workflow)
