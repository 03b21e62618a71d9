from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from barbossad.workflows import expressions
from barbossad.workflows.expressions import ExpressionError, references, render, render_text

SCOPE: dict[str, Any] = {
    "params": {
        "n": 3, "x": 0.5, "yes": True, "text": "a b", "items": [1, "two"], "map": {"k": [1]}, "none": None,
        "big": "x" * 1000, "get": "mine", "html": "<&>",
    },
    "env": {"HOME": "/root"},
    "tasks": {"dump-it": {"outputs": {"size": "41", "a-b": "c"}, "exit_code": 0}, "7": {"exit_code": 1}},
    "run": {"id": "r1"},
    "long": 10**4299,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ params.n }}", 3),
        ("  {{ params.n }}\n", 3),
        ("{{- params.n -}}", 3),
        ("{{ params.x }}", 0.5),
        ("{{ params.yes }}", True),
        ("{{ params.items }}", [1, "two"]),
        ("{{ params.map }}", {"k": [1]}),
        ("{{ params.none }}", None),
        ("{{ params.text }}", "a b"),
        ("{{ params.n }}{{ params.n }}", "33"),
        ("{{ params.n }} {{ params.n }}", "3 3"),
        ("n={{ params.n }}", "n=3"),
        ("{{ params.yes }}!", "true!"),
        ("{{ 'is ' ~ params.yes ~ params.none }}", "is true"),
        ("{{ params.none }}!", "!"),
        ("{{ params.items }}!", '[1,"two"]!'),
        ("{{ params.html }}", "<&>"),
        ("x\n{{ params.n }}\n", "x\n3\n"),
        ("{{ 'a' if params.yes else 'b' }}", "a"),
        ("{{ tasks.dump-it.outputs.size | int + 1 }}", 42),
        ("{{ tasks['dump-it'].outputs['a-b'] }}", "c"),
        ("{{ tasks.7.exit_code }}", 1),
        ("{{ 'tasks.dump-it' }}", "tasks.dump-it"),
        ("tasks.dump-it is {{ params.n }}", "tasks.dump-it is 3"),
        ("{{ params.get }}", "mine"),
        ("{{ params.map.get('z', 5) }}", 5),
        ("{{ params.text.split() }}", ["a", "b"]),
        ("{{ params.text.replace('a', 'c') }}", "c b"),
        ("{{ params.text | replace('a', 'c') | upper }}", "C B"),
        ("{{ params.items | join(', ') }}", "1, two"),
        ("{{ params.map | tojson }}", '{"k": [1]}'),
        ("{{ '[1, 2]' | from_json }}", [1, 2]),
        ("{{ tasks['dump-it'].outputs.none | default('x') }}", "x"),
        ("{{ params.n is defined and params.zzz is not defined }}", True),
        ("{{ [1, 2, 3] | map('string') | list }}", ["1", "2", "3"]),
        ("{{ [1, 2, 3] | select('gt', 1) }}", [2, 3]),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ params.items[0] }}", 1),
        ("{{ params.text[1:] }}", " b"),
        ("{{ '{{' }}", "{{"),
        ("{{ '{{.Names}}' }}", "{{.Names}}"),
        ("no expression }}", "no expression }}"),
    ],
)
def test_render(text: str, value: object) -> None:
    """A lone expression keeps its type, mixed text is text, and text comes out as programs expect it."""
    rendered = render(text, SCOPE)
    assert rendered == value
    assert type(rendered) is type(value)


def test_structures_are_rendered_through_and_through() -> None:
    """Expressions are found at any depth of lists and maps; all else stays."""
    assert render({"a": ["{{ params.n }}", {"b": "{{ run.id }}"}, 5], "c": None}, SCOPE) == {
        "a": [3, {"b": "r1"}, 5],
        "c": None,
    }
    assert render_text("{{ params.items }}", SCOPE) == '[1,"two"]'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ params.txt }}", r"no 'txt' here \(did you mean 'text'\?\)"),
        ("{{ tasks['dump-it'].outputs.siz }}", r"no 'siz' here \(did you mean 'size'\?\)"),
        ("{{ tasks['dump-it'].outputs.foo.bar }}", "no 'foo' here"),
        ("{{ nothing }}", "there is no 'nothing'"),
        ("{{ params.n.bit_length }}", "there is no 'bit_length' in a number"),
        ("{{ params.text.encode }}", "there is no 'encode' in text"),
        ("{{ params['items'][7] }}", "there is no 7 in a list"),
        ("{{ 1 / 0 }}", "has no value: division by zero"),
        ("{{ params.text + 1 }}", "has no value"),
        ("{{ params.items[7] }}", "no 7"),
        ("{{ 'x' | from_json }}", "has no value"),
        ("{{ params.n() }}", "has no value"),
    ],
)
def test_what_has_no_value_is_an_error(text: str, reason: str) -> None:
    """Nothing undefined ever becomes empty text; the message names the expression and what there is."""
    with pytest.raises(ExpressionError, match=reason) as error:
        render(text, SCOPE)
    assert text in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ params.__class__ }}",
        "{{ params['__class__'] }}",
        "{{ params.items.__class__.__mro__ }}",
        "{{ (params.text | attr('__class__')) }}",
        "{{ params.text.format }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ self }}",
        "{{ self.__init__ }}",
        "{{ range.__globals__ }}",
        "{{ params.get.__self__ }}",
        "{{ params.map.update({'k': 1}) }}",
        "{{ params.items.append(1) }}",
        "{{ lipsum() }}",
        "{{ cycler('a') }}",
        "{{ namespace() }}",
        "{{ dict(a=1) }}",
        "{{ ''.join(['a']) }}",
        "{{ [1] | map(attribute='__class__') | list }}",
        "{{ ['x'] | map(attribute='__class__.__mro__') | list }}",
        "{{ params | xmlattr }}",
        "{{ params.text | pprint }}",
        "{{ params.map.k.__add__ }}",
        "{{ (1).__class__ }}",
        "{{ params.map.keys.__func__ }}",
        "{{ loop }}",
        "{{ caller() }}",
        "{{ varargs }}",
        "{{ config }}",
        "{% set x = 1 %}{{ x }}",
        "{% for i in range(9) %}{{ i }}{% endfor %}",
        "{{ _ }}",
        "{{ super() }}",
    ],
)
def test_nothing_of_python_can_be_reached(text: str) -> None:
    """Attributes, methods beyond the few, globals and statements do not exist for an expression."""
    with pytest.raises(ExpressionError):
        render(text, SCOPE)


@pytest.mark.parametrize(
    "text",
    [
        "{{ 9 ** (9 ** 9) }}",
        "{{ 2 ** 100000 }}",
        "{{ 'x' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 1000000000 * [0] }}",
        "{{ range(1000000000) }}",
        "{{ range(10000) | map('string') | join('x' * 9000) }}",
        "{{ params.big | replace('x', params.big) | replace('x', params.big) }}",
        "{{ params.big.replace('x', params.big).replace('x', params.big) }}",
        "{{ 'x'.ljust(1000000000) }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ 'x' | indent(1000000000) }}",
        "{{ 1 | format(1000000000) }}",
        "{{ params.big }}" * 1100,
        "{{ ['x']" + " | string | list" * 40 + " }}",
        "{{ '\"'" + " | tojson" * 90 + " }}",
        "{{ " + " ~ ".join(["params.big * 50"] * 100) + " }}",
        "{{ " + " + ".join(["params.big * 50"] * 95) + " }}",
        "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
        "{{ " + "[" * 500 + "]" * 500 + " }}",
        "{{ " + "1+" * 1500 + "1 }}",
        "{{ " + "-" * 3000 + "1 }}",
        "{{ params" + ".a" * 1900 + " }}",
        "{{ " + "not " * 900 + "1 }}",
        "{{ 'x'" + "|upper" * 600 + " }}",
        "{{ '" + "x" * 5000 + "' }}",
        "{{ 1 }}" + "x" * 70_000,
        "{{ " + "9" * 4000 + " ** 2 }}",
        "{{ 0x" + "f" * 4000 + " }}",
        "{{ params[0x" + "f" * 4000 + "] }}",
        "{{ ('f' * 4000) | int(0, 16) }}",
        "{{ [('f' * 1024) | int(0, 16), 1] | sum }}",
        "{{ long }}",
        "{{ [{'k': long}] }}",
    ],
)
def test_nothing_grows_without_bound(text: str) -> None:
    """What would take the daemon's memory or time is refused, however it is written."""
    with pytest.raises(ExpressionError):
        render(text, SCOPE)


def test_repeated_shapes_stay_small() -> None:
    """Ordinary arithmetic and repetition are not refused with the excesses."""
    assert render("{{ '-' * 80 }}", {}) == "-" * 80
    assert render("{{ 2 ** 62 * 3 }}", {}) == 2**62 * 3
    assert render("{{ 7 % 4 }}", {}) == 3


def test_references_are_the_names_with_their_keys() -> None:
    """What an expression uses is known without running it, also inside filters, conditions and dynamic keys."""
    assert set(
        references("{{ params.a | default(env.B) }} {{ tasks['x-y'].outputs[params.k] if run.id else host }}")
    ) == {
        ("params", "a"),
        ("env", "B"),
        ("tasks", "x-y", "outputs"),
        ("params", "k"),
        ("run", "id"),
        ("host",),
    }
    assert references("{{ tasks.x-y.outputs.z }}") == (("tasks", "x-y", "outputs", "z"),)


def test_a_template_is_compiled_once() -> None:
    """The same text is the same template."""
    assert expressions.compile_template("{{ params.once }}") is expressions.compile_template("{{ params.once }}")


def test_jinja_is_not_imported_without_an_expression() -> None:
    """A daemon whose workflows have no expressions never pays for Jinja2."""
    script = (
        "import sys\n"
        "from barbossad.tasks import _registry\n"
        "from barbossad.workflows.loader import Loader\n"
        "Loader(_registry.load()).load('name: a\\ntasks: [{shell: make}]')\n"
        "print('jinja2' in sys.modules)\n"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'x' if false }}",
        "a{{ 'x' if false }}b",
        "{{ [1] if params.n > 7 }}",
        "{{ ['x' if false] }}",
        "{{ {'key': ['x' if false]} }}",
        "{{ ['x' if false] | join(', ') }}",
        "{{ ['x' if false] | map('upper') | list }}",
        "{{ ('x' if false) ~ 'y' }}",
        "{{ ('x' if false) or 'y' }}",
        "{{ ('x' if false).length }}",
        "{{ 'a' if false else ('b' if false) }}",
        "{{ [1, 2] | map('string') | select('equalto', 'x' if false) | list }}",
    ],
)
def test_an_if_without_else_has_no_value(text: str) -> None:
    """Where the condition does not hold there is nothing it could stand for, and it says what to write."""
    with pytest.raises(ExpressionError, match=r"has no value: its if does not hold and has no else; write .* else"):
        expressions.render(text, {"params": {"n": 1}})


def test_an_if_without_else_that_holds() -> None:
    """The other branch is not asked for where the condition holds, or where a default is given."""
    assert expressions.render("{{ [1] if params.n > 7 }}", {"params": {"n": 8}}) == [1]
    assert expressions.render("a{{ 'x' if true }}b", {}) == "axb"
    assert expressions.render("{{ ('x' if false) | default('y') }}", {}) == "y"


@pytest.mark.parametrize(
    "text",
    ["{{ params.nope | items | list }}", "{{ params.nope | abs }}", "{{ params.nope | round }}"],
)
def test_what_there_is_not_goes_through_no_filter(text: str) -> None:
    """A filter that would take it for nothing, or stumble over it, is not even asked."""
    with pytest.raises(ExpressionError, match="has no value: there is no 'nope' here"):
        expressions.render(text, {"params": {"n": 1}})
