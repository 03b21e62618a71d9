"""The tutorial and the how-to pages say what really happens."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.helpers import pages
from tests.helpers.daemon import ROOT

DOCS = ROOT / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_true(page: Path) -> None:
    """Every command of a page, called in the order of the page, says what stands beneath it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a long path would break lines elsewhere
        assert "\n\n".join(pages.differences(page, Path(folder))) == ""


def test_what_is_never_the_same_twice_does_not_count() -> None:
    """Ids, instants and durations may differ, and how lines are broken; nothing else may."""
    page = ["run 01m89n6bbb took 1.5 s at 10:00:00", "second"]
    assert pages.agree(page, ["second", "run 01m89n6ccc took 12 ms at 11:11:11"])
    assert not pages.agree(page, ["second", "run 01m89n6ccc took long"])
    assert not pages.agree(page, [*page, "third"])
