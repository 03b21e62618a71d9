"""The house as it is drawn: who may import whom, how large a room may be, and where SQL lives."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DAEMON, CLIENT = ROOT / "barbossad", ROOT / "barbossactl"

LADDER: tuple[frozenset[str], ...] = tuple(
    frozenset(step.split())
    for step in (
        # L0: the vocabulary, and what reads and checks words
        "errors clock wire aside crashpoints journal streams unplugged",
        "model trusted",
        "document",
        "validation",
        "units variables",
        "recurrence",
        # L1 to L8
        "alarm config log systemd",
        "store",
        "security process",
        "workflows",
        "tasks",
        "engine scheduler monitor retention",
        "planning importing",
        "operations",
        "rpc web",
        # L9: what puts it all together, and the ways in
        "assembly checking worker",
        "daemon embedded",
        "cli",
        "__init__ __main__",
    )
)
"""From the ground up. A room may import those of lower steps, and none of its own step but itself."""

WITHIN: dict[str, tuple[frozenset[str], ...]] = {
    "process": (frozenset({"output"}), frozenset({"local", "systemd"}), frozenset({"choice"})),
}
"""The same inside a room that has folders: what is not named here lies below them all."""

BUILT = {
    *("errors", "clock", "wire", "model", "config", "log", "systemd", "store", "security", "process", "workflows"),
    *("tasks", "engine", "operations", "rpc", "daemon", "worker", "cli", "embedded"),
}
"""What ARCHITECTURE draws and exists by now."""

MOST_LINES = 400
MOST_FUNCTION_LINES = 60

_SQL = re.compile(
    r"\b(SELECT\s.*\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(TABLE|INDEX|TRIGGER)|PRAGMA)\b",
    re.DOTALL,
)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def modules(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


MODULES = [*modules(DAEMON), *modules(CLIENT)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(path: Path) -> str:
    """Return the room of a module: the folder or file directly below the package."""
    return path.relative_to(DAEMON).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of everything that a module imports, wherever in it that stands."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: imports are written from the root"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def step_of(room: str) -> int:
    return next(number for number, step in enumerate(LADDER) if room in step)


@pytest.mark.parametrize("path", modules(DAEMON), ids=name_of)
def test_imports_point_downward(path: Path) -> None:
    """A module imports its own room and rooms of lower steps, never a neighbour and never a higher one."""
    room = room_of(path)
    for line, imported in imports(path):
        parts = imported.split(".")
        assert parts[0] != "barbossactl", f"{name_of(path)}:{line}: the daemon knows nothing of its client"
        if parts[0] != "barbossad" or parts[1].startswith("__version") or parts[1] == room:
            continue
        where = f"{name_of(path)}:{line}: {room} imports {imported}"
        assert step_of(parts[1]) < step_of(room), f"{where}, which is not below it"


@pytest.mark.parametrize("room", WITHIN)
def test_folders_of_a_room_point_downward(room: str) -> None:
    """What the launchers share knows neither of them, and neither knows the other."""

    def step(part: str) -> int:
        return next((number for number, names in enumerate(WITHIN[room], 1) if part in names), 0)

    seen = set()
    for path in modules(DAEMON / room):
        own = path.relative_to(DAEMON / room).with_suffix("").parts[0]
        for line, imported in imports(path):
            parts = imported.split(".")
            if parts[:2] != ["barbossad", room] or parts[2] == own:
                continue
            seen.add((step(own), step(parts[2])))
            lower = step(parts[2]) < step(own) or step(parts[2]) == step(own) == 0
            assert lower, f"{name_of(path)}:{line}: {own} imports {imported}"
    assert (2, 1) in seen, "the search is not blind"


def test_every_room_is_on_the_ladder() -> None:
    """There is no room that the drawing does not know, and what has been built is there."""
    drawn = {room for step in LADDER for room in step}
    found = {room_of(path) for path in modules(DAEMON)}
    assert found <= drawn, f"put {found - drawn} on the ladder"
    assert found >= BUILT
    assert sum(len(step) for step in LADDER) == len(drawn)


def test_no_circles() -> None:
    """No modules import each other in a circle, within a room either."""
    known = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    graph = {
        name: {
            target
            for _, imported in imports(path)
            for target in (imported, imported.rpartition(".")[0])
            if target in known and target != name
        }
        for name, path in known.items()
        if not name.endswith("__init__")
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" imports ".join(reversed(circle.args[1])))


def test_wire_needs_nothing() -> None:
    """What client and daemon share uses the standard library alone, so that the client starts quickly."""
    for _, imported in imports(DAEMON / "wire.py"):
        assert imported.split(".")[0] in sys.stdlib_module_names, imported


@pytest.mark.parametrize("path", modules(CLIENT), ids=name_of)
def test_client_imports_wire_alone(path: Path) -> None:
    """Of the daemon the client knows nothing but the protocol."""
    for line, imported in imports(path):
        if imported.split(".")[0] == "barbossad":
            assert (*imported.split("."), "")[1] == "wire", f"{name_of(path)}:{line} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    """A module, and a package by its ``__init__``, begins with what lives there."""
    assert ast.get_docstring(tree(path)), "a module begins with a docstring"
    folder = path.parent / "__init__.py"
    assert folder in MODULES, f"{name_of(folder)} is missing"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_sizes(path: Path) -> None:
    """A module can be read in a sitting, a function in a view."""
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES, f"{lines} lines: part it by what it says"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MOST_FUNCTION_LINES, f"{name_of(path)}:{node.lineno}: {node.name} has {length} lines"


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every string of a module that is not a docstring, those of f-strings too."""
    said = {
        id(node.body[0].value)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, " ".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.lineno, node.value


def test_sql_lives_in_the_store() -> None:
    """Statements stand in the store and nowhere else; there they are found, so the search is not blind."""
    seen = 0
    for path in MODULES:
        for line, text in strings(path):
            if _SQL.search(text):
                assert path.is_relative_to(DAEMON / "store"), f"{name_of(path)}:{line}: SQL outside the store"
                seen += 1
    assert seen > 20


@pytest.mark.parametrize("library", ["aiosqlite", "sqlite3"])
def test_only_the_store_talks_to_sqlite(library: str) -> None:
    """No other room opens a database."""
    for path in MODULES:
        if not path.is_relative_to(DAEMON / "store"):
            assert library not in {imported.split(".")[0] for _, imported in imports(path)}, name_of(path)
