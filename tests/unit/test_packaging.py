"""What is packaged agrees with the daemon: the configuration with its defaults, the units with their own rule."""

import re
from pathlib import Path

import pytest

from barbossad import config

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
UNITS = sorted((PACKAGING / "systemd").glob("barbossad.*"))


def uncommented(text: str) -> str:
    """Return a paragraph as somebody makes it real: each line from the first setting on loses its comment sign."""
    head, first, rest = re.split(r"^(# [a-z_]+:)", f"{text}\n", maxsplit=1, flags=re.MULTILINE)
    return head + re.sub(r"^# ?", "", first + rest, flags=re.MULTILINE)


def test_packaged_configuration_changes_only_who_may_operate() -> None:
    """Installed as it is, the file gives the group its role and leaves every other setting at its default."""
    text = (PACKAGING / "barbossad.yaml").read_text()
    packaged = config.parse(text, "barbossad.yaml", user=False)
    default = config.parse("", "empty", user=False)
    assert packaged.access.operator.groups == ["barbossa"]
    assert default.changes(packaged).changed == ("access",)


def test_packaged_configuration_shows_the_true_defaults() -> None:
    """What the file shows in its comments is what is in force without them, each paragraph alone and all together."""
    text = (PACKAGING / "barbossad.yaml").read_text()
    packaged = config.parse(text, "barbossad.yaml", user=False)
    shown = text
    for paragraph in text.split("\n\n"):
        if re.search(r"^# [a-z_]+:", paragraph, flags=re.MULTILINE):
            real = uncommented(paragraph)
            assert packaged.changes(config.parse(text.replace(paragraph, real), "one", user=False)).changed == ()
            shown = shown.replace(paragraph, real)
    assert shown.count("\n  limit: ") == 2
    assert "\n  systemd_properties: " in shown
    assert "\nshutdown_grace: " in shown
    assert packaged.changes(config.parse(shown, "all", user=False)).changed == ()


@pytest.mark.parametrize("unit", UNITS, ids=[unit.name for unit in UNITS])
def test_every_setting_of_a_unit_has_its_reason(unit: Path) -> None:
    """Each setting has a comment right above it; one that begins like the setting above it shares that one's."""
    section, above = "", ""
    for line in unit.read_text().replace("\\\n", "").splitlines():  # the lines of a long one are one
        if line.startswith("["):
            section = line
        elif "=" in line and not line.startswith("#") and section in {"[Service]", "[Socket]"}:
            says_itself = line.startswith(("ExecStart=", "ListenStream="))
            assert above.startswith("#") or above[:5] == line[:5] or says_itself, line
        above = line
