"""The container that the ring shares, with Barbossa installed in it as an administrator would install it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import nspawn
from tests.helpers.container import Container, booted
from tests.helpers.service import CONFIG, Service

# The first session builds the root file system, and every session installs: both count as part of the first test.
_TIMEOUT_SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder, and give it the time that a first boot takes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.systemd)
            item.add_marker(pytest.mark.timeout(_TIMEOUT_SECONDS))


def boot(disk: Path | None = None) -> Iterator[Container]:
    """Boot a container, from a disk of its own if so, or say why this host cannot: skip for a person, fail in CI."""
    if reason := nspawn.why_not():
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; in CI this ring may not be skipped")
        pytest.skip(reason)
    with booted(disk=disk) as container:
        yield container


def install(container: Container) -> None:
    """Install as root, and add a member of the group and somebody who is none."""
    container.run("make -C /src install", timeout_seconds=300)
    container.run("useradd --create-home --groups barbossa member && useradd --create-home stranger")


@pytest.fixture(scope="session")
def container() -> Iterator[Container]:
    """A booted container without Barbossa; shared, so a test leaves it as it was."""
    yield from boot()


@pytest.fixture(scope="session")
def installed(container: Container) -> Container:
    """The shared container after `make install`."""
    install(container)
    return container


@pytest.fixture
def own_container() -> Iterator[Container]:
    """A container for one test alone, with Barbossa installed."""
    for fresh in boot():
        install(fresh)
        yield fresh


@pytest.fixture
def service(installed: Container) -> Iterator[Service]:
    """The installed service, not running, with the packaged configuration and no state."""
    default = installed.run(f"cat {CONFIG}").stdout
    service = Service(container=installed)
    yield service
    service.wipe()
    installed.write(CONFIG, default)
