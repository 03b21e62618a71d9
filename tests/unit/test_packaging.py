"""What is packaged agrees with the daemon: the configuration with its defaults, the units with their own rule."""

import re
from pathlib import Path

import pytest

from barbossad import config

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
UNITS = sorted((PACKAGING / "systemd").glob("barbossad.*"))


def commented_settings(text: str) -> str:
    """Return the text with the settings in its comments made real; prose, which has no `key:` or is indented, stays."""
    return re.sub(r"^# ((?: {2})?[a-z_]+:(?: +\S+)? *(?:#.*|\[\w+\])?)$", r"\1", text, flags=re.MULTILINE)


def test_packaged_configuration_changes_only_who_may_operate() -> None:
    """Installed as it is, the file gives the group its role and leaves every other setting at its default."""
    text = (PACKAGING / "barbossad.yaml").read_text()
    packaged = config.parse(text, "barbossad.yaml", user=False)
    default = config.parse("", "empty", user=False)
    assert packaged.access.operator.groups == ["barbossa"]
    assert default.changes(packaged).changed == ("access",)


def test_packaged_configuration_shows_the_true_defaults() -> None:
    """What the file shows in its comments is what is in force without them."""
    text = (PACKAGING / "barbossad.yaml").read_text()
    shown = commented_settings(text)
    assert shown.count("\n  limit: ") == 2
    assert "\nshutdown_grace: " in shown
    packaged = config.parse(text, "barbossad.yaml", user=False)
    assert packaged.changes(config.parse(shown, "shown", user=False)).changed == ()


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
