"""The forms in which programs write a secret: as it is, encoded for transport, or quoted for another program.

A form is the longest run of bytes that is the same whatever stands around the secret. Base64 mixes neighbours into a
character at either end: those two to four bits are not part of a form, unless the end is that of the whole text.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

LEAST_CHARACTERS: Final = 6
"""A shorter secret could not be masked without masking half of all output."""

_LINE_WIDTHS: Final = (76, 64)
"""Where base64(1), and openssl(1) and PEM, break lines."""

_HEX_LINE_WIDTH: Final = 60
"""Where ``xxd -p`` does."""

_URL_SAFE: Final = ("", "/", "!*'()", "!*'()/", ";,/?:@&=+$#!*'()")
"""What else stays as it is: in a query, in a path, and with JavaScript's ``encodeURIComponent`` and ``encodeURI``."""

_ESCAPED: Final = re.compile(r"%[0-9A-F]{2}")
_SHLEX_UNSAFE: Final = re.compile(r"([^\w@%+=:,./-])", re.ASCII)
_BASH_UNSAFE: Final = re.compile(r"([\s'\"\\|&;()<>!{}*\[\]?^$`,]|^[#~])")
_IN_DOUBLE_QUOTES: Final = re.compile(r"([\"$`\\])")
_HTML_UNSAFE: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'"}


def forms_of(values: Iterable[str]) -> frozenset[bytes]:
    """Return all forms of secrets, and of each line of those that have several; none is shorter than six bytes."""
    found: set[bytes] = set()
    for value in values:
        pieces = {value, value.rstrip("\r\n"), *(line.strip("\r") for line in value.split("\n"))}
        for piece in pieces:
            if len(piece) >= LEAST_CHARACTERS:
                found.update(_forms(piece))
    return frozenset(form for form in found if len(form) >= LEAST_CHARACTERS)


def _forms(text: str) -> Iterator[bytes]:
    raw = text.encode(errors="surrogateescape")
    yield raw
    yield raw.replace(b"\n", b"\r\n")
    yield from _base64(raw)
    for digits in (raw.hex(), raw.hex().upper()):
        yield digits.encode()
        yield from _in_lines(digits.encode(), _HEX_LINE_WIDTH)
    for form in (*_url(raw), *_json(text), *_quoted(text)):
        yield form.encode(errors="surrogateescape")


def _base64(raw: bytes) -> Iterator[bytes]:
    """Yield what base64 of a text has where the secret begins at its first, second or third byte of three.

    ``echo`` puts a newline behind it; where the secret is the end of the text, the last character is known too.
    """
    for skipped, ends in ((0, (b"", b"\n")), (2, (b"", b"\n")), (3, (b"", b"\n"))):
        before = bytes(0 if skipped == 0 else skipped - 1)
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(before + raw)[skipped : (len(before) + len(raw)) * 8 // 6]
            for end in ends:
                whole = encode(before + raw + end)[skipped:]
                yield whole
                yield whole.rstrip(b"=")
                if not skipped:
                    for width in _LINE_WIDTHS:
                        yield from _in_lines(whole, width)


def _in_lines(form: bytes, width: int) -> Iterator[bytes]:
    if len(form) > width:
        yield from (form[start : start + width] for start in range(0, len(form), width))


def _url(raw: bytes) -> Iterator[str]:
    for safe in _URL_SAFE:
        for encoded in (quote(raw, safe=safe), quote_plus(raw, safe=safe)):
            for form in (encoded, encoded.replace("~", "%7E")):
                yield form
                yield _ESCAPED.sub(lambda escaped: escaped[0].lower(), form)


def _json(text: str) -> Iterator[str]:
    for to_ascii in (True, False):
        form = json.dumps(text, ensure_ascii=to_ascii)[1:-1]
        for written in (form, form.replace("/", "\\/"), form.translate(_HTML_UNSAFE)):
            yield written
            yield re.sub(r"\\u[0-9a-f]{4}", lambda escaped: "\\u" + escaped[0][2:].upper(), written)


def _quoted(text: str) -> Iterator[str]:
    """Yield what shells and Python write so that a shell or Python reads it as the secret."""
    yield shlex.quote(text)[1:-1] if shlex.quote(text) != text else text
    yield text.replace("'", "'\\''")
    yield _IN_DOUBLE_QUOTES.sub(r"\\\1", text)
    for unsafe in (_SHLEX_UNSAFE, _BASH_UNSAFE):
        yield unsafe.sub(r"\\\1", text)
    yield repr(text)[1:-1]
    yield repr(text.encode(errors="surrogateescape"))[2:-1]
