"""The forms in which programs write a secret: as it is, encoded for transport, or quoted for another program.

A form is the longest run of bytes that is the same whatever stands around the secret. Base64 mixes neighbours into a
character at either end: those two to four bits are not part of a form, unless the end is that of the whole text.
Base64 and hexadecimal are *wrapped*: programs break them into lines, at a column that says nothing of the secret.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final
from urllib.parse import quote, quote_plus

LEAST_CHARACTERS: Final = 6
"""A shorter secret could not be masked without masking half of all output."""

MANY_LINES: Final = 128
"""Lines of a secret with more than so many are not looked for encoded one by one: it has too many forms then."""

_LINE_WIDTHS: Final = (76, 64)
"""Where base64(1), and openssl(1) and PEM, break lines: such lines are known one by one, however they are indented."""

_HEX_LINE_WIDTH: Final = 60
"""Where ``xxd -p`` does."""

_HEX_SEPARATORS: Final = ("", " ", ":")
"""Between two bytes: none, as ``od -An -tx1`` has it, and as openssl(1) and network cards have it."""

_URL_SAFE: Final = ("", "/", "!*'()", "!*'()/", ";,/?:@&=+$#!*'()")
"""What else stays as it is: in a query, in a path, and with JavaScript's ``encodeURIComponent`` and ``encodeURI``."""

_ESCAPED: Final = re.compile(r"%[0-9A-F]{2}")
_SHLEX_UNSAFE: Final = re.compile(r"([^\w@%+=:,./-])", re.ASCII)
_BASH_UNSAFE: Final = re.compile(r"([\s'\"\\|&;()<>!{}*\[\]?^$`,]|^[#~])")
_IN_DOUBLE_QUOTES: Final = re.compile(r"([\"$`\\])")
_SAME_EVERYWHERE: Final = re.compile(r"[A-Za-z0-9_.-]+")
"""What no one of those quotes."""

_WORD: Final = re.compile(r"[^ \t\n]+")
"""What the shell's usual ``IFS`` leaves together."""

_ANSI_C: Final = {
    **{chr(code): f"\\{code:03o}" for code in (*range(32), 127)},
    "\a": r"\a",
    "\b": r"\b",
    "\x1b": r"\E",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    "'": r"\'",
}
"""What bash writes within ``$'...'``."""

_HTML_UNSAFE: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'"}


def forms_of(values: Iterable[str]) -> frozenset[bytes]:
    """Return all forms of secrets, and of each line of those that have several; none is shorter than six bytes."""
    kept = frozenset(values)
    return plain_forms_of(kept) | wrapped_forms_of(kept)


def plain_forms_of(values: Iterable[str]) -> frozenset[bytes]:
    """Return those of the forms that stand somewhere byte for byte."""
    whole, lines = _pieces(values)
    encoded = (form for piece in whole for form in _encoded_lines(_raw(piece)))
    return _long_enough(chain(encoded, (form for piece in whole | lines for form in _plain(piece))))


def wrapped_forms_of(values: Iterable[str]) -> frozenset[bytes]:
    """Return those of the forms that may be broken into lines anywhere."""
    raw = [_raw(piece) for piece in _pieces(values)[0]]
    return _long_enough(form for piece in raw for form in (*_base64(piece), *_base32(piece), *_hexadecimal(piece)))


def _long_enough(forms: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(form for form in forms if len(form) >= LEAST_CHARACTERS)


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _pieces(values: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return secrets, their lines, and what a shell makes of both that splits them at blanks and joins the words.

    Apart from these the lines of secrets that have very many: they are looked for as text, and not encoded one by one.
    """
    whole: set[str] = set()
    apart: set[str] = set()
    for value in values:
        lines = [line.strip("\r") for line in value.split("\n")]
        _add_pieces(whole, (value, value.strip("\r\n")))
        _add_pieces(whole if len(lines) <= MANY_LINES else apart, lines)
    return whole, apart - whole


def _add_pieces(found: set[str], pieces: Iterable[str]) -> None:
    for piece in pieces:
        words = (piece, piece.strip(" \t\r\n"), " ".join(_WORD.findall(piece)))
        found.update(word for word in words if len(word) >= LEAST_CHARACTERS)


def _plain(text: str) -> Iterator[bytes]:
    raw = _raw(text)
    yield raw
    if _SAME_EVERYWHERE.fullmatch(text):
        return
    yield raw.replace(b"\n", b"\r\n")
    for form in (*_url(raw), *_json(text), *_quoted(text)):
        yield _raw(form)


def _encoded_lines(raw: bytes) -> Iterator[bytes]:
    for digits in (raw.hex(), raw.hex().upper()):
        yield from _in_lines(digits.encode(), _HEX_LINE_WIDTH)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for whole in (encode(raw), encode(raw + b"\n")):
            for width in _LINE_WIDTHS:
                yield from _in_lines(whole, width)


def _hexadecimal(raw: bytes) -> Iterator[bytes]:
    for separator in _HEX_SEPARATORS:
        digits = raw.hex(separator) if separator else raw.hex()
        yield digits.encode()
        yield digits.upper().encode()


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


def _base32(raw: bytes) -> Iterator[bytes]:
    """Yield what base32 of a text has where the secret begins at its first to fifth byte of five."""
    for before in range(5):
        skipped = -(-before * 8 // 5)
        yield base64.b32encode(bytes(before) + raw)[skipped : (before + len(raw)) * 8 // 5]
        for end in (b"", b"\n"):
            whole = base64.b32encode(bytes(before) + raw + end)[skipped:]
            yield whole
            yield whole.rstrip(b"=")


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
    yield from _ansi_c(text)
    for written in (repr, ascii):
        yield written(text)[1:-1]
        yield written(text + "'\"")[1:-4]  # as in a text that has both kinds of quotes
    yield repr(text.encode(errors="surrogateescape"))[2:-1]


def _ansi_c(text: str) -> Iterator[str]:
    """Yield what bash writes within ``$'...'``: where it knows characters beyond ASCII, and where it does not."""
    written = "".join(_ANSI_C.get(character, character) for character in text)
    yield written
    if not written.isascii():
        raw = written.encode(errors="surrogateescape")
        yield "".join(chr(byte) if byte < 128 else f"\\{byte:03o}" for byte in raw)
