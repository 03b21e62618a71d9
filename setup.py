"""Build the one part of Barbossa that is no Python: the reaper, a program in C (docs/decisions/0092)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "packaging"))
import compilers

NATIVE = Path("barbossad/process/local/native")
OPTIONS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-fstack-protector-strong"]


class Program(Extension):
    """A program of its own instead of a module that Python loads."""


class BuildPrograms(build_ext):
    """Builds programs where other projects build modules."""

    def build_extension(self, ext: Extension) -> None:
        """Compile and link in one go, and see that what was made works here."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            command, caches = compilers.command_and_environment(Path(scratch))
            made = subprocess.run(
                [*command, *OPTIONS, *ext.sources, "-o", str(target)],
                env={**os.environ, **caches},
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        if made.returncode:
            raise RuntimeError(f"{made.stderr}\n{ext.name} cannot be compiled (see above): {compilers.REMEDY}")
        try:
            said = subprocess.run([target], stderr=subprocess.PIPE, text=True, check=False).stderr
        except PermissionError:  # a folder from which nothing may be executed: it is tried when a daemon starts
            return
        except OSError as error:
            said = str(error)
        if "is started by barbossad" not in said:
            raise RuntimeError(f"what {' '.join(command)} made of {ext.name} does not work: {compilers.REMEDY}")

    def get_ext_filename(self, fullname: str) -> str:
        """Return where a program lies: its name has no suffix."""
        package, _, name = fullname.rpartition(".")
        return str(Path(*package.split("."), name.replace("_", "-")))


class AnyPython(bdist_wheel):
    """Names a wheel for any Python of this kind of machine: the program has nothing to do with Python's insides."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags of Python, of its insides, and of the machine."""
        return "py3", "none", super().get_tag()[2]


setup(
    cmdclass={"build_ext": BuildPrograms, "bdist_wheel": AnyPython},
    ext_modules=[
        Program(
            "barbossad.process.local.barbossa_reaper",
            sources=sorted(map(str, NATIVE.glob("*.c"))),
            depends=sorted(map(str, NATIVE.glob("*.h"))),
        )
    ],
)
