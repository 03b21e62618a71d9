"""Triggers by files, as the packaged unit lets the daemon see them."""

from tests.helpers.service import WAIT_SECONDS, Service
from tests.helpers.waiting import eventually

# It takes the place of the daemon in its own unit, and so has what that leaves it of the host.
WATCH = """\
import asyncio
from barbossad.alarm import Alarm
from barbossad.clock import SystemClock
from barbossad.model.schedules import FileTrigger
from barbossad.scheduler.files import FileWatcher

async def main():
    clock = SystemClock()
    watcher = FileWatcher(clock, lambda schedule, event: print(schedule, event.change, event.path, flush=True))
    for path in ("/srv/in", "/tmp/in", "/home/member/in"):
        watcher.watch(path, FileTrigger(path=path, debounce_seconds=0.1))
        print("trouble:", watcher.trouble(path), flush=True)
    jump = await Alarm().wait_until(clock.now_ms() + 10)
    print("woken:", jump, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_what_the_unit_lets_the_daemon_see(service: Service) -> None:
    """It sees files of the host, homes and what is mounted later included, and says that it does not see /tmp."""
    run = service.container.run
    run("install -d /srv/in /tmp/in && install -d -m 0700 -o member /home/member/in")
    service.container.write("/opt/watch.py", WATCH)
    service.set_up("Type=exec\nWatchdogSec=0\nExecStart=\nExecStart=/opt/barbossa/current/bin/python -I /opt/watch.py")
    service.systemctl("start barbossad")

    def says(words: str) -> None:
        eventually(lambda: words in service.log(), WAIT_SECONDS, f"it says {words!r}: {service.log()}")

    says("woken: None")
    assert service.log().count("trouble:\n") == 2
    assert "trouble: /tmp/in cannot be seen: /tmp is Barbossa's own" in service.log()
    try:
        run("echo >/home/member/in/mail", user="member")
        says("/home/member/in created /home/member/in/mail")
        run("mount -t tmpfs none /srv/in && echo >/srv/in/x.csv")
        says("/srv/in created /srv/in/x.csv")
        run("echo >>/srv/in/x.csv && umount /srv/in && echo >/srv/in/y.csv")
        says("/srv/in created /srv/in/y.csv")
    finally:
        run("umount -q /srv/in", check=False)
        run("rm -r /srv/in /tmp/in /home/member/in /opt/watch.py")
