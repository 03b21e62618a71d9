"""Who is connected, and whether there is room for one more: no user can keep all the others out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from barbossad.security.access import Caller, Role

MOST_RESERVED: Final = 64
"""Connections that are kept for admins; of few that may be open at all, a quarter."""

OWN_DESCRIPTORS: Final = 64
"""What the daemon itself has open, for moments too."""

DESCRIPTORS_A_TASK: Final = 4
"""Two pipes, the file of its log, and that of the end which is kept apart."""

LEAST: Final = 8
"""Connections that there may be in any case: somebody has to look after a daemon that is short of descriptors."""


class Member(Protocol):
    """A connection, as far as it is counted."""

    @property
    def caller(self) -> Caller:
        """Who is at the other end."""


Connected = TypeVar("Connected", bound=Member)


def most(limit: int, descriptors: int, tasks: int) -> int:
    """Return how many connections there may be: what the descriptors of this process leave beside so many tasks."""
    return min(limit, max(LEAST, descriptors - OWN_DESCRIPTORS - DESCRIPTORS_A_TASK * tasks))


class Members(Generic[Connected]):
    """The connections that are open, and those that are closed and whose changes still go on."""

    def __init__(self) -> None:
        self._all: set[Connected] = set()
        self._by_user: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Connected]:
        return iter(list(self._all))

    def add(self, connection: Connected) -> None:
        """Count a connection."""
        self._all.add(connection)
        self._by_user[connection.caller.uid] += 1

    def discard(self, connection: Connected) -> None:
        """Forget a connection, if it is known."""
        if connection not in self._all:
            return
        uid = connection.caller.uid
        self._all.remove(connection)
        self._by_user[uid] -= 1
        if not self._by_user[uid]:
            del self._by_user[uid]

    def no_room(self, caller: Caller, limit: int) -> str:
        """Return why somebody may not connect too, in words; empty if there is room.

        Admins may have all. Anybody else may have half of what is left by the others beside the admins' reserve: the
        first user half of all, a second one half of the rest, and so on.
        """
        if len(self) >= limit:
            return "too many clients are connected"
        if caller.role is Role.ADMIN:
            return ""
        own = self._by_user[caller.uid]
        left = limit - min(MOST_RESERVED, limit // 4) - (len(self) - own)
        if left <= 0:
            return "too many clients are connected"
        if own and 2 * (own + 1) > left:
            return f"user {caller.name} has too many clients connected ({own})"
        return ""
