"""Params of a run: bound to values before it exists, handed on as environment variables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from barbossad.errors import Fault, InvalidParamsError
from barbossad.model.definition import ParamDefinition, WorkflowDefinition
from barbossad.validation import RefusalError, proposal, shown
from barbossad.variables import MAX_VARIABLE_BYTES, text_of
from barbossad.workflows import values


def bind(definition: WorkflowDefinition, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value of the declared type for each param of a workflow.

    Text is converted where that is unambiguous, since a command line has nothing else: ``"3"``, ``"true"``,
    ``"1h30m"``, JSON for lists and maps. Raise InvalidParamsError with every fault: unknown and missing params,
    wrong types, values out of bounds, and values that no environment variable can carry.
    """
    bound, faults = check(definition.params, given)
    if not faults and len(as_json(bound).encode()) + 32 > MAX_VARIABLE_BYTES:
        reason = f"all params together are longer than {MAX_VARIABLE_BYTES} bytes"
        faults.append(_fault("", reason, "put large values into a file and give the file's path"))
    if faults:
        raise InvalidParamsError(f"params of workflow {definition.name!r}", faults)
    return bound


def check(params: Sequence[ParamDefinition], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Return the values that ``bind`` would and what is wrong with those that were given, each by itself."""
    declared = {param.name: param for param in params}
    faults = [
        _fault(name, f"unknown param {shown(name)}", proposal(name, declared, noun="params"))
        for name in given
        if name not in declared
    ]
    bound: dict[str, Any] = {}
    for name, param in declared.items():
        if name not in given:
            if param.has_default:
                bound[name] = param.default
            else:
                faults.append(_fault(name, f"the param {name!r} is missing", param.about))
            continue
        try:
            bound[name] = values.convert(param, given[name])
        except RefusalError as error:
            faults.append(_fault(name, f"{name!r} {error}", error.hint))
    return bound, faults


def environment(bound: Mapping[str, Any]) -> dict[str, str]:
    """Return bound params as environment variables: each under its own name, as text."""
    return {name: text_of(value) for name, value in bound.items()}


def as_json(bound: Mapping[str, Any]) -> str:
    """Return bound params as one JSON text."""
    return json.dumps(bound, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _fault(name: str, message: str, hint: str) -> Fault:
    return Fault(line=None, column=None, path=f"params.{name}" if name else "params", message=message, hint=hint)
