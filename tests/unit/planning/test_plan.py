"""What a run would do: in which order, with what, and what of it cannot be told yet."""

from __future__ import annotations

from typing import Any

import pytest

from barbossad.config import Tasks
from barbossad.model.definition import ParamDefinition, TaskDefinition, WorkflowDefinition
from barbossad.model.flow import Branch, CallRequest, Loop, Repeat, Section, TaskKind, Trigger
from barbossad.model.isolation import Isolation, RunAs, Sandbox
from barbossad.model.names import SecretName, WorkflowName
from barbossad.planning import plan as plans
from barbossad.planning import words
from barbossad.planning.comparing import HIDDEN
from barbossad.planning.plan import MOST_ITEMS, Plan, PlannedTask
from barbossad.planning.values import Surroundings
from barbossad.planning.verdicts import Verdict
from barbossad.tasks import _registry as tasks
from barbossad.workflows.contract import Unrendered
from tests.helpers.flows import group, task, workflow

TYPES = tasks.discover().types
SURROUNDINGS = Surroundings(task_types=TYPES, settings=Tasks(), host_name="here", has_default_profile=False)


def shell(task_id: str, *argv: str, after: tuple[str, ...] = (), **more: Any) -> TaskDefinition:
    return task(task_id, *after, params=Unrendered({"argv": list(argv) or ["true"]}), **more)


def plan(definition: WorkflowDefinition, **params: Any) -> Plan:
    return plans.make(definition, params, SURROUNDINGS)


def verdicts(definition: WorkflowDefinition, **params: Any) -> dict[str, str]:
    return {planned.id: planned.verdict.value for planned in plan(definition, **params).tasks}


def one(definition: WorkflowDefinition, task_id: str, **params: Any) -> PlannedTask:
    return next(planned for planned in plan(definition, **params).tasks if planned.id == task_id)


# -- order -----------------------------------------------------------------------------------------------------


def test_what_waits_comes_after_what_it_waits_for() -> None:
    """Tasks stand in the order of their start, groups directly before their members, rollback and hooks at the end."""
    definition = workflow(
        shell("last", after=("g",)),
        group(shell("g", kind=TaskKind.GROUP), shell("g.b", after=("g.a",)), shell("g.a", after=("first",))),
        shell("first"),
        shell("on_exit.tell", section=Section.ON_EXIT),
        shell("rollback.first", section=Section.ROLLBACK, rolls_back=3),
        shell("rollback.last", section=Section.ROLLBACK, rolls_back=0),
    )
    assert [(planned.id, planned.depth) for planned in plan(definition).tasks] == [
        ("first", 0),
        ("g", 0),
        ("g.a", 1),
        ("g.b", 1),
        ("last", 0),
        ("rollback.last", 0),
        ("rollback.first", 0),
        ("on_exit.tell", 0),
    ]


def rollback(task_id: str, *after: str, of: int, **more: Any) -> TaskDefinition:
    return shell(f"rollback.{task_id}", after=after, section=Section.ROLLBACK, rolls_back=of, **more)


def test_rollbacks_go_from_the_last_task_to_the_first_and_each_in_its_own_order() -> None:
    """Of several tasks that take back one the order is that of their list; of several taken back the last is first."""
    definition = workflow(
        shell("last", after=("g",)),
        group(shell("g", kind=TaskKind.GROUP, after=("first",)), shell("g.b", after=("g.a",)), shell("g.a")),
        shell("first"),
        rollback("last.x", of=0),
        rollback("last.y", "rollback.last.x", of=0),
        rollback("g.b", of=2),
        rollback("g.a.z", "rollback.g.a.y", of=3),
        rollback("g.a.y", of=3),
        rollback("first.x", of=4),
    )
    assert [planned.id for planned in plan(definition).tasks][5:] == [
        "rollback.last.x",
        "rollback.last.y",
        "rollback.g.b",
        "rollback.g.a.y",
        "rollback.g.a.z",
        "rollback.first.x",
    ]


# -- whether it runs -------------------------------------------------------------------------------------------


def test_a_when_that_can_be_decided_is() -> None:
    """A when over params alone skips its task, and those that need its success, with the reason."""
    definition = workflow(
        shell("a", when="{{ params.n > 3 }}"),
        shell("b", after=("a",)),
        shell("c", after=("b",)),
        shell("d", after=("a",), trigger=Trigger.NONE_FAILED),
    )
    assert verdicts(definition, n=1) == {"a": "skip", "b": "skip", "c": "skip", "d": "run"}
    assert verdicts(definition, n=4) == dict.fromkeys("abcd", "run")
    assert one(definition, "a", n=1).why == ("its when does not hold: {{ params.n > 3 }}",)
    assert one(definition, "c", n=1).why == ("b is skipped",)


@pytest.mark.parametrize("value", [False, "false", "no", "", 0, None, [], "False"])
def test_what_means_no(value: object) -> None:
    """A when is a yes or no, also where a param gives it as text."""
    definition = workflow(shell("a", when="{{ params.value }}"))
    assert verdicts(definition, value=value) == {"a": "skip"}


def test_a_when_over_a_task_is_told_as_written() -> None:
    """What hangs on a task that has not run says on which, and so do the tasks after it."""
    definition = workflow(
        shell("a"), shell("b", after=("a",), when="{{ tasks.a.outputs.size > 0 }}"), shell("c", after=("b",))
    )
    assert verdicts(definition) == {"a": "run", "b": "maybe", "c": "maybe"}
    assert one(definition, "b").why == ("when {{ tasks.a.outputs.size > 0 }} (known when a has ended)",)
    assert one(definition, "c").why == ("if b ran",)


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (Trigger.ALL_SUCCESS, "skip"),
        (Trigger.ALL_DONE, "run"),
        (Trigger.ALWAYS, "run"),
        (Trigger.NONE_FAILED, "run"),
        (Trigger.ONE_SUCCESS, "run"),
        (Trigger.ONE_FAILED, "maybe"),
    ],
)
def test_triggers_after_a_skipped_and_a_sure_task(trigger: Trigger, expected: str) -> None:
    """Each trigger says what becomes of a task of whose dependencies one is skipped and one runs."""
    definition = workflow(shell("no", when="no"), shell("yes"), shell("x", after=("no", "yes"), trigger=trigger))
    assert verdicts(definition)["x"] == expected


@pytest.mark.parametrize("trigger", [Trigger.ALL_SUCCESS, Trigger.ONE_SUCCESS, Trigger.ONE_FAILED])
def test_triggers_after_skipped_tasks_alone(trigger: Trigger) -> None:
    """Where all that it waits for is skipped, what needs a success or a failure is too."""
    definition = workflow(shell("a", when="no"), shell("b", when="no"), shell("x", after=("a", "b"), trigger=trigger))
    assert verdicts(definition)["x"] == "skip"


@pytest.mark.parametrize(
    ("trigger", "why"),
    [
        (Trigger.ONE_FAILED, "it depends on no task that could have failed"),
        (Trigger.ONE_SUCCESS, "it depends on no task that could have succeeded"),
    ],
)
def test_what_wants_one_task_to_have_done_so_and_depends_on_none(trigger: Trigger, why: str) -> None:
    """A task that waits for nothing has nothing that could bring about its trigger."""
    found = one(workflow(shell("a", trigger=trigger)), "a")
    assert (found.verdict, found.why) == (Verdict.SKIP, (why,))


def test_what_is_skipped_may_have_been_kept_by_a_failure() -> None:
    """A task that starts after a failure may do so after one that is skipped, if a failure may keep that."""
    definition = workflow(
        shell("a"),
        shell("no", after=("a",), when="no"),
        shell("sure", when="no"),
        shell("x", after=("no",), trigger=Trigger.ONE_FAILED),
        shell("y", after=("sure",), trigger=Trigger.ONE_FAILED),
    )
    assert verdicts(definition) == {"a": "run", "no": "skip", "sure": "skip", "x": "maybe", "y": "skip"}
    assert one(definition, "x").why == ("if no failed",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ 1 / params.n }}", "{{ 1 / params.n }} has no value: division by zero"),
        ("maybe", "it gives the text 'maybe', which is neither true nor false"),
    ],
)
def test_what_decides_and_cannot_be_decided_is_a_problem(text: str, problem: str) -> None:
    """A condition that is known to have no value, or to be no yes or no, fails its task in the run."""
    found = one(workflow(shell("a", when=text)), "a", n=0)
    assert (found.verdict, found.why) == (Verdict.RUN, ())
    assert found.content.problems == (f"its 'when' cannot be decided: {problem}",)
    assert one(condition(text), "c", n=0).content.problems == (f"its 'if' cannot be decided: {problem}",)
    assert one(workflow(shell("a", expect=text)), "a", n=0).content.problems == (
        f"its 'expect' cannot be decided: {problem}",
    )
    again = shell("a", repeat=Repeat(until=text))
    assert one(workflow(again), "a", n=0).content.problems == (f"its 'repeat' cannot be decided: {problem}",)


def test_a_when_over_the_item_that_cannot_be_decided_is_a_problem_of_that_item() -> None:
    """Where ``when`` looks at the item it is decided for each, and so are its problems; else they are the loop's."""
    each = plan(loop((0, 1), when="{{ 1 / item }}"))
    assert [len(planned.content.problems) for planned in each.tasks] == [0, 1, 0]
    whole = plan(loop((0, 1), when="{{ 1 / 0 }}"))
    assert [len(planned.content.problems) for planned in whole.tasks] == [1, 0, 0]


def test_a_condition_is_decided_with_the_variables_of_its_own() -> None:
    """What decides between branches sees the environment of the group, not that of the task in the branch."""
    definition = workflow(
        group(
            shell("c", kind=TaskKind.GROUP, condition="{{ env.MODE == 'x' }}"),
            shell("c.yes", branch=Branch.THEN, env={"MODE": "y"}),
            shell("c.no", branch=Branch.ELSE, env={"MODE": "y"}),
        ),
        env={"MODE": "x"},
    )
    assert verdicts(definition) == {"c": "run", "c.yes": "run", "c.no": "skip"}


def test_a_loop_is_decided_without_the_variables_of_its_items() -> None:
    """The variables of a task that is repeated may look at the item, so its list and ``when`` do not see them."""
    found = one(loop("{{ env.LIST }}", env={"LIST": "x"}), "a")
    assert "has no value" in found.content.problems[0]


def condition(text: str) -> WorkflowDefinition:
    return workflow(
        shell("first"),
        group(
            shell("c", after=("first",), kind=TaskKind.GROUP, condition=text),
            shell("c.yes", branch=Branch.THEN),
            group(shell("c.no", kind=TaskKind.GROUP, branch=Branch.ELSE), shell("c.no.deep")),
        ),
    )


def test_a_condition_takes_one_branch() -> None:
    """A condition that can be decided skips the other branch, however deep; another leaves both open."""
    taken = condition("{{ params.mode == 'full' }}")
    assert verdicts(taken, mode="full") == {
        "first": "run", "c": "run", "c.yes": "run", "c.no": "skip", "c.no.deep": "skip"
    }  # fmt: skip
    assert verdicts(taken, mode="x")["c.yes"] == "skip"
    assert one(taken, "c.yes", mode="x").why == ("the condition does not hold: {{ params.mode == 'full' }}",)
    open_ = condition("{{ tasks.first.exit_code == 0 }}")
    assert verdicts(open_)["c.yes"] == verdicts(open_)["c.no.deep"] == "maybe"
    assert one(open_, "c.no").why == ("unless {{ tasks.first.exit_code == 0 }} (known when first has ended)",)


def test_hooks_hang_on_how_the_run_ends() -> None:
    """Only what comes at the end in any case runs for sure; the rollback of a skipped task is skipped."""
    definition = workflow(
        shell("a"),
        shell("b", when="no"),
        shell("rollback.a", section=Section.ROLLBACK, rolls_back=0),
        shell("rollback.b", section=Section.ROLLBACK, rolls_back=1),
        shell("on_failure.tell", section=Section.ON_FAILURE),
        shell("on_exit.tell", section=Section.ON_EXIT),
    )
    found = verdicts(definition)
    assert (found["rollback.a"], found["rollback.b"]) == ("maybe", "skip")
    assert (found["on_failure.tell"], found["on_exit.tell"]) == ("maybe", "run")
    assert one(definition, "rollback.a").why == ("if the run fails or is cancelled after a succeeded",)
    made = plan(definition)
    assert [made.count(verdict) for verdict in Verdict] == [1, 1, 0]


def test_what_cannot_be_taken_back_keeps_nothing_else_from_it() -> None:
    """In a list that takes one task back each is done whatever became of the others, unless it names a trigger."""
    definition = workflow(
        shell("a"),
        rollback("a.no", of=0, when="no"),
        rollback("a.then", "rollback.a.no", of=0),
        rollback("a.alone", of=0, trigger=Trigger.ONE_FAILED),
        rollback("a.mend", "rollback.a.no", of=0, trigger=Trigger.ONE_FAILED),
        rollback("a.one", "rollback.a.no", of=0, trigger=Trigger.ONE_SUCCESS),
    )
    found = verdicts(definition)
    assert [found[f"rollback.a.{name}"] for name in ("no", "then", "alone", "mend", "one")] == [
        "skip", "maybe", "maybe", "skip", "skip"
    ]  # fmt: skip
    assert words.after(definition.tasks[2]) == "after rollback.a.no has ended, in whatever way"


# -- loops -----------------------------------------------------------------------------------------------------


def loop(items: Any, **more: Any) -> WorkflowDefinition:
    return workflow(shell("a", "ls", "{{ item }}", "{{ loop.index }}", for_each=Loop(items=items), **more))


def test_items_that_are_known_are_planned_one_by_one() -> None:
    """Each item of a list that params give is a line of its own with its values in place."""
    made = plan(loop("{{ params.hosts }}"), hosts=["x", "y"])
    assert [planned.id for planned in made.tasks] == ["a", "a[0]", "a[1]"]
    assert [planned.content.command for planned in made.tasks[1:]] == [("ls", "x", "0"), ("ls", "y", "1")]
    assert made.tasks[0].loop is not None
    assert made.tasks[0].loop.total == 2
    assert not made.tasks[0].content.later
    assert made.count(Verdict.RUN) == 1
    written = plan(loop(("x", "{{ params.more }}")), more="z")
    assert [planned.item for planned in written.tasks[1:]] == ["x", "z"]


def test_items_that_a_task_gives_are_not_known() -> None:
    """A list that an earlier task makes is shown as written."""
    definition = workflow(
        shell("find"),
        shell("each", "rm", "{{ item }}", after=("find",), for_each=Loop(items="{{ tasks.find.stdout }}")),
    )
    made = plan(definition)
    assert [planned.id for planned in made.tasks] == ["find", "each"]
    assert made.tasks[1].loop is not None
    assert made.tasks[1].loop.total is None
    assert made.tasks[1].content.later == {"params.argv[1]": ("its items are known",)}


def test_items_are_skipped_one_by_one() -> None:
    """A when over the item decides for each."""
    found = verdicts(loop("{{ params.hosts }}", when="{{ item != 'x' }}"), hosts=["x", "y"])
    assert (found["a[0]"], found["a[1]"]) == ("skip", "run")


def test_ten_thousand_items_stay_a_short_plan_with_a_hash_of_all() -> None:
    """Only the first items are planned, and the last one still counts for the hash."""
    items = list(range(10_000))
    made = plan(loop("{{ params.n }}"), n=items)
    assert len(made.tasks) == MOST_ITEMS + 1
    assert made.hash != plan(loop("{{ params.n }}"), n=[*items[:-1], -1]).hash


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{{ 'abc' }}", "it gives text, not a list or a map"),
        ("{{ params.n }}", "it gives nothing, not a list or a map"),
        ("{{ 5 }}", "it gives a number, not a list or a map"),
        ("{{ params.many + [1] }}", "it gives 10001 items, more than 10000"),
        ("{{ 1 / 0 }}", "{{ 1 / 0 }} has no value: division by zero"),
    ],
)
def test_what_cannot_be_looped_over_is_a_problem(written: str, problem: str) -> None:
    """A list that is known to be none, or too long a one, is a problem, and in the words of the run."""
    found = one(loop(written), "a", n=None, many=[0] * 10_000)
    assert found.content.problems == (f"its 'for_each' cannot be used: {problem}",)
    assert found.loop is not None
    assert found.loop.total is None


def nested(outer: str) -> WorkflowDefinition:
    """Return a workflow of a task, and of a group with a loop of ``n`` items that is done for each of another list."""
    each = shell("g", kind=TaskKind.GROUP, for_each=Loop(items=outer))
    return workflow(shell("find"), group(each, shell("g.a", for_each=Loop(items="{{ range(params.n) }}"))))


@pytest.mark.parametrize(("n", "total"), [(198, None), (199, 20_100), (8_000, 800_200)])
def test_loops_that_are_too_much_together_are_a_problem(n: int, total: int | None) -> None:
    """What a run would have no room for is told beforehand, in its words, by the loop with which it is too much."""
    told = f"its 'for_each' cannot be used: the loops of the run would come to {total} tasks, more than 20000: "
    told += "shorten their lists, or have each item call a workflow that does the rest"
    made = plan(nested("{{ range(100) }}"), n=n)
    found = {planned.id: planned.content.problems for planned in made.tasks if planned.content.problems}
    assert found == ({} if total is None else {"g.a": (told,)})


def test_loops_are_not_too_much_as_long_as_one_is_not_known() -> None:
    """How often a loop is done may only be known when the run has come so far: it may be never."""
    assert not any(one.content.problems for one in plan(nested("{{ tasks.find.outputs.x }}"), n=10_000).tasks)


@pytest.mark.parametrize(("written", "total"), [("{{ range(10000) }}", 10_000), ("{{ params.n }}", 2)])
def test_what_can_be_looped_over(written: str, total: int) -> None:
    """A range is a list, and of a map that an expression gives each item has a key and a value."""
    made = plan(loop(written), n={"x": 1, "y": 2})
    assert made.tasks[0].loop is not None
    assert made.tasks[0].loop.total == total
    assert made.tasks[0].content.problems == ()
    assert made.tasks[2].item in (1, {"key": "y", "value": 2})


def test_what_a_skipped_loop_would_go_over_does_not_matter() -> None:
    """A list is looked at after ``when``, so what is skipped has no list that cannot be used."""
    assert one(loop("{{ 5 }}", when="no"), "a").content.problems == ()


def test_what_items_fail_of_is_theirs() -> None:
    """What a loop would give its items is a problem of those that are done: of none where the list is empty."""
    definition = workflow(shell("a", "{{ 1 / 0 }}", for_each=Loop(items="{{ params.n }}"), when="{{ item }}"))
    assert [len(planned.content.problems) for planned in plan(definition, n=[True, False]).tasks] == [0, 1, 0]
    assert [len(planned.content.problems) for planned in plan(definition, n=[]).tasks] == [0]


def test_members_of_a_group_are_not_begun_for_no_items() -> None:
    """Of a group that is repeated for an empty list no member ever begins."""
    definition = workflow(
        group(
            shell("g", kind=TaskKind.GROUP, for_each=Loop(items="{{ params.n }}")),
            group(shell("g.inner", kind=TaskKind.GROUP), shell("g.inner.a")),
        )
    )
    assert verdicts(definition, n=[]) == {"g": "run", "g.inner": "skip", "g.inner.a": "skip"}
    assert one(definition, "g.inner", n=[]).why == ("the list of g is empty",)
    assert verdicts(definition, n=[1]) == dict.fromkeys(["g", "g.inner", "g.inner.a"], "run")


def test_a_condition_is_asked_of_each_item() -> None:
    """A group that is repeated for no items decides nothing, and fails of no condition that cannot be decided."""
    decides = shell("c", kind=TaskKind.GROUP, condition="{{ 1 / 0 }}", for_each=Loop(items="{{ params.n }}"))
    definition = workflow(group(decides, shell("c.yes", branch=Branch.THEN)))
    assert one(definition, "c", n=[]).content.problems == ()
    assert len(one(definition, "c", n=[1]).content.problems) == 1


def test_an_empty_list_is_told() -> None:
    """A loop over nothing runs, and does nothing."""
    assert one(loop("{{ params.n }}"), "a", n=[]).why == ("its list is empty",)


# -- with what -------------------------------------------------------------------------------------------------


def test_values_are_rendered_as_far_as_they_are_known() -> None:
    """What params, the workflow and the host give is in place; what a task will give stands as written, and why."""
    argv = ("cp", "{{ params.target }}/x", "{{ tasks.a.outputs.path }}", "{{ host.name }}", "{{ run.id }}")
    definition = workflow(shell("a"), shell("b", *argv, after=("a",), working_dir="/srv/{{ params.target }}"))
    content = one(definition, "b", target="t").content
    assert content.params == {"argv": ["cp", "t/x", "{{ tasks.a.outputs.path }}", "here", "{{ run.id }}"]}
    assert content.command is None
    assert content.later == {"params.argv[2]": ("a has ended",), "params.argv[4]": ("the run has started",)}
    assert content.working_dir == "/srv/t"


def test_the_environment_is_the_tasks_own() -> None:
    """A task shows its own variables, which see those of the workflow; one that is not known makes others unknown."""
    definition = workflow(
        shell("a", "x", "{{ env.B }}", env={"A": "{{ env.ALL }}{{ params.n }}", "B": "{{ run.id }}"}),
        env={"ALL": "{{ env.HOME }}"},
    )
    made = plan(definition, n=1)
    home = made.env["ALL"]
    assert home.startswith("/")
    assert made.tasks[0].content.env == {"A": f"{home}1", "B": "{{ run.id }}"}
    assert made.tasks[0].content.later == {
        "env.B": ("the run has started",),
        "params.argv[1]": ("the run has started",),
    }


def test_secrets_are_names_alone() -> None:
    """No value of a secret is in a plan: of a task's only names, of a secret param nothing, directly or by env."""
    definition = workflow(
        shell(
            "a", "x", "{{ params.key }}", "{{ env.key }}", "{{ secrets.db }}", "{{ params.key | length }}",
            secrets={"PGPASSWORD": SecretName("db")}, when="{{ params.key == 'hunter2' }}",
        ),
        params=(ParamDefinition(name="key", type="secret"),),
    )  # fmt: skip
    made = plan(definition, key="hunter2")
    assert "hunter2" not in repr(made).replace(repr(definition), "").replace(definition.tasks[0].when or "", "")
    assert made.params == {"key": HIDDEN}
    assert made.tasks[0].content.secrets == {"PGPASSWORD": "db"}
    assert made.tasks[0].verdict is Verdict.MAYBE
    assert len(made.tasks[0].content.later) == 4


def test_what_has_no_value_is_a_problem() -> None:
    """An expression that will fail, a folder that is none and a user that is not there are told beforehand."""
    isolation = Isolation(run_as=RunAs(user="nobody-of-that-name"), sandbox=Sandbox(writable=("{{ params.n }}",)))
    definition = workflow(shell("a", "{{ 1 / params.n }}", working_dir="{{ params.n }}", isolation=isolation))
    problems = one(definition, "a", n=0).content.problems
    assert len(problems) == 4
    assert any("division by zero" in problem for problem in problems)
    assert any("no such user" in problem for problem in problems)
    assert any("'working_dir' must be an absolute path" in problem for problem in problems)
    assert any("'writable'" in problem for problem in problems)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (5, "'creates' must be an absolute path, not '5'"),
        ("made", "'creates' must be an absolute path, not 'made'"),
        (None, "'creates' must be an absolute path, not ''"),
        ("/x\0", "a path of 'creates' holds a NUL character, which no program can be given"),
    ],
)
def test_what_creates_names_and_is_no_path_is_a_problem(value: object, problem: str) -> None:
    """A path of ``creates`` that the run will refuse is told, and not that the task would be skipped where it is."""
    found = one(workflow(shell("a", creates=("{{ params.n }}", "/x"))), "a", n=value)
    assert (found.content.problems, found.why) == ((problem,), ())


def test_what_creates_names_is_told_as_the_run_will_see_it() -> None:
    """Paths of ``creates`` are in place as far as they are known; others stand as written."""
    definition = workflow(shell("a"), shell("b", after=("a",), creates=("/x/{{ params.n }}", "{{ tasks.a.stdout }}")))
    found = one(definition, "b", n=1.0)
    assert found.content.creates == ("/x/1", "{{ tasks.a.stdout }}")
    assert found.content.later == {"creates[1]": ("a has ended",)}
    assert found.why == ("skipped where /x/1 and {{ tasks.a.stdout }} are there already",)
    assert not found.content.problems


def test_what_is_skipped_has_no_problems() -> None:
    """What a task would fail of does not matter where it is skipped."""
    assert one(workflow(shell("a", "{{ 1 / params.n }}", when="no")), "a", n=0).content.problems == ()
    each = workflow(shell("a", "{{ 1 / item }}", for_each=Loop(items=(0, 1)), when="{{ item > 0 }}"))
    assert [planned.content.problems for planned in plan(each).tasks] == [(), (), ()]


def test_params_that_a_type_refuses_are_a_problem() -> None:
    """What an expression gives is held against the type's own rules."""
    definition = workflow(task("a", type="wait", params=Unrendered({"duration": "{{ params.long }}"})))
    assert one(definition, "a", long="soon").content.problems
    assert one(definition, "a", long="5s").content.problems == ()


def test_params_of_what_no_process_does_are_checked_too() -> None:
    """An approval or a call is held against its type's rules like a program."""
    asks = task("a", type="approval", kind=TaskKind.APPROVAL, params=Unrendered({"message": "{{ params.n }}"}))
    assert one(workflow(asks), "a", n=3).content.problems
    assert one(workflow(asks), "a", n="go?").content.problems == ()
    calls = task("a", type="workflow", kind=TaskKind.CALL, params=Unrendered({"name": "{{ params.n }}"}))
    assert one(workflow(calls), "a", n="No Name").content.problems
    assert one(workflow(calls), "a", n="other").content.problems == ()


def test_a_call_shows_what_it_calls() -> None:
    """A task that runs another workflow shows which, and with what."""
    request = CallRequest(workflow=WorkflowName("other"), params={"n": "{{ params.n }}"})
    content = one(workflow(task("a", type="workflow", kind=TaskKind.CALL, params=request)), "a", n=3).content
    assert content.params == {"workflow": "other", "params": {"n": 3}}
    assert (content.command, content.user, content.working_dir) == (None, None, None)


# -- its hash --------------------------------------------------------------------------------------------------


def test_the_hash_is_that_of_all_that_would_happen() -> None:
    """The same plan has the same hash; another param, host or setting that changes what would happen, another one."""
    definition = workflow(shell("a", "{{ params.n }}", "{{ host.name }}"))
    first = plan(definition, n=1).hash
    assert first == plan(definition, n=1).hash
    assert first != plan(definition, n=2).hash
    elsewhere = Surroundings(task_types=TYPES, settings=Tasks(), host_name="there", has_default_profile=False)
    assert first != plans.make(definition, {"n": 1}, elsewhere).hash
    unlike = Surroundings(
        task_types=TYPES, settings=Tasks(environment={"HOME": "/x"}), host_name="here", has_default_profile=False
    )
    assert first != plans.make(definition, {"n": 1}, unlike).hash


def test_all_expressions_of_a_plan_have_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may ask for a plan of any text cannot have the daemon work at it for long; each plan has a bound."""
    monkeypatch.setattr(plans, "MOST_STEPS", 2000)
    text = "{{ range(300) | list | length }}"
    for _ in range(2):
        found = [
            planned.content.problems for planned in plan(workflow(*(shell(f"t{i}", text) for i in range(5)))).tasks
        ]
        assert [bool(problems) for problems in found] == [False, False, False, True, True]
    assert "too much work" in found[3][0]
