"""Expressions are asked for what comes next by several threads."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from barbossad.recurrence import cron


class Interrupted:
    """The maths of an expression, with another thread that asks in between; it may have to wait for its turn."""

    def __init__(self, maths: Any, other: threading.Thread) -> None:
        self._maths = maths
        self._other = other

    def set_current(self, local: float, *, force: bool) -> None:
        """See croniter."""
        self._maths.set_current(local, force=force)
        if self._other.ident is None:
            self._other.start()
            self._other.join(0.2)

    def get_next(self, kind: type[float]) -> float:
        """See croniter."""
        return float(self._maths.get_next(kind))


def test_two_threads_ask_for_the_same_expression() -> None:
    """Each has the answer to its own question: previews and what was missed are worked out beside the loop."""
    answers: list[float | None] = []
    other = threading.Thread(target=lambda: answers.append(asked.after(20_000 * 86_400.0)))
    known = cron.parse("*/3 * * * *")
    asked = replace(known, _maths=Interrupted(known._maths, other))
    assert asked.after(10 * 86_400.0) == 10 * 86_400.0 + 180
    other.join()
    assert answers == [20_000 * 86_400.0 + 180]
