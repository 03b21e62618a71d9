"""A question that those who ask it in one turn share."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from barbossad.process.systemd.asking import SharedQuestion


async def test_one_turn_shares_and_the_next_asks_anew() -> None:
    """The answer is never older than the question of anybody who gets it."""
    numbers = itertools.count()
    answered = asyncio.Event()

    async def put() -> int:
        number = next(numbers)
        await answered.wait()
        return number

    question = SharedQuestion(put, "question")
    first, same = question.ask(), question.ask()
    await asyncio.sleep(0)
    later = question.ask()
    answered.set()
    assert [await first, await same, await later] == [0, 0, 1]


async def test_whoever_waits_is_told_of_a_fault_and_nobody_else_need_be() -> None:
    """A fault is raised where the answer is awaited, and left alone where it is not."""

    async def put() -> None:
        raise OSError("not now")

    question = SharedQuestion(put, "question")
    question.ask()
    with pytest.raises(OSError, match="not now"):
        await question.ask()


async def test_closed_it_waits_no_more() -> None:
    """What is still being asked is given up."""
    question = SharedQuestion(asyncio.Event().wait, "question")
    asked = question.ask()
    await asyncio.sleep(0)
    await question.close()
    assert asked.cancelled()
