"""The README's first command, on a fresh Debian with only python3, python3-venv and make."""

from tests.helpers.container import Container

RUN = "cd barbossa && make run"


def test_make_run_and_again_and_stop(container: Container) -> None:
    """For a user with nothing but a clone, `make run` ends with the sample succeeded; so does the next, in seconds."""
    container.run("useradd --create-home newcomer")
    container.run("mkdir barbossa && cp -R /src/. barbossa", user="newcomer")
    try:
        first = container.run(RUN, user="newcomer", timeout_seconds=300)
        assert "succeeded" in first.stdout
        again = container.run(RUN, user="newcomer", timeout_seconds=60)
        assert "succeeded" in again.stdout
        left = container.run("find . -newer barbossa/Makefile -maxdepth 3 | sort", user="newcomer").stdout
        assert left
    finally:
        container.run("cd barbossa && make stop", user="newcomer")
        container.run("userdel --remove newcomer")
