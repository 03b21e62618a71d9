from __future__ import annotations

import contextlib
import random

import pytest

from barbossad.model.records import LogRecord
from barbossad.process.launcher import EndCause, ProcessEnd
from barbossad.tasks import _report as reports
from barbossad.tasks._outputs import OutputsError, parse, reader
from barbossad.tasks._report import Report


@pytest.mark.parametrize(
    ("written", "outputs"),
    [
        (b"", {}),
        (b"\n\n", {}),
        (b"size=5", {"size": "5"}),
        (b"size=5\n", {"size": "5"}),
        (b"a=1\nb=2\na=3\n", {"a": "3", "b": "2"}),
        (b"a=b=c<<d\n", {"a": "b=c<<d"}),
        (b"a=\n", {"a": ""}),
        (b"a= b \n", {"a": " b "}),
        (b"my-out=x\n", {"my-out": "x"}),
        (b"a<<END\nline 1\n\nb=2\nEND\nc=3\n", {"a": "line 1\n\nb=2", "c": "3"}),
        (b"a<<END\nEND", {"a": ""}),
        (b"a<<EOF\n END\nEOF \nEOF\n", {"a": " END\nEOF "}),
        (b"a=\xff\xc3\xa9\n", {"a": "\\xffé"}),
        (b"a=x\ry\x0bz\n", {"a": "x\ry\x0bz"}),
        (b"a=x\r\n", {"a": "x\r"}),
    ],
)
def test_outputs_are_read(written: bytes, outputs: dict[str, str]) -> None:
    """Lines and blocks give text by name, the last of a name wins, and only newlines end lines."""
    assert parse(written) == outputs


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (b"size\n", "line 1 is no output: 'size'; write name=value"),
        (b"a=1\n5=x\n", "line 2 is no output: '5=x'"),
        (b"a b=x\n", "line 1 is no output"),
        (b"=x\n", "line 1 is no output"),
        (b"a<<\nx\n", "line 1 names no word that ends 'a'"),
        (b"\na<<END\nx\nend\n", "the block of 'a' from line 2 on has no 'END' at its end"),
        (b"x" * 63 + b"y=1\n", "line 1 is no output"),
        (b"a=" + b"x" * 1024 * 1024, "they are larger than 1048576 bytes"),
    ],
)
def test_what_is_no_output_is_told_with_its_line(written: bytes, reason: str) -> None:
    """A task that writes anything else fails with the line and the way to write it."""
    with pytest.raises(OutputsError, match="^" + reason.replace("(", r"\(")):
        parse(written)


SUCCESS = reports.encode({"n": 5}, 1000)


@pytest.mark.parametrize(
    ("exit_code", "written", "report"),
    [
        (0, SUCCESS, Report(outputs={"n": 5})),
        (0, b"n=5\n", Report(outputs={"n": "5"})),
        (1, reports.encode_failure("no room"), Report(failure="no room")),
        (1, None, Report()),
    ],
)
def test_a_task_that_outlived_its_type_is_believed_what_it_reports(
    exit_code: int, written: bytes | None, report: Report
) -> None:
    """A report is told from the outputs of a program, whichever of both its type wanted."""
    end = ProcessEnd(
        cause=EndCause.EXITED, exit_code=exit_code, finished_at_ms=1, log=LogRecord(), output=written
    )  # fmt: skip
    assert reader({})("gone", end) == report


@pytest.mark.parametrize("written", [None, b"", SUCCESS[:-20]])
def test_a_task_that_outlived_its_type_needs_evidence(written: bytes | None) -> None:
    """Where nothing whole was reported, an exit with 0 is no success."""
    end = ProcessEnd(cause=EndCause.EXITED, exit_code=0, finished_at_ms=1, log=LogRecord(), output=written)
    report = reader({})("gone", end)
    assert report.outputs is None
    assert (report.failure or "").startswith("it exited with 0 ")


@pytest.mark.by_chance
def test_any_bytes_are_outputs_or_an_error() -> None:
    """Whatever a task writes, reading it never crashes."""
    for _ in range(2000):
        written = bytes(random.choices(b"ab=<END\n\r\x00\xff\xc3 5-_", k=random.randint(0, 30)))
        with contextlib.suppress(OutputsError):
            assert all(isinstance(value, str) for value in parse(written).values())
