"""Who may answer an approval, and how its form is filled in."""

from __future__ import annotations

import grp
import os

import pytest

from barbossad.errors import InvalidParamsError, NotAskedError
from barbossad.model.definition import ParamDefinition
from barbossad.model.flow import ApprovalRequest
from barbossad.operations.approvals import fill_in, require_named
from barbossad.security.access import Caller, Role

GROUP = grp.getgrgid(os.getgid())
FORM = (
    ParamDefinition(name="minutes", type="integer", default=10, has_default=True, minimum=1, maximum=60),
    ParamDefinition(name="why", type="string", description="What to tell"),
)


def caller(name: str = "eve", groups: frozenset[int] = frozenset(), role: Role = Role.OPERATOR) -> Caller:
    return Caller(uid=4711, name=name, role=role, groups=groups)


def asked(**whom: tuple[str, ...]) -> ApprovalRequest:
    return ApprovalRequest(message="Go on?", **whom)


def test_where_nobody_is_named_everybody_may() -> None:
    """The role decided already."""
    require_named(asked(), caller(), "task 'a'")


def test_users_and_members_of_groups_may() -> None:
    """A name, or one of the groups that the kernel tells of the caller, is enough."""
    require_named(asked(users=("anne", "eve"), groups=("nobody-has-this",)), caller(), "task 'a'")
    members = caller(groups=frozenset({GROUP.gr_gid}))
    require_named(asked(users=("anne",), groups=("nobody-has-this", GROUP.gr_name)), members, "task 'a'")


@pytest.mark.parametrize("role", Role)
def test_nobody_else_may(role: Role) -> None:
    """No role makes up for not having been asked, and a group that the host does not have has no members."""
    with pytest.raises(NotAskedError, match="user anne or members of group nobody-has-this; user eve is none"):
        require_named(asked(users=("anne",), groups=("nobody-has-this",)), caller(role=role), "task 'a'")


def test_fields_are_converted_and_have_defaults() -> None:
    """What is filled in has its type, and what is not its default."""
    assert fill_in(FORM, {"minutes": "30", "why": "x"}, "task 'a'", is_whole=True) == {"minutes": 30, "why": "x"}
    assert fill_in(FORM, {"why": "x"}, "task 'a'", is_whole=True) == {"minutes": 10, "why": "x"}


def test_every_fault_of_a_form_is_told() -> None:
    """Unknown fields, missing ones and values out of bounds, each by its name."""
    with pytest.raises(InvalidParamsError) as caught:
        fill_in(FORM, {"minutes": 99, "wyh": "x"}, "task 'a'", is_whole=True)
    assert {fault.path for fault in caught.value.faults} == {"values.minutes", "values.wyh", "values.why"}
    assert "did you mean 'why'" in str(caught.value)


def test_a_no_needs_no_form() -> None:
    """A rejection may lack fields; what it has is checked all the same."""
    assert fill_in(FORM, {}, "task 'a'", is_whole=False) == {"minutes": 10}
    with pytest.raises(InvalidParamsError):
        fill_in(FORM, {"minutes": 0}, "task 'a'", is_whole=False)
    with pytest.raises(InvalidParamsError, match="it has none"):
        fill_in((), {"why": "x"}, "task 'a'", is_whole=False)
