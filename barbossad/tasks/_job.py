"""What the worker is told, as one JSON text: written by the daemon, read by the worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from barbossad.tasks._api import TaskError, WorkerContext

PROTOCOL: Final = 1
"""Counts up when a job or a report means something else: a daemon may be older than the files it was started from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One task to run. It holds no secrets: those are in the environment."""

    module: str
    """The task type's file, as it is imported."""

    params: Mapping[str, Any]
    """Rendered, as JSON has them; the worker validates them again."""

    context: WorkerContext
    search_path: tuple[str, ...]
    """Where the daemon finds modules; the worker looks there last, so that it finds what the daemon found."""

    report_limit_bytes: int

    def encode(self) -> bytes:
        """Return the JSON text. Raise TaskError if a param has no form in JSON."""
        fields = {name: getattr(self, name) for name in ("module", "params", "search_path", "report_limit_bytes")}
        try:
            text = json.dumps({"protocol": PROTOCOL, **fields, "context": asdict(self.context)}, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TaskError(f"its params cannot be written as JSON: {error}") from error
        return text.encode()

    @classmethod
    def decode(cls, text: bytes) -> Job:
        """Return the job. Raise TaskError if a daemon of another version wrote it."""
        fields = json.loads(text)
        protocol = fields.pop("protocol", None)
        if protocol != PROTOCOL:
            raise TaskError(
                f"the daemon that runs (protocol {protocol}) and the files on the disk (protocol {PROTOCOL}) are of "
                "different versions; restart the daemon"
            )
        context = WorkerContext(**fields.pop("context"))
        return cls(context=context, search_path=tuple(fields.pop("search_path")), **fields)
