"""Jinja2 made safe and bounded: what an expression may reach, call and grow to.

Imported only when a workflow holds an expression (see ``expressions``): Jinja2 costs 40 ms and 6 MB.

Only ``{{ }}`` exists: without statements there is no loop and no variable, and what multiplies work all the same
(``*``, and filters that go through lists) takes it from a budget (see ``budget``). Of objects, only the keys of maps,
the items of lists and a few methods of text and maps can be reached, whatever else Python has.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing, pass_context
from jinja2.visitor import NodeTransformer

from barbossad.validation import kind_of, nearest
from barbossad.workflows import filters
from barbossad.workflows.budget import current, glance, weigh
from barbossad.workflows.plain import MAX_BITS, MAX_ITEMS, as_text, check_size, plain
from barbossad.workflows.scope import MAP_METHODS

MAX_RANGE: Final = 10_000

TEXT_METHODS: Final = frozenset(
    {
        *("capitalize", "count", "endswith", "find", "isalnum", "isalpha", "isdigit", "islower", "isupper"),
        *("lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rpartition"),
        *("rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper"),
    }
)

BACKWARD: Final = frozenset({"rfind", "rpartition", "rsplit", "strip", "lstrip", "rstrip"})
"""Those that may look at all of what they search for at each character that they search in."""


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
        self.filters = filters.filters()
        self.tests = filters.tests()
        self.globals = {"range": _range}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a map's key of that name, else one of the methods that are allowed."""
        if isinstance(obj, Mapping):
            if attribute in obj:
                return obj[attribute]
            if attribute in MAP_METHODS:
                return getattr(obj, attribute)
        elif isinstance(obj, str) and attribute in TEXT_METHODS:
            return functools.partial(filters.replace, obj) if attribute == "replace" else getattr(obj, attribute)
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

    def call(self, context: Context, obj: Any, /, *arguments: Any, **options: Any) -> Any:
        """Call a method of a text for what it takes; others take nothing that is worth counting."""
        text, given = getattr(obj, "__self__", None), (*arguments, *options.values())
        if isinstance(text, str):
            steps = glance(text) + sum(map(glance, given))
            if obj.__name__ in BACKWARD:
                steps += max((len(one) * len(text) for one in given if isinstance(one, str)), default=0) >> 8
            current().spend(steps)
        result = super().call(context, obj, *arguments, **options)
        if isinstance(text, str):
            current().spend(weigh(result))
        return result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse arithmetic whose result is too large to hold."""
        if operator == "%" and isinstance(left, str):
            raise SecurityError("text cannot be formatted with %; join it with ~")
        if operator == "*" and _product_size(left, right) > MAX_ITEMS:
            raise SecurityError("the result of * is too large")
        if operator == "**" and _power_bits(left, right) > MAX_BITS:
            raise SecurityError("the result of ** is too large")
        current().spend(_steps(operator, left, right))
        result = super().call_binop(context, operator, left, right)
        check_size(result)
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


@pass_context
def _finalize(_context: Context, value: Any) -> str:
    """Make text of a value between other text. Asks for the context so that nothing is folded at load."""
    return as_text(value)


def _product_size(left: Any, right: Any) -> int:
    """Return how large ``left * right`` will be: items, or bits for whole numbers scaled to the same bound."""
    for many, count in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(count, int):
            return len(many) * max(count, 0)
    if isinstance(left, int) and isinstance(right, int):
        return (left.bit_length() + right.bit_length()) * MAX_ITEMS // MAX_BITS
    return 0


def _steps(operator: str, left: Any, right: Any) -> int:
    """Return what an operator costs; of a list that is repeated, all that is in it counts each time."""
    if operator == "*":
        for many, count in ((left, right), (right, left)):
            if isinstance(many, str | list | tuple) and isinstance(count, int):
                return 1 + (glance(many) if isinstance(many, str) else weigh(many) - 1) * max(count, 0)
    return sum(len(one) if isinstance(one, list | tuple) else glance(one) for one in (left, right))


def _power_bits(left: Any, right: Any) -> int:
    return left.bit_length() * max(right, 0) if isinstance(left, int) and isinstance(right, int) else 0


def _range(*arguments: int) -> range:
    numbers = range(*arguments)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"a range of more than {MAX_RANGE} numbers")
    return numbers
