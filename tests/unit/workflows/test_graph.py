from __future__ import annotations

import random

import pytest

from barbossad.workflows import graph


def is_circle(dependencies: list[list[int]], circle: list[int]) -> bool:
    following = circle[1:] + circle[:1]
    return all(other in dependencies[position] for position, other in zip(circle, following, strict=True))


def groups_in_circles(dependencies: list[list[int]]) -> set[frozenset[int]]:
    """Find, by brute force, the groups of tasks that wait for each other."""
    count = len(dependencies)
    reach = [set(waited_for) for waited_for in dependencies]
    for _ in range(count):
        for position in range(count):
            reach[position] |= {further for other in set(reach[position]) for further in reach[other]}
    return {
        frozenset(other for other in range(count) if other in reach[position] and position in reach[other])
        for position in range(count)
        if position in reach[position]
    }


@pytest.mark.by_chance
def test_circles_are_found_exactly_where_they_are() -> None:
    """In random graphs, what is called a circle is one, none shares a task, and no group of circles is missed."""
    for _ in range(800):
        count = random.randint(1, 9)
        dependencies = [random.sample(range(count), k=random.randint(0, min(2, count))) for _ in range(count)]
        circles = graph.cycles(dependencies)
        groups = groups_in_circles(dependencies)
        assert all(is_circle(dependencies, circle) for circle in circles)
        positions = [position for circle in circles for position in circle]
        assert len(positions) == len(set(positions))
        assert all(any(set(circle) <= group for circle in circles) for group in groups)
        assert (not circles) == (len(graph.in_order(dependencies)) == count)


@pytest.mark.by_chance
def test_order_keeps_every_dependency() -> None:
    """In random graphs without circles, each position comes after those that it waits for."""
    for _ in range(200):
        count = random.randint(1, 30)
        dependencies = [
            random.sample(range(position), k=random.randint(0, min(3, position))) for position in range(count)
        ]
        ordered = graph.in_order(dependencies)
        assert sorted(ordered) == list(range(count))
        place = {position: index for index, position in enumerate(ordered)}
        assert all(place[other] < place[position] for position in ordered for other in dependencies[position])


def test_ancestors_are_all_that_come_before() -> None:
    """The set of each position is the closure of what it waits for."""
    dependencies: list[list[int]] = [[], [0], [0], [1, 2], [], [3, 4]]
    assert graph.ancestors(dependencies) == [0, 0b1, 0b1, 0b111, 0, 0b11111]


def test_dependants_are_the_other_direction() -> None:
    """Who waits for whom can be read from both ends."""
    assert graph.dependants_of([[], [0], [0, 1]]) == [[1, 2], [2], []]


def test_long_chains_are_nothing_special() -> None:
    """A chain or a circle of 100,000 neither recurses nor takes its square."""
    count = 100_000
    chain = [[position - 1] if position else [] for position in range(count)]
    assert len(graph.in_order(chain)) == count
    assert graph.cycles(chain) == []
    circle = [[(position + 1) % count] for position in range(count)]
    assert len(graph.cycles(circle)[0]) == count


def test_many_edges_are_walked_once() -> None:
    """A dense graph with one circle behind it is searched in the time of its edges."""
    count = 1_000
    dependencies = [list(range(max(0, position - 100), position)) for position in range(count)]
    dependencies[0] = [count - 1]
    (circle,) = [graph.cycles(dependencies)[0]]
    assert is_circle(dependencies, circle)
