"""Make names for workflows out of what they run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

MOST_CHARACTERS: Final = 40
"""Of a made name; the language takes more, and people do not."""

MOST_LOOKED_AT: Final = 1000
"""Characters of a command that a name is made of: so long is the longest command of Debian's cron."""

OTHERWISE: Final = "job"

_PASSED_OVER: Final = frozenset(
    {
        *("cd", "test", "[", "[[", "true", "false", ":", "sleep", "export", "set", ".", "source", "umask", "echo"),
        *("fi", "for", "done", "exit", "command", "type", "which"),
    }
)
"""Commands that prepare for what a line is about."""

_KEYWORDS: Final = frozenset({"if", "then", "elif", "else", "do", "while", "until", "!", "{"})
"""Words of the shell before a command."""

_WRAPPERS: Final = frozenset(
    {
        *("nice", "ionice", "chrt", "flock", "sudo", "timeout", "env", "exec", "nohup", "time", "chronic", "setsid"),
        *("systemd-cat", "logger", "runuser", "su", "doas", "stdbuf", "sh", "bash", "dash", "zsh", "ksh", "python"),
        *("python2", "python3", "perl", "php", "ruby", "node", "java"),
    }
)
"""Programs that run another one, which is among their arguments."""

_INLINE: Final = frozenset({"-e", "-r"})
_OF_ACCOUNTS: Final = frozenset({"-u", "-g", "-U", "--user", "--group"})
_SUFFIXES: Final = frozenset({".sh", ".bash", ".py", ".pl", ".php", ".rb", ".js", ".jar"})
_OPERATORS: Final = re.compile(r"[|&;()<>{}]+")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


class Names:
    """The names that are taken."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}

    def take(self, name: str) -> str:
        """Return the name, or the next one with a number that is not taken; nobody gets it again."""
        number, found = self._last.get(name, 1), name
        while found in self._taken:
            number += 1
            found = f"{name}-{number}"
        self._last[name] = number
        self._taken.add(found)
        return found


def of_command(command: str) -> str:
    """Return a name for what a command line does: ``certbot-renew``, ``run-parts-cron-hourly``."""
    for words in _simple_commands(command[:MOST_LOOKED_AT]):
        name = _of_words(words)
        if name:
            return slug(name)
    return OTHERWISE


def slug(text: str) -> str:
    """Return the usable name that is nearest to a text, not too long; cut between words."""
    name = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-_")
    if len(name) > MOST_CHARACTERS:
        cut = name[: MOST_CHARACTERS + 1].rpartition("-")[0] or name
        name = cut[:MOST_CHARACTERS].strip("-_")
    return name or OTHERWISE


def _simple_commands(command: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;()<>{}\n")
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        for word in lexer:
            if word == "\n" or (_OPERATORS.fullmatch(word) and not set(word) <= {"<", ">"}):
                yield words
                words = []
            else:
                words.append(word)
    except ValueError:  # a quote that nobody closed; cron's shell will say so
        words += command.split()
    yield words


def _of_words(words: list[str]) -> str:
    rest = list(words)
    while rest and (rest[0] in _KEYWORDS or re.match(r"[A-Za-z_]\w*=", rest[0])):
        rest.pop(0)
    if not rest or rest[0] in _PASSED_OVER:
        return ""
    program = PurePosixPath(rest.pop(0)).name
    if program in _WRAPPERS:
        pairs = zip(["", *rest], rest, strict=False)
        inner = [word for before, word in pairs if before not in _OF_ACCOUNTS and not re.match(r"[A-Za-z_]\w*=", word)]
        if any(word in _INLINE for word in inner):
            return ""
        if program in {"sh", "bash", "dash", "zsh", "ksh"} and "-c" in inner[:-1]:
            return of_command(inner[inner.index("-c") + 1])
        paths = [index for index, word in enumerate(inner) if _is_program(word, program)]
        return (_of_words(inner[paths[0] :]) if paths else "") or program
    stem = PurePosixPath(program)
    name = stem.stem if stem.suffix in _SUFFIXES else program
    return f"{name}-{_object(rest)}".rstrip("-")


def _is_program(word: str, wrapper: str) -> bool:
    """Say whether an argument of a wrapper may be what that runs: no option, number, lock or user."""
    if word.startswith(("-", "+")) or not _WORD.fullmatch(PurePosixPath(word).name):
        return False
    return not (wrapper == "flock" and re.search(r"(^/(var/)?(run|lock|tmp))|\.lock$", word)) and word != "root"


def _object(words: list[str]) -> str:
    """Return the first argument that says what it is about, if it is near."""
    for word in words[:3]:
        if word in {"<", ">", ">>"} or word.isdigit():
            return ""
        if word.startswith("-") or "$" in word or "=" in word:
            continue
        name = "-".join(PurePosixPath(word).parts[-1:]).replace(".", "-")
        return name if _WORD.fullmatch(name) else ""
    return ""
