from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from barbossad.tasks import _registry
from barbossad.workflows.loader import Loader

TYPES = _registry.load()


def lines(depth: int, above: list[str], counter: Iterator[int]) -> list[str]:
    """Return random tasks, each waiting only for what stands before it in the file."""
    found: list[str] = []
    names: list[str] = []
    for _ in range(random.randint(1, 4)):
        name = f"t{next(counter)}"
        known = above + names
        waits = f"depends_on: [{', '.join(random.sample(known, k=random.randint(0, min(3, len(known)))))}]"
        said = random.choice(("", waits + ", "))
        if depth < 4 and random.random() < 0.4:
            body = f"parallel: [{', '.join(lines(depth + 1, known, counter))}]"
        elif depth < 4 and random.random() < 0.3:
            then, other = lines(depth + 1, known, counter), lines(depth + 1, known, counter)
            body = f"condition: {{if: true, then: [{', '.join(then)}], else: [{', '.join(other)}]}}"
        else:
            body = "shell: a"
        found.append(f"{{id: {name}, {said}{body}}}")
        names.append(name)
    return found


@pytest.mark.by_chance
def test_what_points_backwards_is_never_a_circle() -> None:
    """Random nested files whose tasks wait only for earlier ones load, and count what they wait for."""
    loader = Loader(TYPES)
    for _ in range(150):
        text = f"name: a\ntasks: [{', '.join(lines(0, [], iter(range(10_000))))}]"
        definition = loader.load(text)
        assert [len(task.depends_on) for task in definition.tasks] == list(definition.dependency_counts)
        assert sum(map(len, definition.dependants)) == sum(definition.dependency_counts)
        for position, task in enumerate(definition.tasks):
            inside = definition.tasks[position + 1 : position + task.size]
            assert all(member.id.startswith(f"{task.id}.") for member in inside)
            assert all(definition.positions[other] < position for other in task.depends_on)
            if task.parent is not None:
                assert task.id == f"{definition.tasks[task.parent].id}.{task.name}"


def test_a_dependency_on_what_comes_later_closes_a_circle() -> None:
    """Wherever the first task of a chain waits for a member of its last, nobody could start."""
    loader = Loader(TYPES)
    for depth in range(1, 8):
        inner = "{id: x, shell: a}"
        for level in range(depth):
            inner = f"{{id: g{level}, parallel: [{inner}]}}"
        full = ".".join([*(f"g{level}" for level in reversed(range(depth))), "x"])
        text = f"name: a\ntasks:\n  - {{id: first, shell: a, depends_on: [{full}]}}\n  - {inner}\n"
        (fault,) = loader.check(text)
        assert fault.message.startswith(f"tasks wait for each other: first -> {full} -> ")
