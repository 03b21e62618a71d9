from __future__ import annotations

import textwrap
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from barbossad import document
from barbossad.errors import Fault
from barbossad.units import Duration
from barbossad.validation import known_keys, nearest, proposal, shown, validate


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Leaf(Strict):
    wait: Duration | None = None
    level: Literal["debug", "info"] = "info"


class Tree(Strict):
    name: str
    count: int = 1
    leaves: list[Leaf] = []
    named: dict[str, Leaf] = {}
    either: str | list[str] = ""


class Coded(Strict):
    code: str = Field(pattern="^[a-z]+$")


def faults_of(text: str) -> list[Fault]:
    source = document.parse(textwrap.dedent(text))
    faults: list[Fault] = []
    assert validate(Tree, source.value, source, faults) is None
    return faults


def test_all_faults_are_told_at_once_with_their_places() -> None:
    """Every fault has line, column and path, and no word of pydantic's."""
    faults = faults_of(
        """\
        nam: x
        count: yes
        leaves:
          - {wait: soon}
          - 5
        named: {a: {levle: info}, b: {level: inf}}
        """
    )
    assert [(fault.line, fault.column, fault.path) for fault in faults] == [
        (1, 1, "name"),
        (2, 1, "count"),
        (4, 6, "leaves[0].wait"),
        (5, 5, "leaves[1]"),
        (6, 13, "named.a.levle"),
        (6, 31, "named.b.level"),
        (1, 1, "nam"),
    ]
    assert [fault.message for fault in faults] == [
        "the key 'name' is missing",
        "'count' must be a whole number, not true or false",
        "'wait' is not a duration: 'soon'",
        "item 2 of 'leaves' must be a map, not a number",
        "unknown key 'levle'",
        "'level' must be 'debug' or 'info', not 'inf'",
        "unknown key 'nam'",
    ]
    assert faults[4].hint == "did you mean 'level'?"
    assert faults[5].hint == "did you mean 'info'?"
    assert faults[6].hint == "did you mean 'name'?"


def test_a_key_without_a_value_is_called_that() -> None:
    """A forgotten value is told as such, not as a wrong type."""
    (fault,) = faults_of("name:\n")
    assert fault.message == "'name' has no value"


def test_a_number_where_text_belongs_needs_quotes() -> None:
    """YAML makes numbers of what people meant as text: the hint says quotes."""
    (fault,) = faults_of("name: 12")
    assert (fault.message, fault.hint) == ("'name' must be text, not a number", "put it in quotes")


def test_a_pattern_is_told_in_words() -> None:
    """What does not match a pattern is told with it and with the value, as a fault of any other kind is."""

    source = document.parse("code: A1")
    faults: list[Fault] = []
    assert validate(Coded, source.value, source, faults) is None
    (fault,) = faults
    assert fault.message == "'code' does not match the pattern ^[a-z]+$: 'A1'"


def test_the_members_of_a_union_are_not_in_the_path() -> None:
    """A path names what stands in the file, not what pydantic tried."""
    faults = faults_of("{name: x, either: [a, 5]}")
    assert {fault.path for fault in faults} == {"either", "either[1]"}


def test_a_file_that_is_no_map_is_told_so() -> None:
    """The root has a name too."""
    (fault,) = faults_of("- a")
    assert fault.message == "the file must be a map, not a list"
    (fault,) = faults_of("")
    assert (fault.message, fault.hint) == ("the file is empty", "it needs name")


def test_known_keys_are_found_beneath_lists_maps_and_unions() -> None:
    """Proposals come from the model that stands where the unknown key stands."""
    assert known_keys(Tree, ()).keys() == {"name", "count", "leaves", "named", "either"}
    assert known_keys(Tree, ("leaves", 3)).keys() == {"wait", "level"}
    assert known_keys(Tree, ("named", "x")).keys() == {"wait", "level"}
    assert not known_keys(Tree, ("name",))


def test_the_nearest_name_is_proposed_and_otherwise_all() -> None:
    """A proposal ignores case and the kind of dash; with none near, the known ones are listed."""
    assert nearest("Depends-On", ["depends_on", "env"]) == "depends_on"
    assert nearest("zzz", ["depends_on"]) is None
    assert nearest(5, ["depends_on"]) is None
    assert proposal("zzz", ["b", "a"]) == "known keys: a, b"
    assert proposal("zzz", [], noun="params") == "there are no params"
    assert proposal("zzz", [f"k{n:02}" for n in range(30)]).endswith("k19, …")


def test_long_values_are_shortened() -> None:
    """A message stays one line whatever the value."""
    assert len(shown("x" * 1000)) == 60
    assert "\n" not in shown("a\nb")
    assert shown(10**5000) == "a number too long to be shown"
    assert shown([10**5000]) == "a list too long to be shown"
