"""What masks long secrets is made beside the event loop, once."""

from __future__ import annotations

import secrets
import threading

import pytest

from barbossad.security import masking
from barbossad.security.making import SHORT_CHARACTERS, Maker


def chosen(size: int) -> frozenset[str]:
    return frozenset({secrets.token_hex(size // 2)})


async def test_short_secrets_are_not_waited_for() -> None:
    """What takes no time is made when it is needed, and what there is already is not made again."""
    maker, known = Maker(), chosen(2 * SHORT_CHARACTERS)
    masking.masking_of(known)
    assert maker.begin(known) is None
    assert maker.begin(chosen(SHORT_CHARACTERS)) is None
    assert maker.begin(frozenset()) is None


async def test_long_secrets_are_made_once() -> None:
    """All who need what masks the same secrets wait for one who makes it, and then it is at hand."""
    maker, long = Maker(), chosen(2 * SHORT_CHARACTERS)
    first = maker.begin(long)
    assert first is not None
    assert maker.begin(long) is first
    made = await first
    assert maker.begin(long) is None
    assert masking.masking_of(long) is made
    other = maker.begin(chosen(2 * SHORT_CHARACTERS))
    assert other is not None
    assert await other is not made


async def test_where_no_thread_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for one: what masks the secrets is made when it is needed."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    long = chosen(2 * SHORT_CHARACTERS)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert Maker().begin(long) is None
    assert Maker().begin(long) is not None


async def test_nothing_that_may_be_told_of_has_a_secret() -> None:
    """What the event loop would name in a line about a fault, or a debugger, shows no secret."""
    (secret,) = long = chosen(2 * SHORT_CHARACTERS)
    making = Maker().begin(long)
    assert secret[:8] not in repr(making) + repr(masking.make_mask_of(long))
    assert making is not None
    await making


def test_what_was_needed_long_ago_is_forgotten() -> None:
    """No more is kept than for some tasks: what was used last."""
    long = [chosen(8) for _ in range(masking.MOST_KEPT + 1)]
    for one in long[:-1]:
        masking.masking_of(one)
    masking.masking_of(long[0])
    masking.masking_of(long[-1])
    assert [masking.is_at_hand(one) for one in long[:3]] == [True, False, True]
