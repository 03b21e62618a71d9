"""Confine processes without systemd: by the host's own prlimit, setpriv and bwrap, wrapped around their arguments."""

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
import resource
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from barbossad.model.isolation import SAME_USER, UNCONFINED, Isolation, Limits, RunAs, Sandbox, SandboxProfile
from barbossad.process import in_force, mounts, programs
from barbossad.process.launcher import CannotEnforceError, LaunchSpec
from barbossad.process.local import bubblewrap
from barbossad.process.local.bubblewrap import View, is_beneath
from barbossad.process.programs import StartFailureError, tool

LOADER_PREFIXES: Final = ("LD_", "GLIBC_", "MALLOC_")
LOADER_VARIABLES: Final = frozenset({"GCONV_PATH", "GETCONF_DIR", "LOCPATH", "NLSPATH", "TMPDIR"})
"""What a program's loader obeys before its first line: kept from the wrappers, which are root where the task is not."""

_PROBE_SECONDS: Final = 10
_SYS_RESOURCE: Final = 1 << 24  # capabilities(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom a process becomes; None where that is not another."""

    uid: int | None
    gid: int | None
    has_own_groups: bool
    """Whether it gets the supplementary groups of the user, too."""

    @property
    def owner(self) -> tuple[int, int]:
        """Return to whom its files are given, as chown(2) takes it."""
        return -1 if self.uid is None else self.uid, -1 if self.gid is None else self.gid


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be enforced for an attempt, and what was asked for in vain."""

    isolation: Isolation
    account: Account | None
    not_enforced: tuple[str, ...]

    @property
    def has_view(self) -> bool:
        """Whether the attempt gets a file system or a network of its own."""
        sandbox = self.isolation.sandbox
        return sandbox.profile not in {None, SandboxProfile.NONE} or not in_force.has_network(sandbox)


UNWRAPPED: Final = Plan(isolation=UNCONFINED, account=None, not_enforced=())


class Confinement:
    """Knows what this host and this user can enforce; hides ``own``, the daemon's folders and sockets."""

    def __init__(self, own: Sequence[Path]) -> None:
        paths = dict.fromkeys(str(path.resolve()) for path in own)
        self._own = tuple(path for path in paths if not is_beneath(path, [other for other in paths if other != path]))
        self._is_root = os.geteuid() == 0
        self._proven: set[tuple[SandboxProfile | None, bool]] = set()

    def plan(self, spec: LaunchSpec) -> Plan:
        """Return what will be enforced. Raise CannotEnforceError naming what cannot be and is not waived.

        Becoming another user is never waived: a task that was to be harmless must not run as root instead.
        """
        if spec.isolation is UNCONFINED and not spec.detach:
            return UNWRAPPED
        accounts: list[str] = []
        others: list[str] = []
        account = self._account(spec.isolation.run_as, accounts)
        limits = self._limits(spec.isolation.limits, others)
        sandbox = self._sandbox(spec.isolation.sandbox, others)
        if spec.detach:
            others.append("detach")
        if accounts:
            raise CannotEnforceError("local", accounts, can_be_waived=False)
        if others and not spec.isolation.sandbox.is_best_effort:
            raise CannotEnforceError("local", others)
        isolation = Isolation(run_as=spec.isolation.run_as, limits=limits, sandbox=sandbox)
        return Plan(isolation=isolation, account=account, not_enforced=tuple(others))

    def words(self, plan: Plan) -> Mapping[str, Any] | None:
        """Return a plan as ``run.get`` shows it."""
        return in_force.words(plan.isolation, not_enforced=plan.not_enforced)

    def wrap(
        self,
        plan: Plan,
        argv: tuple[str, ...],
        env: Mapping[str, str],
        working_dir: str,
        files: Sequence[tuple[str, str]],
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the arguments and the environment that start ``argv`` confined.

        ``files`` are what the attempt needs to see of the daemon's folders (see ``View``). Raise StartFailureError if
        it cannot be started so, in the same words as without wrappers where that is the reason.
        """
        view = View(sandbox=plan.isolation.sandbox, own=self._own, files=tuple(files))
        path = programs.find(argv, env, working_dir)
        if plan.has_view:
            _check_visible(view, path, working_dir)
        kept = {name: text for name, text in env.items() if _is_for_loader(name)}
        wrapped = [
            *_with_limits(plan.isolation.limits),
            *(_with_view(view, working_dir, is_root=self._is_root) if plan.has_view else ()),
            *(_with_account(plan.account) if plan.account else ()),
            *_with_environment(path, env, kept, has_view=plan.has_view),
        ]
        if not wrapped:
            return argv, dict(env)
        return (*wrapped, path, *argv[1:]), {name: text for name, text in env.items() if name not in kept}

    # -- what can be enforced --------------------------------------------------------------------------------

    def _account(self, run_as: RunAs, missing: list[str]) -> Account | None:
        if run_as == SAME_USER:
            return None
        if run_as.is_dynamic:
            missing.append("a dynamic user")
            return None
        user = None if run_as.user is None else pwd.getpwnam(run_as.user)
        gid = user.pw_gid if user else None
        if run_as.group is not None:
            gid = grp.getgrnam(run_as.group).gr_gid
        own = os.geteuid(), os.getegid()
        wanted = (own[0] if user is None else user.pw_uid), (own[1] if gid is None else gid)
        if wanted == own:
            return None
        if not self._is_root:
            who = f"user {run_as.user}" if run_as.user else f"group {run_as.group}"
            missing.append(f"run_as {who} (the daemon is not root)")
        elif tool("setpriv") is None:
            missing.append("run_as (there is no setpriv on this host)")
        return Account(uid=user.pw_uid if user else None, gid=gid, has_own_groups=user is not None)

    def _limits(self, asked: Limits, missing: list[str]) -> Limits:
        for key, value in (
            ("memory", asked.memory_bytes),
            ("cpu", asked.cpu_percent),
            ("processes", asked.processes),
            ("io_weight", asked.io_weight),
        ):
            if value is not None:
                missing.append(f"limits.{key}")
        kept = Limits(open_files=asked.open_files, file_size_bytes=asked.file_size_bytes)
        if kept != Limits() and tool("prlimit") is None:
            missing.append("limits (there is no prlimit on this host)")
            return Limits()
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if kept.open_files and most != resource.RLIM_INFINITY and kept.open_files > most and not _may_raise_limits():
            missing.append(f"limits.open_files above {most}")
            kept = dataclasses.replace(kept, open_files=None)
        return kept

    def _sandbox(self, asked: Sandbox, missing: list[str]) -> Sandbox:
        if asked.properties:
            missing.append(f"sandbox.systemd ({', '.join(asked.properties)})")
        if asked.profile is SandboxProfile.STRICT:
            missing.append("the system call filter of the profile strict")
        kept = dataclasses.replace(asked, properties={})
        if Plan(isolation=Isolation(sandbox=kept), account=None, not_enforced=()).has_view:
            fault = self._fault(kept)
            if fault:
                missing.append(f"{_name_of(kept)} ({fault})")
                return Sandbox(profile=SandboxProfile.NONE if asked.profile else None)
        else:
            kept = dataclasses.replace(kept, writable=())
        return kept

    def _fault(self, sandbox: Sandbox) -> str | None:
        """Return why bubblewrap cannot make this sandbox here: tried once, then known."""
        if tool("bwrap") is None:
            return "bubblewrap is not installed"
        kind = sandbox.profile, in_force.has_network(sandbox)
        if kind in self._proven:
            return None
        view = View(sandbox=Sandbox(profile=kind[0], network=kind[1]), own=self._own)
        command = _with_view(view, "/", is_root=self._is_root)
        if view.is_strict:
            command.insert(-1, "--as-pid-1")  # or else the first process of the PID namespace would be left to this one
        try:
            done = subprocess.run(
                [*command, "env", "--default-signal=TERM", "true"],
                capture_output=True,
                timeout=_PROBE_SECONDS,
                check=False,
                text=True,
                cwd="/",
                env={},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode == 0:
            self._proven.add(kind)
            return None
        return done.stderr.strip().rpartition("\n")[2] or f"bwrap ended with exit code {done.returncode}"


def _check_visible(view: View, path: str, working_dir: str) -> None:
    """Refuse what the profile hides or cannot give, which bwrap would tell in the task's output alone."""
    name = _name_of(view.sandbox)
    if mounts.may_wait(working_dir):
        return
    if Path(working_dir).is_dir() and view.hides(working_dir):
        raise StartFailureError(f"cannot enter the working directory {working_dir!r}: {name} hides it")
    if not mounts.may_wait(path, working_dir) and view.hides(str(Path(working_dir, path))):
        raise StartFailureError(f"cannot start {path!r}: {name} hides it")
    for writable in view.sandbox.writable:
        if not mounts.may_wait(writable) and not Path(writable).exists():
            raise StartFailureError(f"cannot make {writable!r} writable: it does not exist")


def _name_of(sandbox: Sandbox) -> str:
    if sandbox.profile in {None, SandboxProfile.NONE}:
        return "sandbox.network"
    return f"the profile {sandbox.profile}"


def _with_limits(limits: Limits) -> list[str]:
    options = []
    if limits.open_files is not None:
        options.append(f"--nofile={limits.open_files}:{limits.open_files}")
    if limits.file_size_bytes is not None:
        options.append(f"--fsize={limits.file_size_bytes}:{limits.file_size_bytes}")
    return [_needed("prlimit"), *options, "--"] if options else []


def _with_view(view: View, working_dir: str, *, is_root: bool) -> list[str]:
    """Return bwrap with its options. It waits for the task, so a SIGTERM to all of them must leave it alone."""
    options = bubblewrap.arguments(view, working_dir, is_root=is_root)
    return [_needed("env"), "--block-signal=TERM", _needed("bwrap"), *options, "--"]


def _with_account(account: Account) -> list[str]:
    options = [] if account.uid is None else [f"--reuid={account.uid}"]
    options += [] if account.gid is None else [f"--regid={account.gid}"]
    groups = "--init-groups" if account.has_own_groups else "--clear-groups"
    return [_needed("setpriv"), *options, groups, "--inh-caps=-all", "--"]


def _with_environment(path: str, env: Mapping[str, str], kept: Mapping[str, str], *, has_view: bool) -> list[str]:
    """Return what gives back, as the task's own user, what was kept from the wrappers or changed by bwrap."""
    given = dict(kept)
    options = []
    if has_view:
        options.append("--default-signal=TERM")
        if "PWD" in env:
            given["PWD"] = env["PWD"]
        else:
            options.append("--unset=PWD")
    if not (options or given):
        return []
    if "=" in path:
        raise StartFailureError(f"cannot start {path!r}: confined, the path of a program may hold no =")
    return [_needed("env"), *options, *(f"{name}={text}" for name, text in given.items())]


def _needed(name: str) -> str:
    path = tool(name)
    if path is None:
        raise StartFailureError(f"there is no {name} on this host")
    return path


def _is_for_loader(name: str) -> bool:
    return name.startswith(LOADER_PREFIXES) or name in LOADER_VARIABLES


def _may_raise_limits() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    mask = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(mask, 16) & _SYS_RESOURCE)
