"""Resolve what tasks say that they wait for; refuse what cannot be waited for, and circles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from barbossad.document import Document, Path
from barbossad.errors import Fault
from barbossad.model.flow import Section
from barbossad.validation import LITERAL_HINT, RefusalError, proposal, shown
from barbossad.workflows import graph
from barbossad.workflows.entries import Entry
from barbossad.workflows.lookup import Lookup
from barbossad.workflows.order import Order, order_of
from barbossad.workflows.source import MAX_FAULTS


def resolve(lookup: Lookup, document: Document, faults: list[Fault]) -> Order:
    """Return who waits for whom; add to ``faults`` what is wrong with that."""
    resolver = _Resolver(lookup, document, faults)
    dependencies = [resolver.dependencies(position) for position in range(len(lookup.entries))]
    order = order_of(lookup.entries, dependencies)
    resolver.refuse_circles(order)
    resolver.refuse_held_places(order)
    return order


@dataclass(slots=True)
class _Resolver:
    lookup: Lookup
    document: Document
    faults: list[Fault]

    def dependencies(self, position: int) -> list[int]:
        """Return the positions that a task waits for."""
        task = self.lookup.entries[position]
        if task.depends_on is None:
            return [] if task.previous is None else [task.previous]
        homes = list(self.lookup.homes(position))
        found: dict[int, None] = {}
        for index, name in enumerate(task.depends_on):
            path = (
                (*task.path, "depends_on", index)
                if isinstance(task.raw["depends_on"], list)
                else (*task.path, "depends_on")
            )
            try:
                keys = name.split(".")
                named = self.lookup.find(keys, homes)
                other = named[0] if named and named[1] == len(keys) else self.lookup.by_id(name)
                if other is None:
                    self._refuse_unknown(position, name, path)
                    continue
                self._check(position, other)
                found[other] = None
            except RefusalError as error:
                self.faults.append(self.document.fault(path, str(error), error.hint))
        return list(found)

    def _inner(self, position: int, name: str) -> str:
        """Return the whole id of the one member of a group that has this name, or of the loop that it is in."""
        entries = self.lookup.entries
        section = entries[position].place.section
        found = [
            other
            for other, entry in enumerate(entries)
            if entry.name == name and entry.place.section is section and entry.place.parent is not None
        ]
        if len(found) != 1:
            return ""
        loop = self.lookup.is_cut_off(position, found[0])
        return entries[found[0] if loop is None else loop].id

    def _refuse_unknown(self, position: int, name: str, path: Path) -> None:
        hint = LITERAL_HINT if "{{" in name else ""
        if not hint and len(self.faults) < MAX_FAULTS:
            own = self.lookup.entries[position].name
            inner = self._inner(position, name)
            names = self.lookup.names(list(self.lookup.homes(position)))
            known = [other for other in dict.fromkeys(names) if other != own]
            hint = f"did you mean {inner!r}?" if inner else proposal(name, known, noun="other tasks")
        self.faults.append(self.document.fault(path, f"there is no task {shown(name)}", hint))

    def _check(self, position: int, other: int) -> None:
        """Refuse a task that cannot be waited for from where another stands. Raise RefusalError."""
        entries, lookup = self.lookup.entries, self.lookup
        task, waited_for = entries[position], entries[other]
        if other == position:
            raise RefusalError(
                f"task {task.id!r} waits for itself and could never start", "remove its own name from depends_on"
            )
        if lookup.is_within(position, other):
            raise RefusalError(
                f"task {task.id!r} is part of {waited_for.id!r}, which ends after it",
                "remove it from depends_on; what must come before belongs before the group, or beside this task",
            )
        if lookup.is_within(other, position):
            raise RefusalError(
                f"task {waited_for.id!r} is part of {task.id!r}, which starts before it",
                "remove it from depends_on; a group waits for its own tasks anyway",
            )
        _check_section(task, waited_for)
        loop = lookup.is_cut_off(position, other)
        if loop is not None:
            raise RefusalError(
                f"task {waited_for.id!r} runs once for each item of {entries[loop].id!r}",
                f"wait for all of them: depends_on: [{entries[loop].id}]",
            )
        condition = lookup.branches_off(position, other)
        if condition is not None:
            name = entries[condition].id
            raise RefusalError(
                f"task {waited_for.id!r} stands in the other branch of {name!r}, of which one alone runs",
                f"wait for it after the condition: there, depends_on: [{name}]",
            )

    def refuse_circles(self, order: Order) -> None:
        """Refuse tasks that wait for each other."""
        for nodes in graph.cycles(order.edges):
            edges = list(zip(nodes, nodes[1:] + nodes[:1], strict=True))
            is_in_group = any(order.is_within_group(node, following) for node, following in edges)
            circle = list(dict.fromkeys(order.task(node) for node in nodes))
            self._refuse_circle(circle, is_in_group=is_in_group)

    def _refuse_circle(self, circle: Sequence[int], *, is_in_group: bool) -> None:
        first = circle.index(min(circle))
        ordered = [self.lookup.entries[position] for position in (*circle[first:], *circle[:first])]
        ids = [task.id for task in ordered]
        names = " -> ".join(ids if len(ids) <= 12 else [*ids[:6], "…", *ids[-5:]])
        implied = next((task for task in ordered if task.depends_on is None and task.previous is not None), None)
        hint = "each waits for the next and none can start; remove one of these depends_on"
        if is_in_group:
            hint = "a group starts before its tasks and ends after them; remove one of these depends_on"
        elif implied is not None:
            hint = f"{implied.id} has no depends_on, so it waits for the task before it; say there what it needs"
        place = next(task for task in ordered if task.depends_on)
        self.faults.append(
            self.document.fault((*place.path, "depends_on"), f"tasks wait for each other: {names} -> {ids[0]}", hint)
        )

    def refuse_held_places(self, order: Order) -> None:
        """Refuse a task that waits, inside a member of a group with ``max_parallel``, for another member of it.

        Its own member would hold a place meanwhile, for which the other may wait: for ever, if there is no other place.
        """
        for position, dependencies in enumerate(order.dependencies):
            for other in dependencies:
                for group, holder, waiter in self._members_around(position, other):
                    if not order.is_before(waiter, holder):
                        self._refuse_held_place(position, group, holder, waiter)

    def _members_around(self, position: int, other: int) -> Iterator[tuple[int, int, int]]:
        """Yield each group with too few places that both stand in, the first deeper, and the member that each is in."""
        lookup, holder = self.lookup, position
        for group in lookup.ancestors(position):
            if lookup.is_within(other, group):
                waiter = next((step for step in lookup.ancestors(other) if self._parent(step) == group), other)
                limit = lookup.entries[group].shape.max_parallel
                if limit is not None and holder not in (position, waiter) and limit < self._member_count(group):
                    yield group, holder, waiter
            holder = group

    def _parent(self, position: int) -> int | None:
        return self.lookup.entries[position].place.parent

    def _member_count(self, group: int) -> int:
        inside = range(group + 1, group + self.lookup.entries[group].size)
        return sum(1 for position in inside if self._parent(position) == group)

    def _refuse_held_place(self, position: int, group: int, holder: int, waiter: int) -> None:
        entries = self.lookup.entries
        self.faults.append(
            self.document.fault(
                (*entries[position].path, "depends_on"),
                f"{entries[holder].id!r} holds one of the places of {entries[group].id!r} (max_parallel) while this "
                f"task in it waits for {entries[waiter].id!r}, which may never get one",
                f"have {entries[holder].id!r} itself wait: depends_on: [{entries[waiter].name}]",
            )
        )


def _check_section(task: Entry, waited_for: Entry) -> None:
    own, others = task.place, waited_for.place
    if (own.section, own.rolls_back) == (others.section, others.rolls_back):
        return
    if own.section is Section.MAIN:
        raise RefusalError(
            f"task {waited_for.id!r} runs after the run's end, and this one before", "remove it from depends_on"
        )
    if others.section is Section.MAIN:
        raise RefusalError(
            f"task {waited_for.id!r} has ended by then: {own.section.value} follows the run",
            "remove it from depends_on",
        )
    raise RefusalError(
        f"task {waited_for.id!r} stands in another list; here a task waits for those of its own list alone",
        "remove it from depends_on",
    )
