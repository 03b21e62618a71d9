"""Names and texts of environment variables, checked once wherever they are written."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from barbossad.model.names import ENV_NAME
from barbossad.validation import RefusalError, kind_of

MAX_VARIABLE_BYTES: Final = 128 * 1024
"""What the kernel takes as one string of argv or the environment (MAX_ARG_STRLEN, execve(2)), its NUL included."""

OWN_PREFIX: Final = "BARBOSSA_"
"""Names that begin so are set by Barbossa alone."""


def text_of(value: object) -> str:
    """Return a value as text for programs: ``true``, ``3``, ``0.5``, JSON for lists and maps, nothing for None.

    Raise RefusalError for what is no plain value.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RefusalError(f"cannot be written as text: {error}") from error


def check_travels(text: str, *, name: str = "") -> str:
    """Return ``text`` if a program can be given it in one piece. Raise RefusalError with the reason otherwise."""
    if "\0" in text:
        raise RefusalError("holds a NUL character, which no program can be given")
    try:
        size = len(text.encode()) + len(name) + 2
    except UnicodeEncodeError:
        raise RefusalError("holds half a character (a lone surrogate), which is no text") from None
    if size > MAX_VARIABLE_BYTES:
        raise RefusalError(
            f"is {size} bytes long; the kernel takes at most {MAX_VARIABLE_BYTES} in one variable or argument",
            "put it into a file and give the file's path",
        )
    return text


def scalar_text(value: Any) -> str:
    """Return a scalar of YAML as text. Raise RefusalError for lists, maps and nothing."""
    if value is None or isinstance(value, list | dict):
        raise RefusalError(f"must be text, not {kind_of(value)}", "put it in quotes")
    return check_travels(text_of(value))


def _name(name: str) -> str:
    if not ENV_NAME.fullmatch(name):
        raise RefusalError("is no name of an environment variable", "use letters, digits and _, and no digit first")
    if name.startswith(OWN_PREFIX):
        raise RefusalError(f"is Barbossa's own, as all names with {OWN_PREFIX} are", "choose another name")
    return name


Text = Annotated[
    str,
    BeforeValidator(scalar_text),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""Text, where YAML may have made a number or a boolean of it."""

VariableName = Annotated[str, AfterValidator(_name)]

Environment = dict[VariableName, Text]
"""Environment variables as an author writes them."""
