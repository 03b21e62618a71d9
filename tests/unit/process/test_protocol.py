"""The two ends of the reaper's socket, in C and in Python, mean the same bytes."""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from pathlib import Path

import pytest

from barbossad.process import procfs
from barbossad.process.failures import Stage
from barbossad.process.local import protocol
from barbossad.process.local.protocol import ReportKind, RequestKind

HEADER = (Path(protocol.__file__).parent / "native" / "protocol.h").read_text()
CODES = {"uint32_t": "I", "int32_t": "i", "uint64_t": "Q", "int64_t": "q", "double": "d"}


def members(name: str) -> list[tuple[str, str]]:
    """Return the type and the name of each member of a struct of the header."""
    found = re.search(rf"struct {name} {{(.*?)}};", HEADER, re.DOTALL)
    assert found is not None
    return re.findall(r"^\s+(\w+) (\w+);", found[1], re.MULTILINE)


@pytest.mark.parametrize(("name", "layout"), [("request", protocol._REQUEST), ("report", protocol._REPORT)])
def test_layout(name: str, layout: struct.Struct) -> None:
    """A struct has the members of its format, in order, and is aligned when others lie before it."""
    assert layout.format == "@" + "".join(CODES[kind] for kind, _ in members(name))
    assert layout.size % 8 == 0


def test_names_of_a_report() -> None:
    """The fields of a report are called as the header calls them; its text follows it."""
    assert [name for _, name in members("report")] == [*protocol.Report._fields[:-1], "text_bytes"]


@pytest.mark.parametrize(
    ("name", "numbers"), [("request_kind", RequestKind), ("report_kind", ReportKind), ("stage", Stage)]
)
def test_numbers(name: str, numbers: type[IntEnum]) -> None:
    """A number has the name that the header gives it."""
    found = re.search(rf"enum {name} {{(.*?)}};", HEADER)
    assert found is not None
    assert {word: int(number) for word, number in re.findall(r"(\w+) = (\d+)", found[1])} == {
        member.name: member.value for member in numbers
    }


def test_marker() -> None:
    """Both ends call the variable the same that names an attempt to its processes."""
    source = (Path(protocol.__file__).parent / "native" / "attempts.c").read_text()
    assert f'MARKER[] = "{procfs.MARKER}"' in source


def test_limits() -> None:
    """Both ends know the same longest packet and the same word for a status that is missing."""
    assert f"PACKET_BYTES = {protocol.PACKET_BYTES} " in HEADER
    assert f"NO_STATUS = {protocol._NO_STATUS}," in HEADER


def test_several_reports_in_a_packet() -> None:
    """Each report has its own text, whose padding is no part of it."""

    def packed(serial: int, status: int, text: bytes) -> bytes:
        facts = (serial, 1, 2, 3, 4, 5, ReportKind.ENDED, 6, status, 0, 0, len(text))
        return protocol._REPORT.pack(*facts) + text + bytes(-len(text) % 8)

    packet = packed(1, 256, b"12, 13") + packed(2, -1, b"") + packed(3, 9, b"12345678") + packed(4, 0, b"\xff")
    found = list(protocol.reports(packet))
    assert [report.serial for report in found] == [1, 2, 3, 4]
    assert [report.wait_status for report in found] == [256, None, 9, 0]
    assert [report.text for report in found] == ["12, 13", "", "12345678", "\udcff"]


@pytest.mark.parametrize("words", [("a\0b", "c"), ("a", "c\0"), ("a", "\ud800")])
def test_what_no_process_can_be_given(words: tuple[str, str]) -> None:
    """A NUL would end a word before its end, and half a surrogate pair is no text: neither is sent."""
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        protocol.launch(1, "run/task/1", "/", ("echo", words[0]), {"NAME": words[1]})
