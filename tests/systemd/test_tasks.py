"""What a task in a unit of its own is given and kept from, how its end is told, and what the daemon's unit may do."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.cli_process import ROOT
from tests.helpers.service import CONFIG, UNITS, WAIT_SECONDS, Service
from tests.helpers.waiting import eventually

MOST_EXPOSED = 2.5


@pytest.fixture
def running(service: Service) -> Iterator[Service]:
    """Return the service, started, with a user for tasks."""
    service.container.run("id -u deckhand >/dev/null 2>&1 || useradd --create-home deckhand")
    service.start()
    yield service
    service.container.run("systemctl stop 'barbossa-*.service'", check=False)


def run(service: Service, task: str, *, name: str = "look") -> dict[str, Any]:
    """Run a workflow of one task, given as the lines below its id; return the task as it ended."""
    lines = "".join(f"    {line}\n" for line in task.strip().splitlines())
    service.apply(f"name: {name}\ntasks:\n  - id: task\n{lines}")
    service.ctl(f"start {name} --wait", check=False)
    found: dict[str, Any] = service.get_run(newest(service))["tasks"][0]
    return found


def newest(service: Service) -> str:
    """Return the newest run."""
    return service.ctl("ps --all --json").stdout.partition('"id": "')[2].partition('"')[0]


def printed(service: Service) -> str:
    """Return what the task of the newest run printed."""
    return service.ctl(f"logs {newest(service)} task").stdout


# -- every end in words --------------------------------------------------------------------------------------------

ENDS = {
    "exit code": ("shell: exit 9", "failed", "exit code 9"),
    "exit code like one of systemd's": ("shell: exit 203", "failed", "exit code 203"),
    "signal": ("shell: kill -SEGV $$", "failed", "killed by signal 11 (SIGSEGV)"),
    "timeout": ("timeout: 300ms\nshell: exec sleep 4711", "timed_out", "it did not end within its timeout of 300ms"),
    "no such file": ("shell: [/no/such/program]", "failed", "cannot start '/no/such/program': it does not exist"),
    "not on the PATH": ("shell: [nosuchprogram]", "failed", "there is no such program on the task's PATH"),
    "not executable": ("shell: [/etc/passwd]", "failed", "cannot start '/etc/passwd': it is not executable (chmod +x)"),
    "no interpreter": ("shell: [/opt/strange]", "failed", "the interpreter named in its first line does not exist"),
    "no working directory": (
        "working_dir: /no/such\nshell: 'true'",
        "failed",
        "cannot enter the working directory '/no/such': it does not exist",
    ),
    "working directory of others": (
        "run_as: deckhand\nworking_dir: /root\nshell: 'true'",
        "failed",
        "cannot enter the working directory '/root': it may not be entered by this user",
    ),
    "no such user": ("run_as: nobodyhere\nshell: 'true'", "failed", "no such user 'nobodyhere'"),
    "no such path": (
        "sandbox: {profile: strict, writable: [/no/such]}\nshell: 'true'",
        "failed",
        "cannot be made: '/no/such', which is under 'writable', does not exist",
    ),
    "no such path in a raw list": (
        "sandbox: {systemd: {ReadOnlyPaths: /no/such}}\nshell: 'true'",
        "failed",
        "cannot be made: '/no/such', which is under 'ReadOnlyPaths', does not exist",
    ),
    "a raw list that hides the journal": (
        "sandbox: {profile: strict, systemd: {InaccessiblePaths: /run/systemd}}\nshell: 'true'",
        "failed",
        "'/run/systemd' is under 'InaccessiblePaths', and systemd needs what it has in /run/systemd to make it",
    ),
    "dots in the working directory": ("working_dir: /root/../root/\nshell: 'true'", "succeeded", ""),
    "dots behind a link": (
        "working_dir: /opt/link/../lib\nshell: [/bin/sh, -c, 'test $(pwd -P) = /usr/lib']",
        "succeeded",
        "",
    ),
    "dots on the PATH": (
        "env: {PATH: '/opt/a/../bin:/usr/local/../bin'}\nshell: 'test $PATH = /opt/a/../bin:/usr/local/../bin'",
        "succeeded",
        "",
    ),
    "dots behind what there is not": (
        "working_dir: /no/such/../../root\nshell: 'true'",
        "failed",
        "cannot enter the working directory '/no/such/../../root': it does not exist",
    ),
    "dots in the path of a program": ("working_dir: /opt/link\nshell: [../bin/true]", "succeeded", ""),
    "a program in the host's /tmp": (
        "shell: [/tmp/task/program]",
        "failed",
        "cannot start '/tmp/task/program': the profile standard hides it: the task is given a /tmp of its own",
    ),
    "a working directory in the host's /var/tmp": (
        "working_dir: /var/tmp/task\nshell: 'true'",
        "failed",
        "directory '/var/tmp/task': the profile standard hides it: the task is given a /var/tmp of its own",
    ),
    "a writable path in the host's /tmp": (
        "sandbox: {profile: strict, writable: [/tmp/task]}\nshell: 'true'",
        "failed",
        "'/tmp/task' is under 'writable', and the profile strict hides it: the task is given a /tmp of its own",
    ),
    "a program in the host's /tmp, which the daemon does not see": (
        "sandbox: none\nshell: [/tmp/task/program]",
        "succeeded",
        "",
    ),
    "a property that systemd does not take": (
        "sandbox: {systemd: {CPUWeight: 99999999, LogLevelMax: 64M}}\nshell: 'true'",
        "failed",
        "; 'systemd' under 'sandbox' sets CPUWeight, LogLevelMax",
    ),
    "file size": (
        "limits: {file_size: 64K}\nshell: exec head -c 100K /dev/zero >/root/big",
        "failed",
        "killed by signal 25 (SIGXFSZ)",
    ),
}


PREPARED = r"""
printf '#!/no/interpreter\n' >/opt/strange; chmod +x /opt/strange
mkdir -p /tmp/task /var/tmp/task; printf '#!/bin/sh\n' >/tmp/task/program; chmod +x /tmp/task/program
ln -sfn /usr/share /opt/link
"""
"""What the tasks need of the host."""


@pytest.mark.parametrize("case", ENDS)
def test_every_end_is_told_in_words(running: Service, case: str) -> None:
    """How a task ended, or why it could not start, is a sentence of its own."""
    running.container.run(PREPARED)
    names = "CPUWeight, InaccessiblePaths, LogLevelMax, ReadOnlyPaths"
    running.container.write(CONFIG, f"tasks: {{systemd_properties: [{names}]}}\n")
    running.systemctl("reload barbossad")
    task, state, words = ENDS[case]
    found = run(running, task)
    assert (found["state"], words in (found["reason"] or "")) == (state, True), found["reason"]


def test_quick_exit_codes_like_those_of_systemd(running: Service) -> None:
    """An exit with a code that systemd has for failed starts is the task's own, however soon it comes."""
    task: dict[str, Any] = {"id": "task", "for_each": [*range(60)], "max_parallel": 8, "continue_on_error": True}
    task["shell"] = ["/bin/sh", "-c", "exit {{ item % 4 + 214 }}"]
    running.apply(json.dumps({"name": "quick", "tasks": [task]}))
    running.ctl("start quick --wait", check=False)
    tasks = [task for task in running.get_run(newest(running))["tasks"] if task["attempts"]]
    found = {task["id"]: (task["reason"], task["attempts"][0]["exit_code"]) for task in tasks}
    codes = {f"task[{item}]": item % 4 + 214 for item in range(60)}
    assert found == {task: (f"exit code {code}", code) for task, code in codes.items()}


def test_the_cost_is_recorded(running: Service) -> None:
    """An attempt has its processor time, its unit, and who started it."""
    found = run(running, "shell: i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
    (attempt,) = found["attempts"]
    assert attempt["cpu_seconds"] > 0.01
    assert attempt["launcher"] == "systemd"
    assert re.fullmatch(r"barbossa-[0-9a-z]{10}-task-1\.service", attempt["unit"])


# -- what it is given and kept from ----------------------------------------------------------------------------------


def unit_of(service: Service, task: str) -> tuple[str, dict[str, str]]:
    """Start a task that sleeps; return its unit and the unit's properties."""
    lines = "".join(f"    {line}\n" for line in task.strip().splitlines())
    service.apply(f"name: asleep\ntasks:\n  - id: task\n{lines}    shell: exec sleep 4711\n")
    run_id = service.start_run("asleep")
    eventually(lambda: service.get_run(run_id)["tasks"][0]["state"] == "running", WAIT_SECONDS, "it runs")
    unit = service.get_run(run_id)["tasks"][0]["attempts"][0]["unit"]
    shown = service.systemctl(f"show {unit}").stdout
    return unit, dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def test_limits_are_set(running: Service) -> None:
    """Each limit is a property of the unit; those of processes hold here, those of control groups where they can."""
    _, found = unit_of(
        running,
        "limits: {memory: 64M, cpu: 150%, processes: 20, open_files: 99, io_weight: 50, file_size: 1M}",
    )
    wanted = {
        "MemoryMax": str(64 * 1024**2),
        "MemorySwapMax": "0",
        "CPUQuotaPerSecUSec": "1.500000s",
        "TasksMax": "20",
        "LimitNOFILE": "99",
        "IOWeight": "50",
        "LimitFSIZE": str(1024**2),
    }
    assert {name: found[name] for name in wanted} == wanted
    assert found["Slice"] == "barbossa.slice"
    limits = running.container.run(f"cat /proc/{found['MainPID']}/limits").stdout
    assert re.search(r"Max open files +99 +99", limits)


def test_user_group_and_dynamic(running: Service) -> None:
    """A task runs as whom it says, with that user's groups, home and environment, and its outputs are read."""
    found = run(running, "run_as: deckhand\nshell: id -un; pwd; echo $HOME $USER; echo who=me >>$BARBOSSA_OUTPUT")
    assert printed(running) == "deckhand\n/home/deckhand\n/home/deckhand deckhand\n"
    assert found["outputs"] == {"who": "me"}
    run(running, "run_as: {user: deckhand, group: barbossa}\nshell: id -gn")
    assert printed(running) == "barbossa\n"
    for who in ("run_as: {dynamic: true}", "sandbox: strict"):
        found = run(running, f"{who}\nshell: id -u; echo who=new >>$BARBOSSA_OUTPUT")
        assert int(printed(running)) > 60_000
        assert found["outputs"] == {"who": "new"}
        run(running, f"{who}\nshell: echo $USER:$LOGNAME:$HOME:$BARBOSSA_ATTEMPT")
        assert re.fullmatch(rf"(_du[0-9a-f]+|barbossa-.*):\1:/:{newest(running)}/task/1\n", printed(running))


OWN_TYPE = """\
import asyncio
from pathlib import Path
from barbossad.tasks import TaskParams

SUMMARY = "Wait for a file."
EXAMPLE = "- lurk: {}"

class Params(TaskParams):
    pass

async def run(ctx, params):
    while not Path("/root/lurk").exists():
        await asyncio.sleep(0.05)
    return {"seen": True}
"""
LURKING = """\
name: lurking
tasks:
  - {id: held, shell: while ! test -e /root/lurk; do sleep 0.05; done}
  - {id: own, depends_on: [], lurk: {}}
  - {id: next, depends_on: [held], lurk: {}}
"""


def test_a_release_without_a_type_ends_nothing_that_runs(running: Service) -> None:
    """Tasks go on over a restart that does not know their type any more; the next one of it says what to install."""
    container = running.container
    (site,) = container.run("echo /opt/barbossa/current/lib/python*/site-packages").stdout.split()
    info = f"{site}/lurk-1.0.dist-info"
    container.write(f"{site}/lurk_type.py", OWN_TYPE)
    container.write(f"{info}/METADATA", "Metadata-Version: 2.1\nName: lurk\nVersion: 1.0\n")
    container.write(f"{info}/entry_points.txt", "[barbossa.tasks]\nlurk = lurk_type\n")
    try:
        running.systemctl("restart barbossad")
        running.apply(LURKING)
        run_id = running.start_run("lurking")
        eventually(lambda: states(running, run_id)[:2] == ["running"] * 2, WAIT_SECONDS, "both run")
        container.run(f"mv {info} /root/aside")
        running.systemctl("restart barbossad")
        assert states(running, run_id)[:2] == ["running"] * 2
        container.run("touch /root/lurk")
        running.ctl(f"run wait {run_id}", check=False)
        held, own, following = running.get_run(run_id)["tasks"]
        assert (held["state"], own["state"], following["state"]) == ("succeeded", "succeeded", "failed")
        assert (own["type"], own["outputs"], len(own["attempts"])) == ("lurk", {"seen": True}, 1)
        assert "there is no task type 'lurk' here" in following["reason"]
        container.run(f"mv /root/aside {info}")
        running.systemctl("restart barbossad")
        running.ctl(f"retry {run_id} --wait")
    finally:
        container.run(f"rm -rf /root/lurk /root/aside {info} {site}/lurk_type.py")


def states(service: Service, run_id: str) -> list[str]:
    """Return the states of a run's tasks."""
    return [task["state"] for task in service.get_run(run_id)["tasks"]]


@pytest.mark.parametrize("folder", ["/root/confined", "/srv/confined"])
def test_the_example_of_confinement(running: Service, folder: str) -> None:
    """It does what its header says for root too, whose tasks under strict are a user of their own."""
    running.apply((ROOT / "docs/examples/confined.yaml").read_text())
    running.ctl(f"start confined -p folder={folder} --wait", check=False)
    view = running.get_run(newest(running))
    names = ("prepare", "unpack", "look", "tidy", "plain", "leave-behind")
    ends = {task["id"]: (task["state"], task["reason"]) for task in view["tasks"]}
    assert ends == dict.fromkeys(names, ("succeeded", None))
    running.container.run(f"rm -r {folder}")


@pytest.mark.parametrize(
    "who", ["run_as: deckhand", "run_as: {dynamic: true}", "sandbox: strict", "run_as: {group: barbossa}"]
)
def test_streams_are_opened_by_name(running: Service, who: str) -> None:
    """Whoever a task is may open /dev/stdout and /dev/stderr."""
    found = run(running, f"{who}\nshell: echo one >/dev/stderr; echo two >/dev/stdout")
    assert found["state"] == "succeeded", printed(running)
    assert sorted(printed(running).split()) == ["one", "two"]


def test_nothing_of_the_environment_of_systemd(running: Service) -> None:
    """What is in the manager's environment, set before the daemon started or since, no task has unless it says so."""
    running.systemctl("set-environment LEAKED=yes LD_PRELOAD=/no/such.so OURS=theirs")
    try:
        for sandbox in ("standard", "strict"):
            run(running, f"sandbox: {sandbox}\nenv: {{OURS: ours}}\nshell: [/usr/bin/env]")
            seen = printed(running)
            assert "OURS=ours\n" in seen
            assert "LEAKED" not in seen
            assert "LD_PRELOAD" not in seen
    finally:
        running.systemctl("unset-environment LEAKED LD_PRELOAD OURS")


def test_standard_profile(running: Service) -> None:
    """Unasked, a task gains no privileges and reaches neither the daemon's socket nor systemd."""
    script = """\
shell: |
  grep NoNewPrivs /proc/self/status
  ls /run/barbossa/barbossad.sock 2>&1 || true
  systemctl is-active barbossad 2>&1 || true
  touch /tmp/mine; touch /root/theirs && echo wrote
"""
    found = run(running, script)
    seen = printed(running)
    assert "NoNewPrivs:\t1" in seen
    assert "/run/barbossa/barbossad.sock'" in seen
    assert "active\n" not in seen.replace("inactive", "")
    assert "wrote" in seen
    assert running.container.run("ls /tmp/mine", check=False).returncode != 0
    assert found["attempts"][0]["in_force"] == {"sandbox": "standard"}


@pytest.mark.parametrize("profile", ["standard", "strict"])
def test_the_walls_stand_when_systemd_is_made_anew(running: Service, profile: str) -> None:
    """What a running task cannot reach it cannot reach later either, and what it needs of /run/systemd is there."""
    script = f"""\
sandbox: {profile}
run_as: root
shell: |
  until test -e /var/go; do sleep 0.05; done
  stat /run/systemd/private /run/systemd/notify /run/dbus/system_bus_socket /run/barbossa/barbossad.sock && echo open
  systemctl is-active barbossad && echo active
  cd /run/systemd && ls -d system container journal/socket journal/dev-log userdb/io.systemd.DynamicUser sessions
"""
    running.container.run("rm -f /var/go")
    lines = "".join(f"    {line}\n" for line in script.splitlines())
    running.apply(f"name: look\ntasks:\n  - id: task\n{lines}")
    run_id = running.start_run("look")
    eventually(lambda: running.get_run(run_id)["tasks"][0]["state"] == "running", WAIT_SECONDS, "it runs")
    running.systemctl("daemon-reexec")
    running.systemctl("restart dbus.socket dbus.service")
    running.container.run("touch /var/go")
    eventually(lambda: running.get_run(run_id)["finished_at"] is not None, WAIT_SECONDS, "it ends")
    seen = printed(running)
    assert running.get_run(run_id)["state"] == "succeeded", seen
    assert "open" not in seen
    assert "active" not in seen


@pytest.mark.parametrize(
    "keys", ["run_as: deckhand", "run_as: {dynamic: true}", "run_as: root\nsandbox: strict", "sandbox: strict"]
)
def test_who_is_not_root_takes_no_wall_down(running: Service, keys: str) -> None:
    """Neither as another user nor under strict does a task undo a mount, or walk around it through other processes."""
    script = """
shell: |
  exec 2>/dev/null
  umount /run/dbus && echo unmounted
  unshare --user --map-root-user --mount umount /run/dbus && echo unmounted
  test -e /proc/1/root/run/dbus/system_bus_socket && echo around
  nsenter --target 1 --mount systemctl is-active barbossad && echo around
  systemctl is-active barbossad && echo reached
  echo held
"""
    run(running, keys + script)
    assert printed(running) == "held\n"


def test_none_profile(running: Service) -> None:
    """Without a profile a task may do what root may."""
    run(running, "sandbox: none\nshell: systemctl is-active barbossad; grep NoNewPrivs /proc/self/status")
    assert printed(running) == "active\nNoNewPrivs:\t0\n"


def test_strict_profile(running: Service) -> None:
    """Strict means a user of its own, no network, and no writing but where it is declared."""
    running.container.run("mkdir -p /srv/open && chmod 1777 /srv/open")
    script = """\
sandbox: {profile: strict, writable: [/srv/open]}
shell: |
  test $(id -u) != 0 && echo not root
  touch /srv/open/yes && echo wrote
  touch /srv/no 2>/dev/null || echo kept out
  touch /var/tmp/private && echo own tmp
  grep -c : /proc/net/dev
  echo o=1 >>"$BARBOSSA_OUTPUT"
"""
    found = run(running, script)
    assert printed(running) == "not root\nwrote\nkept out\nown tmp\n1\n"
    assert found["outputs"] == {"o": "1"}
    in_force = found["attempts"][0]["in_force"]
    assert (in_force["sandbox"], in_force["writable"], in_force["network"]) == ("strict", ["/srv/open"], False)
    shown = running.ctl(f"run get {newest(running)}").stdout
    assert "strict" in shown


def test_offline_profile(running: Service) -> None:
    """Offline is standard with nothing but a loopback."""
    run(running, "sandbox: offline\nshell: tail -n +3 /proc/net/dev | wc -l; touch /root/theirs && echo wrote")
    assert printed(running) == "1\nwrote\n"


def test_raw_properties_need_to_be_allowed(running: Service) -> None:
    """A raw property is set if the config lists it, and refused by name if it does not."""
    task = "sandbox: {systemd: {OOMScoreAdjust: 77}}"
    refused = run(running, f"{task}\nshell: 'true'")
    assert "'OOMScoreAdjust'" in refused["reason"]
    assert "tasks.systemd_properties" in refused["reason"]
    running.container.write(CONFIG, "tasks: {systemd_properties: [OOMScoreAdjust]}\n")
    running.systemctl("reload barbossad")
    _, found = unit_of(running, task)
    assert found["OOMScoreAdjust"] == "77"


def test_raw_properties_are_written_as_in_unit_files(running: Service) -> None:
    """Booleans of YAML, sizes with a unit and lists of one are what they mean."""
    task = "sandbox: {systemd: {ProtectHome: true, PrivateDevices: 'yes', MemoryHigh: 64M, ReadOnlyPaths: /srv}}"
    _, found = unit_of(running, task)
    wanted = {"ProtectHome": "yes", "PrivateDevices": "yes", "MemoryHigh": str(64 * 1024**2), "ReadOnlyPaths": "/srv"}
    assert {name: found[name] for name in wanted} == wanted


LOOK = """
shell: |
  for path in /run/barbossa/barbossad.sock /etc/barbossa/secrets/word /run/dbus/system_bus_socket; do
    test -e $path && echo open
  done
  systemctl is-active barbossad 2>/dev/null && echo open
  test -e /srv/kept && echo kept
  touch /root/mine && echo home
  true
"""


def test_raw_properties_take_no_wall_down(running: Service) -> None:
    """What the config allows unasked adds to the profile, and whatever it allows shows nothing of the daemon."""
    running.container.run("touch /srv/kept /etc/barbossa/secrets/word; chmod 0600 /etc/barbossa/secrets/word")
    run(running, f"sandbox: {{systemd: {{InaccessiblePaths: [/srv], ReadOnlyPaths: []}}}}{LOOK}")
    assert printed(running) == "home\n"

    task = f"run_as: root\nsandbox: {{profile: strict, systemd: {{ProtectHome: false, InaccessiblePaths: []}}}}{LOOK}"
    reason = run(running, task)["reason"]
    assert "loosens what the profile strict has ('read-only')" in reason
    running.container.write(CONFIG, "tasks: {systemd_properties: [ProtectHome, InaccessiblePaths, ReadWritePaths]}\n")
    running.systemctl("reload barbossad")
    run(running, task.replace("[]", "[], ReadWritePaths: [/run/barbossa, /etc/barbossa/secrets]"))
    assert printed(running) == "kept\nhome\n"


WAYS_TO_SYSTEMD = [
    *("/run/systemd", "//run/systemd", "/run/systemd/.", "+/run/systemd"),
    *("/etc/way", "/proc/1/root/run/systemd"),
]


@pytest.mark.parametrize("profile", ["standard", "offline", "strict"])
def test_no_list_of_paths_shows_the_ways_to_systemd(running: Service, profile: str) -> None:
    """However a task names systemd's folder, as one to be read or written, it has not the host's in its place."""
    running.container.run("ln -sfn /run/systemd /etc/way; touch /dev/shm/theirs /dev/mqueue/theirs")
    shell = "ls -d /run/systemd/private /etc/way/private /dev/shm/theirs /dev/mqueue/theirs 2>/dev/null; true"
    hosts = "" if profile == "strict" else "/dev/mqueue/theirs\n/dev/shm/theirs\n"
    named = [f"systemd: {{ReadOnlyPaths: {way}}}" for way in (*WAYS_TO_SYSTEMD, "/dev/shm", "/dev/mqueue")]
    for words in (*named, "writable: [/run/systemd, /etc/way]"):
        run(running, f"run_as: root\nsandbox: {{profile: {profile}, {words}}}\nshell: {shell}")
        assert printed(running) == hosts, words
    running.container.run("rm /etc/way /dev/shm/theirs /dev/mqueue/theirs")


@pytest.mark.parametrize("profile", ["standard", "strict"])
def test_no_profile_reaches_the_pipe_of_telinit(running: Service, profile: str) -> None:
    """Where systemd listens for telinit(8), which is only a pipe to write to, no task gets an answer."""
    running.container.run("test -p /run/initctl")
    opened = "import os; os.open('/run/initctl', os.O_WRONLY | os.O_NONBLOCK)"
    found = run(running, f'run_as: root\nsandbox: {profile}\nshell: [python3, -c, "{opened}"]')
    assert found["state"] == "failed"
    assert "PermissionError" in printed(running) or "No such device or address" in printed(running)


def test_what_raw_properties_replace_is_not_in_force(running: Service) -> None:
    """The record of an attempt says what its unit has."""
    running.container.write(CONFIG, "tasks: {systemd_properties: [PrivateNetwork, MemoryMax, User]}\n")
    running.systemctl("reload barbossad")
    raw = "PrivateNetwork: false, MemoryMax: 1073741824, User: root"
    _, found = unit_of(
        running, f"run_as: deckhand\nlimits: {{memory: 512M}}\nsandbox: {{profile: offline, systemd: {{{raw}}}}}"
    )
    assert (found["PrivateNetwork"], found["MemoryMax"], found["User"]) == ("no", str(1024**3), "root")
    (attempt,) = running.get_run(newest(running))["tasks"][0]["attempts"]
    assert attempt["in_force"].keys() == {"sandbox", "network", "systemd", "not_enforced"}
    assert attempt["in_force"]["network"] is True
    wanted = ["run_as.user", "limits.memory", "PrivateNetwork of the profile offline"]
    assert attempt["in_force"]["not_enforced"] == wanted


def test_arguments_and_values_arrive_byte_for_byte(running: Service) -> None:
    """Nothing that systemd might expand, split or leave out is."""
    odd = "a $HOME ${HOME} $$ %n %% \\ ' \" ` tab\t bell\a line\n escape\x1b é \ufffe end "
    words = ["$HOME", "${HOME}x", "$$", "%n", "a  b", "", "{{ params.odd }}"]
    workflow = {
        "name": "bytes",
        "params": {"odd": {"type": "string", "default": odd}},
        "tasks": [
            {"id": "words", "python": {"file": "/root/show.py", "args": words}},
            {"id": "env", "shell": "printf %s \"$odd\" | od -An -tx1 -v | tr -d ' \\n'"},
        ],
    }
    running.container.write("/root/show.py", "import json, sys; print(json.dumps(sys.argv[1:]))\n")
    running.apply(json.dumps(workflow))
    running.ctl("start bytes --wait")
    run_id = newest(running)
    assert json.loads(running.ctl(f"logs {run_id} words").stdout) == [*words[:-1], odd]
    assert running.ctl(f"logs {run_id} env").stdout.strip() == odd.encode().hex()


def test_nothing_of_a_task_is_left(running: Service) -> None:
    """Double forks, ignored signals, closed streams and held pipes: the task ends, and nothing of it lives."""
    script = """\
grace: 500ms
timeout: 1s
shell: |
  trap '' TERM
  (setsid sleep 4711 & ) ; setsid sh -c 'trap "" TERM; sleep 4711' &
  exec >/dev/null 2>&1
  sleep 4711
"""
    found = run(running, script)
    assert found["state"] == "timed_out"
    assert running.processes("sleep 4711") == []
    found = run(running, "shell: setsid sleep 4711 & echo left")
    assert (found["state"], printed(running)) == ("succeeded", "left\n")
    assert running.processes("sleep 4711") == []


def test_a_detached_process_stays(running: Service) -> None:
    """With detach, what the first process leaves behind is left alone."""
    found = run(running, "detach: true\nshell: setsid sleep 4711 >/dev/null 2>&1 & echo left")
    assert found["state"] == "succeeded"
    eventually(lambda: len(running.processes("sleep 4711")) == 1, WAIT_SECONDS, "it goes on")
    running.systemctl(f"kill {found['attempts'][0]['unit']}")
    eventually(lambda: not running.processes("sleep 4711"), WAIT_SECONDS, "systemctl kill ends it")


@pytest.mark.parametrize(
    "away",
    [
        "systemctl restart barbossad",
        "systemctl kill --kill-whom=main --signal=KILL barbossad; systemctl restart barbossad",
        f"systemctl stop {UNITS}; systemctl daemon-reload; systemctl start barbossad",
    ],
)
def test_a_detached_process_outlives_the_daemon(running: Service, away: str) -> None:
    """A restart, a crash and a stop of the daemon leave what a detached task left behind alone, and the log says so."""
    found = run(running, "detach: true\nshell: setsid sleep 4711 >/dev/null 2>&1 & echo left")
    unit = found["attempts"][0]["unit"]
    (pid,) = running.processes("sleep 4711")
    for _ in range(2):
        running.container.run(away)
        assert running.ping()["version"]
        assert running.processes("sleep 4711") == [pid]
    assert f"{unit}: what its task left behind goes on" in running.log()
    running.systemctl(f"kill {unit}")
    eventually(lambda: not running.systemctl(f"list-units --all -q {unit}").stdout, WAIT_SECONDS, "nothing is left")


def test_secrets_are_nowhere_to_be_read(running: Service) -> None:
    """A secret is in the environment of its task, and neither in the unit's properties nor in the log."""
    running.container.write("/etc/barbossa/secrets/word", "correct-horse-battery\n")
    running.container.run("chmod 0600 /etc/barbossa/secrets/word")
    unit, found = unit_of(running, "secrets: {WORD: word}")
    assert "correct-horse" not in str(found)
    assert "correct-horse" in running.container.run(f"tr '\\0' '\\n' </proc/{found['MainPID']}/environ").stdout
    running.systemctl(f"stop {unit}")
    run(running, 'secrets: {WORD: word}\nshell: echo "it is $WORD"')
    assert printed(running) == "it is ***\n"


OLD, NEW = "correct-horse-battery", "another-one-of-today"
SECRET_FILE = "/etc/barbossa/secrets/tok"
RESTART = "systemctl restart barbossad"
KILL = "systemctl kill --kill-whom=main --signal=KILL barbossad"


def half_told(service: Service, meanwhile: str, split: int = 9) -> dict[str, Any]:
    """Run a task that tells its secret, for a part before and for a part after commands; return it as it ended."""
    service.container.run("rm -f /root/go")
    service.apply(
        "name: half\ntasks:\n  - id: task\n    secrets: {TOKEN: tok}\n    shell: |\n"
        f'      printf "before $TOKEN, half %s" "$(printf %s "$TOKEN" | head -c {split})"\n'
        "      until [ -e /root/go ]; do sleep 0.1; done\n"
        f'      printf "%s\\nafter $TOKEN\\n" "$(printf %s "$TOKEN" | tail -c +{split + 1})"\n'
        '      echo "reason=$TOKEN" >>"$BARBOSSA_OUTPUT"\n'
    )
    run_id = service.start_run("half")
    eventually(lambda: "half" in service.ctl(f"logs {run_id} task").stdout, WAIT_SECONDS, "half of it is told")
    service.container.run(meanwhile)
    eventually(lambda: service.ctl("daemon ping", check=False).returncode == 0, WAIT_SECONDS, "the daemon is back")
    service.container.run("touch /root/go")
    service.ctl(f"run wait {run_id}", check=False)
    found: dict[str, Any] = service.get_run(run_id)["tasks"][0]
    return found


@pytest.mark.parametrize("away", [RESTART, KILL])
@pytest.mark.parametrize("change", [f"echo {NEW} >{SECRET_FILE}", f"rm {SECRET_FILE}"])
def test_a_secret_that_changes_while_its_task_runs(running: Service, change: str, away: str) -> None:
    """The next daemon masks what the task was given, over the restart as well, and nothing of that is on the disk."""
    running.container.write(SECRET_FILE, f"{OLD}\n")
    running.container.run(f"chmod 0600 {SECRET_FILE}")
    found = half_told(running, f"{change}; {away}")
    assert (found["state"], found["outputs"], found["reason"]) == ("succeeded", {"reason": "***"}, None)
    assert printed(running) == "before ***, half ***\nafter ***\n"
    assert running.container.run(f"grep -r {OLD[9:]} /var/lib/barbossa", check=False).stdout == ""


def test_a_credential_that_changes_while_its_task_runs(running: Service) -> None:
    """It is the same for the credentials of the daemon's unit, which a restart reads anew."""
    running.container.write("/root/tok", OLD)
    running.set_up("LoadCredential=tok:/root/tok")
    running.systemctl("restart barbossad")
    found = half_told(running, f"printf {NEW} >/root/tok; {RESTART}")
    assert (found["state"], found["outputs"]) == ("succeeded", {"reason": "***"})
    assert printed(running) == "before ***, half ***\nafter ***\n"


def test_a_long_secret_that_is_half_told_at_a_kill(running: Service) -> None:
    """Nothing of it is lost or recorded, however much of it was held back."""
    running.container.write(SECRET_FILE, "".join(f"{number}w" for number in range(1400)))
    running.container.run(f"chmod 0600 {SECRET_FILE}")
    found = half_told(running, KILL, split=5500)
    assert found["state"] == "succeeded"
    assert printed(running) == "before ***, half ***\nafter ***\n"


# -- the daemon beside its tasks -------------------------------------------------------------------------------------


def test_restart_leaves_tasks_alone_and_stop_ends_them(running: Service) -> None:
    """`systemctl restart` does not touch a task; `systemctl stop` ends it and records that."""
    unit, found = unit_of(running, "grace: 5s")
    run_id = newest(running)
    running.systemctl("restart barbossad")
    assert running.property("MainPID", unit) == found["MainPID"]
    assert running.get_run(run_id)["tasks"][0]["state"] == "running"
    running.systemctl(f"stop {UNITS}")
    assert running.processes("sleep 4711") == []
    running.start()
    task = running.get_run(run_id)["tasks"][0]
    assert (task["state"], task["reason"]) == ("interrupted", "the daemon was stopped while it ran")


def test_daemon_reload_of_systemd_does_not_disturb(running: Service) -> None:
    """`systemctl daemon-reload` under a running task changes nothing for it."""
    _, found = unit_of(running, "grace: 5s")
    run_id = newest(running)
    running.systemctl("daemon-reload")
    running.container.run(f"kill -KILL {int(found['MainPID'])}")
    eventually(lambda: running.get_run(run_id)["finished_at"] is not None, WAIT_SECONDS, "it ends")
    assert running.get_run(run_id)["tasks"][0]["reason"] == "killed by signal 9 (SIGKILL)"


def test_drain(running: Service) -> None:
    """Draining starts nothing new, waits for what runs, and is over after --end."""
    unit, _ = unit_of(running, "grace: 5s")
    assert running.ctl("daemon drain --timeout 0.2", check=False).returncode == 6
    assert "draining" in running.ctl("status").stdout
    running.apply("name: later\ntasks: [{id: task, shell: echo done}]\n")
    run_id = running.start_run("later")
    task = running.get_run(run_id)["tasks"][0]
    assert task["state"] == "waiting"
    assert "drained" in task["reason"]
    waiting = running.container.start("barbossactl daemon drain")
    running.systemctl(f"kill --signal=KILL {unit}")
    assert waiting.wait(WAIT_SECONDS) == 0
    assert waiting.stdout is not None
    waiting.stdout.close()
    assert running.get_run(run_id)["tasks"][0]["state"] == "waiting"
    running.ctl("daemon drain --end")
    eventually(lambda: running.get_run(run_id)["state"] == "succeeded", WAIT_SECONDS, "it goes on")


def test_dbus_may_be_restarted(running: Service) -> None:
    """The connection to systemd is made anew, and no end of a task is missed."""
    _, found = unit_of(running, "grace: 5s")
    run_id = newest(running)
    running.systemctl("restart dbus", check=False)
    running.container.run(f"kill -KILL {int(found['MainPID'])}")
    eventually(lambda: running.get_run(run_id)["finished_at"] is not None, WAIT_SECONDS, "its end is found")


def test_exposure_of_the_daemon(running: Service) -> None:
    """By systemd's own measure the daemon's unit is hardly exposed."""
    verdict = running.container.run("systemd-analyze security --no-pager barbossad.service", check=False).stdout
    found = re.search(r"Overall exposure level for barbossad.service: ([0-9.]+)", verdict)
    assert found is not None, verdict
    assert float(found[1]) <= MOST_EXPOSED


def test_status_names_the_launcher(running: Service) -> None:
    """Under systemd that is the launcher, and nothing is lacking."""
    status = json.loads(running.ctl("status --json").stdout)
    assert status["launcher"] == {"name": "systemd", "lacks": []}


def test_systemd_can_be_demanded(service: Service) -> None:
    """With tasks.launcher: systemd a daemon that is no service of it says so and ends."""
    service.container.write(CONFIG, "tasks: {launcher: systemd}\n")
    refused = service.container.run("barbossad", check=False)
    assert refused.returncode == 1
    assert "no service of the system's systemd" in refused.stderr
