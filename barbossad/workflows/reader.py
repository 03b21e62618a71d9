"""Read texts of workflows: the short ones of an author at once, all others beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from barbossad.aside import Aside
from barbossad.errors import Fault
from barbossad.model.definition import WorkflowDefinition
from barbossad.workflows.loader import Loader

QUICK_CHARACTERS: Final = 8192
"""A text of an author up to this is read at once; a longer one may take seconds, and goes to a thread of its own.
What anybody may ask about, goes there always: a short text may take a third of a second."""

Result = TypeVar("Result")


class Reader:
    """Compiles texts, and tells what is wrong with them; nothing is stored."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._aside = Aside("workflow-reader")

    def load(self, text: str) -> WorkflowDefinition:
        """Return a text compiled, at once. Raise InvalidWorkflowError with every fault."""
        return self._loader.load(text)

    async def check(self, text: str) -> list[Fault]:
        """Return what is wrong with anybody's text."""
        return await self._aside.run(self._loader.check, text)

    async def compiled(self, text: str) -> WorkflowDefinition:
        """Return anybody's text compiled. Raise InvalidWorkflowError with every fault."""
        return await self._aside.run(self._loader.load, text)

    async def authored(self, text: str) -> WorkflowDefinition:
        """Return the text of somebody who may apply it compiled. Raise InvalidWorkflowError with every fault."""
        return await self._read(self._loader.load, text)

    async def begun(self, text: str) -> WorkflowDefinition:
        """Return what was accepted before, with stand-ins for types that are gone. Raise InvalidWorkflowError."""
        return await self._read(self._loader.load_begun, text)

    def close(self) -> None:
        """Let go of the thread that reads long texts."""
        self._aside.close()

    async def _read(self, read: Callable[[str], Result], text: str) -> Result:
        return read(text) if len(text) <= QUICK_CHARACTERS else await self._aside.run(read, text)
