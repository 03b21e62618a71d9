"""The build of what is compiled: by a compiler that works, the host's or one from the index, and tried afterwards."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from barbossad.process.local import supervisor

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("pyproject.toml", "setup.cfg", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "packaging", "barbossad")

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture
def compilers() -> ModuleType:
    """The module that looks for a compiler, fresh: it remembers what it found."""
    spec = importlib.util.spec_from_file_location("compilers", ROOT / "packaging" / "compilers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "text",
    ["exit 1", "exit 0", "echo no stdio.h >&2; exit 1", 'echo text >"$3"', 'echo text >"$3"; chmod 755 "$3"'],
)
def test_compiler_that_does_not_work(compilers: ModuleType, tmp_path: Path, text: str) -> None:
    """A compiler that fails, or makes nothing that runs, is none."""
    assert not compilers.works((str(script(tmp_path / "cc", text)),))
    assert not compilers.works((str(tmp_path / "gone"),))


@needs_cc
def test_compiler_of_the_host(compilers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that works is taken; what CC names, with its options, is taken alone."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script(tmp_path / "cc", "exit 1")
    real = shutil.which("gcc") or shutil.which("clang")
    if real is not None:
        assert compilers.of_host() == (Path(real).name,)
    compilers.of_host.cache_clear()
    monkeypatch.setenv("CC", "cc -O1")
    assert compilers.of_host() is None


def test_no_compiler_at_all(compilers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any, the build says how to get one."""
    monkeypatch.setenv("CC", str(tmp_path / "gone"))
    with pytest.raises(RuntimeError, match="apt-get install gcc libc6-dev"):
        compilers.command_and_environment(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("has_compiler", [pytest.param(True, marks=needs_cc), False])
def test_wheel(tmp_path: Path, *, has_compiler: bool) -> None:
    """The wheel is for any Python of this kind of machine, and its program works; the compiler leaves nothing."""
    source, home = tmp_path / "source", tmp_path / "home"
    home.mkdir()
    source.mkdir()
    for part in PARTS:
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, source / part)
    (source / "barbossad" / "process" / supervisor.PROGRAM_NAME).unlink(missing_ok=True)
    environment = {**os.environ, "HOME": str(home), "PIP_NO_CACHE_DIR": "1"}
    if not has_compiler:
        environment |= {"PATH": str(home), "CC": str(home / "gone")}
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--use-pep517", "--wheel-dir", str(tmp_path), "."]
    built = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    if not has_compiler and "No matching distribution found for ziglang" in built.stderr and "CI" not in os.environ:
        pytest.skip("the package index has no compiler, or cannot be reached")
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert "-py3-none-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as file:
        assert [name for name in file.namelist() if name.endswith((".c", ".h", "setup.py"))] == []
        program = Path(file.extract("barbossad/process/local/barbossa-reaper", tmp_path))
    program.chmod(0o755)
    said = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (said.returncode, "is started by barbossad" in said.stderr) == (2, True)
    assert [path for path in home.rglob("*") if "zig" in path.name] == []  # pip itself makes what it likes
