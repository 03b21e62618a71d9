"""The files that an attempt's unit is given: environment, script, exports; and where its outputs will be."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Collection
from pathlib import Path
from typing import Final

from barbossad.errors import StoreError
from barbossad.process import failures, taskfiles
from barbossad.process.launcher import SCRIPT, LaunchSpec, own_variables
from barbossad.process.systemd import units
from barbossad.process.systemd.units import Files
from barbossad.systemd import folder_hint

RUN: Final = Path("/run")
_ENVIRONMENT: Final = ".env"
_EXPORTS: Final = ".exports"
_SUFFIXES: Final = (_ENVIRONMENT, _EXPORTS, taskfiles.SCRIPT_SUFFIX)


class UnitFiles:
    """Knows the folders.

    Environment files are in ``runtime_dir``, the daemon's alone: systemd reads them. Scripts are in ``task_dir``, which
    all may enter and nobody list, and belong to the task's user. Outputs are in a folder below it that systemd makes
    for the unit's user and removes with the unit.
    """

    def __init__(self, runtime_dir: Path, task_dir: Path) -> None:
        self._runtime_dir = runtime_dir
        self._task_dir = task_dir

    def prepare(self) -> None:
        """Make the folders. Raise StoreError."""
        for folder, mode in ((self._runtime_dir, 0o700), (self._task_dir, 0o711)):
            try:
                folder.mkdir(mode=mode, parents=True, exist_ok=True)
                folder.chmod(mode)
            except OSError as error:
                hint = folder_hint(folder, error)
                raise StoreError(f"cannot make the folder {folder}: {error.strerror}; {hint}") from error

    def output_of(self, unit: str) -> str:
        """Return where a task writes its outputs."""
        return f"{self._task_dir}/{_stem(unit)}/output"

    def write(self, spec: LaunchSpec, unit: str, owner: taskfiles.Owner | None) -> tuple[list[str], Files]:
        """Write the files of an attempt; return its arguments and where the files are. Raise OSError, or ValueError.

        ``owner`` is the ``owner_of`` it.
        """
        if any("\0" in word for word in (*spec.argv, *spec.env.values()) if word != SCRIPT):
            raise ValueError(failures.HOLDS_NUL)
        stem = _stem(unit)
        given = _Given(self._task_dir, unit, owner)
        script = None if spec.script is None else given.write("script", taskfiles.SCRIPT_SUFFIX, spec.script)
        argv = [script if argument == SCRIPT and script else argument for argument in spec.argv]
        plain, exports = units.environment_file({**spec.env, **own_variables(spec.key, self.output_of(unit))}, argv)
        environment = f"{self._runtime_dir}/{stem}{_ENVIRONMENT}"
        taskfiles.write_script(environment, plain, mode=0o400)
        return argv, Files(
            environment=environment,
            exports=given.write("exports", _EXPORTS, exports) if exports else None,
            credentials=given.credentials,
            runtime_folder=str((self._task_dir / stem).relative_to(RUN)),
        )

    def forget_environment(self, unit: str) -> None:
        """Remove what systemd has read."""
        taskfiles.remove(f"{self._runtime_dir}/{_stem(unit)}{_ENVIRONMENT}")

    def forget(self, unit: str) -> None:
        """Remove the files of an attempt."""
        self.forget_environment(unit)
        for suffix in (taskfiles.SCRIPT_SUFFIX, _EXPORTS):
            taskfiles.remove(f"{self._task_dir}/{_stem(unit)}{suffix}")

    def forget_all_but(self, units_alive: Collection[str]) -> None:
        """Remove the files of attempts that an earlier daemon could not tidy up after."""
        alive = {_stem(unit) for unit in units_alive}
        for folder in (self._runtime_dir, self._task_dir):
            for entry in folder.iterdir():
                name = entry.name
                stem = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), None)
                if stem is not None and stem not in alive:
                    taskfiles.remove(str(entry))


class _Given:
    """Files for the user of one attempt: his own, or handed to him by systemd where he does not exist yet."""

    def __init__(self, folder: Path, unit: str, owner: taskfiles.Owner | None) -> None:
        self._folder = folder
        self._unit = unit
        self._owner = owner
        self.credentials: dict[str, str] = {}

    def write(self, name: str, suffix: str, text: bytes) -> str:
        """Write a file; return the path at which the task finds it."""
        path = f"{self._folder}/{_stem(self._unit)}{suffix}"
        taskfiles.write_script(path, text, owner=self._owner)
        if self._owner is not None:
            return path
        self.credentials[name] = path
        return f"/run/credentials/{self._unit}/{name}"


def _stem(unit: str) -> str:
    return unit.removesuffix(units.SUFFIX)


def owner_of(spec: LaunchSpec) -> taskfiles.Owner | None:
    """Return the user and group to whom a task's files belong, None if the user does not exist yet. Raise OSError."""
    run_as = spec.isolation.run_as
    if run_as.is_dynamic:
        return None
    try:
        user = pwd.getpwnam(run_as.user) if run_as.user and not run_as.user.isdecimal() else None
        uid = user.pw_uid if user else int(run_as.user or os.geteuid())
        group = user.pw_gid if user else os.getegid()
        if run_as.group:
            group = int(run_as.group) if run_as.group.isdecimal() else grp.getgrnam(run_as.group).gr_gid
    except KeyError as error:
        raise OSError(f"no such account: {error}") from error
    return uid, group
