"""The local launcher's confinement against this host: without root, without bubblewrap, and from a workflow file."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from barbossad.embedded import Barbossa
from barbossad.model.isolation import Isolation, Limits, RunAs, Sandbox, SandboxProfile
from barbossad.model.states import RunState, TriggerType
from barbossad.process import procfs
from barbossad.process.launcher import CannotEnforceError
from barbossad.process.local import bubblewrap, confinement
from barbossad.process.local.confinement import Confinement
from tests.helpers.launching import ENV, make_local
from tests.helpers.waiting import eventually_async

NOBODY = 65534


@pytest.fixture(autouse=True)
def _bubblewrap() -> None:
    if shutil.which("bwrap") is None:
        assert not os.environ.get("CI"), "CI has bubblewrap"
        pytest.skip("bubblewrap is not installed")


def strict(**more: bool) -> Isolation:
    return Isolation(sandbox=Sandbox(profile=SandboxProfile.STRICT, is_best_effort=True, **more))


@pytest.fixture
def unprivileged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Confinement:
    """Return what a daemon knows that is not root."""
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setattr(os, "getegid", lambda: NOBODY)
    return Confinement([tmp_path])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("name", [SandboxProfile.STANDARD, SandboxProfile.OFFLINE, SandboxProfile.STRICT])
def test_profiles_without_root(unprivileged: Confinement, tmp_path: Path, name: SandboxProfile) -> None:
    """A user's own daemon makes the same profiles in a user namespace, in which its tasks have no capability."""
    bench = make_local(tmp_path)
    isolation = Isolation(sandbox=Sandbox(profile=name, is_best_effort=True))
    plan = unprivileged.plan(bench.spec("true", isolation=isolation))
    fault = next((words for words in plan.not_enforced if words.startswith("the profile")), None)
    if fault:
        pytest.skip(f"no user namespaces here: {fault}")
    script = (
        "id -u; ls -A /tmp; grep CapEff /proc/self/status; touch /proc/sys/kernel/hostname 2>/dev/null && echo wrote"
    )
    argv, env = unprivileged.wrap(plan, ("/bin/sh", "-c", script), ENV, "/", [])
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *argv]
    done = subprocess.run(as_nobody, env=env, cwd="/", capture_output=True, text=True, check=False)
    own = f"{tmp_path.parts[2]}\n"  # the way to the hidden folder
    assert (done.stdout, done.stderr) == (f"{NOBODY}\n{own}CapEff:\t0000000000000000\n", "")


def test_without_root_nobody_else_can_be_become(unprivileged: Confinement, tmp_path: Path) -> None:
    """Another user is refused, not waived; the daemon's own needs nothing."""
    bench = make_local(tmp_path)
    asked = Isolation(run_as=RunAs(user="root"), sandbox=Sandbox(is_best_effort=True))
    with pytest.raises(CannotEnforceError, match=r"run_as user root \(the daemon is not root\)"):
        unprivileged.plan(bench.spec("true", isolation=asked))
    assert unprivileged.plan(bench.spec("true", isolation=Isolation(run_as=RunAs(user="nobody")))).account is None


def test_a_limit_that_the_daemon_does_not_have_itself(
    unprivileged: Confinement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not raise the limit of open files says so before the start."""
    monkeypatch.setattr(confinement, "_may_raise_limits", lambda: False)
    monkeypatch.setattr(confinement.resource, "getrlimit", lambda _which: (100, 100))
    spec = make_local(tmp_path).spec("true", isolation=Isolation(limits=Limits(open_files=101)))
    with pytest.raises(CannotEnforceError, match=r"limits\.open_files above 100"):
        unprivileged.plan(spec)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (None, "the profile standard (bubblewrap is not installed)"),
        ("/bin/false", "the profile standard (bwrap ended with exit code 1)"),
        ("/no/bwrap", "No such file"),
    ],
)
def test_a_bubblewrap_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, words: str
) -> None:
    """Where it is missing or cannot make a sandbox, a profile is refused with the reason, or waived and listed."""
    real = confinement.tool
    monkeypatch.setattr(confinement, "tool", lambda name: program if name == "bwrap" else real(name))
    bench = make_local(tmp_path)
    asked = Isolation(sandbox=Sandbox(profile=SandboxProfile.STANDARD, writable=("/srv",)))
    with pytest.raises(CannotEnforceError) as caught:
        bench.launcher.enforce(bench.spec("true", isolation=asked))
    assert words in str(caught.value)
    waived = Isolation(sandbox=Sandbox(profile=SandboxProfile.STANDARD, is_best_effort=True))
    in_force = dict(bench.launcher.enforce(bench.spec("true", isolation=waived)) or {})
    assert in_force["sandbox"] == "none"
    assert words in in_force["not_enforced"][0]


async def test_what_a_host_can_do_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that has worked is not tried again, and the trial leaves nobody to a daemon that is a subreaper."""
    bench = make_local(tmp_path)
    await bench.launcher.start()
    before = procfs.children(os.getpid())
    bench.launcher.enforce(bench.spec("true", isolation=strict()))
    assert procfs.children(os.getpid()) == before
    monkeypatch.setattr(confinement.subprocess, "run", None)
    bench.launcher.enforce(bench.spec("true", isolation=strict()))
    await bench.launcher.close()


async def test_sockets_that_lead_out_are_covered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task reaches no bus under a profile, also where its folder was declared writable."""
    path = tmp_path / "bus"
    monkeypatch.setattr(bubblewrap, "SOCKETS", (str(path).lstrip("/"),))
    bench = make_local(tmp_path / "bench")
    await bench.launcher.start()
    knock = f"import socket; socket.socket(socket.AF_UNIX).connect('{path}')"
    shown = {name: Sandbox(profile=name, writable=(str(tmp_path),)) for name in SandboxProfile if name != "strict"}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        codes = {
            name: (
                await bench.run(argv=("/usr/bin/python3", "-c", knock), isolation=Isolation(sandbox=sandbox))
            ).exit_code
            for name, sandbox in shown.items()
        }
    assert codes == {"none": 0, "standard": 1, "offline": 1}
    await bench.launcher.close()


async def test_a_socket_made_anew_stays_covered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of systemd's folder a running task sees what it needs alone, whatever becomes of the sockets beside it."""
    folder = tmp_path / "systemd"
    (folder / "journal").mkdir(parents=True)
    monkeypatch.setattr(bubblewrap, "SYSTEMD_FOLDER", str(folder))
    monkeypatch.setattr(bubblewrap, "SOCKETS", (str(folder).lstrip("/"),))
    bench = make_local(tmp_path / "bench")
    await bench.launcher.start()
    (folder / "private").touch()
    script = (
        f"echo ready >{folder}/journal/ready; until test -e {folder}/journal/go; do sleep 0.02; done; ls -A {folder}"
    )
    sandbox = Sandbox(profile=SandboxProfile.STANDARD, writable=(str(tmp_path),))
    running = asyncio.create_task(bench.run(argv=("/bin/sh", "-c", script), isolation=Isolation(sandbox=sandbox)))
    await eventually_async((folder / "journal/ready").exists, 30, "it runs")
    (folder / "private").unlink()
    (folder / "private").touch()
    (folder / "journal/go").touch()
    end = await running
    assert bench.text(end.log) == "journal\n"
    await bench.launcher.close()


WORKFLOW = """
name: confined
defaults: {sandbox: {profile: standard, best_effort: true}, limits: {open_files: 256, memory: 1G}}
tasks:
  - id: plain
    shell: |
      ls /tmp; ulimit -n
      echo "x=1" >> "$BARBOSSA_OUTPUT"
  - id: inner
    sandbox: strict
    python: print(open("/proc/self/status").read().count("NoNewPrivs:\\t1"))
  - id: worker
    sandbox: {writable: [HOUSE]}
    wait: 10ms
"""


async def test_from_a_workflow_file_to_the_record(tmp_path: Path) -> None:
    """Tasks of all kinds run in sandboxes, and their records say what was in force and what was not."""
    async with Barbossa.open(tmp_path / "state") as barbossa:
        # A checkout below /tmp would be hidden by the sandbox's own /tmp: the worker is to see where it is from.
        text = WORKFLOW.replace("HOUSE", json.dumps(str(Path(__file__).resolve().parents[2])))
        workflow = barbossa.engine.create_workflow(text)
        result = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL)
        said = [entry.text for entry in await barbossa.engine.output(result, "inner")]
    assert result.run.state is RunState.SUCCEEDED, {key: task.reason for key, task in result.tasks.items()}
    assert result.tasks["plain"].outputs == {"x": "1"}
    assert said == ["1"]
    in_force = {key: attempts[0].in_force for key, attempts in result.attempts.items()}
    assert in_force["plain"] == {
        "limits": {"open_files": 256},
        "sandbox": "standard",
        "not_enforced": ["limits.memory"],
    }
    assert (in_force["inner"] or {})["sandbox"] == "strict"


async def test_what_cannot_be_enforced_fails_the_task_in_a_sentence(tmp_path: Path) -> None:
    """The reason of the task names the launcher, what is missing and the ways out."""
    async with Barbossa.open(tmp_path / "state") as barbossa:
        workflow = barbossa.engine.create_workflow("name: a\ntasks: [{shell: 'true', limits: {memory: 1G}}]")
        result = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL)
    assert result.run.state is RunState.FAILED
    assert "the local launcher cannot enforce limits.memory; run the daemon under systemd, or say" in (
        result.tasks["shell-1"].reason or ""
    )
