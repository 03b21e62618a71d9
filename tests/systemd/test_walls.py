"""What can be written from where: each mount of a task's and of the daemon's is tried."""

from collections.abc import Iterator

import pytest

from tests.helpers.service import Service
from tests.systemd.test_tasks import printed, run

# It tries to make a file in each folder, and to open each file for writing, at and a little below each mount; and
# prints where that was possible. What is of processes is left out, as are sockets and devices.
LOOK = """\
import os, re, stat
def tried(path):
    try:
        kind = os.lstat(path).st_mode
        if stat.S_ISDIR(kind):
            place = os.path.join(path, "barbossa-was-here")
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.unlink(place)
        elif stat.S_ISREG(kind):
            os.close(os.open(path, os.O_WRONLY))
        else:
            return
        print(path)
    except OSError:
        pass
def look(path, depth):
    tried(path)
    if depth and os.path.isdir(path) and not os.path.islink(path):
        try:
            for name in os.listdir(path):
                if not re.fullmatch("/proc(/([0-9]+|self|thread-self))?", os.path.join(path, name)):
                    look(os.path.join(path, name), depth - 1)
        except OSError:
            pass
mounts = {line.split()[4].encode().decode("unicode_escape") for line in open("/proc/self/mountinfo")}
for mount in sorted(mounts):
    look(mount, 3 if mount.startswith(("/run", "/dev")) else 1)
"""
OWN = {"/tmp", "/var/tmp", "/dev/shm"}


@pytest.fixture
def looking(service: Service) -> Iterator[Service]:
    """Return the service, started, and the host with the script and with folders that anybody may write to."""
    service.container.write("/srv/look.py", LOOK)
    service.container.run("mkdir -p -m 1777 /srv/open /run/open /run/open/declared; chmod 1777 /run/open/declared")
    service.container.run("mkdir -p /run/tmpfiles.d; touch /dev/shm/theirs; chmod 666 /dev/shm/theirs")
    service.start()
    yield service
    service.container.run("rm -rf /srv/look.py /srv/open /run/open /dev/shm/theirs")


@pytest.mark.parametrize("who", ["root", "{dynamic: true}"])
def test_what_a_strict_task_can_write(looking: Service, who: str) -> None:
    """Of all mounts a strict task writes what it declares, what it has for itself, and its outputs, as root too."""
    sandbox = "{profile: strict, writable: [/srv/open, /run/open/declared]}"
    run(looking, f"run_as: {who}\nsandbox: {sandbox}\nshell: [python3, /srv/look.py]")
    found = set(printed(looking).split())
    outputs = {path for path in found if path.startswith(("/run/barbossa-tasks/", "/run/private/barbossa-tasks/"))}
    assert outputs
    assert found - outputs - {"/dev/mqueue"} == {*OWN, "/srv/open", "/run/open/declared"}


def test_a_strict_task_shares_no_memory(looking: Service) -> None:
    """What it leaves in /dev/shm and in message queues is its own, and it sees nothing of the host's."""
    run(looking, "run_as: root\nsandbox: strict\nshell: ls /dev/shm /dev/mqueue; touch /dev/shm/mine /dev/mqueue/mine")
    assert "theirs" not in printed(looking)
    assert "mine" not in looking.container.run("ls /dev/shm /dev/mqueue", check=False).stdout


@pytest.mark.parametrize("path", ["/run", "/run/open", "/dev/shm"])
def test_a_declared_place_is_the_hosts(looking: Service, path: str) -> None:
    """A place that a profile closes or has for the task alone is the host's where the task declares it writable."""
    sandbox = f"{{profile: strict, writable: [{path}]}}"
    found = run(looking, f"run_as: root\nsandbox: {sandbox}\nshell: echo here >{path}/declared-file")
    assert found["state"] == "succeeded", found["reason"]
    assert looking.container.run(f"cat {path}/declared-file; rm {path}/declared-file").stdout == "here\n"


@pytest.mark.parametrize("profile", ["standard", "offline"])
def test_what_another_user_can_write(looking: Service, profile: str) -> None:
    """Under the other profiles a user who is not root writes what that user may, and no way to systemd is among it."""
    run(looking, f"run_as: stranger\nsandbox: {profile}\nshell: [python3, /srv/look.py]")
    found = set(printed(looking).split())
    assert {"/tmp", "/var/tmp", "/run/lock"} <= found
    assert not [path for path in found if path.startswith(("/run/systemd", "/run/dbus", "/sys", "/proc", "/run/udev"))]


def test_what_the_daemon_can_write(looking: Service) -> None:
    """Of all mounts the daemon writes its state, /run/barbossa and /run/barbossa-tasks, and what is its own."""
    run(looking, "shell: 'true'")
    inside = f"nsenter -t {looking.property('MainPID')} -m setpriv --bounding-set=-all --inh-caps=-all"
    found = set(looking.container.run(f"{inside} python3 /srv/look.py").stdout.split())
    mine = ("/var/lib/barbossa", "/run/barbossa", "/run/barbossa-tasks", "/tmp", "/var/tmp")
    assert {path for path in found if not path.startswith(mine)} == {"/dev/mqueue"}
    assert {"/var/lib/barbossa", "/run/barbossa", "/run/barbossa-tasks"} <= found
