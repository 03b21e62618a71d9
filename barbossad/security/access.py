"""Who may ask: roles, and which role a caller has by the uid and groups that the kernel tells.

Never by pid: a pid says who connected, not who speaks now (``SO_PEERCRED`` tells who called connect(2)).
"""

from __future__ import annotations

import grp
import logging
import os
import pwd
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from barbossad.config import Access

log = logging.getLogger(__name__)


class Role(IntEnum):
    """What a caller may do; each role may all that the ones below it may."""

    VIEWER = 1
    """Look at workflows, runs and their output."""

    OPERATOR = 2
    """Start and cancel runs of the stored versions of workflows."""

    AUTHOR = 3
    """Define workflows: whoever may, is as mighty as the user that tasks run as."""

    ADMIN = 4
    """Everything, the daemon itself included."""

    @property
    def word(self) -> str:
        """Its name as people write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: the user of the connection, its groups, and the role that gives."""

    uid: int
    name: str
    role: Role | None
    groups: frozenset[int] = frozenset()
    """The groups that the kernel says it is in."""


class AccessTable:
    """Roles by uid and gid, made from the config; names are looked up once, here."""

    def __init__(self, access: Access) -> None:
        self._users: dict[int, Role] = {}
        self._groups: dict[int, Role] = {}
        for role in Role:  # from the least on, so that the mightiest of several wins
            members = getattr(access, role.word)
            for uid in _numbers(members.users, lambda name: pwd.getpwnam(name).pw_uid, "user", role):
                self._users[uid] = role
            for gid in _numbers(members.groups, lambda name: grp.getgrnam(name).gr_gid, "group", role):
                self._groups[gid] = role

    def caller(self, uid: int, groups: Iterable[int]) -> Caller:
        """Return who this is. Root and the daemon's own user are admins; a stranger has no role."""
        groups = frozenset(groups)
        return Caller(uid=uid, name=user_name(uid), role=self.role(uid, groups), groups=groups)

    def role(self, uid: int, groups: Iterable[int]) -> Role | None:
        """Return the role of a user in these groups, the mightiest of several; None: a stranger."""
        if uid in (0, os.geteuid()):
            return Role.ADMIN
        roles = [self._groups[gid] for gid in groups if gid in self._groups]
        if uid in self._users:
            roles.append(self._users[uid])
        return max(roles, default=None)


def user_name(uid: int) -> str:
    """Return a user's name, or the number as text if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _numbers(accounts: Iterable[str | int], find: Callable[[str], int], what: str, role: Role) -> list[int]:
    found = []
    for account in accounts:
        try:
            found.append(account if isinstance(account, int) else find(account))
        except KeyError:
            log.warning(
                "access.%s names the %s %r, which this host does not have; it is left out", role.word, what, account,
                extra={"action": "access_unknown"},
            )  # fmt: skip
    return found
