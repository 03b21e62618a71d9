"""Long work is done aside, one piece at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from barbossad import aside as asides
from barbossad.aside import Aside, Gate
from tests.helpers.waiting import eventually_async


@pytest.fixture
def aside() -> Iterator[Aside]:
    made = Aside("aside-test")
    yield made
    made.close()
    for thread in threading.enumerate():
        if thread.name == "aside-test":
            thread.join(30)


async def test_results_and_exceptions(aside: Aside) -> None:
    """What the work returns or raises comes to who waits for it, from another thread."""
    assert await aside.run(sum, [1, 2, 3]) == 6
    assert await aside.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await aside.run(lambda: 1 // 0)


async def test_one_at_a_time_in_order(aside: Aside) -> None:
    """Work is done in the order in which it was asked for, all by one thread."""
    threads: list[int] = []
    done: list[int] = []

    def work(number: int) -> None:
        threads.append(threading.get_ident())
        done.append(number)

    await asyncio.gather(*(aside.run(work, number) for number in range(20)))
    assert done == list(range(20))
    assert len(set(threads)) == 1


async def test_without_a_thread(aside: Aside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be made, as a task has all of them, all that is asked for waits until one can."""
    real, refused = threading.Thread.start, iter(range(3))

    def start(thread: threading.Thread) -> None:
        if next(refused, None) is not None:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(asides, "_RETRY_SECONDS", 0.01, raising=False)
    asked = [asyncio.create_task(aside.run(sum, [number, 1])) for number in range(2)]
    async with asyncio.timeout(30):
        assert await asyncio.gather(*asked) == [1, 2]
    assert next(refused, None) is None


async def test_what_nobody_waits_for_is_not_begun(aside: Aside) -> None:
    """Work whose asker has gone is skipped; work that had begun goes on and holds up the next."""
    begun, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        begun.set()
        go_on.wait(30)
        done.append("first")

    running = asyncio.create_task(aside.run(first))
    await eventually_async(begun.is_set, 30, "the first has begun")
    skipped = asyncio.create_task(aside.run(done.append, "skipped"))
    last = asyncio.create_task(aside.run(done.append, "last"))
    await asyncio.sleep(0)
    running.cancel()
    skipped.cancel()
    await asyncio.gather(running, skipped, return_exceptions=True)
    go_on.set()
    await last
    assert done == ["first", "last"]


def test_it_holds_up_nobodys_end() -> None:
    """A loop that ends while work goes on does not wait for it, and the work's end does no harm."""
    made = Aside("aside-test")
    go_on = threading.Event()

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await made.run(go_on.wait, 30)

    asyncio.run(ask())
    go_on.set()
    made.close()
    for thread in threading.enumerate():
        if thread.name == "aside-test":
            assert thread.daemon
            thread.join(30)
            assert not thread.is_alive()


async def test_who_was_woken_together_goes_on_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a turn is used up, others have theirs before the next goes on, and all do, in their order."""
    monkeypatch.setattr(asides, "TURN_SECONDS", 0.0)
    gate, woken = Gate(), asyncio.Event()
    turns, done = 0, []

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def work(number: int) -> None:
        await woken.wait()
        await gate.passed()
        done.append((number, turns))

    beside = asyncio.create_task(others())
    tasks = [asyncio.create_task(work(number)) for number in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()  # who has gone takes no turn
    woken.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[5].cancel()
    await asyncio.wait(tasks)
    beside.cancel()
    assert [number for number, _ in done] == [0, 1, 2, 4, 6, 7, 8, 9]
    assert len({turn for _, turn in done}) == len(done)


async def test_who_comes_alone_waits_for_nothing() -> None:
    """The first of a turn, and those for whom it is long enough, go on at once."""
    gate = Gate()
    for _ in range(3):
        passing = gate.passed()
        with pytest.raises(StopIteration):
            passing.send(None)
