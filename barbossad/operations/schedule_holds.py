"""Hold all schedules of workflows with a label, and release them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from barbossad.errors import Fault, InvalidParamsError
from barbossad.model.holds import Hold
from barbossad.operations.fields import Instant, milliseconds
from barbossad.operations.registry import NoParams, Params, define
from barbossad.operations.schedule_views import HoldView, hold_view
from barbossad.operations.services import Call
from barbossad.security.access import Role
from barbossad.validation import RefusalError, shown


def _label(label: str) -> str:
    key, equals, _ = label.partition("=")
    if label and not key:
        raise RefusalError(f"is no label: {shown(label)}", "write key=value, or key for whatever value")
    if any(character.isspace() for character in key + equals):
        raise RefusalError(f"is no label: {shown(label)}", "labels have no spaces in their names")
    return label


HeldLabel = Annotated[
    str,
    AfterValidator(_label),
    Field(max_length=200, description="A label of workflows, as team=infra, or team for whatever value; empty: all"),
]


class HoldParams(Params):
    """What is held, why, and until when."""

    label: HeldLabel
    reason: str = Field(min_length=1, max_length=1000, description="Why, for those who wonder what does not run")
    until: Instant | None = Field(None, description="When it ends by itself; by default when it is released")


class ReleaseParams(Params):
    """What is released."""

    label: HeldLabel


class Holds(TypedDict):
    """What is held."""

    items: list[HoldView]


class Released(TypedDict):
    """A hold that there is no longer."""

    label: str
    released: bool


@define("schedule.hold", Role.OPERATOR)
async def hold(call: Call, params: HoldParams) -> HoldView:
    """Let the fires of all schedules with a label pass, recorded as skipped; a hold of that label is replaced."""
    now_ms = call.services.clock.now_ms()
    until_ms = milliseconds(params.until) if params.until else None
    if until_ms is not None and until_ms <= now_ms:
        message, hint = f"has passed: {params.until}", "give an instant to come, or none to hold until it is released"
        raise InvalidParamsError(
            "schedule.hold", [Fault(line=None, column=None, path="until", message=message, hint=hint)]
        )
    made = Hold(
        label=params.label,
        reason=params.reason,
        until_ms=until_ms,
        at_ms=now_ms,
        by=call.caller.name,
    )
    await call.services.scheduler.control.hold(made)
    return hold_view(made)


@define("schedule.release", Role.OPERATOR)
async def release(call: Call, params: ReleaseParams) -> Released:
    """End a hold; what was skipped meanwhile is not caught up."""
    await call.services.scheduler.control.release(params.label, by=call.caller.name)
    return {"label": params.label, "released": True}


@define("schedule.holds", Role.VIEWER)
def holds(call: Call, params: NoParams) -> Holds:  # noqa: ARG001 (takes none)
    """List what is held now."""
    return {"items": [hold_view(found) for found in call.services.scheduler.board.holds()]}
