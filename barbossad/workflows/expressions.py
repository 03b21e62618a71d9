"""Expressions in values: ``{{ }}`` found, compiled, checked for what they refer to, and rendered.

A lone ``"{{ x }}"`` keeps its type; in mixed text every value becomes text by ``variables.text_of``.
Jinja2 is imported when the first expression is seen, never before.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from barbossad.document import Path
from barbossad.errors import BarbossaError
from barbossad.validation import RefusalError, proposal
from barbossad.workflows import comparisons
from barbossad.workflows.scope import ROOTS, TASK_FIELDS

if TYPE_CHECKING:
    from jinja2 import nodes

    from barbossad.workflows.sandbox import Sandbox

MAX_TEMPLATE_CHARACTERS: Final = 65_536
MAX_EXPRESSION_CHARACTERS: Final = 4_096
MAX_DEPTH: Final = 100
MARK: Final = "{{"

_STATEMENT: Final = re.compile(r"\{%[-+]?\s*(?:if|for|set|macro|else|elif|endif|endfor|raw|include|import)\b")
_TASK_PATH: Final = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?<![\w.])tasks(?P<keys>(?:\.[\w][\w-]*)+)""", flags=re.ASCII
)
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_]\w*", flags=re.ASCII)


_OPERATORS: Final[Mapping[str, str]] = {"&": "write and", "|": "write or", "=": "compare with ==", "!": "write not"}
"""How operators of other languages, by their first character, are written here."""

_CULPRIT: Final = re.compile(r"(?:got|unexpected(?: char)?) '([&|=!])'")
"""Where Jinja2 says that it came upon one."""


class ExpressionError(BarbossaError):
    """An expression is not one, or has no value."""

    def __init__(self, text: str, reason: str, hint: str = "") -> None:
        self.message = f"{_short(text)} {reason}"
        self.hint = hint
        super().__init__(self.message + (f" ({hint})" if hint else ""))


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled text; ``references`` are the names that it uses, each as the keys from its root on."""

    render: Callable[[Mapping[str, Any]], Any]
    references: tuple[tuple[str, ...], ...]


def is_expression(value: object) -> bool:
    """Say whether a value of the file is to be rendered."""
    return isinstance(value, str) and MARK in value


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Walk all texts with expressions beneath ``value``, each with its path."""
    if isinstance(value, str):
        if MARK in value:
            yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))


def references(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the names that the expressions in ``text`` use. Raise ExpressionError if it cannot be compiled."""
    return compile_template(text).references


def render(value: Any, scope: Mapping[str, Any]) -> Any:
    """Return ``value`` with every expression in it replaced by what it stands for. Raise ExpressionError."""
    if isinstance(value, str):
        return compile_template(value).render(scope) if MARK in value else value
    if isinstance(value, Mapping):
        return {key: render(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, scope) for item in value]
    return value


def render_text(value: str, scope: Mapping[str, Any]) -> str:
    """Return ``value`` rendered, as text whatever its type. Raise ExpressionError."""
    if MARK not in value:
        return value
    from barbossad.variables import text_of  # noqa: PLC0415

    return text_of(render(value, scope))


@functools.lru_cache(maxsize=4096)
def compile_template(text: str) -> Template:
    """Return the compiled form of a text with expressions. Raise ExpressionError with the reason.

    The same text is compiled once, and Python code is made of it only when it is rendered.
    """
    from jinja2.exceptions import TemplateError  # noqa: PLC0415 (see the module's docstring)

    from barbossad.workflows.sandbox import Strict  # noqa: PLC0415

    if len(text) > MAX_TEMPLATE_CHARACTERS:
        raise ExpressionError(
            text, f"is too long: with expressions, text has at most {MAX_TEMPLATE_CHARACTERS} characters"
        )
    if _STATEMENT.search(text):
        raise ExpressionError(
            text, "is a statement; the language has expressions only", "write {{ this if that else other }}"
        )
    try:
        tree = _sandbox().parse("".join(_prepared(text)))
    except TemplateError as error:
        reason = (error.message or "").replace("end of print statement", "}}").rstrip(".")
        raise ExpressionError(text, f"is no expression: {reason}", _hint(text, reason)) from None
    except RecursionError:
        raise ExpressionError(text, "is nested too deeply") from None
    found = _survey(text, tree)
    return Template(_Lazy(text, Strict().visit(tree)), found)


def _survey(text: str, tree: nodes.Template) -> tuple[tuple[str, ...], ...]:
    """Return the names that a parsed text uses; refuse functions that there are not, and too deep a nesting."""
    from jinja2 import nodes  # noqa: PLC0415 (see the module's docstring)

    found: dict[tuple[str, ...], None] = {}
    level: list[tuple[nodes.Node, bool]] = [(tree, False)]
    for _ in range(MAX_DEPTH):
        deeper: list[tuple[nodes.Node, bool]] = []
        for node, is_counted in level:
            if isinstance(node, nodes.Filter):
                _check_function(text, node.name, _sandbox().filters, "filters")
            elif isinstance(node, nodes.Test):
                _check_function(text, node.name, _sandbox().tests, "tests")
            elif isinstance(node, nodes.Compare):
                _check_comparison(text, node)
            elif isinstance(node, nodes.Const) and _is_too_long(node.value):
                raise ExpressionError(text, "holds a number that is too long")
            elif isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem) and not is_counted:
                name = _reference(node)
                found.update({name: None} if name else {})
            holder = node.node if isinstance(node, nodes.Getattr | nodes.Getitem) else None
            deeper.extend((child, child is holder) for child in node.iter_child_nodes())
        level = deeper
        if not level:
            return tuple(found)
    raise ExpressionError(text, "is nested too deeply")


def _check_function(text: str, name: str, known: Collection[str], noun: str) -> None:
    if name not in known:
        raise ExpressionError(text, f"uses {name!r}, which there is not", proposal(name, known, noun=noun))


def _check_comparison(text: str, node: nodes.Compare) -> None:
    try:
        comparisons.check(_reference(node.expr), node)
    except RefusalError as error:
        raise ExpressionError(text, str(error), error.hint) from None


def _is_too_long(number: object) -> bool:
    """Say whether this is a whole number of more digits than Python writes, or an expression may come to."""
    from barbossad.workflows.plain import MAX_BITS  # noqa: PLC0415 (see the module's docstring)

    return isinstance(number, int) and number.bit_length() > MAX_BITS


def _reference(node: nodes.Expr) -> tuple[str, ...]:
    """Return a name with the constant keys after it: ``tasks['a'].outputs[params.k]`` is ``tasks``, ``a``, ``outputs``.

    Nothing if it does not begin with a name.
    """
    from jinja2 import nodes  # noqa: PLC0415 (see the module's docstring)

    keys: list[str] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getattr):
            keys.append(node.attr)
        elif isinstance(node.arg, nodes.Const) and not _is_too_long(node.arg.value):
            keys.append(str(node.arg.value))
        else:
            keys.clear()
        node = node.node
    return (node.name, *reversed(keys)) if isinstance(node, nodes.Name) else ()


def _hint(text: str, reason: str) -> str:
    """Return how to mend what the reason says, and nothing else that may be wrong with the text."""
    culprit = _CULPRIT.search(reason)
    if culprit and (culprit[1] != "|" or "||" in text):
        return _OPERATORS[culprit[1]]
    if text.count(MARK) > text.count("}}"):
        return "close it with }}; braces that are meant as text are written {{ '{{' }}"
    return ""


def _prepared(text: str) -> Iterator[str]:
    """Let ``tasks.my-task.outputs`` mean what it says, in expressions: a dash in a task's id is no minus."""
    place = 0
    while (start := text.find(MARK, place)) >= 0 and (end := text.find("}}", start)) >= 0:
        if end - start > MAX_EXPRESSION_CHARACTERS:
            reason = f"is too long: an expression has at most {MAX_EXPRESSION_CHARACTERS} characters"
            raise ExpressionError(text[start:end], reason)
        yield text[place:start]
        yield _TASK_PATH.sub(_with_brackets, text[start:end])
        place = end
    yield text[place:]


def _with_brackets(found: re.Match[str]) -> str:
    """Write ids that are no names of Python in brackets; what follows a field of the task is left as it is."""
    if found["keys"] is None:
        return found[0]
    keys = found["keys"].split(".")[1:]
    text = "tasks"
    for index, key in enumerate(keys):
        if index and not _is_id(key, keys[index + 1 : index + 2]):
            return text + "".join(f".{rest}" for rest in keys[index:])
        text += f".{key}" if _PLAIN_KEY.fullmatch(key) else f"[{key!r}]"
    return text


def _is_id(key: str, following: list[str]) -> bool:
    """Say whether a key after a task's names a member: ``status-1`` is a field less one, unless a field follows."""
    first, _, rest = key.partition("-")
    if first not in TASK_FIELDS:
        return True
    return bool(rest) and rest not in ROOTS and following[:1] != [] and following[0].partition("-")[0] in TASK_FIELDS


@functools.cache
def _sandbox() -> Sandbox:
    from barbossad.workflows.sandbox import Sandbox  # noqa: PLC0415 (see the module's docstring)

    return Sandbox()


class _Lazy:
    """Renders a parsed template; its code is made at the first use."""

    def __init__(self, text: str, tree: nodes.Template) -> None:
        self._text = text
        self._tree = tree
        self._evaluate: Callable[[Mapping[str, Any]], Any] | None = None

    def __call__(self, scope: Mapping[str, Any]) -> Any:
        """Return the value. Raise ExpressionError."""
        from jinja2.exceptions import TemplateError  # noqa: PLC0415 (see the module's docstring)

        try:
            evaluate = self._evaluate
            if evaluate is None:  # two threads may both compile; the result is the same
                evaluate = self._evaluate = self._compiled()
            return evaluate(scope)
        except TemplateError as error:
            raise ExpressionError(self._text, f"has no value: {error.message}") from error
        except (RecursionError, MemoryError) as error:
            raise ExpressionError(self._text, "is too large") from error
        except Exception as error:  # Jinja2's filters raise what they like; uncaught, that would end the daemon
            raise ExpressionError(self._text, f"has no value: {error}") from error

    def _compiled(self) -> Callable[[Mapping[str, Any]], Any]:
        from barbossad.workflows.budget import budgeted  # noqa: PLC0415 (see the module's docstring)
        from barbossad.workflows.plain import MAX_CHARACTERS, plain  # noqa: PLC0415 (likewise)

        tree = self._tree
        lone = _lone(tree, self._text)
        if lone is not None:
            evaluate = _sandbox().evaluator(lone)
            return budgeted(lambda scope: plain(evaluate(scope)))
        template = _sandbox().from_string(tree)

        def join(scope: Mapping[str, Any]) -> str:
            pieces: list[str] = []
            size = 0
            for piece in template.root_render_func(template.new_context(dict(scope))):
                size += len(piece)
                if size > MAX_CHARACTERS:
                    raise RefusalError(f"the result has more than {MAX_CHARACTERS} characters")
                pieces.append(piece)
            return "".join(pieces)

        return budgeted(join)


def _lone(tree: nodes.Template, text: str) -> nodes.Expr | None:
    """Return the expression if there is nothing else but space around it."""
    from jinja2 import nodes  # noqa: PLC0415 (see the module's docstring)

    if not (text.strip().startswith(MARK) and text.strip().endswith("}}")):
        return None
    parts = [part for output in tree.body if isinstance(output, nodes.Output) for part in output.nodes]
    values = [part for part in parts if not (isinstance(part, nodes.TemplateData) and not part.data.strip())]
    return values[0] if len(values) == 1 and not isinstance(values[0], nodes.TemplateData) else None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:79] + "…"
