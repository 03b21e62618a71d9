"""The automation daemon: the folders are the architecture, imports point strictly downward.

``Barbossa`` (the embedded engine) and ``TriggerType`` are looked up on first use, so that
``barbossad.wire`` stays importable by the command line without loading anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barbossad.embedded import Barbossa
    from barbossad.model.states import TriggerType

__version__ = "0.1.0"
__all__ = ["Barbossa", "TriggerType", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Barbossa":
        from barbossad.embedded import Barbossa  # noqa: PLC0415 (lazy, see the module's docstring)

        return Barbossa
    if name == "TriggerType":
        from barbossad.model.states import TriggerType  # noqa: PLC0415 (lazy, see the module's docstring)

        return TriggerType
    raise AttributeError(f"module 'barbossad' has no attribute {name!r}")
