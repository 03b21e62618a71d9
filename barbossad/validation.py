"""Turn what pydantic found wrong into faults that a person can act on: place, sentence, way to mend it."""

from __future__ import annotations

import difflib
import itertools
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from barbossad.errors import Fault

if TYPE_CHECKING:  # whoever checks values without a file need not pay for a reader of YAML
    from barbossad.document import Document, Path

Model = TypeVar("Model", bound=BaseModel)

HintForKey = Callable[[str, Collection[str]], str]

LITERAL_HINT: Final = "no expressions here; write the value itself"
"""For an expression where a value must be known before anything runs."""

_SHOWN_CHARACTERS: Final = 60
_MAX_CANDIDATES: Final = 300
_MAX_ERRORS: Final = 1000

_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a map",
    type(None): "nothing",
}

_WANTED: Final[Mapping[str, tuple[str, str]]] = {
    "string_type": ("text", ""),
    "int_type": ("a whole number", ""),
    "int_parsing": ("a whole number", ""),
    "int_from_float": ("a whole number", ""),
    "float_type": ("a number", ""),
    "float_parsing": ("a number", ""),
    "finite_number": ("a finite number", ""),
    "bool_type": ("true or false", "write it without quotes"),
    "bool_parsing": ("true or false", "write it without quotes"),
    "list_type": ("a list", "write [one, two], or one item a line, each after a dash"),
    "tuple_type": ("a list", "write [one, two], or one item a line, each after a dash"),
    "dict_type": ("a map", "write {key: value}, or one key a line, indented"),
    "model_type": ("a map", "write {key: value}, or one key a line, indented"),
    "model_attributes_type": ("a map", "write {key: value}, or one key a line, indented"),
}
"""From pydantic's error type to what was wanted, and a hint."""

_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


_FILE: Final = "the file"


class RefusalError(ValueError):
    """Say, from within a validator, that a value is refused; ``hint`` tells how to mend it.

    The message goes on from the name of the key: ``'timeout'`` *is not a duration*.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def validate(
    model: type[Model],
    value: object,
    document: Document,
    faults: list[Fault],
    *,
    at: Path = (),
    hint_for: HintForKey | None = None,
) -> Model | None:
    """Return ``value`` as ``model``, or None with what is wrong added to ``faults``; ``at`` is its place."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults.extend(faults_of(error, document, model, value, place=lambda path: (*at, *path), hint_for=hint_for))
        return None


def faults_of(
    error: ValidationError,
    document: Document,
    model: type[BaseModel],
    value: object,
    *,
    place: Callable[[Path], Path | None] = lambda path: path,
    hint_for: HintForKey | None = None,
    whole: str = _FILE,
) -> list[Fault]:
    """Return every fault of ``error`` with its place in ``document``.

    ``value`` is what was validated; ``place`` makes of a path in it the path in the document, or None where
    the fault does not count; ``hint_for`` says of an unknown key and the known ones what to write, if it is not the
    nearest of those; ``whole`` is what messages call all of it.
    """
    found: list[Fault] = []
    needed = [field.alias or name for name, field in model.model_fields.items() if field.is_required()]
    for item in error.errors(include_url=False)[:_MAX_ERRORS]:
        path = real_path(value, item["loc"])
        full_path = place(path)
        if full_path is not None:
            name = subject(full_path) if full_path else whole
            known = known_keys(model, path[:-1])
            if item["input"] is None and item["type"] != "extra_forbidden":
                message, hint = _nothing(full_path, needed)
            else:
                message, hint = _explain(item, full_path, name, known, hint_for or proposal)
            found.append(document.fault(full_path, message, hint))
    return found


def real_path(value: object, loc: Sequence[str | int]) -> Path:
    """Return pydantic's ``loc`` without the names of union members and validators, which are not in the file."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        if _has(value, part):
            value = value[part]  # type: ignore[index]
        elif part == "[key]" or not (isinstance(value, dict) and index == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _has(value: object, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def nearest(name: object, known: Collection[str]) -> str | None:
    """Return the one of ``known`` that ``name`` was probably meant to be."""
    if not isinstance(name, str):
        return None
    wanted = _folded(name)
    if len(known) > _MAX_CANDIDATES:  # difflib is slow: leave those that are a slip of the finger away
        near = (key for key in known if _folded(key[:1]) == wanted[:1] and abs(len(key) - len(name)) < 2)
        known = list(itertools.islice(near, _MAX_CANDIDATES))
    folded = {_folded(candidate): candidate for candidate in known}
    matches = difflib.get_close_matches(wanted[:100], folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_")


def proposal(name: object, known: Collection[str], *, noun: str = "known keys") -> str:
    """Return a hint: the nearest known name, or else all of them where they are few."""
    close = nearest(name, known)
    if close is not None:
        return f"did you mean {close!r}?"
    if not known:
        return f"there are no {noun}"
    if len(known) > _MAX_CANDIDATES:
        return f"there are {len(known)} {noun}, and none is near"
    return f"{noun}: {', '.join(sorted(known)[:20])}" + (", …" if len(known) > 20 else "")


def kind_of(value: object) -> str:
    """Return what a value is in words: ``text``, ``a number``, ``a list``."""
    return _KINDS.get(type(value), "something else")


def shown(value: object) -> str:
    """Return a value as a message shows it: quoted, and shortened where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no digits of a whole number that has thousands of them
        return f"{kind_of(value)} too long to be shown"
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def subject(path: Path) -> str:
    """Return how a message names a place: ``'timeout'``, ``item 3 of 'depends_on'``."""
    if not path:
        return _FILE
    last = path[-1]
    if isinstance(last, str):
        return repr(last)
    return f"item {last + 1}" + (f" of {subject(path[:-1])}" if path[:-1] else "")


def _explain(item: Any, path: Path, name: str, known: Mapping[str, str], hint_for: HintForKey) -> tuple[str, str]:
    """Return the sentence and the hint for one of pydantic's errors; ``name`` is what the place is called."""
    kind: str = item["type"]
    context: Mapping[str, Any] = item.get("ctx") or {}
    if kind == "extra_forbidden":
        return f"unknown key {name}", hint_for(str(path[-1]) if path else "", known)
    if kind == "missing":
        description = known.get(str(path[-1]), "")
        return f"the key {name} is missing", f"{description[:1].lower()}{description[1:]}"
    if kind == "value_error":
        reason = context["error"]
        return f"{name} {reason}", getattr(reason, "hint", "")
    message, hint = _explain_value(kind, item["input"], context) or (f"is refused: {item['msg']}", "")
    if isinstance(item["input"], str) and "{{" in item["input"]:
        hint = LITERAL_HINT
    return f"{name} {message}", hint


def _nothing(path: Path, needed: Collection[str]) -> tuple[str, str]:
    """Return what to say where there is no value; ``needed`` are the keys that the whole must have."""
    if path:
        is_key = isinstance(path[-1], str)
        way = (
            "write one after the colon, or remove the key" if is_key else 'write "" for empty text, or remove the item'
        )
        return f"{subject(path)} has no value", way
    return "the file is empty", f"it needs {' and '.join(needed)}" if needed else ""


def _explain_value(kind: str, given: object, context: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what is wrong with a value of a known key, or None for a kind that no model here raises."""
    result: tuple[str, str] | None = None
    if kind in _WANTED:
        wanted, hint = _WANTED[kind]
        is_scalar = kind == "string_type" and isinstance(given, bool | int | float)
        found = shown(given) if isinstance(given, float) and wanted == "a whole number" else kind_of(given)
        result = f"must be {wanted}, not {found}", "put it in quotes" if is_scalar else hint
    elif kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        result = f"must be {words} {context[key]}, not {shown(given)}", ""
    elif kind == "literal_error":
        found = str(given).lower() if isinstance(given, bool) else shown(given)
        result = f"must be {context['expected']}, not {found}", _literal_hint(given, context)
    elif kind == "string_pattern_mismatch":
        result = f"does not match the pattern {context['pattern']}: {shown(given)}", ""
    elif kind in {"too_short", "string_too_short"}:
        least = context["min_length"]
        result = ("must not be empty" if least == 1 else f"must have at least {least} {_unit(kind)}"), ""
    elif kind in {"too_long", "string_too_long"}:
        result = f"must have at most {context['max_length']} {_unit(kind)}", ""
    return result


def _unit(kind: str) -> str:
    return "characters" if kind.startswith("string") else "items"


def _literal_hint(given: object, context: Mapping[str, Any]) -> str:
    close = nearest(given, [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")])
    return f"did you mean {close!r}?" if close else ""


def known_keys(model: type[BaseModel], path: Sequence[str | int]) -> dict[str, str]:
    """Return the keys of the model at ``path`` beneath ``model`` with their descriptions; none if that is no model."""
    here: list[Any] = [model]
    for part in path:
        here = [below for annotation in here for below in _below(annotation, part)]
    return {
        field.alias or name: field.description or ""
        for annotation in here
        for member in _members(annotation)
        if isinstance(member, type) and issubclass(member, BaseModel)
        for name, field in member.model_fields.items()
    }


def _members(annotation: Any) -> list[Any]:
    """Return what an annotation may be: the parts of a union, the inside of ``Annotated``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in {typing.Union, types.UnionType}:
        return [member for part in typing.get_args(annotation) for member in _members(part)]
    return [annotation]


def _below(annotation: Any, part: str | int) -> list[Any]:
    """Return the annotations that a key or a position beneath ``annotation`` has."""
    found: list[Any] = []
    for member in _members(annotation):
        origin = typing.get_origin(member)
        if origin is not None:
            arguments = typing.get_args(member)
            is_mapping = isinstance(origin, type) and issubclass(origin, Mapping)
            found.extend(arguments[1:2] if is_mapping else arguments[:1])
        elif isinstance(member, type) and issubclass(member, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in member.model_fields.items()}
            if part in fields:
                found.append(fields[str(part)])
    return found
