"""Build the one part of Barbossa that is no Python: the reaper, a program in C (docs/decisions/0092)."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("barbossad/process/native")
OPTIONS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong"]


class Program(Extension):
    """A program of its own instead of a module that Python loads."""


class BuildPrograms(build_ext):
    """Builds programs where other projects build modules; the compiler is `cc`, or the one that the backend fetched."""

    def build_extension(self, ext: Extension) -> None:
        """Compile and link in one go."""
        compiler = ["cc"] if shutil.which("cc") else [sys.executable, "-m", "ziglang", "cc"]
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        self.spawn([*compiler, *OPTIONS, *ext.sources, "-o", str(target)])

    def get_ext_filename(self, fullname: str) -> str:
        """Return where a program lies: its name has no suffix."""
        package, _, name = fullname.rpartition(".")
        return str(Path(*package.split("."), name.replace("_", "-")))


setup(
    cmdclass={"build_ext": BuildPrograms},
    ext_modules=[
        Program(
            "barbossad.process.barbossa_reaper",
            sources=sorted(map(str, NATIVE.glob("*.c"))),
            depends=sorted(map(str, NATIVE.glob("*.h"))),
        )
    ],
)
