"""``barbossactl import timers`` with the timers of a real systemd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.service import Service

FOLDER = "/etc/systemd/system"
TIMER = """[Unit]
Description=Now and then
[Timer]
OnCalendar=Mon..Fri 02:30 Europe/London
OnCalendar=*-*~01 00:00
OnBootSec=90
OnUnitInactiveSec=6h
RandomizedDelaySec=5m
Persistent=yes
[Install]
WantedBy=timers.target
"""
SERVICE = """[Unit]
Description=Import me
[Service]
Type=oneshot
WorkingDirectory=/srv
Environment=MODE=full
ExecStart=/bin/sh -c 'date > /run/imported'
"""


@pytest.fixture
def timer(service: Service) -> Iterator[Service]:
    """The running service beside a timer, which is gone afterwards."""
    for suffix, text in (("timer", TIMER), ("service", SERVICE)):
        service.container.write(f"{FOLDER}/demo.{suffix}", text)
    service.systemctl("daemon-reload")
    service.systemctl("start demo.timer")
    service.start()
    yield service
    service.systemctl("stop demo.timer")
    service.container.run(f"rm {FOLDER}/demo.timer {FOLDER}/demo.service")
    service.systemctl("daemon-reload")


def imported(service: Service, arguments: str = "") -> dict[str, Any]:
    """Return what the command answers."""
    done = service.ctl(f"import timers --json {arguments}", check=False)
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == int(bool(answer["faults"]))
    return answer


def test_a_timer_becomes_a_workflow_that_starts_its_unit(timer: Service) -> None:
    """All that it says is in the file; the workflow, applied, starts the unit and waits for its end."""
    (item,) = imported(timer, "demo --timezone Europe/Paris")["items"]
    assert item["name"] == "demo"
    for words in (
        f"# From demo.timer ({FOLDER}/demo.timer)\n",
        "description: Import me\n",
        '  - cron: "30 2 * * 1-5"\n    timezone: Europe/London\n    jitter: 5m\n    catch_up: last\n',
        "    timezone: Europe/Paris\n",
        "  - boot: {delay: 1m30s}\n",
        "  - every: 6h\n    jitter: 5m\n    catch_up: none\n",
        "  - shell: [systemctl, start, --wait, demo.service]\n",
    ):
        assert words in item["yaml"]
    assert any("systemctl disable --now demo.timer" in note for note in item["notes"])
    assert any("working_dir: /srv, env: {MODE: full}}" in note for note in item["notes"])
    timer.ctl("import timers demo --apply --yes")
    timer.container.run("rm -f /run/imported")
    timer.ctl("start demo --wait")
    timer.container.run("test -s /run/imported")
    assert timer.systemctl("is-active demo.timer").stdout.strip() == "active"


def test_all_timers_of_a_debian(service: Service) -> None:
    """Whatever timers there are can be said, or it is told which cannot; what is not there is told."""
    service.start()
    answer = imported(service)
    told = {item["source"].partition(" ")[0] for item in answer["items"]} | {
        fault["path"] for fault in answer["faults"]
    }
    rows = service.systemctl("list-units --all --type=timer --state=loaded --plain --no-legend").stdout
    assert told == {row.split()[0] for row in rows.splitlines()}
    assert {item["name"] for item in answer["items"]} >= {"systemd-tmpfiles-clean"}
    (fault,) = imported(service, "of-no-such-name")["faults"]
    assert fault["path"] == "of-no-such-name.timer"
    assert "not-found" in fault["message"]
