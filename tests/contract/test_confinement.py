"""What every launcher enforces of what a task asks for, or refuses. A launcher joins by ``MAKERS`` and by ``LACKS``."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from barbossad.model.isolation import UNCONFINED, Isolation, Limits, RunAs, Sandbox, SandboxProfile
from barbossad.process.launcher import SCRIPT, CannotEnforceError, EndCause, LiveLog, ProcessEnd
from tests.contract.test_launchers import MAKERS
from tests.helpers.launching import ENV, SECRETS_DIR, Bench, Needle
from tests.helpers.waiting import eventually_async

LACKS: dict[str, frozenset[str]] = {
    "local": frozenset(
        {
            "memory",
            "cpu",
            "processes",
            "io_weight",
            "dynamic user",
            "raw properties",
            "system calls",
            "detach",
            "signal",
        }
    ),
}
"""What each launcher cannot enforce; ``signal``: under a profile a signal is told as 128 and its number."""

CONFINED = [SandboxProfile.STANDARD, SandboxProfile.OFFLINE, SandboxProfile.STRICT]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture(params=sorted(MAKERS))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "local" and shutil.which("bwrap") is None:
        assert not os.environ.get("CI"), "CI has bubblewrap"
        pytest.skip("bubblewrap is not installed")
    bench = MAKERS[request.param](tmp_path)
    await bench.launcher.start()
    yield bench
    await bench.launcher.close()
    assert list(bench.runtime_dir.iterdir()) == [], "files of ended attempts stay"


def lacks(bench: Bench, what: str) -> bool:
    return what in LACKS[bench.launcher.name]


def profile(name: SandboxProfile | str, *writable: Path, run_as: RunAs | None = None, **more: Any) -> Isolation:
    """Return a sandbox that takes what there is."""
    sandbox = Sandbox(
        profile=SandboxProfile(name), writable=tuple(map(str, writable)), **{"is_best_effort": True, **more}
    )
    return Isolation(run_as=run_as or RunAs(), sandbox=sandbox)


async def said(bench: Bench, script: str, isolation: Isolation, **more: Any) -> str:
    """Return what a script prints that ends well."""
    end = await bench.run(script, isolation=isolation, **more)
    text = bench.text(end.log)
    assert (end.cause, end.exit_code) == (EndCause.EXITED, 0), (end.message, text)
    return text


def died_of(bench: Bench, end: ProcessEnd, number: signal.Signals) -> bool:
    """Say whether a signal ended a task that has a profile."""
    return end.signal == number or (lacks(bench, "signal") and end.exit_code == 128 + number)


# -- that a profile changes nothing else ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFINED)
async def test_a_task_under_a_profile_is_a_task(bench: Bench, name: SandboxProfile) -> None:
    """Script, arguments, environment, streams, outputs, folder, exit code and cost are as without."""
    script = """
        echo "$1" "$A" "$(pwd)"; echo oops >&2; echo key=value >> "$BARBOSSA_OUTPUT"; stat -c %a "$0"
        i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; exit 7
    """
    end = await bench.run(
        script,
        argv=("/bin/sh", SCRIPT, "a b"),
        env={**ENV, "A": "ü\n"},
        working_dir="/usr/share",
        isolation=profile(name),
    )
    assert (end.cause, end.exit_code, end.output) == (EndCause.EXITED, 7, b"key=value\n")
    assert bench.text(end.log, "stdout") == "a b ü\n /usr/share\n500\n"
    assert bench.text(end.log, "stderr") == "oops\n"
    assert end.cpu_seconds is not None
    assert end.cpu_seconds > 0.01, "what the task used itself is counted"
    assert end.peak_memory_bytes


async def test_the_environment_is_exact(bench: Bench) -> None:
    """Nothing of the tools that confine it reaches a task, and what its loader obeys does."""
    env = {"A": "1", "LD_BIND_NOW": "1", "TMPDIR": "/x"}
    end = await bench.run(argv=("/usr/bin/env",), env=env, isolation=profile("standard"))
    names = sorted(line.partition("=")[0] for line in bench.text(end.log).splitlines())
    assert names == ["A", "BARBOSSA_ATTEMPT", "BARBOSSA_OUTPUT", "LD_BIND_NOW", "TMPDIR"]


async def test_inheritance_is_clean(bench: Bench) -> None:
    """Under a profile too, a task has files 0 to 2 open and no signal ignored or blocked."""
    checks = "ls /proc/self/fd | tr '\\n' ' '; umask; grep -E 'Sig(Blk|Ign)' /proc/self/status"
    end = await bench.run(argv=("/bin/sh", "-c", checks), isolation=profile("standard"))
    fds, _, rest = bench.text(end.log).partition("0022\n")
    assert fds.split() == ["0", "1", "2", "3"]  # 3 is the folder that ls reads
    private = 1 << 31 | 1 << 32  # signals that only glibc can use
    assert [int(line.split()[1], 16) & ~private for line in rest.splitlines()] == [0, 0]


@pytest.mark.parametrize("name", CONFINED)
async def test_a_signal_is_told(bench: Bench, name: SandboxProfile) -> None:
    """A task that a signal ended has not succeeded, and which it was can be seen."""
    end = await bench.run("ulimit -c 0; kill -9 $$", isolation=profile(name))
    assert died_of(bench, end, signal.SIGKILL)


# -- what profiles take away ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFINED)
async def test_no_new_privileges(bench: Bench, name: SandboxProfile) -> None:
    """Nothing that a task starts gets more than it has."""
    assert await said(bench, "grep NoNewPrivs /proc/self/status", profile(name)) == "NoNewPrivs:\t1\n"


@pytest.mark.parametrize("name", CONFINED)
async def test_tmp_is_its_own(bench: Bench, name: SandboxProfile, tmp_path: Path) -> None:
    """What lies in /tmp and /var/tmp is not seen, and what is put there is gone afterwards; anybody may write there."""
    (tmp_path / "mine").touch()
    mark = f"barbossa-{os.getpid()}"
    script = f"cd /tmp; touch {mark} /var/tmp/{mark}; ls; [ ! -e {tmp_path}/mine ]; stat -c %a /tmp /var/tmp"
    text = await said(bench, script, profile(name))
    assert mark in text
    assert text.endswith("1777\n1777\n")
    assert not Path(f"/tmp/{mark}").exists()
    assert not Path(f"/var/tmp/{mark}").exists()


@pytest.mark.parametrize("name", CONFINED)
async def test_a_writable_path_is_the_hosts(bench: Bench, name: SandboxProfile, tmp_path: Path) -> None:
    """A declared path is writable, also where the rest of /tmp is not the host's."""
    folder = tmp_path / "open"
    folder.mkdir()
    (tmp_path / "closed").mkdir()
    script = f"echo here > {folder}/new; [ ! -e {tmp_path}/closed ]; cd {folder}; pwd"
    assert await said(bench, script, profile(name, folder)) == f"{folder}\n"
    assert (folder / "new").read_text() == "here\n"


@pytest.mark.parametrize("name", CONFINED)
async def test_the_daemons_folder_is_hidden(bench: Bench, name: SandboxProfile) -> None:
    """A task sees nothing of other attempts, nor the daemon's sockets, even where the folder was declared writable."""
    secret = bench.runtime_dir / "other-task-1.script"
    secret.write_text("secret")
    text = await said(bench, f"ls {bench.runtime_dir}", profile(name, bench.runtime_dir.parent))
    secret.unlink()
    assert "other" not in text


@as_root
@pytest.mark.parametrize("name", CONFINED)
async def test_the_folder_of_secrets_is_hidden(bench: Bench, name: SandboxProfile) -> None:
    """A task gets the secrets that it names, and finds no others: they would not be masked in what it prints."""
    SECRETS_DIR.mkdir(mode=0o755, exist_ok=True)
    try:
        (SECRETS_DIR / "other").write_text("a secret")
        text = await said(bench, f"cat {SECRETS_DIR}/other 2>/dev/null; ls {SECRETS_DIR} 2>/dev/null; :", profile(name))
    finally:
        shutil.rmtree(SECRETS_DIR)
    assert text == ""


@as_root
@pytest.mark.parametrize("name", CONFINED)
@pytest.mark.parametrize("declared", ["/run", "/run/systemd", "/run/dbus", "{link}"])
async def test_no_way_to_systemd_is_writable(bench: Bench, name: SandboxProfile, declared: str) -> None:
    """What a profile hides of systemd and D-Bus is not seen where a task declares it writable, or a folder above it."""
    link = Path(f"/opt/barbossa-{os.getpid()}")
    link.symlink_to("../run")
    marks = [Path(f"/run/{folder}/barbossa-{os.getpid()}") for folder in ("systemd", "dbus")]
    made = [mark.parent for mark in marks if not mark.parent.exists()]
    try:
        for mark in marks:
            mark.parent.mkdir(exist_ok=True)
            mark.touch()
        isolation = profile(name, Path(declared.format(link=link)))
        end = await bench.run(f"ls /run/*/{marks[0].name} {link}/*/{marks[0].name}; true", isolation=isolation)
    finally:
        for path in (link, *marks):
            path.unlink()
        for folder in made:
            folder.rmdir()
    assert bench.text(end.log, "stdout") == ""


@pytest.mark.parametrize("name", CONFINED)
async def test_the_kernels_settings_are_read_only(bench: Bench, name: SandboxProfile) -> None:
    """Neither /proc/sys nor /sys can be written, by root either."""
    script = "for file in /proc/sys/*/* /sys/kernel/* /sys/fs/cgroup/*; do [ ! -w $file ] || echo $file; done"
    assert await said(bench, script, profile(name)) == ""


@as_root
@pytest.mark.parametrize("name", CONFINED)
async def test_the_kernel_itself_is_out_of_reach(bench: Bench, name: SandboxProfile) -> None:
    """Root has no capability to load modules, to set the clock or to read the kernel's log."""
    masks = await said(bench, "grep Cap /proc/self/status", profile(name))
    effective = int(masks.partition("CapEff:")[2].split()[0], 16)
    for number in (16, 17, 25, 34, 35):  # SYS_MODULE, SYS_RAWIO, SYS_TIME, SYSLOG, WAKE_ALARM
        assert not effective & 1 << number
    if name is SandboxProfile.STRICT:
        for number in (12, 19, 21, 27):  # NET_ADMIN, SYS_PTRACE, SYS_ADMIN, MKNOD
            assert not effective & 1 << number


async def test_strict_writes_nowhere_else(bench: Bench, tmp_path: Path) -> None:
    """Only declared paths can be written, by whatever means."""
    script = f"""
        ls -A /run
        for folder in / /etc /usr /var /root /home /srv /opt /dev/shm/../..; do
            touch $folder/barbossa-was-here 2>/dev/null && echo wrote $folder
        done
        mount -o remount,rw / 2>/dev/null && echo remounted
        mount -t tmpfs none /mnt 2>/dev/null && echo mounted
        mknod {tmp_path}/disk b 8 0 2>/dev/null && echo made a device
    """
    assert await said(bench, script + "\ntrue", profile("strict", tmp_path)) == ""


async def test_strict_sees_no_other_process(bench: Bench) -> None:
    """Other processes can be neither seen nor signalled."""
    script = f"kill -0 {os.getpid()} 2>/dev/null && echo signalled; ls -d /proc/[0-9]* | wc -l"
    assert int(await said(bench, script, profile("strict"))) < 8


@pytest.mark.parametrize(
    ("isolation", "is_reached"),
    [
        (profile("standard"), True),
        (profile("offline"), False),
        (profile("strict"), False),
        (profile("strict", network=True), True),
        (profile("standard", network=False), False),
        (Isolation(sandbox=Sandbox(network=False)), False),
    ],
    ids=["standard", "offline", "strict", "strict with network", "standard without", "nothing but no network"],
)
async def test_network(bench: Bench, isolation: Isolation, is_reached: bool) -> None:
    """A server of the host is reached as the profile, or the task, has it."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        end = await bench.run(argv=("/bin/bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"), isolation=isolation)
    assert (end.exit_code == 0) is is_reached


# -- that nothing gets away (I6), with profiles too ----------------------------------------------------------------

both = pytest.mark.parametrize("name", [SandboxProfile.STANDARD, SandboxProfile.STRICT])


@both
async def test_child_that_holds_the_pipe(bench: Bench, name: SandboxProfile) -> None:
    """A child left in the background does not delay the end, and dies with it."""
    needle = Needle()
    end = await bench.run(f"{needle.command} & echo done", isolation=profile(name))
    assert (end.exit_code, bench.text(end.log)) == (0, "done\n")
    assert needle.pids == []


@both
@pytest.mark.parametrize("prefix", ["", "setsid ", "env -i setsid ", "env -i setsid setsid "])
async def test_escapees_are_gone_at_the_end(bench: Bench, name: SandboxProfile, prefix: str) -> None:
    """Whatever forked twice, took a session of its own or dropped its environment is gone at the end."""
    needle = Needle()
    hidden = f"({prefix}{needle.command} </dev/null >/dev/null 2>&1 &)"
    end = await bench.run(f"{hidden}; {hidden}; sleep 0.1; echo main over", isolation=profile(name))
    assert (end.exit_code, bench.text(end.log)) == (0, "main over\n")
    assert needle.pids == []


@both
async def test_escapees_of_one_are_not_another_s(bench: Bench, name: SandboxProfile) -> None:
    """The end of one attempt leaves the hidden processes of another alone."""
    mine, theirs = Needle(), Needle()
    other = bench.launch(f"(env -i setsid {theirs.command} >/dev/null 2>&1 &); exec sleep 600", isolation=profile(name))
    await eventually_async(lambda: len(theirs.pids) == 1, 30, "the other's process hides")
    await bench.run(f"(env -i setsid {mine.command} >/dev/null 2>&1 &); sleep 0.1", isolation=profile(name))
    assert (mine.pids, len(theirs.pids)) == ([], 1)
    other.process.stop(0)
    await other.end()
    assert theirs.pids == []


@both
async def test_sigterm_asks_the_task_and_its_answer_counts(bench: Bench, name: SandboxProfile) -> None:
    """A stop asks first, and what stands around the task does not end before it."""
    inner = "trap 'echo inner asked; exit' TERM; echo ready; while :; do sleep 0.05; done"
    outer = "trap 'wait; echo asked; exit 9' TERM; while :; do sleep 0.05; done"
    watched = bench.launch(f'setsid sh -c "{inner}" & {outer}', isolation=profile(name))
    await _says(bench, watched.process.log, "ready")
    watched.process.stop(20)
    end = await watched.end()
    assert (end.exit_code, end.signal) == (9, None)
    assert bench.text(end.log, "stdout") == "ready\ninner asked\nasked\n"


@both
async def test_sigterm_ends_what_does_not_care(bench: Bench, name: SandboxProfile) -> None:
    """Without a handler the task ends by the signal."""
    watched = bench.launch("echo ready; exec sleep 600", isolation=profile(name))
    await _says(bench, watched.process.log, "ready")
    watched.process.stop(20)
    assert died_of(bench, await watched.end(), signal.SIGTERM)


@both
async def test_sigterm_ignored(bench: Bench, name: SandboxProfile) -> None:
    """What ignores SIGTERM is killed when the grace is over, its children too."""
    needle = Needle()
    script = f"trap '' TERM; {needle.command} & setsid {needle.command} & echo ready; while :; do sleep 0.05; done"
    watched = bench.launch(script, isolation=profile(name))
    await _says(bench, watched.process.log, "ready")
    watched.process.stop(0.3)
    assert died_of(bench, await watched.end(), signal.SIGKILL)
    assert needle.pids == []


@both
async def test_stop_before_the_start(bench: Bench, name: SandboxProfile) -> None:
    """A stop right after the launch, while the sandbox is being made, is not lost."""
    needle = Needle()
    watched = bench.launch(f"exec {needle.command}", isolation=profile(name))
    watched.process.stop(0)
    assert died_of(bench, await watched.end(), signal.SIGKILL)
    assert needle.pids == []


@both
async def test_stdout_closed_by_the_task(bench: Bench, name: SandboxProfile) -> None:
    """A task that closes its output goes on, and its end is its end."""
    end = await bench.run("exec >&- 2>&-; sleep 0.3; exit 3", isolation=profile(name))
    assert end.exit_code == 3


@both
async def test_bounded_fork_bomb(bench: Bench, name: SandboxProfile) -> None:
    """Dozens of processes that fork further, in sessions of their own, are all gone at the end."""
    needle = Needle()
    bomb = f"f() {{ [ $1 -gt 0 ] || {needle.command}; (setsid sh -c '{needle.command}' & f $(($1-1)) & f $(($1-1))); }}"
    watched = bench.launch(f"{bomb}; f 5 & sleep 600", isolation=profile(name))
    await eventually_async(lambda: len(needle.pids) > 20, 30, "the bomb has gone off")
    watched.process.stop(0)
    await watched.end()
    assert needle.pids == []


# -- limits --------------------------------------------------------------------------------------------------------


async def test_open_files(bench: Bench) -> None:
    """No process of the task may have more open, nor allow itself to."""
    isolation = Isolation(limits=Limits(open_files=64))
    assert await said(bench, "ulimit -n; ulimit -Hn; ulimit -n 65 2>/dev/null || echo no", isolation) == "64\n64\nno\n"


async def test_file_size(bench: Bench, tmp_path: Path) -> None:
    """A file that grows past the limit is cut there, and who wrote it is told by a signal."""
    isolation = Isolation(limits=Limits(file_size_bytes=65536))
    end = await bench.run(f"ulimit -c 0; exec head -c 100000 /dev/zero > {tmp_path}/big", isolation=isolation)
    assert end.signal == signal.SIGXFSZ
    assert (tmp_path / "big").stat().st_size == 65536


async def test_memory(bench: Bench) -> None:
    """A task that takes more memory than it may is killed, and that is told; or it is not started."""
    isolation = Isolation(limits=Limits(memory_bytes=32 * 1024**2))
    hungry = "exec head -c 200000000 /dev/zero | tail -c 100000000 > /dev/null"
    if refused(bench, isolation, "memory"):
        return
    assert (await bench.run(hungry, isolation=isolation)).cause is EndCause.OUT_OF_MEMORY


async def test_processes(bench: Bench) -> None:
    """A task gets no more processes than it may, as root either; or it is not started."""
    isolation = Isolation(limits=Limits(processes=8))
    if refused(bench, isolation, "processes"):
        return
    needle = Needle()
    await bench.run(f"for i in $(seq 30); do {needle.command} & done; sleep 0.2; true", isolation=isolation)
    assert needle.pids == []


@pytest.mark.parametrize(
    ("what", "isolation"),
    [
        ("memory", Isolation(limits=Limits(memory_bytes=2**30))),
        ("cpu", Isolation(limits=Limits(cpu_percent=50.0))),
        ("processes", Isolation(limits=Limits(processes=64))),
        ("io_weight", Isolation(limits=Limits(io_weight=10))),
        ("raw properties", Isolation(sandbox=Sandbox(properties={"Nice": 5}))),
        ("system calls", profile("strict", is_best_effort=False)),
    ],
)
async def test_what_cannot_be_enforced_is_refused(bench: Bench, what: str, isolation: Isolation) -> None:
    """A launcher gives what is asked for, or says by name that it cannot; never less without a word."""
    if not refused(bench, isolation, what):
        assert "not_enforced" not in (bench.launcher.enforce(bench.spec("true", isolation=isolation)) or {})
        assert (await bench.run("true", isolation=isolation)).exit_code == 0


async def test_what_cannot_be_enforced_is_refused_at_once(bench: Bench) -> None:
    """All that is missing is named, not the first."""
    isolation = Isolation(limits=Limits(memory_bytes=2**30, cpu_percent=5.0), sandbox=Sandbox(properties={"Nice": 5}))
    if refused(bench, isolation, "memory"):
        with pytest.raises(CannotEnforceError, match=r"limits\.memory, limits\.cpu, sandbox\.systemd \(Nice\)"):
            bench.launcher.enforce(bench.spec("true", isolation=isolation))


async def test_best_effort_runs_and_says_what_it_goes_without(bench: Bench) -> None:
    """A task that takes what there is runs, and its record lists what it did not get."""
    isolation = Isolation(
        limits=Limits(memory_bytes=2**30, open_files=64),
        sandbox=Sandbox(profile=SandboxProfile.STRICT, is_best_effort=True),
    )
    words = dict(bench.launcher.enforce(bench.spec("true", isolation=isolation)) or {})
    missing = words.pop("not_enforced", [])
    assert ("limits.memory" in missing) is lacks(bench, "memory")
    assert ("memory" in words["limits"]) is not lacks(bench, "memory")
    assert (words["limits"]["open_files"], words["sandbox"], words["network"]) == (64, "strict", False)
    assert await said(bench, "ulimit -n", isolation) == "64\n"


async def test_detach(bench: Bench) -> None:
    """Leaving processes behind is a thing that a launcher can do or refuses."""
    if lacks(bench, "detach"):
        with pytest.raises(CannotEnforceError, match="detach"):
            bench.launcher.enforce(bench.spec("true", detach=True))


async def test_nothing_asked_for_is_nothing_in_force(bench: Bench) -> None:
    """A task like any other has no words on its record."""
    assert bench.launcher.enforce(bench.spec("true")) is None


# -- other users ---------------------------------------------------------------------------------------------------

NOBODY = RunAs(user="nobody")


@as_root
@pytest.mark.parametrize(
    "isolation",
    [Isolation(run_as=NOBODY), *(profile(name, run_as=NOBODY) for name in CONFINED)],
    ids=["no profile", *CONFINED],
)
async def test_another_user(bench: Bench, isolation: Isolation) -> None:
    """The task is that user in every respect, reads its script, writes its outputs, and has no privilege."""
    user = pwd.getpwnam("nobody")
    script = """
        id -u; id -g; id -G; id -ru; stat -c '%U %a' "$0"; echo key=value >> "$BARBOSSA_OUTPUT"
        grep -E 'Cap(Inh|Eff|Amb)' /proc/self/status | cut -f2 | sort -u
        cat /etc/shadow 2>/dev/null && echo read
        [ "$(cat /proc/1/comm)" = bwrap ] || ! kill -0 1 2>/dev/null || echo signalled
    """
    end = await bench.run(script, isolation=isolation)
    ids = f"{user.pw_uid}\n{user.pw_gid}\n{user.pw_gid}\n{user.pw_uid}\n"
    assert bench.text(end.log) == f"{ids}nobody 500\n0000000000000000\n"
    assert (end.exit_code, end.output) == (0, b"key=value\n")


@as_root
@pytest.mark.parametrize("name", CONFINED)
async def test_the_way_to_a_writable_path_is_open_to_its_user(bench: Bench, name: SandboxProfile) -> None:
    """A private folder in /tmp that was declared writable is reached by its owner, whose /tmp is not the host's."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top, "way", "private")
        folder.mkdir(parents=True)
        for path, mode in ((Path(top), 0o755), (folder.parent, 0o755), (folder, 0o700)):
            path.chmod(mode)
        shutil.chown(folder, "nobody")
        await said(bench, f"touch {folder}/here", profile(name, folder, run_as=NOBODY))
        assert (folder / "here").owner() == "nobody"


@as_root
@pytest.mark.parametrize(
    "isolation",
    [
        Isolation(run_as=NOBODY),
        Isolation(run_as=RunAs(group="daemon")),
        profile(SandboxProfile.STANDARD, run_as=NOBODY),
    ],
    ids=["no profile", "another group", "standard"],
)
async def test_another_user_opens_its_streams_by_name(bench: Bench, isolation: Isolation) -> None:
    """A task that writes to /dev/stdout and /dev/stderr may, though the daemon made its pipes."""
    end = await bench.run("echo one >/dev/stdout; echo two >>/dev/stderr", isolation=isolation)
    assert (bench.text(end.log, "stdout"), bench.text(end.log, "stderr")) == ("one\n", "two\n")


@as_root
async def test_another_group(bench: Bench) -> None:
    """The group may be another than the user's own."""
    assert (
        await said(bench, "id -un; id -gn", Isolation(run_as=RunAs(user="nobody", group="daemon")))
        == "nobody\ndaemon\n"
    )
    assert await said(bench, "id -un; id -gn", Isolation(run_as=RunAs(group="daemon"))) == "root\ndaemon\n"


@as_root
async def test_files_of_another_user_are_out_of_reach_of_third_ones(bench: Bench) -> None:
    """Script and outputs belong to the user alone, wherever they lie."""
    theirs = await said(bench, 'stat -c "%U %a %n" "$0" "$BARBOSSA_OUTPUT"', Isolation(run_as=NOBODY))
    assert [line.split()[:2] for line in theirs.splitlines()] == [["nobody", "500"], ["nobody", "600"]]
    assert not any(Path(line.split()[2]).exists() for line in theirs.splitlines()), "and are gone with it"


@as_root
async def test_what_the_loader_obeys_reaches_the_task_alone(bench: Bench) -> None:
    """Whoever may set LD_PRELOAD for a task of a user does not thereby run code as root before it."""
    isolation = Isolation(run_as=NOBODY, limits=Limits(open_files=64))
    end = await bench.run(argv=("/bin/true",), env={**ENV, "LD_DEBUG": "libs"}, isolation=isolation)
    programs = {line.rpartition(" ")[2] for line in bench.text(end.log).splitlines() if "initialize program" in line}
    assert programs == {"/bin/true"}


@as_root
async def test_killing_a_task_of_another_user(bench: Bench) -> None:
    """What runs as another user is stopped and swept like any other."""
    needle = Needle()
    watched = bench.launch(
        f"(env -i setsid {needle.command} >/dev/null 2>&1 &); echo ready; exec sleep 600",
        isolation=Isolation(run_as=NOBODY),
    )
    await _says(bench, watched.process.log, "ready")
    watched.process.stop(20)
    assert (await watched.end()).signal == signal.SIGTERM
    assert needle.pids == []


async def test_the_own_user_needs_nothing(bench: Bench) -> None:
    """Naming the daemon's own user is no request that could fail."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    isolation = Isolation(run_as=RunAs(user=me))
    assert bench.launcher.enforce(bench.spec("true", isolation=isolation)) == {"user": me}
    assert await said(bench, "id -un", isolation) == f"{me}\n"


async def test_a_user_is_never_waived(bench: Bench) -> None:
    """A task that was to be somebody harmless does not run as root instead, best effort or not."""
    isolation = Isolation(run_as=RunAs(is_dynamic=True), sandbox=Sandbox(is_best_effort=True))
    if lacks(bench, "dynamic user"):
        with pytest.raises(CannotEnforceError, match=r"a dynamic user; run the daemon under systemd$"):
            bench.launcher.enforce(bench.spec("true", isolation=isolation))
    else:
        assert int(await said(bench, "id -u", isolation)) not in {0, os.geteuid()}


# -- what cannot be started ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("no-such-program-xyz",), "no such program on the task's PATH"),
        (("/no/such/program",), "it does not exist"),
        (("./plain",), "not executable"),
        (("./broken",), "interpreter named in its first line does not exist"),
        (("./text",), "it is not a program"),
        (("/bin/echo", "x" * 200_000), "too long"),
        (("/bin/echo", "a\0b"), "NUL"),
        (("/bin",), "not executable"),
    ],
)
async def test_program_that_cannot_be_started(bench: Bench, tmp_path: Path, argv: tuple[str, ...], words: str) -> None:
    """Under a profile, why a program cannot be started is told in the same words."""
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "broken").write_text("#!/no/such/interpreter\n")
    (tmp_path / "text").write_text("just words\n")
    for name in ("broken", "text"):
        (tmp_path / name).chmod(0o755)
    end = await bench.run(argv=argv, working_dir=str(tmp_path), isolation=profile("standard", tmp_path))
    assert (end.cause, end.exit_code) == (EndCause.START_FAILED, None)
    assert words in (end.message or "")
    assert argv[0] in (end.message or "")
    assert bench.text(end.log) == ""


async def test_places_that_a_profile_hides(bench: Bench, tmp_path: Path) -> None:
    """A folder or program in /tmp, or a writable path that there is not, is told before anything runs."""
    (tmp_path / "here").write_text("#!/bin/sh\necho here\n")
    (tmp_path / "here").chmod(0o755)
    missing, where = f"{tmp_path}/none", str(tmp_path)
    for more, words in (
        ({"working_dir": missing}, "does not exist"),
        ({"working_dir": where}, f"cannot enter the working directory '{where}': the profile standard hides it"),
        ({"argv": (f"{where}/here",)}, f"cannot start '{where}/here': the profile standard hides it"),
        ({"isolation": profile("standard", Path(missing))}, f"cannot make '{missing}' writable: it does not exist"),
    ):
        end = await bench.run("true", **{"isolation": profile("standard"), **more})  # type: ignore[arg-type]
        assert end.cause is EndCause.START_FAILED
        assert words in (end.message or "")
    end = await bench.run(argv=("./here",), working_dir=where, isolation=profile("standard", tmp_path))
    assert bench.text(end.log) == "here\n"


async def test_failures_leave_nothing(bench: Bench) -> None:
    """Many attempts in sandboxes, some of which fail, leave no file and no process."""
    needle = Needle()
    gate = asyncio.Semaphore(8)

    async def one(number: int) -> ProcessEnd:
        async with gate:
            name = CONFINED[number % 3]
            argv = ("/no/such",) if number % 5 == 0 else None
            return await bench.run(f"setsid {needle.command} & exit 4", argv=argv, isolation=profile(name))

    ends = await asyncio.gather(*(one(number) for number in range(30)))
    assert {end.exit_code for end in ends} == {4, None}
    assert needle.pids == []
    await eventually_async(lambda: list(bench.runtime_dir.iterdir()) == [], 30, "its files are removed")


def refused(bench: Bench, isolation: Isolation, what: str) -> bool:
    """Say whether this launcher lacks something, having seen that it says so."""
    assert isolation is not UNCONFINED
    if not lacks(bench, what):
        return False
    with pytest.raises(CannotEnforceError) as caught:
        bench.launcher.enforce(bench.spec("true", isolation=isolation))
    assert caught.value.missing
    return True


async def _says(bench: Bench, log: LiveLog, words: str) -> None:
    """Wait until the log of a running attempt holds some words."""
    async with asyncio.timeout(20):
        while words not in bench.text(log.snapshot()):
            await log.changed(log.snapshot().end_cursor)
