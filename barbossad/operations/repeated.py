"""A call that is made again because its answer was lost: by its idempotency key it gets the first answer."""

from __future__ import annotations

from collections.abc import Awaitable

from barbossad.errors import BarbossaError
from barbossad.model.names import RunId
from barbossad.operations.services import Call
from barbossad.store.run_details import RunDetails


async def started(
    call: Call,
    workflow: str,
    key: str | None,
    starting: Awaitable[RunId | RunDetails],
    *,
    retry_of: RunId | None = None,
) -> RunId | RunDetails:
    """Return what a start returns; where it is refused, the run that an earlier call with the same key has started.

    Whatever stands against another run by now (the workflow is disabled, its params are others, the daemon stops) stood
    not against that one, and none is made beside it.
    """
    try:
        return await starting
    except BarbossaError:
        earlier = None if key is None else await call.services.engine.earlier(workflow, key, retry_of)
        if earlier is None:
            raise
        return earlier
