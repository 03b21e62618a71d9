"""The reaper under the compiler's own eyes: built with its sanitizers, it does all that it does without a fault."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from barbossad.process.launcher import EndCause
from barbossad.process.local import supervisor
from tests.helpers.hung import hung_folder, needs_fuse
from tests.helpers.launching import ENV, Bench, Needle, make_local

NATIVE = supervisor.PROGRAM.parent / "native"
WATCHED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1", "-std=gnu11", "-D_GNU_SOURCE"]

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A script that starts the watched reaper, whose findings go to files beside it."""
    folder = tmp_path_factory.mktemp("reaper")
    built = folder / "watched"
    subprocess.run(["cc", *WATCHED, *map(str, sorted(NATIVE.glob("*.c"))), "-o", str(built)], check=True)
    script = folder / "script"
    options = f"log_path={folder}/found:abort_on_error=0:detect_leaks=1"
    script.write_text(f'#!/bin/sh\nASAN_OPTIONS={options} UBSAN_OPTIONS={options} exec {built} "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture
async def bench(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A launcher with the watched reaper, which has nothing to say in the end."""
    monkeypatch.setattr(supervisor, "PROGRAM", program)
    bench = make_local(tmp_path)
    await bench.launcher.start()
    yield bench
    await bench.launcher.close()
    assert [path.read_text() for path in program.parent.glob("found*")] == []


async def test_ordinary_lives(bench: Bench, tmp_path: Path) -> None:
    """Tasks that end, fail, cannot start, are too long for a packet, and have an empty environment."""
    watched = [bench.launch("exit 3") for _ in range(40)]
    assert {(await one.end()).exit_code for one in watched} == {3}
    for name in ("no-such-program", "/etc/passwd", "x" * 5000, "/" + "y" * 5000):
        assert (await bench.run(argv=(name,))).cause is EndCause.START_FAILED
    assert (await bench.run(argv=("/bin/echo", "z" * 200_000))).cause is EndCause.START_FAILED
    assert (await bench.run("true", working_dir=f"{tmp_path}{'/none' * 300}")).cause is EndCause.START_FAILED
    many = {f"V{number}": "v" * 100 for number in range(2000)}
    end = await bench.run("env | grep -c ^V", env={**ENV, **many})
    assert (end.exit_code, bench.text(end.log)) == (0, "2000\n")
    assert (await bench.run(argv=("/bin/true",), env={})).exit_code == 0
    end = await bench.run(argv=("true",), env={"PATH": "::/nowhere:/usr/bin:"}, working_dir=str(tmp_path))
    assert end.exit_code == 0


async def test_stubborn_lives(bench: Bench) -> None:
    """Tasks that leave others behind, under every disguise, and tasks that have to be killed."""
    needle = Needle()
    hiding = f"for i in 1 2 3 4 5; do (env -i setsid {needle.command} &) ; ({needle.command} &); done"
    assert (await bench.run(hiding)).exit_code == 0
    assert needle.pids == []
    stubborn = [bench.launch(f"trap '' TERM; (setsid {needle.command} &); {needle.command}") for _ in range(10)]
    for one in stubborn:
        (await one.start()).stop(0.1)
    assert {(await one.end()).cause for one in stubborn} == {EndCause.SIGNALLED}
    assert needle.pids == []


async def test_many_at_once(bench: Bench) -> None:
    """Hundreds of orphans and of tasks at the same time."""
    needle = Needle()
    orphans = bench.launch(f"for i in $(seq 300); do (setsid {needle.command} &); done; exec {needle.command}")
    watched = [bench.launch(f"exit {number % 7}") for number in range(300)]
    assert [(await one.end()).exit_code for one in watched] == [number % 7 for number in range(300)]
    (await orphans.start()).stop(5)
    await orphans.end()
    assert needle.pids == []


@needs_fuse
async def test_beside_a_folder_that_never_answers(bench: Bench, tmp_path: Path) -> None:
    """Tasks that wait for it, are ended waiting, cannot start, and are told so when it is gone."""
    with hung_folder(tmp_path / "hung") as folder:
        waiting = [bench.launch(argv=("/bin/true",), working_dir=str(folder)) for _ in range(9)]
        assert {(await bench.run(f"exit {code}")).exit_code for code in range(5)} == {*range(5)}
        assert (await bench.run(argv=("no-such-program",))).cause is EndCause.START_FAILED
        for one in waiting[:5]:
            one.process.stop(0)
        assert {(await one.end()).cause for one in waiting[:5]} == {EndCause.SIGNALLED}
    assert {(await one.end()).cause for one in waiting[5:]} == {EndCause.START_FAILED}
