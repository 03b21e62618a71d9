"""Jinja2 made safe and bounded: what an expression may reach, call and grow to.

Imported only when a workflow holds an expression (see ``expressions``): Jinja2 costs 40 ms and 6 MB.

Only ``{{ }}`` exists: without statements there is no loop and no variable, so the work of an expression is bounded by
its length and by what the functions here allow. Of objects, only the keys of maps, the items of lists and a few
methods of text and maps can be reached, whatever else Python has.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing, pass_context
from jinja2.visitor import NodeTransformer

from barbossad.validation import kind_of, nearest
from barbossad.variables import text_of
from barbossad.workflows.scope import MAP_METHODS

MAX_RANGE: Final = 10_000
MAX_RESULT_CHARACTERS: Final = 1024 * 1024
MAX_ITEMS: Final = 100_000
MAX_BITS: Final = 4096

FILTERS: Final = (
    *("abs", "capitalize", "default", "d", "dictsort", "first", "float", "int", "items", "last", "length", "count"),
    *("list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round", "select", "selectattr"),
    *("sort", "string", "sum", "title", "trim", "truncate", "unique", "upper", "urlencode"),
)
"""Filters taken from Jinja2 as they are; ``join``, ``replace``, ``tojson`` and ``from_json`` are our own."""

DEFAULTS: Final = frozenset({"default", "d"})
"""Filters that may be given what there is not."""

TEXT_METHODS: Final = frozenset(
    {
        *("capitalize", "count", "endswith", "find", "isalnum", "isalpha", "isdigit", "islower", "isupper"),
        *("lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rpartition"),
        *("rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper"),
    }
)


class Missing(StrictUndefined):
    """A name that stands for nothing: an error wherever it is used, with what there is instead."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name, holder = self._undefined_name, self._undefined_obj
        if self._undefined_hint:
            return self._undefined_hint
        if holder is missing:
            return f"there is no {name!r}"
        if isinstance(holder, Mapping):
            close = nearest(name, [key for key in holder if isinstance(key, str)])
            keys = ", ".join(str(key) for key in list(holder)[:20])
            instead = f"did you mean {close!r}?" if close else f"there are: {keys}" if keys else "it is empty"
            return f"there is no {name!r} here ({instead})"
        return f"there is no {name!r} in {kind_of(holder)}"


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that all expressions are compiled in."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            block_start_string="\0{%",
            block_end_string="%}\0",
            comment_start_string="\0{#",
            comment_end_string="#}\0",
            keep_trailing_newline=True,
            optimized=False,
            undefined=Missing,
            finalize=_finalize,
            autoescape=False,
            cache_size=0,
        )
        taken = {name: _bounded_filter(self.filters[name], takes_missing=name in DEFAULTS) for name in FILTERS}
        self.filters = {**taken, "join": _join, "replace": _replace, "tojson": text_of_json, "from_json": json.loads}
        self.globals = {"range": _range}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a map's key of that name, else one of the methods that are allowed."""
        if isinstance(obj, Mapping):
            if attribute in obj:
                return obj[attribute]
            if attribute in MAP_METHODS:
                return getattr(obj, attribute)
        elif isinstance(obj, str) and attribute in TEXT_METHODS:
            return functools.partial(_replace, obj) if attribute == "replace" else getattr(obj, attribute)
        return self._missing(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return a map's key, or an item or a slice of a list or a text."""
        if isinstance(obj, Mapping | list | tuple | str | range):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                pass
        return self._missing(obj, argument)

    def _missing(self, obj: Any, name: Any) -> Any:
        """Return what fails when it is used, or fail at once if ``obj`` is such a thing itself."""
        if isinstance(obj, Missing):
            plain(obj)
        return self.undefined(obj=obj, name=name)

    def no_else(self) -> Any:
        """Return what an ``if`` without ``else`` stands for where its condition does not hold."""
        return self.undefined(hint="its if does not hold and has no else; write {{ this if that else other }}")

    def is_safe_callable(self, obj: Any) -> bool:
        """Say whether this can be called: whatever ``getattr`` gives out, ``range``, and what fails by itself."""
        return obj is _range or isinstance(obj, functools.partial | Missing) or hasattr(obj, "__self__")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse arithmetic whose result is too large to hold."""
        if operator == "%" and isinstance(left, str):
            raise SecurityError("text cannot be formatted with %; join it with ~")
        if operator == "*" and _product_size(left, right) > MAX_ITEMS:
            raise SecurityError("the result of * is too large")
        if operator == "**" and _power_bits(left, right) > MAX_BITS:
            raise SecurityError("the result of ** is too large")
        result = super().call_binop(context, operator, left, right)
        _check_size(result)
        return result

    def evaluator(self, expression: nodes.Expr) -> Callable[[Mapping[str, Any]], Any]:
        """Return a function from a scope to the value of a parsed expression, with its type."""
        store = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
        template = self.from_string(nodes.Template([store], lineno=1))

        def evaluate(scope: Mapping[str, Any]) -> Any:
            context = template.new_context(dict(scope))
            for _ in template.root_render_func(context):
                pass
            return context.vars["result"]

        return evaluate


class Strict(NodeTransformer):
    """Puts what is ours in place of what Jinja2 makes of two of its operators."""

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:  # noqa: N802 (the visitor names it so)
        """Give an ``if`` without ``else`` one that fails when it is used: Jinja2's own has a value, an empty one."""
        self.generic_visit(node)
        if node.expr2 is None:
            line = node.lineno
            node.expr2 = nodes.Call(nodes.EnvironmentAttribute("no_else", lineno=line), [], [], None, None, lineno=line)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 (likewise)
        """Make ``a ~ b`` the same as ``[a, b] | join``: bounded, and with our words for true and nothing."""
        self.generic_visit(node)
        pieces = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(pieces, "join", [], [], None, None, lineno=node.lineno)


def _bounded_filter(function: Callable[..., Any], *, takes_missing: bool) -> Callable[..., Any]:
    """Return a filter of Jinja2 whose result is refused where it is too large, so that no chain of them grows.

    So is what there is not, where it would be taken: some filters take it for nothing, some stumble over it.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        for argument in () if takes_missing else arguments:
            if isinstance(argument, Undefined):
                plain(argument)
        result = function(*arguments, **options)
        _check_size(result)
        return result

    return call


def _check_size(value: Any) -> None:
    if isinstance(value, str) and len(value) > MAX_RESULT_CHARACTERS:
        raise SecurityError(f"a result has more than {MAX_RESULT_CHARACTERS} characters")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise SecurityError(f"a whole number of more than {MAX_BITS} bits")
    if isinstance(value, list | tuple | dict) and len(value) > MAX_ITEMS:
        raise SecurityError(f"a result has more than {MAX_ITEMS} items")


@pass_context
def _finalize(_context: Context, value: Any) -> str:
    """Make text of a value between other text. Asks for the context so that nothing is folded at load."""
    return _text(value)


def plain(value: Any) -> Any:
    """Return a value as plain data: None, bool, int, float, str, list or dict. Raise SecurityError for others."""
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()  # noqa: SLF001 (what Jinja2 itself calls)
    if isinstance(value, str):
        _check_size(value)
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise SecurityError("the result is too large, or no number")  # JSON holds no such thing
    if value is None or isinstance(value, bool | int | float):
        _check_size(value)
        return value
    if isinstance(value, Mapping):
        return {text_of(plain(key)): plain(item) for key, item in _bounded(value.items())}
    if isinstance(value, Iterable):
        return [plain(item) for item in _bounded(value)]
    raise SecurityError("the result is no plain value")


def text_of_json(value: Any) -> str:
    """Return a value as JSON text."""
    return json.dumps(plain(value), ensure_ascii=False)


def _text(value: Any) -> str:
    return text_of(plain(value))


def _bounded(items: Iterable[Any]) -> Iterable[Any]:
    for count, item in enumerate(items):
        if count >= MAX_ITEMS:
            raise SecurityError(f"the result has more than {MAX_ITEMS} items")
        yield item


def _product_size(left: Any, right: Any) -> int:
    """Return how large ``left * right`` will be: items, or bits for whole numbers scaled to the same bound."""
    for many, count in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(count, int):
            return len(many) * max(count, 0)
    if isinstance(left, int) and isinstance(right, int):
        return (left.bit_length() + right.bit_length()) * MAX_ITEMS // MAX_BITS
    return 0


def _power_bits(left: Any, right: Any) -> int:
    return left.bit_length() * max(right, 0) if isinstance(left, int) and isinstance(right, int) else 0


def _range(*arguments: int) -> range:
    numbers = range(*arguments)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"a range of more than {MAX_RANGE} numbers")
    return numbers


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    """Replace text by text, all of it or the first ``count``."""
    text, old, new = _text(value), _text(old), _text(new)
    if len(text) + text.count(old) * len(new) > MAX_RESULT_CHARACTERS:
        raise SecurityError("the result of replace is too large")
    return text.replace(old, new, count)


def _join(items: Iterable[Any], separator: str = "") -> str:
    """Join items to text."""
    texts = [_text(item) for item in _bounded(items)]
    separator = _text(separator)
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_RESULT_CHARACTERS:
        raise SecurityError("the result of join is too large")
    return separator.join(texts)
