"""The launcher of units keeps the contract that all launchers keep, in the container, as a service of its systemd."""

from tests.helpers.container import Container

VENV = "/opt/contract"
RUN = (
    "systemd-run --quiet --wait --pipe --collect --property=NotifyAccess=all --property=FileDescriptorStoreMax=20000 "
    "--property=WorkingDirectory=/src --setenv=PYTHONDONTWRITEBYTECODE=1 --setenv=PYTHONPATH=/src "
    f"{VENV}/bin/python -m pytest -p no:cacheprovider -p no:randomly -o addopts= -q --tb=short"
)


def prepare(container: Container) -> None:
    """Install what runs tests in the container."""
    container.run(
        f"test -d {VENV} || {{ python3 -m venv {VENV} && "
        f"PIP_NO_INDEX=1 {VENV}/bin/pip install --quiet --find-links=/wheels /wheels/*.whl; }}",
        timeout_seconds=200,
    )


def test_contract_of_launchers(installed: Container) -> None:
    """Every rule of tests/contract/test_launchers.py holds for units of a real systemd."""
    prepare(installed)
    done = installed.run(f"{RUN} -k systemd tests/contract/test_launchers.py", check=False, timeout_seconds=300)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
