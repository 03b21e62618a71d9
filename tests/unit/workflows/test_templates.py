"""Templates become workflows: other defaults, and everything else as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from barbossad.document import parse
from barbossad.errors import InvalidParamsError, NotFoundError
from barbossad.workflows.templates import Templates

TEXT = """\
# A comment at the head.
name: sample
params:
  flow:  {type: path, default: /srv/a, description: "with: a colon"}   # kept
  bare:  {type: integer}
  block:
    type: string   # so is this
    default: "old"
  late:
    # first words
    type: list
tasks:
  - shell: echo "$flow"   # and this
"""


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    """Return the templates of a folder with one file."""
    (tmp_path / "my-sample.yaml").write_text(TEXT)
    return Templates([tmp_path])


def test_values_become_defaults_and_the_rest_stays(templates: Templates) -> None:
    """Given values are the new defaults, whatever style their param is written in; no other line changes."""
    values = {"flow": "/srv/b: 'x'", "bare": 7, "block": "new\nline", "late": ["a", {"b": None}]}
    text = templates.create_workflow("my_sample", values)
    params = parse(text).value["params"]
    assert {name: params[name]["default"] for name in values} == values
    assert params["flow"]["description"] == "with: a colon"
    for comment in ("# A comment at the head.", "# kept", "# so is this", "# first words", "# and this"):
        assert comment in text
    assert parse(text).faults == []


def test_no_values_leave_the_file_as_it_is(templates: Templates) -> None:
    """A template without values is its own text."""
    assert templates.create_workflow("my-sample", {}) == TEXT


def test_unknown_names_are_refused_with_the_nearest(templates: Templates) -> None:
    """A template or a param that is not there is told with what was probably meant."""
    with pytest.raises(NotFoundError, match="did you mean 'my-sample'"):
        templates.text("my-smaple")
    with pytest.raises(InvalidParamsError, match="did you mean 'flow'"):
        templates.create_workflow("my-sample", {"flwo": 1})


def test_values_that_a_param_may_not_have_are_refused_by_its_name(templates: Templates) -> None:
    """All faults come at once and name the params: who gives values does not see where they would stand."""
    given = {"flow": "srv", "bare": "x", "block": "{{ x }}", "late": object()}
    with pytest.raises(InvalidParamsError) as raised:
        templates.create_workflow("my-sample", given)
    assert [fault.path for fault in raised.value.faults] == [f"params.{name}" for name in given]
    assert [fault.message for fault in raised.value.faults] == [
        "'flow' must be an absolute path, not 'srv'",
        "'bare' must be a whole number, not 'x'",
        "'block' cannot be an expression",
        "'late' must be a list, not something else",
    ]
