"""The mask of output in which secrets are to be masked that nobody knows any more: how much there was is recorded."""

from __future__ import annotations

from typing import Final

WHY: Final = "what of it is secret is not known any more"


def text(size_bytes: int) -> bytes:
    """Return what is recorded in the place of output."""
    return f"[barbossad: {size_bytes} bytes not recorded: {WHY}]\n".encode() if size_bytes else b""


class Blackout:
    """Lets nothing through (see ``process.launcher.Mask``)."""

    held = b""
    starred = 0

    def resume(self, held: bytes, starred: int) -> bytes:  # noqa: ARG002 (as ``Mask`` has it)
        """Return how much was held back."""
        return text(len(held))

    def feed(self, data: bytes, *, is_last: bool = False) -> bytes:  # noqa: ARG002 (as ``Mask`` has it)
        """Return how much there was."""
        return text(len(data))
