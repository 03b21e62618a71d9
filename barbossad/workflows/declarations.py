"""Read what a workflow file says of its params: type, bounds and default, all faults at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from barbossad.document import Document, Path
from barbossad.errors import Fault
from barbossad.model.definition import ParamDefinition
from barbossad.units import parse_duration
from barbossad.validation import RefusalError, shown, validate
from barbossad.workflows import values
from barbossad.workflows.expressions import is_expression
from barbossad.workflows.reserved import reason_reserved
from barbossad.workflows.source import ParamSource
from barbossad.workflows.words import key_hint

_BOUNDS_OF: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"pattern", "min_length", "max_length"}),
    "integer": frozenset({"minimum", "maximum"}),
    "number": frozenset({"minimum", "maximum"}),
    "boolean": frozenset(),
    "choice": frozenset({"choices"}),
    "path": frozenset(),
    "duration": frozenset({"minimum", "maximum"}),
    "list": frozenset({"min_length", "max_length"}),
    "map": frozenset({"min_length", "max_length"}),
}
"""Which bounds each type may have."""

Report = Callable[[tuple[str, ...], str, str], None]
"""Is told of a fault: where beneath the param, what, and a hint."""


def declare_all(
    raw: object, path: Path, document: Document, faults: list[Fault], *, what: str = "param"
) -> list[ParamDefinition]:
    """Return what the map at ``path`` declares; add what is wrong with its items to ``faults``."""
    declared: list[ParamDefinition] = []
    for name, item in (raw if isinstance(raw, dict) else {}).items():
        place = (*path, name)
        if isinstance(item, str):
            message = f"{name!r} must be a map, not text"
            faults.append(document.fault(place, message, "write {type: string}, or another type"))
            continue
        source = validate(ParamSource, item, document, faults, at=place, hint_for=key_hint)
        if source is None:
            continue

        def report(inner: tuple[str, ...], message: str, hint: str, place: Path = place) -> None:
            faults.append(document.fault((*place, *inner), message, hint))

        definition = declare(name, source, report, what=what)
        if definition is not None:
            declared.append(definition)
    return declared


def declare(name: str, source: ParamSource, report: Report, *, what: str = "param") -> ParamDefinition | None:
    """Return what a file says of a param, or None with every fault reported.

    A param is an environment variable too, and may not have every name; what else is declared may.
    """
    complete = True

    def refuse(key: str, message: str, hint: str = "") -> None:
        nonlocal complete
        complete = False
        report((key,) if key else (), message, hint)

    reason = reason_reserved(name)
    if reason and what == "param":
        refuse("", f"{name!r} cannot be the name of a param: as an environment variable it {reason}",
               f"choose another name, such as {'my_' + name.lower().strip('_')!r}")  # fmt: skip
    if source.type == "secret":
        refuse("type", f"{what}s of type secret are not available in this version",
               "keep the secret in a file that only the task's user may read" if what == "param" else
               "keep it as a secret of the daemon, which a task names under secrets")  # fmt: skip
        return None
    _check_bounds(source, refuse)
    if not complete:
        return None
    definition = ParamDefinition(
        name=name,
        type=source.type,
        description=source.description,
        choices=tuple(source.choices) if source.choices is not None else None,
        pattern=source.pattern,
        minimum=_bound(source, "minimum"),
        maximum=_bound(source, "maximum"),
        min_length=source.min_length,
        max_length=source.max_length,
    )
    if "default" not in source.model_fields_set:
        return definition
    return _with_default(definition, source.default, refuse)


def _with_default(
    definition: ParamDefinition, default: object, refuse: Callable[[str, str, str], None]
) -> ParamDefinition | None:
    if default is None:
        refuse("default", "'default' has no value", 'write "" for empty text, or remove the key to demand a value')
    elif is_expression(default):
        refuse("default", "a default cannot be an expression", "write the value itself, or use the expression in env")
    else:
        try:
            return replace(definition, default=values.convert(definition, default), has_default=True)
        except RefusalError as error:
            refuse("default", f"'default' {error}", error.hint)
    return None


def _check_bounds(source: ParamSource, refuse: Callable[..., None]) -> None:
    allowed = _BOUNDS_OF[source.type]
    for key in ("choices", "pattern", "minimum", "maximum", "min_length", "max_length"):
        if key in source.model_fields_set and key not in allowed:
            hint = f"it can have: {', '.join(sorted(allowed))}" if allowed else "remove the key"
            refuse(key, f"a param of type {source.type} has no {key!r}", hint)
    for key in ("minimum", "maximum"):
        if key in source.model_fields_set and key in allowed:
            try:
                _bound(source, key)
            except RefusalError as error:
                refuse(key, f"{key!r} {error}", error.hint)
    _check_room(source, refuse)
    if source.type == "choice":
        _check_choices(source.choices, refuse)
    if source.pattern is not None and source.type == "string":
        try:
            values.compile_pattern(source.pattern)
        except RefusalError as error:
            refuse("pattern", f"'pattern' {error}", error.hint)


def _check_room(source: ParamSource, refuse: Callable[..., None]) -> None:
    """Refuse bounds that no value keeps. Bounds that are wrong by themselves, or not of this type, are left alone."""
    for least, most in (("minimum", "maximum"), ("min_length", "max_length")):
        if not {least, most} <= _BOUNDS_OF[source.type]:
            continue
        try:
            low, high = _bound(source, least), _bound(source, most)
        except RefusalError:
            continue
        if low is None or high is None:
            continue
        if source.type == "integer":
            low, high = math.ceil(low), math.floor(high)
        if low > high:
            message = f"no value fits: {most!r} is {getattr(source, most)}, and {least!r} is {getattr(source, least)}"
            refuse(most, message, "swap them, or change one of them")


def _check_choices(choices: list[Any] | None, refuse: Callable[..., None]) -> None:
    if not choices:
        refuse("choices" if choices is not None else "", "a param of type choice needs 'choices'",
               "write choices: [one, two]")  # fmt: skip
    elif any(choice is None or isinstance(choice, list | dict) for choice in choices):
        refuse("choices", "'choices' must hold texts, numbers or booleans")


def _bound(source: ParamSource, key: str) -> float | None:
    value = getattr(source, key)
    if value is None:
        return None
    if source.type == "duration":
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RefusalError(f"must be a number, not {shown(value)}")
    return value
