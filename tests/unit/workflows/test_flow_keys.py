from __future__ import annotations

from dataclasses import replace

import pytest

from barbossad.model.definition import TaskDefinition
from barbossad.model.flow import ONCE, Backoff, Concurrency, Policy, Repeat, Retry, RetryCause, Trigger
from barbossad.workflows.loader import Loader


def task(loader: Loader, keys: str, head: str = "") -> TaskDefinition:
    """Return a task with more keys."""
    return loader.load(f"name: a\n{head}\ntasks: [{{id: t, shell: make, {keys}}}]").tasks[0]


def test_what_is_not_said_is_as_before(loader: Loader) -> None:
    """A task without any of these keys runs once, after its dependencies succeeded."""
    found = task(loader, "")
    assert (found.trigger, found.when, found.retry, found.repeat) == (Trigger.ALL_SUCCESS, None, ONCE, None)
    assert (found.for_each, found.expect, found.creates, found.unless, found.locks) == (None, None, (), None, ())
    assert (found.continue_on_error, found.priority, found.warn_after_seconds) == (False, 0, None)
    assert (found.is_json_output, found.keeps_stdout) == (False, False)


@pytest.mark.parametrize(
    ("defaults", "own", "retry"),
    [
        ("", "retry: 3", Retry(attempts=3)),
        ("defaults: {retry: 4}", "", Retry(attempts=4)),
        ("defaults: {retry: 4}", "retry: 1", Retry(attempts=1)),
        (
            "defaults: {retry: {attempts: 5, delay: 1m, backoff: linear}}",
            "retry: {delay: 10s, on: interrupted, exit_codes: 75}",
            Retry(
                attempts=5,
                delay_seconds=10,
                backoff=Backoff.LINEAR,
                on=frozenset({RetryCause.INTERRUPTED}),
                exit_codes=frozenset({75}),
            ),
        ),
        (
            "",
            "retry: {attempts: 2, backoff: exponential, max_delay: 1m, jitter: 0.5, max_elapsed: 1h, exit_codes: [1]}",
            Retry(
                attempts=2,
                backoff=Backoff.EXPONENTIAL,
                max_delay_seconds=60,
                jitter=0.5,
                max_elapsed_seconds=3600,
                exit_codes=frozenset({1}),
            ),
        ),
    ],
)
def test_retries_are_merged_key_by_key(loader: Loader, defaults: str, own: str, retry: Retry) -> None:
    """What a task does not say of its attempts, the defaults say; a number alone is how many there are."""
    assert task(loader, own, defaults).retry == retry


def test_repetitions(loader: Loader) -> None:
    """Until something holds, or while it does."""
    until = task(loader, "repeat: {until: '{{ tasks.t.exit_code == 0 }}', max: 5, interval: 10s}")
    assert until.repeat == Repeat(until="{{ tasks.t.exit_code == 0 }}", max_times=5, interval_seconds=10)
    assert task(loader, "repeat: {while: true}").repeat == Repeat(while_="{{ true }}")


def test_conditions_may_be_true_and_false(loader: Loader) -> None:
    """They become expressions, so that all are evaluated alike."""
    found = task(loader, "when: false, expect: '{{ tasks.t.exit_code }}'")
    assert (found.when, found.expect) == ("{{ false }}", "{{ tasks.t.exit_code }}")


def test_what_is_done_already(loader: Loader) -> None:
    """One path or several, and a script."""
    found = task(loader, "creates: /a, unless: 'test -e \"$x\"'")
    assert (found.creates, found.unless) == (("/a",), 'test -e "$x"')
    assert task(loader, "creates: [/a, '{{ run.id }}/b']").creates == ("/a", "{{ run.id }}/b")


def test_who_goes_first_and_who_beside_whom(loader: Loader) -> None:
    """Locks, priority, and the number of runs; a task's priority is the workflow's unless it has its own."""
    head = "concurrency: {limit: 2, policy: replace, group: shop}\nlock: w\npriority: -5\nwarn_after: 1h"
    definition = loader.load(
        f"name: a\n{head}\ntasks: [{{shell: a, lock: [x, y], priority: 7, warn_after: 90}}, {{shell: b, lock: x}}]"
    )
    assert definition.concurrency == Concurrency(limit=2, policy=Policy.REPLACE, group="shop")
    assert (definition.locks, definition.priority, definition.warn_after_seconds) == (("w",), -5, 3600)
    first, second = definition.tasks
    assert (first.locks, first.priority, first.warn_after_seconds) == (("x", "y"), 7, 90)
    assert (second.locks, second.priority) == (("x",), -5)


def test_a_groups_priority_is_its_members_too(loader: Loader) -> None:
    """The innermost one counts."""
    inner = "{priority: 3, parallel: [{shell: a}, {shell: b, priority: 4}]}"
    text = f"name: a\npriority: 1\ntasks: [{{priority: 2, parallel: [{{shell: a}}, {inner}]}}, {{shell: z}}]"
    assert [task.priority for task in loader.load(text).tasks] == [2, 2, 3, 3, 4, 1]


def test_the_group_of_runs_is_the_workflow_unless_it_is_named(loader: Loader) -> None:
    """Runs queue by default."""
    definition = loader.load("name: a\nconcurrency: {limit: 1}\ntasks: [{shell: make}]")
    assert definition.concurrency == Concurrency(limit=1, policy=Policy.QUEUE, group="a")


def test_trigger_and_failure(loader: Loader) -> None:
    """When it runs, and what its failure means."""
    found = task(loader, "trigger: all_done, continue_on_error: true")
    assert (found.trigger, found.continue_on_error) == (Trigger.ALL_DONE, True)


def test_json_output_keeps_stdout(loader: Loader) -> None:
    """What is parsed must be kept."""
    found = task(loader, "output: json")
    assert (found.is_json_output, found.keeps_stdout) == (True, True)


def test_json_output_is_for_programs_of_ones_own(loader: Loader) -> None:
    """A type whose program is no worker prints what its author says."""
    shell = loader._task_types["shell"]
    mine = Loader({"mine": replace(shell, name="mine")})
    assert mine.load("name: a\ntasks: [{mine: make, output: json}]").tasks[0].is_json_output
    assert len(loader.check("name: a\ntasks: [{wait: 1s, output: json}]")) == 1


def test_outputs_of_a_workflow_see_all_tasks(loader: Loader) -> None:
    """Their expressions are kept for the end of the run."""
    text = 'name: a\noutputs: {x: "{{ tasks.t.outputs.x }}", y: [1]}\ntasks: [{id: t, shell: make}]'
    assert loader.load(text).outputs == {"x": "{{ tasks.t.outputs.x }}", "y": [1]}
