"""What a worker says of its task, and how the daemon takes it."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest

from barbossad.model.records import LogRecord
from barbossad.process.launcher import OUTPUT_LIMIT, EndCause, ProcessEnd
from barbossad.tasks import _outputs, _registry
from barbossad.tasks._api import TaskError
from barbossad.tasks._outputs import OutputsError
from barbossad.tasks._report import MAX_DEPTH, Report, ReportError, decode, encode, encode_failure

HEADER = b'{"barbossa_report": 1}\n'
SUCCEEDED = b'{"result": "succeeded"}\n'


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def ended(output: bytes | None, code: int = 0) -> ProcessEnd:
    return ProcessEnd(cause=EndCause.EXITED, exit_code=code, finished_at_ms=1, log=LogRecord(), output=output)


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"n": 1, "x": 1.5, "yes": True, "none": None, "text": "é\n\0", "list": [1, [2]], "map": {"a": {"b": []}}},
        {"my-out": nested(MAX_DEPTH)},
        {"n": 10**30},
    ],
)
def test_what_is_reported_is_read(outputs: dict[str, Any]) -> None:
    """Numbers, booleans, lists and maps keep their types on the way."""
    assert decode(encode(outputs, OUTPUT_LIMIT)) == Report(outputs=outputs)


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({"a b": 1}, "'a b' cannot be the name of an output"),
        ({5: 1}, "5 cannot be the name of an output"),
        ({"a": {1}}, "its output 'a' cannot be written as JSON: Object of type set"),
        ({"a": float("nan")}, "its output 'a' cannot be written as JSON"),
        ({"a": nested(MAX_DEPTH + 1)}, "its output 'a' is nested deeper than 32 levels"),
        ({"a": nested(100_000)}, "its output 'a' cannot be written as JSON"),
        ({"a": "x" * 1000}, "its outputs are larger than 999 bytes; put large data into a file"),
    ],
)
def test_what_cannot_be_reported_is_a_failure_with_its_reason(outputs: dict[Any, Any], reason: str) -> None:
    """The author of a type is told which output it is."""
    with pytest.raises(TaskError, match=reason):
        encode(outputs, 999)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("the disk is full", "the disk is full"),
        ("two\n  lines", "two lines"),
        ("\x1b[31mred\udc80", "\\x1b[31mred\\udc80"),
        ("", "it gave no reason"),
        ("x" * 2000, "x" * 999 + "…"),
    ],
)
def test_a_failure_is_a_sentence_that_can_be_shown(reason: str, told: str) -> None:
    """Whatever the reason holds, it is one line without control characters, and not endless."""
    assert decode(encode_failure(reason)) == Report(failure=told)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (b"", "its last line is not whole"),
        (b"size=5\n", "line 1 is not JSON"),
        (b"{}\n", "line 1 is not the first line of a report"),
        (HEADER.rstrip(), "its last line is not whole"),
        (HEADER, "its last line does not say"),
        (HEADER + b'{"output": "a", "value": 1}\n', "its last line does not say"),
        (HEADER + SUCCEEDED.rstrip(), "its last line is not whole"),
        (HEADER + b"size=5\n" + SUCCEEDED, "line 2 is not JSON"),
        (HEADER + b'["a"]\n' + SUCCEEDED, "line 2 is no object"),
        (HEADER + b'{"output": "a"}\n' + SUCCEEDED, "line 2 is no output"),
        (HEADER + b'{"output": "a b", "value": 1}\n' + SUCCEEDED, "line 2 is no output"),
        (HEADER + b'{"output": "a", "value": NaN}\n' + SUCCEEDED, "line 2 is not JSON"),
        (HEADER + b'{"output": "a", "value": 1e999}\n' + SUCCEEDED, "line 2 is not JSON"),
        (HEADER + b'{"output": "a", "value": ' + b"[" * 40 + b"]" * 40 + b"}\n" + SUCCEEDED, "line 2 is nested"),
        (HEADER + b'{"output": "a", "value": ' + b"[" * 90_000 + b"}\n" + SUCCEEDED, "line 2 is not JSON"),
        (HEADER + b'{"result": "failed"}\n', "its last line does not say"),
        (HEADER + b'{"result": "failed", "reason": 5}\n', "its last line does not say"),
        (HEADER + b'{"result": "fine"}\n', "its last line does not say"),
    ],
)
def test_what_is_no_report_is_refused(written: bytes, reason: str) -> None:
    """Anybody may write to the file; only a whole report counts."""
    with pytest.raises(ReportError, match=reason):
        decode(written)


def test_half_a_character_goes_no_further() -> None:
    """What no text can hold would be refused by everything that comes after."""
    report = decode(encode({"a": "x\udc80y", "b": ["\ud800"]}, OUTPUT_LIMIT))
    assert report.outputs == {"a": "x?y", "b": ["?"]}


@pytest.mark.by_chance
def test_any_bytes_are_a_report_or_an_error() -> None:
    """Whatever stands in the file, reading it never crashes."""
    whole = encode({"a": [1, {"b": "é"}], "c": None}, OUTPUT_LIMIT)
    for _ in range(2000):
        written = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            written[random.randrange(len(written))] = random.choice(b'{}[]",:\\\n0aeE+-.\xff\x00')
        with contextlib.suppress(ReportError):
            report = decode(bytes(written[: random.randint(0, len(written))] if random.random() < 0.3 else written))
            assert (report.outputs is None) != (report.failure is None)
            json.dumps(report.outputs, ensure_ascii=False, allow_nan=False).encode()


def test_the_two_forms_cannot_be_taken_for_each_other() -> None:
    """No report is read as the lines of a program, and no lines of a program as a report."""
    for report in (encode({}, OUTPUT_LIMIT), encode({"a": "b=c"}, OUTPUT_LIMIT), encode_failure("no")):
        with pytest.raises(OutputsError):
            _outputs.parse(report)
    for lines in (b"a=b\n", b"a<<END\n" + SUCCEEDED + b"END\n"):
        with pytest.raises(ReportError):
            decode(lines)


@pytest.mark.parametrize(
    ("name", "end", "report"),
    [
        ("shell", ended(None), Report()),
        ("shell", ended(b"a=1\n"), Report(outputs={"a": "1"})),
        ("shell", ended(b"nonsense\n", 1), Report()),
        ("gone", ended(b"a=1\n"), Report(outputs={"a": "1"})),
        ("wait", ended(encode({"a": 1}, 999)), Report(outputs={"a": 1})),
        ("wait", ended(encode_failure("no"), 1), Report(failure="no")),
        ("wait", ended(encode_failure("no"), 0), Report(failure="no")),
        ("wait", ended(None, 3), Report()),
        ("wait", ended(b"a=1\n", 3), Report()),
        ("wait", ended(None), Report(failure="it exited with 0 but its report cannot be read: there is none")),
        (
            "wait",
            ended(b" " * (OUTPUT_LIMIT + 1)),
            Report(failure=f"it exited with 0 but its report cannot be read: it is larger than {OUTPUT_LIMIT} bytes"),
        ),
    ],
)
def test_the_type_says_what_is_to_be_expected(name: str, end: ProcessEnd, report: Report) -> None:
    """A program speaks by its exit code and its lines; a worker that did not report has not succeeded."""
    assert _outputs.reader(_registry.load())(name, end) == report


def test_lines_that_cannot_be_read_are_a_failure() -> None:
    """Others rely on the outputs of a program that says it succeeded."""
    failure = _outputs.of_program(ended(b"nonsense\n")).failure
    assert failure is not None
    assert failure.startswith("its outputs cannot be read: line 1 is no output")
