"""Take secrets out of output before it reaches the disk, whatever form they are in and however they are cut up.

Nearly all output holds none, and is passed through at the speed at which its words can be looked up in a table: every
form has, wherever it stands, a whole *word* of eight bytes at a multiple of eight among its first fifteen bytes (four
bytes, where a form is short). Only where such a word is found are bytes compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final, Literal

from barbossad.security.forms import forms_of

STARS: Final = b"***"

_GEARS: Final[tuple[tuple[int, int, Literal["Q", "I"]], ...]] = ((8, 8, "Q"), (4, 4, "I"), (4, 2, "I"))
"""Bytes of a word, bytes from one to the next, its format; the first that the shortest form has room for."""


class Masking:
    """What is to be masked: one or more secrets in all their forms. May be shared; each stream has a ``Mask``."""

    def __init__(self, values: Iterable[str]) -> None:
        forms = forms_of(values)
        if not forms:
            raise ValueError("there is no secret that is long enough to be masked")
        shortest = min(map(len, forms))
        self.word_bytes, self.step_bytes, self.format = next(
            gear for gear in _GEARS if shortest >= gear[0] + gear[1] - 1
        )
        self.words: dict[int, list[tuple[bytes, int]]] = {}
        """From a word to the forms that it may stand in, and where in them."""

        self.beginnings: set[bytes] = set()
        """Beginnings of forms that are too short to be sure to hold a word."""

        for form in sorted(forms, key=len, reverse=True):
            for offset in range(self.step_bytes):
                word = int.from_bytes(form[offset : offset + self.word_bytes], sys.byteorder)
                self.words.setdefault(word, []).append((form, offset))
            self.beginnings.update(form[:size] for size in range(1, self.surely_a_word_bytes))

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


@lru_cache(maxsize=64)
def masking_of(values: frozenset[str]) -> Masking:
    """Return what masks these secrets; the last few are kept, as the forms of a long key take milliseconds to make."""
    return Masking(values)


def make_mask_of(values: Iterable[str]) -> Callable[[], Mask] | None:
    """Return what makes masks of these secrets, None where there are none."""
    kept = frozenset(values)
    return masking_of(kept).mask if kept else None


class Mask:
    """Masks one stream (see ``process.launcher.Mask``). What it holds back is in memory alone: a crash loses it."""

    __slots__ = ("_held", "_masked", "_masking")

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._held = b""
        self._masked = 0
        """How many bytes of ``_held`` belong to a secret whose stars have been given already."""

    @property
    def held(self) -> bytes:
        """See ``launcher.Mask``."""
        return self._held

    def feed(self, data: bytes, *, is_last: bool = False) -> bytes:
        """Return what may be recorded now. What may be the beginning of a secret is held back until ``is_last``."""
        if self._held:
            data = self._held + data
        found, held_from = self._look(data)
        if is_last:
            held_from = len(data)
        self._held = data[held_from:]
        if not found and not self._masked:
            return data[:held_from] if self._held else data
        return self._starred(data, found, held_from)

    def _look(self, data: bytes) -> tuple[list[tuple[int, int]], int]:
        """Return where secrets are, in no order, and from where on the end may be the beginning of one."""
        size = len(data)
        masking = self._masking
        found: list[tuple[int, int]] = []
        held_from = size
        for position, form, offset in self._candidates(data):
            start = position - offset
            if start < 0:
                continue
            if start + len(form) <= size:
                if data.startswith(form, start):
                    found.append((start, start + len(form)))
            elif start < held_from and form.startswith(data[start:]):
                held_from = start
        for length in range(min(masking.surely_a_word_bytes - 1, size), size - held_from, -1):
            if data[size - length :] in masking.beginnings:
                return found, size - length
        return found, held_from

    def _candidates(self, data: bytes) -> Iterator[tuple[int, bytes, int]]:
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
