"""Read the five fields of a line of a crontab as cron does, which is stricter than the language and older.

Source: crontab(5) of Debian, and its entry.c: what that takes is taken, what that refuses is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from barbossad.recurrence.fields import DAY_NAMES, MONTH_NAMES
from barbossad.validation import RefusalError, shown


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()
    is_day: bool = False


_KINDS: Final = (
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day of the month", 1, 31, is_day=True),
    _Kind("month", 1, 12, MONTH_NAMES),
    _Kind("day of the week", 0, 7, DAY_NAMES, is_day=True),
)
COUNT: Final = len(_KINDS)
MOST_CHARACTERS: Final = 1000
"""Of one field; all minutes, each with its number, are 170."""


@dataclass(frozen=True, slots=True)
class _Field:
    text: str
    """As the language has it."""

    is_starred: bool
    """It begins with ``*``, which decides whether both kinds of days have to hold."""

    is_full: bool


def timing(texts: list[str]) -> str:
    """Return the expression that comes when cron would. Raise RefusalError with the field and what is wrong with it."""
    minute, hour, day, month, weekday = (_read(kind, text) for kind, text in zip(_KINDS, texts, strict=True))
    days, weekdays = day.text, weekday.text
    if not (day.is_starred or weekday.is_starred) and (day.is_full or weekday.is_full):
        days = weekdays = "*"  # either is enough, and one always holds
    return " ".join((minute.text, hour.text, days, month.text, weekdays))


def _read(kind: _Kind, text: str) -> _Field:
    if len(text) > MOST_CHARACTERS:
        raise _fault(kind, text[:20] + "…", f"has more than {MOST_CHARACTERS} characters", "name each value once")
    found: set[int] = set()
    written = []
    for item in text.split(","):
        values, usual = _item(kind, item, text)
        found.update(value % 7 if kind.names is DAY_NAMES else value for value in values)
        written.append(usual)
    is_starred = text.startswith("*")
    is_full = len(found) == (7 if kind.names is DAY_NAMES else kind.most - kind.least + 1)
    return _Field("*" if is_full and is_starred else ",".join(written), is_starred, is_full)


def _item(kind: _Kind, item: str, text: str) -> tuple[range, str]:
    """Return the values of one item of a list, and how the language has it, which takes no step beyond the field."""
    span, slash, step_text = item.partition("/")
    first, dash, last = span.partition("-")
    if span == "*":
        start, stop = kind.least, 6 if kind.names is DAY_NAMES else kind.most
    else:
        start = _number(kind, first, text)
        stop = _number(kind, last, text) if dash else start
        if slash and not dash:
            how = f"{first}-{kind.most}/{step_text}"
            raise _fault(kind, text, f"has a step behind the single value {first}, which cron refuses", f"write {how}")
    if stop < start:
        raise _fault(kind, text, f"has a range that runs backwards: {span}", "")
    if not slash:
        return range(start, stop + 1), item.lower()
    if not (step_text.isascii() and step_text.isdigit() and len(step_text) < 10) or int(step_text) == 0:
        raise _fault(kind, text, f"has a step that is no number above 0: {step_text!r}", "such as */5")
    step = int(step_text)
    values = range(start, stop + 1, step)
    if step <= stop - start:
        return values, item.lower()
    # Only the first is left; the * of days has to stay, for it decides whether both kinds of days must match.
    return values, f"*/{kind.most}" if span == "*" and kind.is_day else str(start)


def _number(kind: _Kind, word: str, text: str) -> int:
    if word.isascii() and word.isdigit() and len(word) < 6:
        number = int(word)
        if kind.least <= number <= kind.most:
            return number
        raise _fault(kind, text, f"is from {kind.least} to {kind.most}, not {word}", "")
    if word.lower() in kind.names:
        return kind.names.index(word.lower()) + (1 if kind.names is MONTH_NAMES else 0)
    if "~" in text:
        raise _fault(kind, text, "has a random value (~)", "choose one, and write jitter into the workflow")
    names = f", or {kind.names[0]} to {kind.names[-1]}" if kind.names else ""
    raise _fault(kind, text, f"has {shown(word)}", f"it takes numbers from {kind.least} to {kind.most}{names}")


def _fault(kind: _Kind, text: str, what: str, hint: str) -> RefusalError:
    return RefusalError(f"the {kind.name} ({text}) {what}", hint)
