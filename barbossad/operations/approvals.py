"""Whether somebody may answer an approval, and whether the form that it comes with is filled in well."""

from __future__ import annotations

import grp
from collections.abc import Iterable, Mapping
from typing import Any

from barbossad.errors import Fault, InvalidParamsError, NotAskedError
from barbossad.model.definition import ParamDefinition
from barbossad.model.flow import ApprovalRequest
from barbossad.security.access import Caller
from barbossad.validation import RefusalError, proposal, shown
from barbossad.workflows import values


def require_named(request: ApprovalRequest, caller: Caller, subject: str) -> None:
    """Raise NotAskedError unless the request names nobody, or the caller, or a group that the caller is in.

    Administrators are no exception: an approval by somebody else than was asked for is none.
    """
    if not request.users and not request.groups:
        return
    if caller.name in request.users or caller.groups & _numbers(request.groups):
        return
    named = [f"user {user}" for user in request.users] + [f"members of group {group}" for group in request.groups]
    raise NotAskedError(subject, named, caller.name)


def fill_in(
    form: Iterable[ParamDefinition], given: Mapping[str, Any], subject: str, *, is_whole: bool
) -> dict[str, Any]:
    """Return a value of the declared type for each field of a form; raise InvalidParamsError with every fault.

    A form that need not be ``is_whole``, that of a rejection, may lack fields.
    """
    fields = {field.name: field for field in form}
    faults = [
        _fault(name, f"unknown field {shown(name)}", proposal(name, fields, noun="fields") if fields else "it has none")
        for name in given
        if name not in fields
    ]
    found: dict[str, Any] = {}
    for name, field in fields.items():
        if name in given:
            try:
                found[name] = values.convert(field, given[name])
            except RefusalError as error:
                faults.append(_fault(name, f"{name!r} {error}", error.hint))
        elif field.has_default:
            found[name] = field.default
        elif is_whole:
            faults.append(_fault(name, f"the field {name!r} is missing", field.about))
    if faults:
        raise InvalidParamsError(f"the form of {subject}", faults)
    return found


def _numbers(groups: Iterable[str]) -> frozenset[int]:
    """Return the numbers of the groups that this host has."""
    found = set()
    for group in groups:
        try:
            found.add(grp.getgrnam(group).gr_gid)
        except KeyError:
            continue
    return frozenset(found)


def _fault(name: str, message: str, hint: str) -> Fault:
    return Fault(line=None, column=None, path=f"values.{name}", message=message, hint=hint)
