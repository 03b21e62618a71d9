"""The README's first command, on a fresh Debian with only python3, python3-venv and make."""

from collections.abc import Iterator

import pytest

from tests.helpers.container import Container

USER = "newcomer"
STATE = ".local/state/barbossa"
RESULTS = f"{STATE}/samples/host-report"
OUTDATED = "It was started before its code last changed"


@pytest.fixture(scope="module")
def home(container: Container) -> Iterator[Container]:
    """Return the container with a user whose home holds a clone of the repository and nothing else."""
    container.run(f"useradd --create-home {USER}")
    container.run("mkdir barbossa && cp -R /src/. barbossa", user=USER)
    yield container
    container.run(f"userdel --remove {USER}")


@pytest.fixture
def clone(home: Container) -> Iterator[Container]:
    """Return the same, and stop the user's daemon after the test."""
    yield home
    make(home, "stop")


def make(container: Container, target: str) -> str:
    """Make a target in the clone and return all that was printed; it must not take as long as a first set-up twice."""
    done = container.run(f"make --directory=barbossa --no-print-directory {target}", user=USER, timeout_seconds=200)
    return done.stdout + done.stderr


def test_make_run_sets_up_runs_the_sample_and_can_be_repeated(clone: Container) -> None:
    """`make run` ends with the sample succeeded, sets nothing up the second time, and says what to try next."""
    first = make(clone, "run")
    assert "Started a daemon of your own" in first
    assert "task verify succeeded" in first
    assert "barbossactl ps" in first
    second = make(clone, "run")
    assert "running already" in second
    assert "task verify succeeded" in second
    assert "pip" not in second
    assert OUTDATED not in second
    assert clone.run(f"cat {RESULTS}/report.md", user=USER).stdout.startswith("# ")


def test_a_daemon_that_is_older_than_its_code_is_told(clone: Container) -> None:
    """After a `git pull` the daemon that runs is still the one before it."""
    make(clone, "run")
    clone.run("sleep 0.1; touch barbossa/barbossad/worker.py", user=USER)
    assert OUTDATED in make(clone, "run")
    make(clone, "stop")
    assert OUTDATED not in make(clone, "run")


def test_what_to_try_next_works(clone: Container) -> None:
    """The commands that `make run` proposes, taken from what it prints, all work as they stand."""
    printed = make(clone, "run").splitlines()
    exports = next(line.strip() for line in printed if line.strip().startswith("export PATH="))
    proposed = [line.strip().split("  ")[0] for line in printed if line.startswith("  barbossactl ")]
    assert len(proposed) >= 3
    for command in proposed:
        clone.run(f"{exports}; {command}", user=USER)


def test_sample_leaves_nothing_behind_outside_its_folder(clone: Container) -> None:
    """After `make run` and `make stop`, files are in the clone and in the state folder alone, and nothing runs."""
    make(clone, "run")
    assert "Stopped your daemon" in make(clone, "stop")
    assert "No daemon of yours is running" in make(clone, "stop")
    owned = clone.run(f"find / -xdev -user {USER} -newer barbossa/Makefile -type f 2>/dev/null; true", user=USER).stdout
    elsewhere = [
        path
        for path in owned.splitlines()
        if not path.startswith((f"/home/{USER}/barbossa/", f"/home/{USER}/{STATE}/", "/proc/"))
    ]
    assert elsewhere == []
    assert set(clone.run(f"ls {RESULTS}", user=USER).stdout.split()) == {
        "archive.tar.gz", "disks.txt", "memory.txt", "ports.txt", "report.json", "report.md",
    }  # fmt: skip
    assert USER not in clone.run("stat --format %U /proc/[0-9]*", check=False).stdout
