"""The kernel tells who connected."""

from __future__ import annotations

import os
import socket

import pytest

from barbossad.rpc import peer
from tests.helpers.other_user import as_user


def test_this_process() -> None:
    """The peer is known by its uid and all its groups."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        uid, groups = peer.identity(theirs)
    assert uid == os.geteuid()
    assert groups == {os.getegid(), *os.getgroups()}


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root may")
@pytest.mark.parametrize("count", [0, 1, 256])
def test_the_groups_of_the_process(count: int) -> None:
    """It is the groups of the process that count, not those that the databases have for its user."""
    given = tuple(range(64000, 64000 + count))

    def look() -> list[int]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            return sorted(peer.identity(theirs)[1])

    assert as_user(64999, look, gid=63999, groups=given) == [63999, *given]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root may")
def test_more_groups_than_can_be_told() -> None:
    """Where there are too many groups to be told, those of the user's name count; a uid without one has its first."""

    def look() -> list[int]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            return sorted(peer.identity(theirs)[1])

    assert as_user(64999, look, gid=63999, groups=range(1000, 1300)) == [63999]
