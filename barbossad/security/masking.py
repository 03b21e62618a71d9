"""Take secrets out of output before it reaches the disk, whatever form they are in and however they are cut up.

Nearly all output holds none, and is passed through at the speed at which its words can be looked up in a table: every
form has, wherever it stands, a whole *word* of eight bytes at a multiple of eight among its first fifteen bytes (four
bytes, where a form is short). Only where such a word is found are bytes compared. Words are looked for in the text
without its line breaks: base64 and hexadecimal are broken into lines anywhere.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from barbossad.security.forms import LEAST_CHARACTERS, plain_forms_of, wrapped_forms_of

STARS: Final = b"***"

LEAST_BEGINNING: Final = 4
"""The beginning of a secret at the end of a text is masked if it is so long; a shorter one may be chance."""

_BEFORE_A_BREAK: Final = 4
"""So many characters of a wrapped form in a row are held back over a line break; fewer are passed on, lest every
sixth line waits for the next.
"""

MOST_KEPT: Final = 64
"""For so many tasks with secrets of their own what masks these is kept."""

_BREAKS: Final = b"\r\n"
_GEARS: Final[tuple[tuple[int, int, Literal["Q", "I"]], ...]] = ((8, 8, "Q"), (4, 4, "I"), (4, 2, "I"))
"""Bytes of a word, bytes from one to the next, its format; the first that the shortest form has room for."""


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """``text`` is ``raw`` without its line breaks. One that is wrapped may have others anywhere."""

    raw: bytes
    text: bytes
    is_wrapped: bool

    @property
    def in_a_row(self) -> int:
        """How many of its first characters must stand in one line; where fewer do, the rest is found in the next."""
        return max(min(_BEFORE_A_BREAK, len(self.text) - LEAST_CHARACTERS + 1), 1) if self.is_wrapped else 1


class Masking:
    """What is to be masked: one or more secrets in all their forms. May be shared; each stream has a ``Mask``."""

    def __init__(self, values: Iterable[str]) -> None:
        forms = _prepared(values)
        if not forms:
            raise ValueError("there is no secret that is long enough to be masked")
        shortest = min(len(form.text) - form.in_a_row + 1 for form in forms)
        self.word_bytes, self.step_bytes, self.format = next(
            gear for gear in _GEARS if shortest >= gear[0] + gear[1] - 1
        )
        self.words: dict[int, list[tuple[_Form, int]]] = {}
        """From a word to the forms that it may stand in, and where in them."""

        self.beginnings: set[bytes] = set()
        """Beginnings of forms that are too short to be sure to hold a word."""

        self.wrapped_beginnings: dict[bytes, int] = {}
        """Those of wrapped forms, and how much of them is not broken apart (see ``_Form.in_a_row``)."""

        self.longest_beginning = 0
        for form in forms:
            self._add(form)
        self.longest_beginning = max(map(len, self.beginnings))

    def _add(self, form: _Form) -> None:
        """Enter a form; longer ones come first."""
        raw, text, in_a_row, least = form.raw, form.text, form.in_a_row, self.surely_a_word_bytes
        for offset in range(self.step_bytes + in_a_row - 1):
            word = int.from_bytes(text[offset : offset + self.word_bytes], sys.byteorder)
            self.words.setdefault(word, []).append((form, offset))
        size = min(least, len(raw))
        while size < len(raw) and len(without_breaks(raw[:size])) < least:
            size += 1
        self.beginnings.update([raw[:end] for end in range(1, size)])
        if form.is_wrapped:
            ends = range(1, min(least + in_a_row - 1, len(text)))
            self.wrapped_beginnings.update({text[:end]: in_a_row for end in ends})

    @property
    def surely_a_word_bytes(self) -> int:
        """How long a beginning of a form must be to hold a whole word wherever it stands."""
        return self.word_bytes + self.step_bytes - 1

    def mask(self) -> Mask:
        """Return a mask for one stream."""
        return Mask(self)

    def whole(self, data: bytes) -> bytes:
        """Return a whole text without secrets."""
        return Mask(self).feed(data, is_last=True)


def _prepared(values: Iterable[str]) -> list[_Form]:
    """Return what is looked for, the longest first; nothing begins with a line break."""
    kept = frozenset(values)
    wrapped, plain = wrapped_forms_of(kept), plain_forms_of(kept)
    forms = [_Form(raw, without_breaks(raw), raw in wrapped) for raw in wrapped | plain if raw[0] not in _BREAKS]
    return sorted(
        (form for form in forms if len(form.text) >= LEAST_CHARACTERS), key=lambda form: len(form.raw), reverse=True
    )


def without_breaks(data: bytes) -> bytes:
    """Return a text without its line breaks."""
    data = data.replace(b"\n", b"")
    return data.replace(b"\r", b"") if b"\r" in data else data


_kept: Final[dict[frozenset[str], Masking]] = {}
"""What was made last: the forms of a long key take a second to make."""


def masking_of(values: frozenset[str]) -> Masking:
    """Return what masks these secrets."""
    found = _kept.pop(values, None) or Masking(values)
    keep(values, found)
    return found


def keep(values: frozenset[str], made: Masking) -> None:
    """Keep what masks these secrets at hand, and forget what was needed longest ago."""
    _kept[values] = made
    while len(_kept) > MOST_KEPT:
        del _kept[next(iter(_kept))]


def is_at_hand(values: frozenset[str]) -> bool:
    """Say whether ``masking_of`` takes no time for these secrets."""
    return values in _kept


def make_mask_of(values: Iterable[str]) -> Callable[[], Mask] | None:
    """Return what makes masks of these secrets, None where there are none. What it needs is made with the first."""
    kept = frozenset(values)

    def make() -> Mask:  # which tells no secret of itself
        return masking_of(kept).mask()

    return make if kept else None


def _most_held(size_bytes: int) -> int:
    """Return how many bytes are held back for so many without line breaks: no flood of these is."""
    return 2 * size_bytes + len(_BREAKS)


class _Text:
    """A text with and without its line breaks, and where what stands in the second stands in the first."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.joined = without_breaks(data)
        self._ends: list[list[int]] | None = None

    def place(self, position: int) -> int:
        """Return where in ``data`` a byte of ``joined`` stands."""
        if self._ends is None:
            stages = ((self.data.replace(b"\n", b""), b"\r"), (self.data, b"\n"))
            self._ends = [list(accumulate(map(len, text.split(byte)))) for text, byte in stages if byte in text]
        for ends in self._ends:
            position += bisect_right(ends, position)
        return position

    def find_wrapped(self, form: _Form, start: int, *, is_at_line_start: bool) -> tuple[int, int | None] | None:
        """Return where in ``data`` a wrapped form begins that is to begin at ``start`` of ``joined``, and its end.

        The end is None where the text ends before. What ends the line before may have taken its first characters.
        """
        joined, text = self.joined, form.text
        for skip in range(form.in_a_row):
            at = start + skip
            if not 0 <= at < len(joined) or joined[at] != text[skip]:
                continue
            is_whole = at + len(text) - skip <= len(joined)
            if not (joined.startswith(text[skip:], at) if is_whole else text.startswith(joined[at:], skip)):
                continue
            begins = self.place(at)
            if skip and not (self.data[begins - 1] in _BREAKS if begins else is_at_line_start):
                continue
            last = min(at + form.in_a_row, len(joined)) - 1
            if self.place(last) - begins != last - at:
                continue
            if is_whole:
                return begins, self.place(at + len(text) - skip - 1) + 1
            size = len(self.data) - begins
            is_enough = last - at + 1 >= min(size, form.in_a_row)
            if is_enough and size <= _most_held(len(joined) - at):
                return begins, None
        return None

    def find_plain(self, form: _Form, start: int) -> tuple[int, int | None] | None:
        """Return where in ``data`` any other form begins, and its end, as ``find_wrapped`` does."""
        if start < 0:
            return None
        begins = self.place(start)
        if begins + len(form.raw) <= len(self.data):
            return (begins, begins + len(form.raw)) if self.data.startswith(form.raw, begins) else None
        return (begins, None) if form.raw.startswith(self.data[begins:]) else None


class Mask:
    """Masks one stream (see ``process.launcher.Mask``). What it holds back is in memory alone: a crash loses it."""

    __slots__ = ("_before", "_held", "_is_at_line_start", "_masked", "_masking")

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._held = b""
        self._is_at_line_start = True
        self._before = b""
        """The last characters before ``_held``, without line breaks."""

        self._masked = 0
        """How many bytes of ``_held`` belong to a secret whose stars have been given already."""

    @property
    def held(self) -> bytes:
        """See ``launcher.Mask``."""
        return self._held

    @property
    def starred(self) -> int:
        """See ``launcher.Mask``."""
        return self._masked

    def resume(self, held: bytes, starred: int) -> bytes:
        """See ``launcher.Mask``."""
        self._masked = starred
        return self.feed(held)

    def feed(self, data: bytes, *, is_last: bool = False) -> bytes:
        """Return what may be recorded now. What may be the beginning of a secret is held back until ``is_last``.

        Then it is masked if it is long enough: a task that is ended may be in the middle of printing one.
        """
        if self._held:
            data = self._held + data
        found, held_from = self._look(data)
        if is_last:
            beginning = data[held_from:].rstrip(_BREAKS)
            if len(beginning) >= LEAST_BEGINNING:
                found.append((held_from, held_from + len(beginning)))
            held_from = len(data)
        self._held = data[held_from:]
        if held_from:
            self._is_at_line_start = data[held_from - 1] in _BREAKS
            told = without_breaks(data[max(held_from - 2 * _BEFORE_A_BREAK, 0) : held_from])
            self._before = (self._before + told)[1 - _BEFORE_A_BREAK :]
        if not found and not self._masked:
            return data[:held_from] if self._held else data
        return self._starred(data, found, held_from)

    def _look(self, data: bytes) -> tuple[list[tuple[int, int]], int]:
        """Return where secrets are, in no order, and from where on the end may be the beginning of one."""
        text = _Text(data)
        found: list[tuple[int, int]] = []
        held_from = len(data)
        for position, form, offset in self._candidates(text.joined):
            start = position - offset
            if form.is_wrapped:
                place = text.find_wrapped(form, start, is_at_line_start=self._is_at_line_start)
            else:
                place = text.find_plain(form, start)
            if place is None:
                continue
            if place[1] is not None:
                found.append((place[0], place[1]))
            else:
                held_from = min(held_from, place[0])
        return found, min(held_from, self._short_beginning(text))

    def _short_beginning(self, text: _Text) -> int:
        """Return from where on the end may be the beginning of a form, of those that may hold no word."""
        masking, data, joined = self._masking, text.data, text.joined
        size = len(data)
        found = size
        for length in range(min(masking.longest_beginning, size), 0, -1):
            if data[size - length :] in masking.beginnings:
                found = size - length
                break
        for length in range(min(masking.surely_a_word_bytes - 1, len(joined)), 0, -1):
            in_a_row = masking.wrapped_beginnings.get(joined[-length:], length + 1)
            if in_a_row <= length:
                begins = text.place(len(joined) - length)
                is_in_a_row = text.place(len(joined) - length + in_a_row - 1) - begins == in_a_row - 1
                if is_in_a_row and size - begins <= _most_held(length):
                    found = min(found, begins)
                    break
        # The beginning of the last line may go on with what ended the line before.
        line_bytes = size - 1 - max(data.rfind(b"\n"), data.rfind(b"\r"))
        if 0 < line_bytes < masking.surely_a_word_bytes and (line_bytes < size or self._is_at_line_start):
            at = len(joined) - line_bytes
            before = (self._before + joined[max(at - _BEFORE_A_BREAK, 0) : at])[1 - _BEFORE_A_BREAK :]
            for length in range(1, len(before) + 1):
                if masking.wrapped_beginnings.get(before[-length:] + joined[at:], 0) > length:
                    return min(found, size - line_bytes)
        return found

    def _candidates(self, data: bytes) -> Iterator[tuple[int, _Form, int]]:
        """Yield where there is a word of a form: its position, the form, and its place in that."""
        masking = self._masking
        words, word_bytes = masking.words, masking.word_bytes
        for shift in range(0, word_bytes, masking.step_bytes):
            whole = (len(data) - shift) // word_bytes * word_bytes
            if whole <= 0:
                return
            view = memoryview(data)[shift : shift + whole].cast(masking.format)
            if words.keys().isdisjoint(view):
                continue
            for index, word in enumerate(view):
                if word in words:
                    for form, offset in words[word]:
                        yield shift + index * word_bytes, form, offset

    def _starred(self, data: bytes, found: list[tuple[int, int]], held_from: int) -> bytes:
        """Return ``data`` up to ``held_from``, and note how much of what is held has been masked.

        Secrets that overlap get their stars together; one that begins in what is held is found again with that.
        """
        parts: list[bytes] = []
        position = self._masked
        for start, end in sorted(found):
            if start >= held_from:
                break
            if start >= position:
                parts += (data[position:start], STARS)
            position = max(position, end)
        parts.append(data[position:held_from])
        self._masked = max(position - held_from, 0)
        return b"".join(parts)
