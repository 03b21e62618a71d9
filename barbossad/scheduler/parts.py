"""What the scheduler stands on, handed in by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from barbossad.alarm import AlarmClock
from barbossad.clock import Clock
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.model.states import TriggerType
from barbossad.store.change import Change
from barbossad.store.events import EventStore
from barbossad.store.fires import FireStore
from barbossad.store.holds import HoldStore
from barbossad.store.run_details import RunDetails
from barbossad.store.runs import RunStore
from barbossad.store.schedules import ScheduleStore
from barbossad.workflows.registry import Registry


class Runner(Protocol):
    """What starts and cancels runs: the engine."""

    on_end: Callable[[RunRecord], None] | None

    async def start_run(
        self,
        definition: WorkflowDefinition,
        *,
        params: Mapping[str, Any],
        trigger: TriggerType,
        requested_by: str,
        retry_of: RunId | None = None,
        schedule: str | None = None,
        scheduled_for_ms: int | None = None,
        chain: int = 0,
        also: Callable[[RunRecord], Change] | None = None,
    ) -> RunId | RunDetails:
        """Record a run, with a change that is made of it, in one transaction."""

    async def cancel(self, run_id: RunId, reason: str, *, unless_ending: bool = False) -> bool:
        """Cancel a run; with ``unless_ending`` one that tidies up is left to that. Return False if it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the scheduler works with."""

    clock: Clock
    alarm: AlarmClock
    schedules: ScheduleStore
    fires: FireStore
    holds: HoldStore
    events: EventStore
    runs: RunStore
    workflows: Registry
    runner: Runner
    host_name: str
    """Schedules of the same name on other hosts have another jitter."""

    boot_id: str
    booted_at_ms: Callable[[], int]
