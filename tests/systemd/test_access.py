"""Who may do what on an installed host: root, members of the group, everybody else."""

import pytest

from tests.helpers.service import Service

REPORT = """\
name: report
params:
  word: {type: string, default: hello}
tasks:
  - id: who
    shell: id -un
  - id: say
    shell: echo "$word"
  - id: count
    python: print(len(params["word"]))
"""


@pytest.fixture
def running(service: Service) -> Service:
    """Return the service, started, with a workflow that root has applied."""
    service.start()
    service.apply(REPORT)
    return service


def test_member_runs_what_root_has_defined(running: Service) -> None:
    """A member of the group starts a workflow of root's, sees its output, and the command ends with 0."""
    done = running.ctl("start report -p word=parrot", user="member")
    assert "parrot" in done.stdout + done.stderr


def test_member_may_not_define(running: Service) -> None:
    """An operator may run but not define: applying a workflow is refused with status 4 and one line."""
    running.container.write("/home/member/own.yaml", REPORT.replace("name: report", "name: own"))
    refused = running.ctl("workflow apply own.yaml", user="member", check=False)
    assert refused.returncode == 4
    assert_one_clear_line(refused.stderr)
    assert "own" not in running.ctl("workflow list").stdout


@pytest.mark.parametrize("command", ["daemon ping", "workflow list", "start report"])
def test_other_users_are_refused(running: Service, command: str) -> None:
    """Who is not in the group is refused with one line that says why, whatever they ask for."""
    refused = running.ctl(command, user="stranger", check=False)
    assert refused.returncode in {3, 4}
    assert refused.stdout == ""
    assert_one_clear_line(refused.stderr)


def test_new_member_needs_no_restart(running: Service) -> None:
    """Somebody who joins the group may call at once: groups are asked of the kernel for each connection."""
    running.container.run("usermod --append --groups barbossa stranger")
    try:
        assert running.ctl("workflow list", user="stranger").returncode == 0
    finally:
        running.container.run("gpasswd --delete stranger barbossa")


def assert_one_clear_line(text: str) -> None:
    """Fail unless the text is one line, with a hint at most on a second, and no traceback."""
    assert 1 <= len(text.strip().splitlines()) <= 2
    assert "Traceback" not in text
