"""How many connections each may have, so that nobody keeps the others out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from barbossad.rpc.members import LEAST, MOST_RESERVED, Members, most
from barbossad.security.access import Caller, Role


@dataclass(frozen=True, eq=False)
class One:
    """A connection."""

    caller: Caller


def user(uid: int, role: Role = Role.VIEWER) -> Caller:
    return Caller(uid=uid, name=f"u{uid}", role=role)


def fill(members: Members[One], caller: Caller, limit: int) -> list[One]:
    """Connect as often as there is room."""
    made = []
    while not members.no_room(caller, limit):
        made.append(One(caller))
        members.add(made[-1])
    return made


def test_one_user_has_half_and_the_next_half_of_the_rest() -> None:
    """There is room for many users, however many each one wants, and for admins."""
    members: Members[One] = Members()
    assert [len(fill(members, user(uid), 2048)) for uid in range(1, 5)] == [992, 496, 248, 124]
    assert members.no_room(user(1), 2048) == "user u1 has too many clients connected (992)"
    assert len(fill(members, user(0, Role.ADMIN), 2048)) == 2048 - 992 - 496 - 248 - 124
    assert members.no_room(user(0, Role.ADMIN), 2048) == "too many clients are connected"


def test_admins_have_what_is_kept_for_them() -> None:
    """Though every user there could be is connected."""
    members: Members[One] = Members()
    for uid in range(1, 3000):
        if not members.no_room(user(uid), 2048):
            members.add(One(user(uid)))
    assert len(members) == 2048 - MOST_RESERVED
    assert len(fill(members, user(0, Role.ADMIN), 2048)) == MOST_RESERVED


def test_who_leaves_makes_room() -> None:
    """What is forgotten twice counts once."""
    members: Members[One] = Members()
    first, *_ = fill(members, user(1), 10)
    assert members.no_room(user(1), 10)
    members.discard(first)
    members.discard(first)
    assert not members.no_room(user(1), 10)
    assert len(members) == 3


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_of_few_connections_the_first_user_has_one(limit: int) -> None:
    """A small limit is no wall."""
    members: Members[One] = Members()
    assert fill(members, user(1), limit)


def test_descriptors_bound_the_clients() -> None:
    """Tasks and the daemon itself come first; a few may connect in any case, but never more than is allowed."""
    assert most(2048, 65536, 16) == 2048
    assert most(2048, 1024, 16) == 896
    assert most(2048, 64, 32) == LEAST
    assert most(1, 64, 32) == 1
