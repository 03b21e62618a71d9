"""Print figures for people, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.harness import Figure

HEADER = f"{'id':8}{'what':28}{'figure':>10}  {'bar':>6}  {'':6}spread; medians; notes"


def line(figure: Figure) -> str:
    """Return one row of the table."""
    value = f"{figure.value:.2f}" if figure.unit == "x" else f"{figure.value:.4g}"
    shown = f"{value} {figure.unit}".rstrip()
    bar, verdict = ("", "") if figure.bar is None else (f"{figure.bar:g}", "pass" if figure.is_passed else "FAIL")
    left = f"{figure.workload:8}{figure.what:28}{shown:>10}  {bar:>6}  {verdict:6}"
    return f"{left}{figure.note}".rstrip()


def as_json(figures: Sequence[Figure]) -> str:
    """Return all figures as one JSON array."""
    return json.dumps([figure.as_dict() for figure in figures], indent=2, ensure_ascii=False)
