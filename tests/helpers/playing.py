"""Evaluate what expressions say where a test has none."""

from __future__ import annotations

from typing import Any

from barbossad.engine.progress import RunProgress


def no_expressions(progress: RunProgress, index: int | None, value: Any) -> Any:
    """Fail: nothing was to be evaluated."""
    raise AssertionError(f"{value!r} was evaluated for cell {index} of {progress.run.id}")
