"""Triggers by units of a real systemd."""

from tests.helpers.container import Container
from tests.systemd.test_contract import RUN, prepare


def test_watcher_of_units(installed: Container) -> None:
    """Every rule of tests/systemd/inside_units.py holds in the container."""
    prepare(installed)
    done = installed.run(f"{RUN} tests/systemd/inside_units.py", check=False, timeout_seconds=300)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
