"""Make a task of the command of a crontab's line: what it runs, and what it reads.

Source: crontab(5), "the sixth field", and cron's do_command.c.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final

DEFAULT_SHELL: Final = "/bin/sh"

_SHELLS: Final = frozenset({"sh", "dash", "bash", "ash", "ksh", "mksh", "zsh"})
"""Shells that take a script with a here-document."""

_SHELL_PATH: Final = re.compile(r"/[A-Za-z0-9._+/-]+")
_ONE_COMMAND: Final = re.compile(
    r"""(?x)(?: [^|&;()<>{}\n\#`"'\\$] | \\. | \$(?!["'({\[]) | '[^']*' | "(?: [^"`\\$] | \\. | \$(?![({\[]) )*" )*"""
)
"""Words and whole quotes alone: what is written behind it is neither taken into it nor for another command."""

_SEVERAL: Final = re.compile(r";|\n|(?<![&>])&(?![&>])|(^|[\s;&|(])(\.|source|eval)\s")
"""What makes a difference to a shell that ends at the first error."""

_IN_QUOTES: Final = re.compile(r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*\"""")
_BACKGROUND: Final = re.compile(r"(?<![&<>|])&(?![&>])")
_QUOTED_BACKGROUND: Final = re.compile(r"""(?<![&<>|])&[\s;)]*["']""")
_WAITS: Final = re.compile(r"(?:^|[\s;&(])wait(?=[\s;)]|$)")
_DAEMON: Final = re.compile(
    r"""(?x)(?: ^ | [\s;&|(/"'] ) (?: nohup | setsid | disown | daemon | daemonize | start-stop-daemon | screen | tmux )
    (?= [\s;&] | $ ) | \s--daemon(?:ize)?\b"""
)
_NO_OUTPUT: Final = re.compile(r"(&>|>&|>)\s*/dev/null")


def split(text: str) -> tuple[str, str | None]:
    """Return the command and what it reads from stdin (None: nothing): the first bare ``%`` is between them."""
    program: list[str] = []
    place, is_escaped = 0, False
    while place < len(text):
        character = text[place]
        place += 1
        if is_escaped:
            if character == "%":
                program.pop()
            program.append(character)
            is_escaped = False
        elif character == "%":
            return "".join(program), _given(text[place:])
        else:
            program.append(character)
            is_escaped = character == "\\"
    return "".join(program), None


def _given(text: str) -> str:
    """Return stdin as cron makes it: a bare ``%`` is a line end, and the last line has one."""
    given: list[str] = []
    is_escaped = False
    for character in text:
        if is_escaped:
            given.append(character if character == "%" else f"\\{character}" if character != "\\" else "\\")
        elif character != "\\":
            given.append("\n" if character == "%" else character)
        is_escaped = character == "\\"
    if is_escaped:
        given.append("\\")
    found = "".join(given)
    return found if not found or found.endswith("\n") else found + "\n"


def task(program: str, given: str | None, shell: str | None) -> dict[str, Any]:
    """Return the keys of the task that runs a command as cron does, with ``shell`` (None: the usual one) -c."""
    shell = shell or DEFAULT_SHELL
    is_usual = PurePosixPath(shell).name in _SHELLS and bool(_SHELL_PATH.fullmatch(shell))
    is_usual = is_usual and "<<" not in program and not program.endswith("\\")  # more text would be taken for theirs
    if not is_usual and not given:
        return {"shell": [literal(word) for word in (shell, "-c", program)]}
    is_apart = not is_usual or (bool(given) and not _ONE_COMMAND.fullmatch(program))
    script = program
    if is_apart:
        script, shell = f"exec {shlex.join([shell, '-c', program])}", DEFAULT_SHELL
    if given:
        script = _reading(script, given)
    if "{{" in script or script.lstrip().startswith("#!") or "\0" in script:
        return {"shell": [literal(word) for word in (shell, "-c", script)]}
    keys: dict[str, Any] = {"script": script}
    if shell != DEFAULT_SHELL:
        keys["shell"] = shell
    if _SEVERAL.search(program) and not is_apart:
        keys["stop_on_error"] = False
    return {"shell": script if len(keys) == 1 else keys}


def _reading(script: str, given: str) -> str:
    """Return a script that gives a command its stdin."""
    lines = given.split("\n")
    end = "END"
    while end in lines:
        end += "_"
    return f"{script} <<'{end}'\n{given}{end}\n"


def literal(text: str) -> str:
    """Return a value of a workflow file that means this text, where it looks as if it held an expression."""
    return re.sub(r"\{(?=\{)", "{{ '{' }}", text)


def notes(program: str, given: str | None, text: str) -> Iterator[str]:
    """Yield what is to be known of a command and what it reads; ``text`` is how the crontab has it."""
    if given is not None:
        yield "a % ends the command, and what follows it is its standard input, as with cron; \\% is a percent sign"
    if _leaves_something(program):
        yield (
            "what it leaves in the background is ended with the task, which cron lets live: drop the & (nohup, setsid"
            " and the like), so that the task runs as long as it does, or add detach: true"
        )
    if _NO_OUTPUT.search(program):
        yield "it throws output away (/dev/null); without that Barbossa keeps it with each run"
    if "/run/systemd/system" in program:
        yield "it does nothing on a host with systemd, where a timer does its work: see barbossactl import timers"
    if "\\\\" in text:
        yield "it holds \\\\, which stays as it is, as with cronie; cron of the BSDs makes one \\ of it"


def _leaves_something(program: str) -> bool:
    """Say whether a command looks as if a process of it were to outlive it."""
    bare = _IN_QUOTES.sub("", program)
    is_left = _BACKGROUND.search(bare) and not _WAITS.search(bare)
    return bool(is_left or _QUOTED_BACKGROUND.search(program) or _DAEMON.search(program))
