"""Keep a worker from looking for plugins of pydantic at its start, a tenth of the whole (docs/decisions/0093).

pydantic asks the metadata of every installed package for them when the first model is made. A worker has none, so it
need not have ``importlib.metadata`` either, until a task type asks for something of it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

METADATA: Final = "importlib.metadata"
SWITCH: Final = "PYDANTIC_DISABLE_PLUGINS"


class _Unloaded(ModuleType):
    """Stands where a package will be, and gives way to it when something of it is used."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__file__ = spec.origin
        self.__path__ = spec.submodule_search_locations or []

    def entry_points(self, **params: Any) -> Any:
        """Return entry points, as the module does: who imports this name need not use it."""
        return _load().entry_points(**params)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # asked of each module by who looks through all of them
            raise AttributeError(name)
        return getattr(_load(), name)


@contextmanager
def unplugged() -> Iterator[None]:
    """Have pydantic look for no plugins in this block."""
    spec = None if METADATA in sys.modules else find_spec(METADATA)
    if spec is not None:
        sys.modules[METADATA] = importlib.metadata = _Unloaded(spec)
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "__all__"
    try:
        yield
    finally:
        del os.environ[SWITCH]
        if before is not None:
            os.environ[SWITCH] = before


def _load() -> ModuleType:
    """Return the module itself, and have everyone find it from now on."""
    if isinstance(sys.modules.get(METADATA), _Unloaded):
        del sys.modules[METADATA]
    return importlib.import_module(METADATA)
