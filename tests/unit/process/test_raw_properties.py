"""What raw properties are worth, without a systemd."""

from __future__ import annotations

import pytest

from barbossad.config import HARMLESS_PROPERTIES
from barbossad.model.isolation import PropertyValue
from barbossad.process import raw_properties
from barbossad.process.raw_properties import INFINITY
from barbossad.validation import RefusalError


@pytest.mark.parametrize(
    ("name", "given", "signature", "value"),
    [
        ("ProtectHome", True, "s", "yes"),
        ("ProtectHome", "False", "s", "no"),
        ("ProtectHome", "tmpfs", "s", "tmpfs"),
        ("PrivateDevices", "on", "b", True),
        ("PrivateDevices", 0, "b", False),
        ("MemoryHigh", "64M", "t", 64 * 1024**2),
        ("MemoryHigh", INFINITY, "t", INFINITY),
        ("MemorySwapMax", "infinity", "t", INFINITY),
        ("ReadOnlyPaths", "/srv", "as", ["/srv"]),
        ("InaccessiblePaths", ("/srv", "/opt"), "as", ["/srv", "/opt"]),
        ("CPUWeight", "idle", "t", 0),
        ("CPUWeight", "50", "t", 50),
        ("Nice", -3, "i", -3),
        ("UMask", 18, "u", 18),
        ("TimerSlackNSec", 5, "t", 5),
        ("LogRateLimit", True, "b", True),
        ("Slice", "a.slice", "s", "a.slice"),
        ("After", ("a.service",), "as", ["a.service"]),
    ],
)
def test_what_is_written_as_in_unit_files(name: str, given: PropertyValue, signature: str, value: object) -> None:
    """A known property gets the type that systemd wants; another one that of what was written."""
    assert raw_properties.value_of(name, given) == (signature, value)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("MemoryHigh", "50%", "is not a size: '50%'"),
        ("MemoryHigh", True, "is not a size: True"),
        ("PrivateDevices", "maybe", "is true or false, not 'maybe'"),
        ("ProtectHome", ("a",), "is one word, not ['a']"),
        ("ReadOnlyPaths", True, "is a list of texts, not True"),
        ("BindPaths", "/a:/b", "is not for raw values, and so not for '/a:/b'"),
        ("Nice", "low", "is a whole number from -2147483648 on, not 'low'"),
        ("CPUWeight", ("1",), "is a whole number from 0 on, not ('1',)"),
        ("CPUWeight", -1, "is a whole number from 0 on, not -1"),
        ("TimerSlackNSec", -1, "is a whole number from 0 on, not -1"),
        ("MemoryHigh", -1, "is not between 0 and 1048576T: -1"),
    ],
)
def test_what_can_be_no_value(name: str, given: PropertyValue, words: str) -> None:
    """The refusal goes on from the property's name."""
    with pytest.raises(RefusalError) as caught:
        raw_properties.value_of(name, given)
    assert str(caught.value) == words


@pytest.mark.parametrize("name", HARMLESS_PROPERTIES)
def test_what_is_allowed_unasked_is_known(name: str) -> None:
    """No property that every author may use is left to guessing its type."""
    assert name in raw_properties._KINDS
