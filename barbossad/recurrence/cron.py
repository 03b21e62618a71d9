"""Cron expressions: which there are, what is wrong with others, and the next wall time of one.

Five fields (minute, hour, day of the month, month, day of the week), or six with seconds first; lists, ranges, steps,
names, ``L`` for the last day of the month, ``5#2`` for the second Friday and ``L5`` for the last; ``?`` is ``*``.
Source: crontab(5) of Debian, and croniter, which does the field maths, on wall times without a zone.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from barbossad.recurrence.fields import DAY, FIELDS, MONTH, Field, number, plain, problems
from barbossad.validation import RefusalError, proposal, shown

if TYPE_CHECKING:
    from croniter import croniter

NAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
REBOOT: Final = "@reboot"
MOST_YEARS: Final = 50
"""An expression that does not come in so many years never comes."""

MAX_CHARACTERS: Final = 500

_FORM: Final = "minute hour day-of-month month day-of-week, with seconds in front of them if there are six"
_LAST_OF_EACH_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression that comes now and then."""

    text: str
    is_fixed: bool
    """Whether it names times of day: none of its fields for seconds, minutes and hours begins with ``*``."""

    is_either: bool
    """Whether a day of the month or of the week is enough: neither of the two fields begins with ``*``."""

    fields: tuple[tuple[Field, str], ...]
    """Its five or six fields, in small letters, a name such as ``@daily`` as what it stands for."""

    _maths: croniter
    _asking: threading.Lock = field(default_factory=threading.Lock, compare=False)
    """Who asks for what follows a wall time writes that into the maths first, and threads beside the loop ask too."""

    def after(self, local: float) -> float | None:
        """Return the next wall time after another, both as seconds since 1970 on the wall clock; None if none comes."""
        with self._asking:
            self._maths.set_current(local, force=True)
            try:
                found: float = self._maths.get_next(float)
            except ValueError:  # none comes in so many years
                return None
            return found


@lru_cache(maxsize=1024)
def parse(text: str) -> Cron:
    """Return an expression, checked. Raise RefusalError with the field that is wrong, and why.

    ``@reboot`` is no time, and so not one of them.
    """
    fields = _fields(text)
    wrong = [problem for field, part in fields for problem in problems(field, part)]
    if wrong:
        raise RefusalError(f"cannot be {shown(text)}: {wrong[0]}", f"an expression has {_FORM}")
    _refuse_mixture(text, fields[-3][1], fields[-1][1])
    stars = [part[0] in "*?" for _, part in fields]
    is_fixed = not any(stars[:-3])
    # crontab(5): either day matches, unless one of the two begins with *, also as in */2: then both must.
    is_either = not (stars[-3] or stars[-1])
    parts = [plain(field, part) for field, part in fields]
    from croniter import croniter  # noqa: PLC0415 (with what it brings it is large, and not everybody has schedules)

    ordered = " ".join(parts if len(parts) == 5 else (*parts[1:], parts[0]))  # croniter has seconds last
    maths = croniter(ordered, 0.0, day_or=is_either, max_years_between_matches=MOST_YEARS)
    found = Cron(text, is_fixed, is_either, tuple(fields), maths)
    if _never(fields, is_either) or found.after(0.0) is None:
        raise RefusalError(f"cannot be {shown(text)}: it never comes", "no month has such a day; check the two fields")
    return found


def _fields(text: str) -> list[tuple[Field, str]]:
    """Return the fields of an expression with what they are to hold. Raise RefusalError for their number."""
    stripped = text.strip().lower()
    if len(text) > MAX_CHARACTERS:
        raise RefusalError(f"has more than {MAX_CHARACTERS} characters", "several schedules may say it shorter")
    if stripped == REBOOT:
        raise RefusalError("cannot be '@reboot' here: that is no time", "write boot: true in a workflow file")
    if stripped.startswith("@"):
        if stripped.startswith("@every"):
            raise RefusalError(f"cannot be {shown(text)}: that is no cron", "write every: 5m instead of cron")
        if stripped not in NAMES:
            raise RefusalError(f"cannot be {shown(text)}", proposal(stripped, [*NAMES, REBOOT], noun="names"))
        stripped = NAMES[stripped]
    parts = stripped.split()
    if len(parts) not in {5, 6}:
        extra = " (a year cannot be given)" if len(parts) == 7 else ""
        number = f"{len(parts)} fields" if len(parts) != 1 else "one field"
        raise RefusalError(f"cannot be {shown(text)}: it has {number}, not 5 or 6{extra}", f"write {_FORM}")
    return list(zip_longest(FIELDS[-len(parts) :], parts))


def _refuse_mixture(text: str, day: str, weekday: str) -> None:
    """Raise RefusalError for what croniter does not reckon with, or not as crontab(5) has it."""
    special = [item for item in weekday.split(",") if "#" in item or re.fullmatch(r"l-?\w+|\w+l", item)]
    if not special:
        return
    if len(special) != weekday.count(",") + 1:
        message = f"cannot be {shown(text)}: the day of the week field has {special[0]!r} beside plain days"
        raise RefusalError(message, "write two schedules")
    if day not in {"*", "?"}:
        message = f"cannot be {shown(text)}: {special[0]!r} does not go with days of the month"
        raise RefusalError(message, "write two schedules")


def _never(fields: list[tuple[Field, str]], is_either: bool) -> bool:
    """Say whether no month has the days of the month, where those alone decide."""
    said = {field.name: part for field, part in fields}
    days, months = said[DAY.name], said[MONTH.name]
    if is_either or not re.fullmatch(r"\d+(,\d+)*", days) or not re.fullmatch(r"\w+(,\w+)*", months):
        return False
    first = min(int(day) for day in days.split(","))
    return all(first > _LAST_OF_EACH_MONTH[number(MONTH, month) - 1] for month in months.split(","))
