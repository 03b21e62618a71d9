"""Who may ask, by the uid and the groups that the kernel tells."""

from __future__ import annotations

import grp
import logging
import os
import pwd

import pytest

from barbossad.config import Access, Members
from barbossad.security.access import AccessTable, Role, user_name

STRANGER = 54_321


def table(**members: Members) -> AccessTable:
    return AccessTable(Access(**members))


def test_the_mighty_are_admins() -> None:
    """Root and the daemon's own user may everything, whatever the config says."""
    for made in (table(), table(viewer=Members(users=[0, os.geteuid()]))):
        for uid in (0, os.geteuid()):
            assert made.caller(uid, []).role is Role.ADMIN


def test_strangers_have_no_role() -> None:
    """Who is not named has no role: deny by default; group 0 is no exception."""
    made = table(operator=Members(users=[1000], groups=[2000]))
    for groups in ([], [0], [1000], [1, 2, 3]):
        assert made.caller(STRANGER, groups).role is None


@pytest.mark.parametrize("role", Role)
def test_named_users_and_groups(role: Role) -> None:
    """A user has the role of its own entry, or of a group that it is in; numbers of users are not those of groups."""
    made = table(**{role.word: Members(users=[STRANGER], groups=[7777])})
    assert made.caller(STRANGER, []).role is role
    assert made.caller(STRANGER + 1, [1, 7777]).role is role
    assert made.caller(7777, []).role is None
    assert made.caller(STRANGER + 1, [STRANGER]).role is None


def test_the_mightiest_wins() -> None:
    """Of several roles the mightiest counts, however they come about."""
    made = table(
        viewer=Members(users=[STRANGER], groups=[1]),
        operator=Members(users=[STRANGER], groups=[2]),
        author=Members(groups=[3]),
    )
    assert made.caller(STRANGER, []).role is Role.OPERATOR
    assert made.caller(STRANGER, [1]).role is Role.OPERATOR
    assert made.caller(STRANGER, [3, 1]).role is Role.AUTHOR
    assert made.caller(STRANGER + 1, [2, 1]).role is Role.OPERATOR


def test_names_are_looked_up() -> None:
    """Names of accounts stand for their numbers."""
    user, group = pwd.getpwuid(1), grp.getgrgid(1)
    made = table(viewer=Members(users=[user.pw_name]), author=Members(groups=[group.gr_name]))
    assert made.caller(user.pw_uid, []).role is Role.VIEWER
    assert made.caller(STRANGER, [group.gr_gid]).role is Role.AUTHOR


def test_unknown_names_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """A name that this host does not have is left out with a warning, and keeps nobody else out."""
    made = table(operator=Members(users=["no-such-user", STRANGER], groups=["no-such-group"]))
    assert made.caller(STRANGER, []).role is Role.OPERATOR
    assert [(record.levelno, record.__dict__["action"]) for record in caplog.records] == [
        (logging.WARNING, "access_unknown"),
        (logging.WARNING, "access_unknown"),
    ]
    assert "'no-such-user'" in caplog.text
    assert "'no-such-group'" in caplog.text


def test_caller_is_named() -> None:
    """A caller has a name for the record: its own, or its number where the host knows none."""
    assert table().caller(0, []).name == "root"
    assert user_name(STRANGER) == str(STRANGER)


def test_roles_are_ordered() -> None:
    """Each role may all that the ones below it may."""
    assert sorted(Role) == [Role.VIEWER, Role.OPERATOR, Role.AUTHOR, Role.ADMIN]
    assert [role.word for role in Role] == ["viewer", "operator", "author", "admin"]
