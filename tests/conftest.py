"""What every test gets: it fails if it leaves a task, a child process or an open file behind.

Fixtures of a wider scope (a container, say) are set up before these and may keep what they opened.
"""

from __future__ import annotations

import inspect
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.helpers import leaks

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what runs in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves open files or children behind and, where it is asynchronous, tasks."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("no_task_leaks")  # makes the event loop, whose own files are no leak
    before = leaks.snapshot()
    yield
    if left := leaks.leaks_since(before):
        pytest.fail("the test left behind: " + "; ".join(left), pytrace=False)


@pytest.fixture
async def no_task_leaks() -> AsyncIterator[None]:
    """Fail a test that leaves tasks in its event loop; asked for before its own fixtures, so they are gone by then."""
    yield
    if left := leaks.leaked_tasks():
        pytest.fail("the test left behind: " + "; ".join(left), pytrace=False)
