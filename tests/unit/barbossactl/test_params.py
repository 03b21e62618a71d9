"""Parameters on the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from barbossactl import params
from barbossactl.exits import CommandError, Exit


def test_values_go_as_strings_unless_json_is_meant() -> None:
    """The workflow says which type a value has, so it is sent as it was typed; ``:=`` sends JSON."""
    assert params.gather(["keep_days=3", "empty=", "eq=a=b", "url:=[1, true]", "colon=:x"], None) == {
        "keep_days": "3",
        "empty": "",
        "eq": "a=b",
        "url": [1, True],
        "colon": ":x",
    }


def test_the_command_line_goes_over_the_file(tmp_path: Path) -> None:
    """A params file gives values, -p others over them."""
    file = tmp_path / "params.json"
    file.write_text('{"a": 1, "b": [2]}')
    assert params.gather(["a=x"], str(file)) == {"a": "x", "b": [2]}


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("keep", "not 'keep'"),
        ("=3", "not '=3'"),
        (":=3", "not ':=3'"),
        ("a:=nope", "the value of -p a is not JSON"),
        ("a:=NaN", "NaN is not JSON"),
        ("a:=1e400", "the value of -p a is not acceptable JSON: the number 1e400 is too large"),
        ("a:=[-1e999]", "the number -1e999 is too large"),
        ("a:=" + "[" * 100_000, "is nested deeper than 64 levels"),
    ],
)
def test_what_is_no_parameter_is_wrong_usage(pair: str, words: str) -> None:
    """A malformed parameter is refused before anything is sent."""
    with pytest.raises(CommandError) as raised:
        params.gather([pair], None)
    assert words in str(raised.value)
    assert raised.value.exit_code is Exit.USAGE


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (b"s=/srv/b\xfccher", ["the value of -p s is not UTF-8", "the byte 0xfc"]),
        (b's:="b\xfccher"', ["the value of -p s is not UTF-8", "the byte 0xfc"]),
        (b"b\xfccher=1", ["of -p is not UTF-8", "the byte 0xfc"]),
        (b's:="\\ud800"', ["the value of -p s is no text", "half a surrogate pair"]),
        (b's:={"\\udc00": 1}', ["the value of -p s is no text", "half a surrogate pair"]),
    ],
)
def test_what_would_not_arrive_as_it_is_given_is_refused(pair: bytes, words: list[str]) -> None:
    """What is no text in UTF-8 is refused by name, never sent as something else."""
    with pytest.raises(CommandError) as raised:
        params.gather([os.fsdecode(pair)], None)
    for word in words:
        assert word in str(raised.value)
    assert raised.value.hint
    assert raised.value.exit_code is Exit.USAGE


def test_whole_surrogate_pairs_are_one_character() -> None:
    """JSON may write a character as two halves; together they are text."""
    assert params.gather([r's:="\ud83d\ude00"'], None) == {"s": "\N{GRINNING FACE}"}


def test_a_params_file_is_read_as_strictly(tmp_path: Path) -> None:
    """Half a character in a params file is refused too, with the file's name."""
    file = tmp_path / "params.json"
    file.write_text(r'{"s": ["\ud800"]}')
    with pytest.raises(CommandError, match=r"params\.json is no text") as raised:
        params.gather([], str(file))
    assert raised.value.exit_code is Exit.USAGE


def test_a_parameter_given_twice_is_refused() -> None:
    """Which of two values was meant is not guessed."""
    with pytest.raises(CommandError, match="given twice"):
        params.gather(["a=1", "a=2"], None)


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff"])
def test_a_params_file_is_a_json_object(tmp_path: Path, content: bytes) -> None:
    """Anything else in it is wrong usage, told with the file's name."""
    file = tmp_path / "params.json"
    file.write_bytes(content)
    with pytest.raises(CommandError, match=r"params\.json") as raised:
        params.gather([], str(file))
    assert raised.value.exit_code is Exit.USAGE


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that cannot be read is told with its name and the reason."""
    with pytest.raises(CommandError, match=r"cannot read .*gone\.json: No such file"):
        params.gather([], str(tmp_path / "gone.json"))


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172800), ("0.5s", 0.5)]
)
def test_durations_are_written_as_in_workflows(written: str, seconds: float) -> None:
    """The command line reads the durations of the workflow language."""
    assert params.seconds(written) == seconds


@pytest.mark.parametrize("written", ["", "x", "5x", "-1", "1m1h", "nan"])
def test_other_durations_are_wrong_usage(written: str) -> None:
    """What is no duration is refused with an example."""
    with pytest.raises(CommandError) as raised:
        params.seconds(written)
    assert raised.value.exit_code is Exit.USAGE
