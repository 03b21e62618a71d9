"""The workflows kept as files on the daemon's host, put in force when they are read: at a start, at a reload."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from barbossad.errors import Fault, InvalidWorkflowError
from barbossad.model.names import VersionId
from barbossad.trusted import UntrustedFileError, read_trusted
from barbossad.workflows.loader import version_of
from barbossad.workflows.reader import Reader
from barbossad.workflows.registry import Registry

_TWICE: Final = "give it a name of its own, or remove one of the two files"

log = logging.getLogger(__name__)


class WorkflowFolder:
    """Knows which workflow stands in which file, as they were read last."""

    def __init__(self, workflows: Registry, reader: Reader) -> None:
        self._workflows = workflows
        self._reader = reader
        self._files: dict[str, Path] = {}

    async def apply(self, folder: Path) -> tuple[list[str], list[Fault]]:
        """Apply every ``*.yaml`` of a folder; return the names that changed, and the faults of broken files.

        A broken file leaves the version before it in force, and so does one whose workflow stands in a file before it:
        they would take turns with each reload. A folder that is not there holds nothing.
        """
        changed: list[str] = []
        faults: list[Fault] = []
        files: dict[str, Path] = {}
        for path in _yaml_files(folder):
            try:
                text = read_trusted(path)
                definition = await self._reader.compiled(text)
                first = files.setdefault(definition.name, path)
                if first != path:
                    message = f"workflow {definition.name!r} stands in {first.name} already"
                    faults.append(_of_file(path, message, _TWICE))
                    continue
                has_changed = await self._workflows.put_in_force(definition, text, by=f"file {path.name}")
            except InvalidWorkflowError as error:
                faults += [_in_file(path, fault) for fault in error.faults]
            except UntrustedFileError as error:
                faults.append(_of_file(path, str(error), error.hint))
            except OSError as error:
                faults.append(_of_file(path, f"it cannot be read: {error.strerror or error}"))
            else:
                if has_changed:
                    changed.append(definition.name)
        self._files = files
        for fault in faults:
            log.error("%s: %s", fault.path, fault, extra={"action": "workflow_file_refused"})
        return changed, faults

    def kept_file(self, name: str, version: VersionId | None = None) -> Path | None:
        """Return the file that puts a workflow in force when files are read next, None where that is ``version``."""
        path = self._files.get(name)
        if path is None:
            return None
        try:
            found = version_of(read_trusted(path))
        except (OSError, UntrustedFileError):  # it is gone, or will be refused
            return None
        return path if found != version else None


def _yaml_files(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix in {".yaml", ".yml"} and path.is_file())
    return sorted(found, key=lambda path: (path.stem, path.suffix))  # backup.yaml before backup-copy.yaml


def _in_file(path: Path, fault: Fault) -> Fault:
    """Return a fault with the file it is in; what is no YAML has no path in it."""
    return replace(fault, path=f"{path}:{fault.path}" if fault.path else str(path), file=str(path))


def _of_file(path: Path, message: str, hint: str = "") -> Fault:
    return Fault(line=None, column=None, path=str(path), message=message, hint=hint, file=str(path))
