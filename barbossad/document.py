"""Read YAML text into plain values that remember where they stood.

YAML from strangers is hostile: PyYAML's composer crashes the process at some 20,000 nested brackets, and
aliases and merge keys grow a few lines into gigabytes. So the parser's *events* are read one by one (libyaml's
parser keeps its own stack and does not recurse), nesting stops at ``MAX_DEPTH``, and tags, anchors, aliases, merge
keys, duplicate keys and second documents are refused where they stand. Nothing is ever constructed but
None, bool, int, float, str, list and dict. Dates stay strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from barbossad.errors import Fault

MAX_DEPTH: Final = 64
MAX_NODES: Final = 250_000
MAX_DIGITS: Final = 400

Path = tuple[str | int, ...]
"""Keys and positions from the root, as pydantic's ``loc`` has them."""

_HINTS: Final[Mapping[str, str]] = {
    "did not find expected alphabetic or numeric character": "put text that begins with * or & in quotes",
    "mapping values are not allowed": (
        "put text that holds a colon and a space in quotes, and indent the keys of a map alike"
    ),
    "did not find expected '-' indicator": (
        "begin each item with a dash and a space, and indent the keys of one item alike"
    ),
    "could not find expected ':'": (
        "write a colon and a space after a key, and indent the lines of a text alike, further than its key"
    ),
}
"""From how the parser's complaint begins to the way to mend what beginners mostly mean by it."""

_ONE_DOCUMENT: Final = "keep one, and give each of the others a file of its own"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Final = yaml.resolver.Resolver()
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_HEX_OR_OCTAL: Final = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")


@dataclass(slots=True)
class Document:
    """A parsed file: its ``value`` and the place (line and column from 1) of every key and item."""

    text: str
    value: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    is_complete: bool = False
    """Whether reading got to the end, so that ``value`` is all there."""

    def place(self, path: Path) -> tuple[int, int] | tuple[None, None]:
        """Return where ``path`` stands, or its nearest ancestor that stands anywhere."""
        for length in range(len(path), -1, -1):
            found = self.places.get(path[:length])
            if found:
                return found
        return None, None

    def fault(self, path: Path, message: str, hint: str = "") -> Fault:
        """Return a fault at ``path``."""
        line, column = self.place(path)
        return Fault(line=line, column=column, path=dotted(path), message=message, hint=hint)


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    path: Path
    value: Any
    key: str | None = None
    expects_key: bool = True


class _RefusedError(Exception):
    """Reading cannot go on past this place."""


def dotted(path: Path) -> str:
    """Return a path as people write it: ``tasks[2].env.HOME``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def parse(text: str) -> Document:
    """Read one YAML document; what is wrong with its form stands in ``faults``; ``value`` may be partial then."""
    document = Document(text)
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        _build(document, yaml.parse(text, Loader=_LOADER))
        document.is_complete = True
    except UnicodeEncodeError as error:
        message = "half a surrogate pair is no text"
        line, column = text.count("\n", 0, error.start) + 1, error.start - text.rfind("\n", 0, error.start)
        document.faults.append(Fault(line=line, column=column, path="", message=message))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or ""
        document.faults.append(_form_fault(mark, f"not YAML: {problem}", _yaml_hint(problem, mark, text)))
    except yaml.YAMLError as error:
        document.faults.append(Fault(line=None, column=None, path="", message=f"not YAML: {error}"))
    except _RefusedError:
        pass
    return document


def _yaml_hint(problem: str, mark: Any, text: str) -> str:
    """Return the way to mend the faults that beginners make most."""
    here = text[mark.index : mark.index + 1] if mark is not None else ""
    if here == "\t":
        return "indent with spaces, not with tabs"
    if problem.endswith("cannot start any token") and here in {"@", "`", "%"}:
        return f"put text that begins with {here} in quotes"
    return next((hint for beginning, hint in _HINTS.items() if problem.startswith(beginning)), "")


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _form_fault(mark: Any, message: str, hint: str = "", path: Path = ()) -> Fault:
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    return Fault(line=line, column=column, path=dotted(path), message=message, hint=hint)


def _build(document: Document, events: Iterator[Any]) -> None:
    stack: list[_Open] = []
    nodes = documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                document.faults.append(_form_fault(event.start_mark, "a second document starts here", _ONE_DOCUMENT))
                raise _RefusedError
        elif isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if nodes > MAX_NODES:
                document.faults.append(_form_fault(event.start_mark, f"more than {MAX_NODES} values"))
                raise _RefusedError
            _node(document, stack, event)


def _node(document: Document, stack: list[_Open], event: Any) -> None:
    """Put one event's value where it belongs; open a collection if it starts one."""
    top = stack[-1] if stack else None
    if isinstance(top, _Open) and isinstance(top.value, dict) and top.expects_key:
        _key(document, top, event)
        return
    path = _path_of_next(top)
    document.places.setdefault(path, _place(event))
    _refuse_machinery(document, event, path)
    if isinstance(event, yaml.ScalarEvent):
        _attach(document, top, _scalar(event))
        return
    value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
    _attach(document, top, value)
    if len(stack) >= MAX_DEPTH:
        document.faults.append(_form_fault(event.start_mark, f"nested deeper than {MAX_DEPTH} levels", path=path))
        raise _RefusedError
    stack.append(_Open(path, value))


def _key(document: Document, top: _Open, event: Any) -> None:
    if not isinstance(event, yaml.ScalarEvent):
        _refuse_machinery(document, event, top.path)
        document.faults.append(
            _form_fault(event.start_mark, "a key is a plain word", 'quote text that holds braces: "{{ … }}"', top.path)
        )
        raise _RefusedError
    _refuse_machinery(document, event, top.path)
    if event.value == "<<" and event.implicit[0]:
        document.faults.append(_form_fault(event.start_mark, "merge keys are refused", "write the keys out", top.path))
    if event.value in top.value:
        document.faults.append(
            _form_fault(event.start_mark, f"the key {event.value!r} stands here a second time", "keep one", top.path)
        )
    top.key = event.value
    top.expects_key = False
    document.places[(*top.path, event.value)] = _place(event)


def _path_of_next(top: _Open | None) -> Path:
    if top is None:
        return ()
    return (*top.path, len(top.value)) if isinstance(top.value, list) else (*top.path, top.key or "")


def _attach(document: Document, top: _Open | None, value: Any) -> None:
    if top is None:
        document.value = value
    elif isinstance(top.value, list):
        top.value.append(value)
    else:
        top.value[top.key] = value
        top.expects_key = True


def _refuse_machinery(document: Document, event: Any, path: Path) -> None:
    if isinstance(event, yaml.AliasEvent):
        document.faults.append(_form_fault(event.start_mark, "aliases are refused", "write the value out", path))
        raise _RefusedError
    if event.anchor:
        document.faults.append(_form_fault(event.start_mark, "anchors are refused", "remove it", path))
    if event.tag and event.tag != "!":
        document.faults.append(_form_fault(event.start_mark, f"the tag {event.tag!r} is refused", "remove it", path))


def _scalar(event: Any) -> Any:
    """Resolve a scalar as YAML 1.2's core schema does, as far as that differs in ways that surprise people.

    PyYAML speaks YAML 1.1, where ``yes`` and ``off`` are booleans (kept), but ``12:30`` is 750 and ``010``
    is 8 (here: text, and text), and dates become objects (here: text).
    """
    text: str = event.value
    if not event.implicit[0]:
        return text
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, event.implicit)  # type: ignore[no-untyped-call]
    if tag.endswith(":null"):
        return None
    if tag.endswith(":bool"):
        return text.lower() in {"true", "yes", "on"}
    return _number(text, is_float=tag.endswith(":float")) if len(text) < MAX_DIGITS else text


def _number(text: str, *, is_float: bool) -> int | float | str:
    if _INTEGER.fullmatch(text):
        return int(text.replace("_", ""))
    if _HEX_OR_OCTAL.fullmatch(text):
        return int(text, 0)
    if is_float and ":" not in text:
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
