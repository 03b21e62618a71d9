"""`make install` and `make uninstall`: what they put on a host, what they leave alone, and what a failure does."""

import pytest

from tests.helpers.container import Container
from tests.helpers.service import CONFIG, STATE, WAIT_SECONDS, Service
from tests.helpers.waiting import eventually

INSTALL = "make -C /src install"
SECONDS = 300
UNIT = "/etc/systemd/system/barbossad.service"
MADE = (
    f"readlink /opt/barbossa/current; ls /opt/barbossa/releases; ls -d /tmp/tmp.*; tail -n 1 {UNIT}; "
    "ls /etc/barbossa /etc/systemd/system /etc/sysusers.d /etc/tmpfiles.d"
)
"""Prints what an installation changes, or leaves behind."""


def test_units_are_accepted_by_systemd(installed: Container) -> None:
    """systemd's own check of the installed units has nothing to say."""
    verdict = installed.run("systemd-analyze verify /etc/systemd/system/barbossad.s*")
    assert verdict.stdout + verdict.stderr == ""


def test_nothing_is_started_and_everybody_can_read_the_programs(installed: Container) -> None:
    """Installing starts nothing, and every user can run the commands."""
    assert installed.run("systemctl is-enabled barbossad.service barbossad.socket", check=False).stdout == (
        "disabled\ndisabled\n"
    )
    for program in ("barbossad", "barbossactl"):
        assert installed.run(f"{program} --version", user="stranger").returncode == 0


def test_packaged_configuration_is_valid(installed: Container) -> None:
    """The configuration that is installed has no fault."""
    installed.run("barbossad check-config")


def test_templates_come_with_it(installed: Container) -> None:
    """An installed release brings the workflow templates, where the daemon looks for them."""
    script = "from barbossad.workflows.templates import Templates; print(Templates().names())"
    assert "host-report" in installed.run(f"/opt/barbossa/current/bin/python -I -c '{script}'").stdout


def test_install_again_is_an_upgrade(service: Service) -> None:
    """Installed again, a running daemon and an edited configuration stay; the restart goes over to the new release."""
    container = service.container
    service.start()
    pid = service.ping()["pid"]
    container.run(f"echo '# edited' >>{CONFIG}")
    before = container.run("readlink /opt/barbossa/current").stdout
    container.run(INSTALL, timeout_seconds=SECONDS)
    assert container.run("readlink /opt/barbossa/current").stdout != before
    assert container.run(f"tail -n 1 {CONFIG}").stdout == "# edited\n"
    assert service.ping()["pid"] == pid
    service.systemctl("restart barbossad")
    assert service.ping()["pid"] != pid
    assert len(container.run("ls /opt/barbossa/releases").stdout.split()) <= 2


def test_failed_install_leaves_the_old_release_in_force(installed: Container) -> None:
    """When the new release cannot be built, the old one stays what runs, and no half of the new one is left."""
    before = installed.run("readlink /opt/barbossa/current; ls /opt/barbossa/releases").stdout
    failed = installed.run(f"PIP_FIND_LINKS=/nowhere {INSTALL}", check=False, timeout_seconds=SECONDS)
    assert failed.returncode != 0
    assert "untouched" in failed.stderr
    assert installed.run("readlink /opt/barbossa/current; ls /opt/barbossa/releases").stdout == before
    installed.run("barbossad --version")


@pytest.mark.parametrize("tool", ["systemd-tmpfiles", "systemd-sysusers", "install"])
def test_install_that_fails_after_the_build_changes_nothing(installed: Container, tool: str) -> None:
    """When a step after the build fails, neither the units nor the release are the new ones, and that is said."""
    installed.run(f"echo '# the old one' >>{UNIT}")
    tools = "/root/tools"
    script = '#!/bin/sh\ncase "$*" in *barbossad.service.new|*.conf) exit 1;; esac; exec /usr/bin/install "$@"\n'
    installed.write(f"{tools}/{tool}", script)
    installed.run(f"chmod +x {tools}/{tool}")
    before = installed.run(MADE, check=False).stdout
    failed = installed.run(f"PATH={tools}:$PATH {INSTALL}", check=False, timeout_seconds=SECONDS)
    after = installed.run(MADE, check=False).stdout
    installed.run(f"rm -r {tools}; sed -i '$d' {UNIT}")
    assert failed.returncode != 0
    assert "untouched" in failed.stderr
    assert after == before


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_interrupted_install_leaves_nothing(installed: Container, signal: str) -> None:
    """An installation that is stopped in the middle of the build takes away what it has made."""
    before = installed.run(MADE, check=False).stdout
    stopped = installed.run(f"timeout --signal={signal} 3 {INSTALL}", check=False, timeout_seconds=SECONDS)
    assert "building" in stopped.stdout
    eventually(lambda: installed.run(MADE, check=False).stdout == before, WAIT_SECONDS, "nothing is left")


def test_install_goes_on_where_nobody_reads_what_it_says(installed: Container) -> None:
    """Cut off by a pipe, an installation ends as well as any other; a link in the place of the config stays."""
    before = installed.run("readlink /opt/barbossa/current").stdout
    installed.run(f"mv {CONFIG} {CONFIG}.away; ln -s /no/such/file {CONFIG}")
    done = installed.run(f"{{ {INSTALL} --no-print-directory; echo $? >&2; }} | head -n 1", timeout_seconds=SECONDS)
    link = installed.run(f"readlink {CONFIG}; mv -T {CONFIG}.away {CONFIG}").stdout
    assert done.stderr.split("\n")[-2] == "0"
    assert link == "/no/such/file\n"
    assert f"{CONFIG} is a link that leads nowhere" in done.stderr
    assert installed.run("readlink /opt/barbossa/current").stdout != before
    installed.run("barbossad --version")


def test_two_installs_at_once(installed: Container) -> None:
    """Of two installations at the same time one waits for the other, and both are whole."""
    both = f"{INSTALL} & {INSTALL} && wait $!"
    done = installed.run(both, timeout_seconds=SECONDS)
    assert "this one waits for it" in done.stdout
    installed.run("for release in /opt/barbossa/releases/*; do $release/bin/barbossad --version || exit 1; done")


def test_releases_in_use_stay(service: Service) -> None:
    """However often it is installed anew, the daemon and tasks that run go on from the release that they began with."""
    container = service.container
    service.start()
    service.apply("name: brief\ntasks: [{id: task, wait: 1ms}]\n")
    service.apply("name: long\ntasks: [{id: task, wait: 1h}]\n")
    run_id = service.start_run("long")
    eventually(lambda: service.get_run(run_id)["tasks"][0]["state"] == "running", WAIT_SECONDS, "it runs")
    release = container.run("readlink /opt/barbossa/current").stdout.strip()
    for _ in range(2):
        container.run(INSTALL, timeout_seconds=SECONDS)
    service.ctl("start brief --wait")
    service.systemctl("restart barbossad")
    container.run(INSTALL, timeout_seconds=SECONDS)
    container.run(f"{release}/bin/barbossad --version")
    service.ctl(f"cancel {run_id}")
    container.run(INSTALL, timeout_seconds=SECONDS)
    assert container.run(f"ls -d {release}", check=False).returncode != 0, "nobody needs it any more"


def test_install_is_for_root(installed: Container) -> None:
    """Anyone else is told to be root, before anything is touched."""
    refused = installed.run("/src/packaging/install.sh install", user="stranger", check=False)
    assert refused.returncode == 1
    assert "root" in refused.stderr


def test_uninstall_while_tasks_run(own_container: Container) -> None:
    """Tasks that end by themselves, or with the daemon, meanwhile do not keep `make uninstall` from its end."""
    service = Service(container=own_container)
    service.start()
    service.apply("name: long\ntasks: [{id: task, shell: sleep 4711}]\n")
    service.start_run("long")
    service.wait_for_process("sleep 4711")
    # Of many units that end one after the other some do so while systemctl goes through their names.
    begin = "systemd-run --quiet --collect --slice=barbossa.slice --unit=barbossa-0000000000-task-$one.service"
    own_container.run(f"for one in $(seq 400); do {begin} sleep $((one / 20 + 5)).$one; done")
    own_container.run("make -C /src uninstall")
    assert own_container.run("systemctl list-units --all --no-legend 'barbossa*'").stdout == ""
    assert own_container.run("ls -d /opt/barbossa", check=False).stdout == ""


def test_uninstall_leaves_state_and_configuration(own_container: Container) -> None:
    """`make uninstall` stops the daemon and removes what was installed; runs and configuration stay."""
    service = Service(container=own_container)
    service.systemctl("enable --now barbossad")
    service.apply("name: kept\ntasks:\n  - id: hello\n    shell: echo hello\n")
    service.ctl("start kept --wait")
    remains = f"find {STATE} {CONFIG} -type f | sort"
    own_container.run("make -C /src uninstall")
    kept = own_container.run(remains).stdout
    assert CONFIG in kept
    assert STATE in kept
    gone = (
        "/opt/barbossa /run/barbossa /usr/local/bin/barbossad /usr/local/bin/barbossactl /etc/sysusers.d/barbossa.conf"
    )
    gone += " /etc/tmpfiles.d/barbossa.conf /etc/systemd/system/barbossad.service /etc/systemd/system/barbossad.socket"
    assert own_container.run(f"ls -d {gone} 2>/dev/null", check=False).stdout == ""
    assert own_container.run("systemctl list-units --all --no-legend 'barbossa*'").stdout == ""
    own_container.run("make -C /src uninstall")
    assert own_container.run(remains).stdout == kept

    own_container.run(INSTALL, timeout_seconds=SECONDS)
    service.start()
    assert "kept" in service.ctl("workflow list").stdout
