"""Tasks as a tree, long loops in a few lines, and what a person is told to do."""

from __future__ import annotations

from typing import Any

from barbossactl import asking, report, tree
from barbossactl.pieces import Tails
from barbossactl.records import Run, run_from


def task(name: str, state: str = "succeeded", parent: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "shell", "state": state, "parent": parent, "attempts": [], **more}


def run(*tasks: dict[str, Any], **more: Any) -> Run:
    facts = {"id": "0a1b2c3d4e", "workflow": "w", "version": "v", "state": "running"}
    return run_from({**facts, **more, "tasks": list(tasks)})


def loop(total: int, *states: str) -> Run:
    """Return a run with a loop whose first items are in these states, each with a member."""
    items = []
    for number, state in enumerate(states):
        items += [task(f"each[{number}]", state, "each"), task(f"each[{number}].a", state, f"each[{number}]")]
    counts = {state: states.count(state) for state in sorted(set(states))}
    counts["pending"] = total - len(states)
    return run(task("each", "running", items=total, item_states=counts), *items, task("last", "pending"))


def test_members_stand_beneath_their_groups() -> None:
    """Each task is as deep as the groups that it is in."""
    found = run(task("g"), task("g.h", parent="g"), task("g.h.x", parent="g.h"), task("g.y", parent="g"), task("last"))
    assert [(row.task.id, row.depth) for row in tree.rows(found)] == [
        ("g", 0), ("g.h", 1), ("g.h.x", 2), ("g.y", 1), ("last", 0)
    ]  # fmt: skip


def test_a_loop_of_thousands_takes_a_few_lines() -> None:
    """What failed and what runs is shown, so much of it as fits, and all of it is counted."""
    found = loop(10_000, *["succeeded"] * 9_000, *["failed"] * 50, *["running"] * 4)
    rows = list(tree.rows(found))
    assert len(rows) < 30
    assert rows[0].words == (
        "10000 items: 9000 succeeded, 946 pending, 50 failed, 4 running; the first 8 that failed are shown"
    )
    shown = [row.task.id for row in rows]
    assert {"each[9000]", "each[9000].a", "each[9007]", "each[9050]", "each[9053]", "last"} <= set(shown)
    assert not {"each[0]", "each[0].a", "each[9008]", "each[9008].a"} & set(shown)
    assert len(list(tree.rows(found, is_whole=True))) == 2 + 2 * 9_054
    assert len(tree.hidden_items(found)) == 2 * 9_054


def test_a_short_loop_is_shown_whole() -> None:
    """A few items are shown each, and not counted."""
    rows = list(tree.rows(loop(3, "succeeded", "failed")))
    assert [row.task.id for row in rows] == ["each", "each[0]", "each[0].a", "each[1]", "each[1].a", "last"]
    assert [row.words for row in rows] == [""] * 6


def test_a_failed_group_is_explained_by_its_members() -> None:
    """Of a group and its member that failed the member is told; what may fail explains nothing."""
    found = run(
        task("g", "failed", reason="task g.a failed"),
        task("g.a", "failed", "g", reason="no disk"),
        task("lint", "failed", reason="ugly", may_fail=True),
        state="failed",
        warnings=1,
    )
    assert [one.id for one in found.failed_tasks] == ["g.a"]
    assert next(iter(report.explain(found, Tails()))) == "task g.a failed: no disk"


def test_warnings_and_failures_at_the_end_are_told_of_a_success() -> None:
    """A run that succeeded says how many tasks failed that it allows, and how many after its end."""
    found = run(
        task("lint", "failed", may_fail=True),
        task("on_exit.x", "failed", section="on_exit"),
        state="succeeded",
        warnings=1,
    )
    assert report.summary(found).endswith(
        "succeeded, with 1 failed task that it allows, and 1 failed task after its end"
    )


def test_why_a_run_waits() -> None:
    """A run that waits says so in the daemon's words; at its end it says how it went."""
    assert report.waiting(run(waiting="waiting for 4 of 4 in group backups")) == "waiting for 4 of 4 in group backups"
    failed = run(outcome="failed", reason="task a failed")
    assert report.waiting(failed) == "it failed: task a failed; its rollback and hooks run"
    assert report.waiting(run(outcome="succeeded")) == "it succeeded; its hooks run"
    assert report.waiting(run(outcome="failed", state="failed")) == ""


def test_a_question_comes_with_the_commands_that_answer_it() -> None:
    """Who is asked what until when, which fields there are, and the exact words that answer."""
    asks = {
        "message": "Deploy\x1b[2J?",
        "users": ["anne"],
        "groups": ["dba"],
        "form": [
            {"name": "window", "type": "choice", "choices": ["day", "night"], "required": True, "description": "When"},
            {"name": "minutes", "type": "integer", "required": False, "default": 10},
        ],
    }
    waiting = task("g.ok", "waiting", waits_for="person", asks=asks)
    assert list(asking.lines(run(waiting))) == [
        "task g.ok waits for a person: Deploy\\x1b[2J?",
        "  to be answered by user anne or members of group dba",
        "  -v window=choice, one of day, night: When",
        "  -v minutes=integer, 10 if not given",
        "  yes: barbossactl approve 0a1b2c3d4e g.ok -v window=…",
        "  no:  barbossactl reject 0a1b2c3d4e g.ok",
    ]
    item = task("each[0]", "waiting", waits_for="person", reason="another try?")
    assert "  yes: barbossactl approve 0a1b2c3d4e 'each[0]'" in list(asking.lines(run(item)))


def test_a_paused_run_says_how_it_goes_on() -> None:
    """The command is there to be copied."""
    assert list(asking.lines(run(state="paused"))) == [
        "run 0a1b2c3d4e is paused; go on with it: barbossactl resume 0a1b2c3d4e"
    ]
    assert list(asking.lines(run(task("a")))) == []


def test_what_a_retry_took_over_says_so() -> None:
    """A task that the run before has done is told from one that ran."""
    found = run(task("a", kept=True), task("b", "skipped", kept=True, reason="its when does not hold"))
    assert [report.cause(one) for one in found.tasks] == [
        "in the run before",
        "in the run before; its when does not hold",
    ]
