"""Workflows that name types of tasks that are not there any more."""

from __future__ import annotations

import pytest

from barbossad.errors import InvalidWorkflowError
from barbossad.workflows.loader import Loader

TEXT = """\
name: sizes
params: {folder: {type: path, default: /srv}}
tasks:
  - measure: {folder: "{{ params.folder }}", limit_bytes: 5, nonsense: "{{ what.ever"}
  - {id: pair, parallel: [{measure: /srv, output: json}, {id: good, shell: "true", rollback: {measure: 7}}]}
  - {id: each, for_each: [1, 2], weigh: [a, b], on_interrupt: resume}
  - {id: ask, approval: {message: "{{ tasks.measure-1.outputs.files }}?"}}
on_failure: [{measure: {folder: /tmp}}]
"""


def test_what_has_begun_is_read_with_stand_ins(loader: Loader) -> None:
    """Ids, order and all that belongs to other types are as they were; what stood under the type is not looked at."""
    definition = loader.load_begun(TEXT)
    ids = ["measure-1", "pair", "pair.measure-1", "pair.good", "each", "ask"]
    assert [task.id for task in definition.tasks] == [*ids, "rollback.pair.good", "on_failure.measure-1"]
    types = {task.id: task.type for task in definition.tasks}
    assert (types["measure-1"], types["each"], types["rollback.pair.good"]) == ("measure", "weigh", "measure")
    assert definition.tasks[1].depends_on == ("measure-1",)


def test_what_has_not_begun_is_refused(loader: Loader) -> None:
    """Nothing new is accepted, or started, with a type that nobody knows."""
    with pytest.raises(InvalidWorkflowError, match="unknown key 'measure'"):
        loader.load(TEXT)


def test_what_is_all_there_is_read_as_ever(loader: Loader) -> None:
    """Without such types both ways of reading give the same."""
    text = "name: a\ntasks: [{shell: make}, {python: print(params)}, {wait: 3s}]\n"
    assert loader.load_begun(text) == loader.load(text)


@pytest.mark.parametrize(
    "text",
    [
        "name: a\ntasks: [{id: x}]",
        "name: a\ntasks: [{measure: 1, weigh: 2}]",
        "name: a\ntasks: [{measure: 1, depends_on: [nobody]}]",
        "name: a\ntasks: [{shell: {script: make, nonsense: 1}}]",
        "name: a\nnonsense: 1\ntasks: [{measure: 1}]",
    ],
)
def test_other_faults_are_faults_all_the_same(loader: Loader, text: str) -> None:
    """A stand-in makes up for a missing type and for nothing else."""
    with pytest.raises(InvalidWorkflowError):
        loader.load_begun(text)
