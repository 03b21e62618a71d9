"""What happens outside and makes triggers fire: what it is called, and what expressions may see of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from barbossad.model.records import RunRecord
from barbossad.model.schedules import BY_HAND, Fire, FireState, WorkflowTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened, once."""

    key: str
    at_ms: int
    facts: Mapping[str, Any]
    """What ``trigger`` is in the expressions of params."""

    due_ms: int | None = None
    """When the run is due, if not at once."""

    number: int | None = None
    """Of a run's end: the number of its event, up to which all is decided then."""

    mark: str | None = None
    """Of a boot: its id."""

    @property
    def is_recorded(self) -> bool:
        """Whether a later daemon finds by itself that it happened."""
        return self.number is not None or self.mark is not None


def of_run(run: RunRecord, number: int) -> Happening:
    """Return the end of a run."""
    facts = {"run": run.id, "workflow": run.workflow, "state": run.state.value, "outputs": dict(run.outputs or {})}
    return Happening(key=run.id, at_ms=run.finished_at_ms or run.created_at_ms, facts=facts, number=number)


def concerns(trigger: WorkflowTrigger, run: RunRecord) -> bool:
    """Say whether a trigger fires when this run has ended."""
    return run.workflow == trigger.name and run.state in trigger.states


def of_boot(boot_id: str, booted_at_ms: int, delay_seconds: float) -> Happening:
    """Return a boot of the host."""
    due_ms = booted_at_ms + round(delay_seconds * 1000)
    return Happening(key=boot_id, at_ms=booted_at_ms, due_ms=due_ms, facts={"boot_id": boot_id}, mark=boot_id)


def of_file(path: str, change: str, at_ms: int, settled_ms: int) -> Happening:
    """Return a change of a file, of which it was known at ``settled_ms`` that no more of it would come."""
    facts = {"path": path, "change": change}
    return Happening(key=f"{at_ms}:{change}:{path}", at_ms=at_ms, due_ms=settled_ms, facts=facts)


def of_unit(unit: str, state: str, before: str, at_ms: int) -> Happening:
    """Return a change of a unit of systemd."""
    facts = {"unit": unit, "state": state, "before": before}
    return Happening(key=f"{at_ms}:{unit}:{state}", at_ms=at_ms, facts=facts)


def of_person(by: str, at_ms: int) -> Happening:
    """Return that somebody wants a fire now."""
    return Happening(key=f"{BY_HAND}{at_ms}", at_ms=at_ms, facts={"by": by})


def fire(schedule: str, happening: Happening, params: Mapping[str, Any] | None, now_ms: int) -> Fire:
    """Return the fire that comes of it, not yet decided: as if it had begun."""
    return Fire(
        schedule=schedule,
        key=happening.key,
        nominal_ms=happening.at_ms,
        due_ms=happening.due_ms if happening.due_ms is not None else happening.at_ms,
        decided_at_ms=now_ms,
        state=FireState.STARTED,
        params=params,
    )
