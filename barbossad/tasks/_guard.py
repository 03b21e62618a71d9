"""Look whether a task's work is done already (``creates``, ``unless``), in its own process, before the work itself.

The daemon never looks: what is there is seen with the eyes of the task's user, in its sandbox. A small shell program
goes before the task's own command. If there is nothing to do it says so in ``$BARBOSSA_OUTPUT`` and exits with 0;
no line of outputs can be taken for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from barbossad.tasks._api import TaskError
from barbossad.validation import RefusalError, shown
from barbossad.variables import check_travels

SAYS: Final = b'{"barbossa_skipped":'

_PROGRAM: Final = r"""
skip() { printf '{"barbossa_skipped":"%s"}\n' "$1" > "$BARBOSSA_OUTPUT"; exit 0; }
unless=$1 count=$2
shift 2
if [ -n "$unless" ] && (eval "$unless") > /dev/null; then skip unless; fi
there=$count
while [ "$count" -gt 0 ]; do
    if [ -e "$1" ] || [ -L "$1" ]; then there=$((there - 1)); else there=-1; fi
    count=$((count - 1))
    shift
    if [ "$there" -lt 0 ]; then shift "$count"; break; fi
    if [ "$there" -eq 0 ]; then skip creates; fi
done
exec "$@"
"""

_REASONS: Final = {
    b"unless": "done already: its 'unless' exits with 0",
    b"creates": "done already: what it creates is there",
}


def checked_path(text: str) -> str:
    """Return a path of ``creates`` that can be looked for. Raise TaskError."""
    try:
        path = check_travels(text)
    except RefusalError as error:
        raise TaskError(f"a path of 'creates' {error}") from None
    if not path.startswith("/"):
        raise TaskError(f"'creates' must be an absolute path, not {shown(path)}")
    return path


def wrap(argv: Sequence[str], creates: Sequence[str], unless: str | None) -> tuple[str, ...]:
    """Return a command that looks first, and runs ``argv`` if there is something to do."""
    if not creates and unless is None:
        return tuple(argv)
    return ("/bin/sh", "-c", _PROGRAM, "barbossa-guard", unless or "", str(len(creates)), *creates, *argv)


def verdict(output: bytes | None) -> str | None:
    """Return why there was nothing to do, if that is what was said."""
    if output is None or not output.startswith(SAYS):
        return None
    word = output.removeprefix(SAYS).strip().strip(b'"}')
    return _REASONS.get(word)
