from __future__ import annotations

from pathlib import Path

import pytest

from barbossad.errors import InvalidWorkflowError
from barbossad.workflows.loader import Loader

FOLDER = Path(__file__).parent / "faults"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.fixture(autouse=True)
def host_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the host somewhere: its time zone is what is proposed to those who name none."""
    monkeypatch.setenv("TZ", "Europe/Paris")


@pytest.mark.parametrize("case", CASES)
def test_broken_file_is_explained(case: str, loader: Loader) -> None:
    """Each broken file gives exactly the sentences beside it: where, what, and the way to mend it."""
    text = (FOLDER / f"{case}.yaml").read_text()
    expected = (FOLDER / f"{case}.expected").read_text().splitlines()
    assert [str(fault) for fault in loader.check(text)] == expected
    with pytest.raises(InvalidWorkflowError) as refused:
        loader.load(text)
    assert [str(fault) for fault in refused.value.faults] == expected


def test_there_are_enough_cases() -> None:
    """The collection keeps its breadth, and no expectation is empty."""
    assert len(CASES) >= 75
    assert all((FOLDER / f"{case}.expected").read_text().strip() for case in CASES)


@pytest.mark.parametrize("case", CASES)
def test_no_sentence_speaks_of_the_inside(case: str) -> None:
    """What people read names neither our libraries nor Python's types."""
    text = (FOLDER / f"{case}.expected").read_text().lower()
    for word in ("pydantic", "jinja", "nonetype", "dict", "traceback", "valid string", "input should", "instance of"):
        assert word not in text
