"""Build with setuptools, and ask for a C compiler from the package index where the host has none that works."""

from __future__ import annotations

from typing import Any

import compilers
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 (a build backend is its functions)


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Return what is needed to build a wheel."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_compiler()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """Return what is needed to install from the checkout."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_compiler()]


def _compiler() -> list[str]:
    return [] if compilers.of_host() else [compilers.PACKAGE]
