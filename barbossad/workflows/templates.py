"""Templates: workflow files whose parameters get other defaults; the rest of the file, comments included, stays."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from barbossad.document import parse
from barbossad.errors import Fault, InvalidParamsError, InvalidWorkflowError, NotFoundError
from barbossad.validation import proposal

SYSTEM_FOLDER: Final = Path("/etc/barbossa/templates")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def packaged_folder() -> Path:
    """Return where the templates are that come with Barbossa: beside the package, or where it was installed."""
    beside = Path(__file__).resolve().parents[2] / "workflow_templates"
    return beside if beside.is_dir() else Path(sysconfig.get_path("purelib")) / "workflow_templates"


class Templates:
    """The template files of some folders; an earlier folder wins. ``a_name`` and ``a-name`` are the same name."""

    def __init__(self, folders: Sequence[Path] | None = None) -> None:
        self._folders = tuple(folders) if folders is not None else (SYSTEM_FOLDER, packaged_folder())

    def names(self) -> list[str]:
        """Return the names of all templates."""
        return sorted(self._files())

    def text(self, name: str) -> str:
        """Return a template as its file has it. Raise NotFoundError."""
        files = self._files()
        path = files.get(_folded(name))
        if path is None:
            raise NotFoundError("template", name, proposal(name, files, noun="templates"))
        return path.read_text(encoding="utf-8")

    def create_workflow(self, name: str, values: Mapping[str, Any]) -> str:
        """Return the template's text with ``values`` as the defaults of its parameters.

        Raise NotFoundError for the template, InvalidParamsError for a parameter that it does not have.
        """
        text = self.text(name)
        document = parse(text)
        if document.faults:
            raise InvalidWorkflowError(f"template {name}", document.faults)
        params = document.value.get("params", {})
        unknown = [key for key in values if key not in params]
        if unknown:
            faults = [
                Fault(line=None, column=None, path=f"params.{key}", message=f"{key!r} is not a parameter of it",
                      hint=proposal(key, params, noun="its parameters"))
                for key in unknown
            ]  # fmt: skip
            raise InvalidParamsError(f"template {name}", faults)
        for key, value in values.items():
            text = _with_default(text, key, value)
        return text

    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in self._folders:
            for path in sorted(folder.glob("*.yaml")):
                found.setdefault(_folded(path.stem), path)
        return found


def _folded(name: str) -> str:
    return name.replace("_", "-")


def _with_default(text: str, name: str, value: Any) -> str:
    """Put a parameter's default into the text, where it stood or as the last key of the parameter."""
    written = json.dumps(value, ensure_ascii=False)  # JSON is YAML on one line
    param = _entry(_entry(yaml.compose(text, Loader=_LOADER), "params"), name)
    default = _entry(param, "default")
    if default is not None:
        return text[: default.start_mark.index] + written + text[default.end_mark.index :]
    if not isinstance(param, yaml.MappingNode) or not param.value:
        place = param.start_mark.index if param is not None else len(text)
        return f"{text[:place]}{{default: {written}}}{text[param.end_mark.index if param is not None else place :]}"
    first = param.value[0][0]
    start = first.start_mark.index
    if param.flow_style:
        return f"{text[:start]}default: {written}, {text[start:]}"
    return f"{text[:start]}default: {written}\n{' ' * first.start_mark.column}{text[start:]}"


def _entry(node: Any, key: str) -> Any:
    """Return the value node under ``key``, None if there is none."""
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            if key_node.value == key:
                return value_node
    return None
