"""How much the loops of a run may come to, and what becomes of those that would be more."""

from __future__ import annotations

from typing import Any

import pytest

from barbossad.engine import growth, sizes, transitions
from barbossad.engine.progress import RunProgress
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Loop, Section, TaskKind
from barbossad.model.states import TaskState
from tests.helpers import flows
from tests.helpers.records import NOON_MS, run
from tests.unit.engine.test_items_and_rollbacks import FAILED, Player, as_it_stands

WORDS = "its 'for_each' cannot be used: the loops of the run would come to {} tasks, more than {}: "


def loop(count: int) -> Loop:
    return Loop(items=tuple(range(count)))


def nested(outer: int, inner: int) -> WorkflowDefinition:
    """Return a workflow of one group, done for each of some items, with a loop in it."""
    each = flows.task("g", kind=TaskKind.GROUP, for_each=loop(outer))
    return flows.workflow(flows.group(each, flows.task("g.a", for_each=loop(inner))))


def begun(definition: WorkflowDefinition) -> RunProgress:
    progress = growth.create(definition, run())
    transitions.begin(progress, as_it_stands, NOON_MS)
    return progress


def reason(progress: RunProgress, task_id: str) -> str | None:
    record = progress.cells[progress.index[task_id]].record
    assert record.state is TaskState.FAILED
    return record.reason


def test_an_item_is_all_that_is_made_for_it() -> None:
    """Members count, and what would take them back; what is within another loop counts with the items of that."""
    back = [
        flows.task(f"rollback.{target}.{name}", section=Section.ROLLBACK, rolls_back=position)
        for target, position in (("g.a", 1), ("g.b", 2), ("g.b.in", 3))
        for name in "xy"
    ]
    inner = flows.group(flows.task("g.b", kind=TaskKind.GROUP, for_each=loop(2)), flows.task("g.b.in"))
    outer = flows.group(flows.task("g", kind=TaskKind.GROUP, for_each=loop(2)), flows.task("g.a"), inner)
    definition = flows.workflow(outer, *back)
    assert sizes.of_items(definition, 0, 1) == len(["g", "g.a", "g.b", "a.x", "a.y", "b.x", "b.y"])
    assert sizes.of_items(definition, 2, 10) == 10 * len(["b", "b.in", "b.x", "b.y", "in.x", "in.y"])


def test_a_loop_that_would_be_too_much_fails_and_so_do_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as may be are done; the reason says how many there would be, and what to do instead."""
    monkeypatch.setattr(sizes, "MAX_ITEMS_IN_ALL", 17)
    progress = begun(nested(4, 5))  # 4 items with their loops, and 5 items in each of these
    assert [progress.cells[progress.index[f"g[{n}].a"]].record.state for n in (0, 1)] == ["running", "failed"]
    told = reason(progress, "g[1].a")
    assert told is not None
    assert told.startswith(WORDS.format(18, 17))
    assert told.endswith("shorten their lists, or have each item call a workflow that does the rest")
    assert reason(progress, "g[2].a") == reason(progress, "g[3].a") == told


def test_a_loop_that_just_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run may have it may have to the last."""
    monkeypatch.setattr(sizes, "MAX_ITEMS_IN_ALL", 4 * 2 + 4 * 5)
    progress = begun(nested(4, 5))
    assert sum(cell.is_item for cell in progress.cells) == 4 + 4 * 5
    assert not any(cell.has_failed for cell in progress.cells)


def test_of_many_large_lists_few_are_made() -> None:
    """Each of ten thousand items would have a list of ten thousand: no run grows so large, and no list is in vain."""
    looked_at: list[Any] = []

    def evaluate(progress: RunProgress, index: int | None, value: Any) -> Any:
        looked_at.append(index)
        return value

    progress = growth.create(nested(9_000, 10_000), run())
    transitions.begin(progress, evaluate, NOON_MS)
    assert len(looked_at) == 2
    assert len(progress.cells) <= sizes.MAX_ITEMS_IN_ALL + 1


def test_a_restored_run_has_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound holds for a run, however many daemons it goes through."""
    monkeypatch.setattr(sizes, "MAX_ITEMS_IN_ALL", 17)
    for outer, inner in ((2, 5), (4, 5)):
        progress = begun(nested(outer, inner))
        restored = growth.restore(progress.definition, transitions.progresses.details(progress))
        had, has = progress.looped[Section.MAIN], restored.looped[Section.MAIN]
        assert (has == had) if had <= 17 else (has > 17)


def test_hooks_have_room_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What must come after a main part that is full comes."""
    monkeypatch.setattr(sizes, "MAX_ITEMS_IN_ALL", 3)
    hook = flows.task("on_exit.h", section=Section.ON_EXIT, for_each=loop(3))
    player = Player(flows.workflow(flows.task("a", for_each=loop(3)), hook))
    assert player.play()[3:] == ["on_exit.h[0]", "on_exit.h[1]", "on_exit.h[2]"]


def test_what_takes_items_back_was_counted_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that fails does not grow beyond what it may have been."""
    monkeypatch.setattr(sizes, "MAX_ITEMS_IN_ALL", 6)
    for count, states in ((3, TaskState.SUCCEEDED), (4, TaskState.FAILED)):
        back = flows.task("rollback.a", section=Section.ROLLBACK, rolls_back=0)
        player = Player(flows.workflow(flows.task("a", for_each=loop(count)), flows.task("z", "a"), back))
        player.play(z=FAILED)
        assert player.state("a") is states
