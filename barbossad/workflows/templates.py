"""Templates: workflow files whose parameters get other defaults; the rest of the file, comments included, stays."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from barbossad.document import Document, parse
from barbossad.errors import Fault, InvalidParamsError, InvalidWorkflowError, NotFoundError
from barbossad.validation import LITERAL_HINT, RefusalError, proposal
from barbossad.workflows import values
from barbossad.workflows.declarations import declare_all
from barbossad.workflows.expressions import is_expression

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

    def create_workflow(self, name: str, given: Mapping[str, Any]) -> str:
        """Return the template's text with the values that are ``given`` as the defaults of its parameters.

        Raise NotFoundError for the template, InvalidParamsError with every value that none of its parameters may have.
        """
        text = self.text(name)
        document = parse(text)
        if document.faults:
            raise InvalidWorkflowError(f"template {name}", document.faults)
        faults = _faults(document, given)
        if faults:
            raise InvalidParamsError(f"template {name}", faults)
        for key, value in given.items():
            text = _with_default(text, key, value)
        return text

    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in self._folders:
            for path in sorted(folder.glob("*.yaml")):
                found.setdefault(_folded(path.stem), path)
        return found


def _faults(document: Document, given: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with values, by the names of their params: who gives them has no file to look at."""
    declared = {param.name: param for param in declare_all(document.value.get("params"), ("params",), document, [])}
    faults = []
    for name, value in given.items():
        message, hint = "", ""
        if name not in declared:
            message, hint = f"{name!r} is not a parameter of it", proposal(name, declared, noun="its parameters")
        elif is_expression(value):
            message, hint = f"{name!r} cannot be an expression", LITERAL_HINT
        else:
            try:
                values.convert(declared[name], value)
            except RefusalError as error:
                message, hint = f"{name!r} {error}", error.hint
        if message:
            faults.append(Fault(line=None, column=None, path=f"params.{name}", message=message, hint=hint))
    return faults


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
