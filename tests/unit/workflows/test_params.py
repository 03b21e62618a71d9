from __future__ import annotations

import json
from typing import Any

import pytest

from barbossad.errors import InvalidParamsError, InvalidWorkflowError
from barbossad.model.definition import WorkflowDefinition
from barbossad.workflows import params, reserved
from barbossad.workflows.loader import Loader


def workflow(loader: Loader, *declared: str) -> WorkflowDefinition:
    lines = "\n".join(f"  {line}" for line in declared)
    return loader.load(f"name: a\nparams:\n{lines}\ntasks: [{{shell: make}}]\n")


def bind_one(loader: Loader, declaration: str, value: object) -> Any:
    return params.bind(workflow(loader, f"p: {declaration}"), {"p": value})["p"]


@pytest.mark.parametrize(
    ("declaration", "given", "value", "text"),
    [
        ("{type: string}", "a b", "a b", "a b"),
        ("{type: string}", "", "", ""),
        ("{type: string, pattern: '[a-z]+'}", "abc", "abc", "abc"),
        ("{type: integer}", 3, 3, "3"),
        ("{type: integer}", "3", 3, "3"),
        ("{type: integer}", " -3 ", -3, "-3"),
        ("{type: integer}", 3.0, 3, "3"),
        ("{type: number}", "0.5", 0.5, "0.5"),
        ("{type: number}", "3", 3, "3"),
        ("{type: number}", 3.0, 3.0, "3"),
        ("{type: number}", "1e3", 1000.0, "1000"),
        ("{type: boolean}", "true", True, "true"),
        ("{type: boolean}", "No", False, "false"),
        ("{type: boolean}", True, True, "true"),
        ("{type: choice, choices: [full, incremental]}", "full", "full", "full"),
        ("{type: choice, choices: [1, 2]}", "2", 2, "2"),
        ("{type: choice, choices: [1, true]}", True, True, "true"),
        ("{type: path}", "/srv/a b", "/srv/a b", "/srv/a b"),
        ("{type: duration}", "1h30m", 5400.0, "5400"),
        ("{type: duration}", 0.25, 0.25, "0.25"),
        ("{type: list}", "[1, \"two\"]", [1, "two"], '[1,"two"]'),
        ("{type: list}", ["ä"], ["ä"], '["ä"]'),
        ("{type: map}", '{"k": {"l": null}}', {"k": {"l": None}}, '{"k":{"l":null}}'),
    ],
)  # fmt: skip
def test_values_are_converted_where_that_is_clear(
    loader: Loader, declaration: str, given: object, value: object, text: str
) -> None:
    """A command line has only text: it becomes the declared type, and text again for programs."""
    bound = params.bind(workflow(loader, f"p: {declaration}"), {"p": given})
    assert bound == {"p": value}
    assert type(bound["p"]) is type(value)
    assert params.environment(bound) == {"p": text}
    assert json.loads(params.as_json(bound)) == bound


@pytest.mark.parametrize(
    ("declaration", "given", "message"),
    [
        ("{type: string}", 5, "'p' must be text, not a number (put it in quotes)"),
        ("{type: string}", None, "'p' must be text, not nothing (put it in quotes)"),
        ("{type: string}", "a\0b", "'p' holds a NUL character, which no program can be given"),
        ("{type: string}", "\ud800", "'p' holds half a character (a lone surrogate), which is no text"),
        ("{type: string, pattern: '[a-z]+'}", "abc\n", "'p' does not match the pattern [a-z]+: 'abc\\n'"),
        ("{type: string, pattern: 'a|b'}", "ac", "'p' does not match the pattern a|b: 'ac'"),
        ("{type: string, min_length: 2}", "a", "'p' must have at least 2 characters, not 1"),
        ("{type: string, max_length: 2}", "abc", "'p' must have at most 2 characters, not 3"),
        ("{type: integer}", "three", "'p' must be a whole number, not 'three'"),
        ("{type: integer}", "3.5", "'p' must be a whole number, not '3.5'"),
        ("{type: integer}", True, "'p' must be a whole number, not True"),
        ("{type: integer}", 2**70, "'p' must be a number of at most 64 bits, not 1180591620717411303424"),
        ("{type: integer, minimum: 1}", "0", "'p' must be at least 1, not 0"),
        ("{type: integer, maximum: 365}", 400, "'p' must be at most 365, not 400"),
        ("{type: number}", "nan", "'p' must be a number, not 'nan'"),
        ("{type: number}", float("inf"), "'p' must be a number, not inf"),
        ("{type: number, maximum: 0.5}", "0.6", "'p' must be at most 0.5, not 0.6"),
        ("{type: boolean}", "1", "'p' must be true or false, not '1'"),
        ("{type: boolean}", 1, "'p' must be true or false, not 1"),
        ("{type: choice, choices: [full, incremental]}", "ful",
         "'p' must be one of full, incremental, not 'ful' (did you mean 'full'?)"),
        ("{type: choice, choices: [1]}", True, "'p' must be one of 1, not True (choices: 1)"),
        ("{type: path}", "srv", "'p' must be an absolute path, not 'srv' (write it from / on; ~ is not expanded)"),
        ("{type: path}", "~/x", "'p' must be an absolute path, not '~/x' (write it from / on; ~ is not expanded)"),
        ("{type: path}", "/" + "x" * 5000, "'p' is longer than a path can be (4095 bytes)"),
        ("{type: duration}", "soon", "'p' is not a duration: 'soon' (write seconds, or 90s, 5m, 1h30m, 2d, 250ms)"),
        ("{type: duration, maximum: 1h}", "2h", "'p' must be at most 1h, not 2h"),
        ("{type: list}", "a,b", "'p' must be a list, not text (as text, write JSON: [\"one\", \"two\"])"),
        ("{type: list, max_length: 1}", [1, 2], "'p' must have at most 1 items, not 2"),
        ("{type: list}", [float("nan")], "'p' holds nan, which is no number"),
        ("{type: list}", ["a\0"], "'p' holds a NUL character, which no program can be given"),
        ("{type: list}", [object], "'p' holds <class 'object'>, which is no plain value"),
        ("{type: map}", "[]", "'p' must be a map, not a list (as text, write JSON: {\"key\": \"value\"})"),
        ("{type: map}", {1: 2}, "'p' has the key 1, which is no text"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused(loader: Loader, declaration: str, given: object, message: str) -> None:
    """A wrong type, a value out of bounds and what no program can be given are refused with the reason."""
    with pytest.raises(InvalidParamsError) as refused:
        bind_one(loader, declaration, given)
    assert [str(fault) for fault in refused.value.faults] == [message]
    assert refused.value.faults[0].path == "params.p"


def test_all_faults_are_told_at_once(loader: Loader) -> None:
    """Unknown, missing and wrong params are told together, the unknown with the nearest known."""
    definition = workflow(
        loader,
        "days: {type: integer}",
        "target: {type: path, description: Where to}",
        "mode: {type: string, default: x}",
    )
    with pytest.raises(InvalidParamsError) as refused:
        params.bind(definition, {"dayz": 1, "days": "many", "zzzzzz": 2})
    assert [str(fault) for fault in refused.value.faults] == [
        "unknown param 'dayz' (did you mean 'days'?)",
        "unknown param 'zzzzzz' (params: days, mode, target)",
        "'days' must be a whole number, not 'many'",
        "the param 'target' is missing (path: Where to)",
    ]
    assert str(refused.value).startswith("params of workflow 'a': unknown param 'dayz'")
    with pytest.raises(InvalidParamsError, match=r"the param 'days' is missing \(an integer\)"):
        params.bind(definition, {"target": "/x"})


def test_defaults_are_used_and_converted(loader: Loader) -> None:
    """What is not given has its default, of the declared type."""
    definition = workflow(loader, "wait: {type: duration, default: 5m}", "days: {type: integer, default: '7'}")
    assert params.bind(definition, {}) == {"wait": 300.0, "days": 7}
    assert params.bind(definition, {"days": "8"}) == {"wait": 300.0, "days": 8}


def test_values_too_long_to_travel_are_refused(loader: Loader) -> None:
    """One variable holds at most 128 KiB, and all params together travel in one for Python."""
    with pytest.raises(InvalidParamsError, match="the kernel takes at most 131072"):
        bind_one(loader, "{type: string}", "x" * 131_072)
    assert bind_one(loader, "{type: string}", "x" * 130_000)
    definition = workflow(loader, "a: {type: string}", "b: {type: string}")
    with pytest.raises(InvalidParamsError, match="all params together"):
        params.bind(definition, {"a": "x" * 70_000, "b": "x" * 70_000})


def test_deep_values_are_refused(loader: Loader) -> None:
    """Nesting is bounded before anything recurses."""
    deep: list[Any] = []
    for _ in range(40):
        deep = [deep]
    with pytest.raises(InvalidParamsError, match="nested deeper than 32 levels"):
        bind_one(loader, "{type: list}", deep)
    with pytest.raises(InvalidParamsError, match="must be a list"):
        bind_one(loader, "{type: list}", "[" * 100_000)


def test_no_pattern_can_hang(loader: Loader) -> None:
    """A pattern that takes exponential time elsewhere is linear here."""
    with pytest.raises(InvalidParamsError, match="does not match"):
        bind_one(loader, "{type: string, pattern: '(a+)+b'}", "a" * 50_000)
    with pytest.raises(InvalidWorkflowError, match="no regular expression that Barbossa can use"):
        workflow(loader, "p: {type: string, pattern: '(?<=a)b'}")
    with pytest.raises(InvalidWorkflowError, match="no regular expression that Barbossa can use"):
        workflow(loader, "p: {type: string, pattern: '(a{1000}){1000}'}")


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "BASH_ENV", "ENV", "IFS", "GIT_SSH", "PYTHONPATH", "HOME", "_",
                                  "BARBOSSA_X", "NODE_OPTIONS", "https_proxy", "NOTIFY_SOCKET", "LC_ALL"])  # fmt: skip
def test_names_that_steer_programs_are_reserved(loader: Loader, name: str) -> None:
    """No param takes a name under which its value would choose programs, code or trust."""
    assert reserved.reason_reserved(name)
    with pytest.raises(InvalidWorkflowError, match=f"{name!r} cannot be the name of a param"):
        workflow(loader, f"{name}: {{type: string}}")


@pytest.mark.parametrize("name", ["target", "keep_days", "path", "env", "home", "user", "mode", "PGHOST", "RETENTION"])
def test_ordinary_names_are_free(name: str) -> None:
    """Names that people give their params are not caught by a pattern."""
    assert reserved.reason_reserved(name) is None
