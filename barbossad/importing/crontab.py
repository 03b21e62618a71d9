"""Read a crontab. Source: crontab(5) of Debian, and of cronie for what only that has (CRON_TZ, RANDOM_DELAY)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from barbossad.importing import command, fields, names
from barbossad.importing.draft import Draft, Found
from barbossad.model.names import ACCOUNT, ENV_NAME
from barbossad.recurrence import cron
from barbossad.validation import RefusalError, shown
from barbossad.variables import MAX_VARIABLE_BYTES, OWN_PREFIX

MOST_LINES: Final = 10_000
"""As Debian's crontab(1) takes them."""

MOST_JOBS: Final = 1000
MOST_VARIABLES: Final = 1000
MOST_LINE_CHARACTERS: Final = 131_072
"""As cronie takes them; Debian's cron takes 1000."""

MOST_DESCRIPTION_CHARACTERS: Final = 500
_MOST_TOLD_CHARACTERS: Final = 200
"""Of the value of a variable that a note tells."""

_SETTING: Final = re.compile(
    r"""[ \t]*(?:(?P<quote>["'])(?P<quoted>.*?)(?P=quote)|(?P<name>[^\s=]+?))[ \t]*=[ \t]*(?P<value>.*)"""
)
_QUOTED: Final = re.compile(r"""(["'])(.*)\1[ \t]*""")
_BOILERPLATE: Final = re.compile(
    r"""(?ix) [|.*\s-]* ( minute\ \(0 | hour\ \(0 | day\ of\ (month|week)\ \( | month\ \(1 ) .*
    | [|.*\s-]* ( user(-?name)?\ +command .* )? | example\ of\ job\ definition:?
    | m\ h\ +dom\ mon\ dow\ .* | DO\ NOT\ EDIT\ THIS\ FILE .* | \(.*\ installed\ on\ .*\) | \(cron\ version\ .*\)"""
)
OVERLAP: Final = "as cron does; skip keeps runs from piling up"
CATCH_UP: Final = "as cron does; last makes up for what was missed"
SANDBOX: Final = "as cron has none; standard is safer, but without sudo, systemctl and the host's /tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crontab:
    """A crontab, and what is known of it beside its text."""

    text: str
    source: str
    """What it is called in words: a path, or "the crontab of ada"."""

    user: str | None = None
    """Whose it is; of a system's one each line says it."""

    is_system: bool = False
    timezone: str
    """Of the host."""


def read(crontab: Crontab) -> Found:
    """Return a draft for each line that starts something, and a fault for each that cannot be read."""
    return _Reading(crontab).read()


@dataclass(slots=True)
class _Reading:
    """A crontab from its first line to its last; variables hold for the lines below them."""

    crontab: Crontab
    found: Found = field(default_factory=Found)
    variables: dict[str, str] = field(default_factory=lambda: {"SHELL": command.DEFAULT_SHELL})
    """Programs obey SHELL (``flock -c``, ``parallel``), which cron sets to that, whatever shell the account has."""

    comments: list[str] = field(default_factory=list)
    names: names.Names = field(default_factory=names.Names)

    def read(self) -> Found:
        """Read all lines, but no more than there may be."""
        lines = self.crontab.text.split("\n", MOST_LINES)
        for number, line in enumerate(lines[:MOST_LINES], start=1):
            if len(self.found.drafts) == MOST_JOBS and line.strip():
                self._end(number, f"no more than {MOST_JOBS} jobs are imported at once")
                return self.found
            self._any_line(number, line)
        if "".join(lines[MOST_LINES:]).strip():
            self._end(MOST_LINES + 1, f"no more than {MOST_LINES} lines are imported at once")
        return self.found

    def _end(self, number: int, why: str) -> None:
        hint = f"import the lines from {number} on as a file of their own, with the variables that hold for them"
        self.found.refuse(number, "", f"{why}; this line and those below it are left out", hint)

    def _any_line(self, number: int, line: str) -> None:
        stripped = line.strip(" \t\r")
        if stripped.startswith("#"):
            if len(self.comments) < MOST_DESCRIPTION_CHARACTERS:
                self.comments.append(stripped[: 2 * MOST_DESCRIPTION_CHARACTERS].lstrip("#").strip())
            self._notice_unused(number, stripped)
            return
        if stripped:
            try:
                self._line(number, line.lstrip(" \t").rstrip("\r"))
            except RefusalError as error:
                self.found.refuse(number, "", f"{error}", error.hint)
        self.comments.clear()

    def _line(self, number: int, line: str) -> None:
        """Read a line that says something. Raise RefusalError."""
        if len(line) > MOST_LINE_CHARACTERS:
            raise RefusalError(
                f"the line has {len(line)} characters, and at most {MOST_LINE_CHARACTERS} are read",
                "put the command into a script",
            )
        is_job = line[0] in "*@-" or line[0].isdigit()
        setting = None if is_job else _SETTING.fullmatch(line)
        if setting is not None:
            name = setting["name"] if setting["quoted"] is None else setting["quoted"]
            self._set(number, name, _value(setting["value"]))
        else:
            self._job(number, line)

    def _set(self, number: int, name: str, value: str) -> None:
        if name == "LOGNAME":
            self.found.notes.append(f"line {number}: {name} is left out; cron sets it itself, and so does Barbossa")
        elif not ENV_NAME.fullmatch(name) or name.startswith(OWN_PREFIX):
            raise RefusalError(
                f"the variable {shown(name)} cannot be kept: a workflow has no variable of such a name",
                "set it in the commands that need it",
            )
        elif len(value.encode(errors="replace")) + len(name) >= MAX_VARIABLE_BYTES or "\0" in value:
            raise RefusalError(f"the value of {name} cannot be given to a program", "put it into a file")
        elif name not in self.variables and len(self.variables) == MOST_VARIABLES:
            raise RefusalError(
                f"no more than {MOST_VARIABLES} variables are kept", "set it in the commands that need it"
            )
        else:
            self.variables = {**self.variables, name: value}  # drafts above this line have the one before

    def _notice_unused(self, number: int, line: str) -> None:
        """Tell of a line that was switched off by making it a comment."""
        texts = line.lstrip("# \t").split(None, fields.COUNT + self.crontab.is_system)
        if len(texts) <= fields.COUNT + self.crontab.is_system:
            return
        try:
            fields.timing(texts[: fields.COUNT])
        except RefusalError:
            return
        if texts[: fields.COUNT] != ["*"] * fields.COUNT:  # the drawing in Debian's /etc/crontab
            self.comments.pop()
            self.found.notes.append(f"line {number} is a comment that looks like a job; it was left out")

    def _job(self, number: int, line: str) -> None:
        timing, user, rest, notes = self._parts(line)
        program, given = command.split(rest)
        if not program.strip():
            raise RefusalError("there is no command", "write one after the times, or remove the line")
        task = command.task(program, given, self.variables.get("SHELL"))
        notes += command.notes(program, given, rest)
        if user is not None:
            task["run_as"] = user
        task["sandbox"] = "none"
        self.found.drafts.append(
            Draft(
                name=self.names.take(names.of_command(program)),
                description=_description(self.comments),
                source=f"{self.crontab.source}, line {number}",
                origin=(line,),
                line=number,
                schedules=(self._entry(timing, notes),),
                remarks={"overlap": OVERLAP, "catch_up": CATCH_UP, "sandbox": SANDBOX},
                env=self.variables,
                task=task,
                notes=(*notes, *_notes_on(self.variables)),
            )
        )

    def _parts(self, line: str) -> tuple[Mapping[str, Any], str | None, str, list[str]]:
        """Return when, as whom and what; and notes. Raise RefusalError."""
        notes: list[str] = []
        count = 1 if line.startswith("@") else fields.COUNT
        words = line.split(None, count)
        rest = words[count] if len(words) > count else ""
        if len(words) < count:
            what = "this is neither a variable (NAME=value) nor a job (minute hour day month weekday command)"
            raise RefusalError(what, "put # before it if it is a comment")
        timing = _named(words[0]) if count == 1 else None
        if timing is None:
            texts = words[:count]
            if texts[0].startswith("-"):
                texts[0] = texts[0][1:]
                notes.append("the - before the minute, which keeps cronie from logging, has no counterpart")
            timing = {"cron": fields.timing(texts)}
        user = self.crontab.user
        if self.crontab.is_system:
            user, _, rest = rest.partition(" ") if " " in rest.partition("\t")[0] else rest.partition("\t")
            if not ACCOUNT.fullmatch(user):
                what = f"a line of a system's crontab names a user before the command, and {shown(user)} is none"
                raise RefusalError(what, "a user's own crontab is imported without --system")
            rest = rest.lstrip(" \t")
        return timing, user, rest, notes

    def _entry(self, timing: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
        """Return the entry of ``schedules``; add notes on what decided it."""
        if "boot" in timing:
            return {**timing, "overlap": "allow"}
        zone = self.crontab.timezone
        if self.variables.get("CRON_TZ"):
            zone = self.variables["CRON_TZ"]
            notes.append(
                f"CRON_TZ={_told(zone)} is its time zone, as cronie has it; Debian's cron takes no notice of it"
            )
        entry = {**timing, "timezone": zone, "overlap": "allow", "catch_up": "none"}
        delay = self.variables.get("RANDOM_DELAY", "")
        if delay.isascii() and delay.isdigit() and 0 < int(delay) <= 1440:
            entry["jitter"] = f"{int(delay)}m"
            notes.append(f"RANDOM_DELAY={delay} is its jitter, the same each time; Debian's cron takes no notice of it")
        return entry


def _named(word: str) -> dict[str, Any]:
    """Return when ``@daily`` and its like are. Raise RefusalError for a name that cron does not have."""
    if word == cron.REBOOT:
        return {"boot": True}
    if word in cron.NAMES:
        return {"cron": cron.NAMES[word]}
    known = ", ".join((cron.REBOOT, *cron.NAMES))
    raise RefusalError(f"cron knows no {shown(word)}", f"it knows {known}")


def _value(text: str) -> str:
    """Return the value of a variable: within its quotes, or without the blanks behind it."""
    quoted = _QUOTED.fullmatch(text)
    return quoted[2] if quoted else text.rstrip(" \t")


def _description(comments: list[str]) -> str:
    words = [comment for comment in comments if not _BOILERPLATE.fullmatch(comment)]
    text = " ".join(" ".join(words).split())
    text = "".join(character for character in text if character.isprintable())
    return text if len(text) <= MOST_DESCRIPTION_CHARACTERS else text[: MOST_DESCRIPTION_CHARACTERS - 1] + "…"


def _notes_on(variables: Mapping[str, str]) -> list[str]:
    """Return what is to be said of variables that cron itself looks at."""
    notes = []
    mail = variables.get("MAILTO")
    if mail:
        notes.append(
            f"cron mailed its output to {_told(mail)} (MAILTO); Barbossa keeps it with each run (barbossactl logs)"
            " and mails nothing"
        )
    elif mail is not None:
        notes.append("MAILTO is empty, so cron threw its output away; Barbossa keeps it with each run")
    if "TZ" in variables:
        notes.append(
            f"TZ={_told(variables['TZ'])} is for its commands; it does not decide when they run, in cron neither"
        )
    literal = [name for name, value in variables.items() if "$" in value or value.startswith("~")]
    if literal:
        notes.append(
            f"{_told(', '.join(literal))}: the value stands as it is written; cron replaces no $NAME or ~ in it"
        )
    return notes


def _told(text: str) -> str:
    return text if len(text) <= _MOST_TOLD_CHARACTERS else f"{text[:_MOST_TOLD_CHARACTERS]}…"
