"""What the pages say is true: examples load, links lead somewhere, generated pages are current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from barbossactl.cli import cli as barbossactl
from barbossad.cli import main as barbossad
from barbossad.document import parse
from barbossad.tasks import _registry as tasks
from barbossad.workflows.loader import Loader
from barbossad.workflows.templates import Templates, packaged_folder

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
CALL = re.compile(r"(?:^|`|[$(:;] )((?:barbossactl|barbossad) [a-z-][^`\n|;&)(#]+)")
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)(#[^)]*)?\)")


def blocks() -> list[tuple[str, str]]:
    """Return every YAML block of the pages."""
    return [(page.name, block) for page in PAGES for block in BLOCK.findall(page.read_text())]


@pytest.fixture(scope="module")
def loader() -> Loader:
    """Return a loader that knows the task types."""
    return Loader(tasks.discover().types)


def workflows_of_the_pages() -> list[tuple[str, str]]:
    """Return every example of the pages as a whole workflow, with the page's name."""
    head = "name: example\nparams: {target: {type: path}, keep_days: {type: integer}}\ntasks:\n"
    return [(page, block if isinstance(parse(block).value, dict) else head + block) for page, block in blocks()]


@pytest.mark.parametrize(("page", "text"), workflows_of_the_pages())
def test_examples_load(page: str, text: str, loader: Loader) -> None:
    """Every YAML example of the pages is a workflow, or a task of one, that the loader takes as it stands."""
    assert [str(fault) for fault in loader.check(text)] == []


def calls() -> list[tuple[str, str]]:
    """Return every command line of Barbossa in the pages and the examples, with the place where it stands."""
    files = [*PAGES, *(ROOT / "docs" / "examples").glob("*.yaml")]
    return [
        (f"{file.relative_to(ROOT)}:{number}", call)
        for file in files
        if file.name != "commands.md"  # which is made from the commands
        for number, line in enumerate(file.read_text().splitlines(), 1)
        for call in CALL.findall(line)
    ]


def wrong_in(call: str) -> str:
    """Return which word of a command line its program does not know, nothing where there is none."""
    words = [word.strip("[],.:\"'") for word in call.split()]
    command: click.Command = {"barbossad": barbossad, "barbossactl": barbossactl}[words[0]]
    for word in words[1:]:
        if isinstance(command, click.Group) and not word.startswith("-"):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return word
            command = found
        elif re.fullmatch("--?[a-z][a-z=-]*", word):
            known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
            if word.partition("=")[0] not in known | {"-h", "--help"}:
                return word
    return ""


def test_commands_of_the_pages_exist() -> None:
    """Every command that a page or an example names is one, down to its options."""
    found = calls()
    assert len(found) > 300
    assert [(place, call) for place, call in found if wrong_in(call)] == []


@pytest.mark.parametrize(
    "call",
    [
        "barbossactl strat x",
        "barbossactl run lst",
        "barbossactl start x --detatch",
        "barbossad check-config -x",
    ],
)
def test_commands_that_do_not_exist_are_seen(call: str) -> None:
    """What is looked for is found where it is wrong."""
    assert wrong_in(call)


def test_there_are_examples() -> None:
    """The pattern finds the blocks that are there."""
    assert {"README.md", "workflows.md", "tasks.md"} <= {page for page, _ in blocks()}


@pytest.mark.parametrize("path", sorted(packaged_folder().glob("*.yaml")), ids=lambda path: path.stem)
def test_templates_load(path: Path, loader: Loader) -> None:
    """Every template is a workflow without a fault, found by its name in either spelling."""
    assert loader.check(path.read_text()) == []
    assert Templates().text(path.stem.replace("-", "_")) == path.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link of a page to a file of the project finds it."""
    targets = [target for target, _ in LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_and_example_is_found() -> None:
    """The list of examples names each, and the index of the documentation names each page."""
    docs = ROOT / "docs"
    links = LINK.findall((docs / "examples" / "README.md").read_text())
    listed = {(docs / "examples" / target).resolve() for target, _ in links}
    assert listed == set((docs / "examples").glob("*.yaml"))
    indexed = {(docs / target).resolve() for target, _ in LINK.findall((docs / "README.md").read_text())}
    pages = {*docs.glob("*.md"), *docs.glob("howto/*.md"), *docs.glob("reference/*"), docs / "examples" / "README.md"}
    assert pages - {docs / "README.md"} <= indexed


def test_reference_pages_are_current() -> None:
    """The reference pages say what the code says now; a process of its own, as click remembers what was asked."""
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
