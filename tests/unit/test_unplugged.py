"""Pydantic without a look for its plugins, each time in an interpreter of its own, as a worker is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

START = """\
import json, os, sys
from barbossad.unplugged import unplugged
with unplugged():
    import pydantic
    class Model(pydantic.BaseModel):
        field: int
is_spared = "email.message" not in sys.modules
"""


def run(script: str, **environment: str) -> Any:
    """Return what a script leaves in ``told``, run after a first model was made."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{START}{script}\nprint(json.dumps([is_spared, told]))"],
        env={"PATH": os.defpath, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    is_spared, told = json.loads(done.stdout)
    assert is_spared, "the metadata of packages was read"
    return told


@pytest.mark.parametrize(
    "script",
    [
        "import importlib.metadata\ntold = importlib.metadata.version('pydantic')",
        "import importlib.metadata as found\ntold = found.version('pydantic')",
        "from importlib.metadata import version\ntold = version('pydantic')",
        "from importlib import metadata\ntold = metadata.version('pydantic')",
        "from importlib.metadata import entry_points, version\ntold = entry_points() and version('pydantic')",
        "import importlib.metadata._meta\ntold = importlib.metadata.version('pydantic')",
        "from importlib.metadata import *\ntold = version('pydantic')",
    ],
)
def test_the_metadata_is_there_for_who_uses_it(script: str) -> None:
    """In whatever way it is imported."""
    from importlib.metadata import version  # noqa: PLC0415 (as the scripts do)

    assert run(script) == version("pydantic")


def test_who_looks_through_all_modules_loads_nothing() -> None:
    """Or else their number would change under the loop."""
    script = """\
for module in sys.modules.values():
    getattr(module, "__file__", None), hasattr(module, "__wrapped__")
told = "email.message" in sys.modules"""
    assert run(script) is False


def test_it_is_one_module_then() -> None:
    """What is raised by it can be caught by its name."""
    script = """\
import importlib.metadata as early
try:
    early.version("there-is-no-such-package")
except early.PackageNotFoundError:
    import importlib.metadata as late
    told = late is sys.modules["importlib.metadata"] and late.PackageNotFoundError is early.PackageNotFoundError"""
    assert run(script) is True


@pytest.mark.parametrize(("environment", "expected"), [({}, None), ({"PYDANTIC_DISABLE_PLUGINS": "a,b"}, "a,b")])
def test_the_environment_is_as_it_was(environment: dict[str, str], expected: str | None) -> None:
    """What a task starts inherits no switch of ours, and one of the task's own stays."""
    assert run("told = os.environ.get('PYDANTIC_DISABLE_PLUGINS')", **environment) == expected
