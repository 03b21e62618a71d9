"""Comparisons that never hold: of a state with a word that is none, of an exit code with text."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from barbossad.model.states import RunState, TaskState
from barbossad.validation import RefusalError, proposal
from barbossad.workflows.scope import TASK_FIELDS

if TYPE_CHECKING:
    from jinja2 import nodes

_TASK_STATES: Final = tuple(state.value for state in TaskState)
_RUN_STATES: Final = tuple(state.value for state in RunState)


def check(name: tuple[str, ...], comparison: nodes.Compare) -> None:
    """Refuse a comparison of what ``name`` stands for, as the keys from its root on, with text that it never is.

    What depends on it would be skipped each time, and nobody told. Raise RefusalError.
    """
    words = [word for operand in comparison.ops for word in _words(operand)]
    if name == ("run", "state"):
        _check_states(words, _RUN_STATES, "run")
    elif name[:1] == ("tasks",) and len(name) > 2 and not TASK_FIELDS & frozenset(name[2:-1]):
        if name[-1] == "status":
            _check_states(words, _TASK_STATES, "task")
        elif name[-1] == "exit_code" and words:
            hint = f"write {words[0]} without the quotes" if words[0].isdigit() else ""
            raise RefusalError(f"compares an exit code, which is a number, with the text {words[0]!r}", hint)


def _check_states(words: Collection[str], known: Collection[str], noun: str) -> None:
    for word in words:
        if word not in known:
            raise RefusalError(
                f"asks for {word!r}, which is no state of a {noun}", proposal(word, known, noun="states")
            )


def _words(operand: nodes.Operand) -> Iterator[str]:
    """Yield the constant texts that something is compared with: one, or those of a list."""
    from jinja2 import nodes  # noqa: PLC0415 (when the first expression is seen, never before)

    found = operand.expr
    if operand.op in {"eq", "ne"}:
        parts = [found]
    else:
        parts = found.items if isinstance(found, nodes.List | nodes.Tuple) and operand.op in {"in", "notin"} else []
    for part in parts:
        if isinstance(part, nodes.Const) and isinstance(part.value, str):
            yield part.value
