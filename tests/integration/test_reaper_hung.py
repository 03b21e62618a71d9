"""A file system that never answers keeps the task waiting that touches it, and no other."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barbossad.process import procfs
from barbossad.process.launcher import EndCause
from barbossad.process.local.launcher import LocalLauncher
from tests.helpers.hung import hung_automount, hung_folder, needs_fuse
from tests.helpers.launching import ENV, Bench
from tests.helpers.waiting import eventually_async

pytestmark = needs_fuse


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Path]:
    """A folder that never answers."""
    with hung_folder(tmp_path / "hung") as folder:
        yield folder


def reaper_of(bench: Bench) -> int:
    assert isinstance(bench.launcher, LocalLauncher)
    assert bench.launcher.supervisor_pid is not None
    return bench.launcher.supervisor_pid


@pytest.mark.parametrize("where", ["folder", "path", "program"])
@pytest.mark.parametrize("grace_seconds", [0, 20])
async def test_others_go_on(bench: Bench, hung: Path, where: str, grace_seconds: float) -> None:
    """Whether the folder, the way to the program or the program does not answer; and the task itself can be ended."""
    ways: dict[str, dict[str, Any]] = {
        "folder": {"argv": ("/bin/true",), "working_dir": str(hung)},
        "path": {"argv": ("true",), "env": {**ENV, "PATH": f"{hung}:/usr/bin"}},
        "program": {"argv": (f"{hung}/program",)},
    }
    waiting = bench.launch(**ways[where])
    assert [(await bench.run(f"exit {code}")).exit_code for code in (0, 7)] == [0, 7]
    slow = bench.launch("sleep 0.3; exit 3")
    await slow.start()
    assert (await slow.end()).exit_code == 3
    assert waiting.started_at_ms is None
    waiting.process.stop(grace_seconds)
    end = await waiting.end()
    assert (end.cause, end.signal) == (EndCause.SIGNALLED, signal.SIGTERM if grace_seconds else signal.SIGKILL)


async def test_others_go_on_beside_an_automount(bench: Bench, tmp_path: Path) -> None:
    """A folder that is to be mounted when somebody enters it, and for which nobody does that, keeps nobody else."""
    with hung_automount(tmp_path / "auto") as folder:
        waiting = bench.launch(argv=("/bin/true",), working_dir=str(folder))
        assert (await bench.run("exit 7")).exit_code == 7
        waiting.process.stop(0)
        assert (await waiting.end()).cause is EndCause.SIGNALLED


async def test_it_goes_on_when_it_answers(bench: Bench, tmp_path: Path) -> None:
    """A task that waited is started when the file system is there again, or gone."""
    with hung_folder(tmp_path / "hung") as folder:
        waiting = bench.launch(argv=("sh", "-c", "exit 5"), env={**ENV, "PATH": f"{folder}:/usr/bin:/bin"})
        assert (await bench.run("exit 3")).exit_code == 3
    assert (await waiting.end()).exit_code == 5


@pytest.mark.usefixtures("hung")
async def test_starts_beside_one_are_told_as_ever(bench: Bench, tmp_path: Path) -> None:
    """Where a file system may keep a start waiting, the reasons for a failure are the same."""
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    failures = {
        "it does not exist": {"argv": ("/no/such/program",)},
        "no such program on the task's PATH": {"argv": ("no-such-program",)},
        "not executable": {"argv": ("/etc/passwd",)},
        "interpreter": {"argv": (str(script),)},
        "too long together": {"argv": ("/bin/echo", "z" * 200_000)},
        "cannot enter the working directory": {"argv": ("/bin/true",), "working_dir": "/no/such/folder"},
    }
    for words, how in failures.items():
        end = await bench.run(**how)
        assert end.cause is EndCause.START_FAILED
        assert words in (end.message or "")
    end = await bench.run('pwd; echo "$0"; exit 9', working_dir=str(tmp_path))
    assert (end.exit_code, bench.text(end.log).splitlines()[0]) == (9, str(tmp_path))


async def test_a_reaper_that_dies_beside_one(bench: Bench, hung: Path) -> None:
    """Its death is noticed, though a process waits that it made."""
    waiting = bench.launch(argv=("/bin/true",), working_dir=str(hung))
    reaper = reaper_of(bench)
    await eventually_async(lambda: bool(procfs.children(reaper)), 30, "it waits")
    os.kill(reaper, signal.SIGKILL)
    assert (await waiting.end()).cause is EndCause.LOST
    assert (await bench.run("exit 3")).exit_code == 3
