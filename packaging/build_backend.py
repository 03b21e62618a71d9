"""Build with setuptools, and ask for a C compiler from the package index where the host has none."""

from __future__ import annotations

import shutil
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 (a build backend is its functions)

COMPILER = "ziglang>=0.13"
"""A C compiler as a wheel, of some 100 MB; it is gone when the build is over."""


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Return what is needed to build a wheel."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_compiler()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """Return what is needed to install from the checkout."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_compiler()]


def _compiler() -> list[str]:
    return [] if shutil.which("cc") else [COMPILER]
