"""Clients that do whatever clients do, many at once, to a real daemon that is stopped and killed under them."""

from __future__ import annotations

import contextlib
import random
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from tests.helpers.daemon import processes_with
from tests.helpers.rpc_client import Client, RpcError
from tests.helpers.storm_acts import Acts, Heard
from tests.helpers.storm_hosts import Host
from tests.helpers.storm_memory import ENDED, Certain, Memory

CLIENTS: Final = 3
ALL_KEPT: Final = 10_000
REFUSALS: Final = frozenset({"not_found", "conflict", "invalid_params", "unavailable"})
STILL_SECONDS: Final = 40.0
"""How long nothing may happen while runs have not ended."""

PATIENCE_SECONDS: Final = (3.0, 3.0, 3.0, 25.0)
"""What takes longer than one of these is cancelled; the last shows what would never end by itself."""

CONFIG: Final = "tasks: {{limit: {slots}}}\nshutdown_grace: 0.6\nretention: {{max_runs: {kept}}}\n"

Settles = tuple[Certain, str, Any]


@dataclass(frozen=True)
class Asked:
    """A call that has no answer yet."""

    method: str
    params: dict[str, Any]
    heard: Heard | None
    settles: Settles | None


class Storm:
    """What chance does to a daemon."""

    def __init__(self, host: Host, chance: random.Random) -> None:
        self.host = host
        self.chance = chance
        self.token = str(chance.randrange(10**8, 10**9))
        self.kept = chance.choice([ALL_KEPT, ALL_KEPT, ALL_KEPT, 12])
        host.configure(CONFIG.format(slots=chance.choice([2, 5, 16]), kept=self.kept))
        self.is_lost = False
        """Whether a connection has ended that nobody had closed here."""

        self.types: dict[str, str] = {}
        """Of the tasks of runs that have ended."""

        self.story: list[str] = []
        self.memory = Memory()
        self.acts = Acts(chance, self.memory, self.ask, host.ledger_inside, self.token)
        self.clients: list[Client] = []
        self.asked: list[dict[int, Asked]] = []
        self.patient: Client | None = None
        """The connection of those who wait for the ends of runs."""

        self.waits: dict[int, str] = {}

    @property
    def keeps_all(self) -> bool:
        """Whether no run is forgotten because it is old."""
        return self.kept == ALL_KEPT

    @property
    def is_pruned(self) -> bool:
        """Whether runs may be gone, with those that they had called still there, or without."""
        return self.acts.deletes or not self.keeps_all

    def processes(self) -> list[int]:
        """Return the processes of tasks."""
        return processes_with(self.token)

    def note(self, words: str) -> None:
        """Write the story."""
        self.story.append(f"{time.time() % 1000:8.3f} {words}")

    # -- a life ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the daemon, connect, and see that it knows all that it said."""
        point = self.chance.choice(self.host.points)
        self.note(f"start, may die at {point}")
        self.host.begin(point)
        self.is_lost = False
        self.clients = [self.host.client() for _ in range(CLIENTS)]
        self.asked = [{} for _ in range(CLIENTS)]
        self.patient, self.waits = self.host.client(), {}
        self.remembers()
        for run_id in [one for one, known in self.memory.runs.items() if not known.is_deleted]:
            if self.chance.random() < 0.3:
                self.wait_for(run_id)

    def remembers(self) -> None:
        """See that the daemon knows all that was said of runs, by it or by those before it."""
        for run_id, known in self.memory.runs.items():
            watched = self.steer("run.watch", run_id=run_id, wait_seconds=0)
            if watched is None:
                assert known.is_deleted or not self.keeps_all, f"run {run_id} is lost"
                continue
            run = watched["run"]
            self.memory.check(run)
            assert watched["revision"] >= known.revision, f"run {run_id} has less to tell than before: {watched}"
            is_paused = self.memory.paused.facts.get(run_id)
            if is_paused is not None and known.parent is None and run["state"] not in ENDED:
                is_so = (run["state"] == "paused") == is_paused or run["reason"]  # or it is being ended
                assert is_so, f"run {run_id} is {run['state']}, and was told to be paused: {is_paused}"

    def live(self, steps: int) -> None:
        """Let things happen, until the daemon has gone."""
        for _ in range(steps):
            self.burst()
            if self.is_lost:
                self.gone("died at its point")
                return
        how = self.chance.choice(self.host.endings)
        if self.chance.random() < 0.7:
            self.ask_some(self.chance.randint(3, 9))
            time.sleep(self.chance.choice([0, 0, 0.002, 0.01, 0.03]))  # the instant is what varies
        self.note(how)
        self.host.end(how)
        self.collect()
        self.gone(how)

    def gone(self, how: str) -> None:
        """Check what is left of a daemon."""
        self.note(f"gone: {how}")
        self.hang_up()
        self.host.gone(how, self.token)

    def hang_up(self) -> None:
        """Let all clients go."""
        for client in (*self.clients, self.patient):
            if client is not None:
                client.close()
        self.clients, self.asked, self.patient = [], [], None

    def call(self, method: str, /, **params: Any) -> Any:
        """Call on a connection of its own."""
        with self.host.client() as client:
            return client.call(method, **params)

    # -- calls -----------------------------------------------------------------------------------------------

    def burst(self) -> None:
        """Ask for several things before the first answer is read."""
        chance = self.chance.random()
        if chance < 0.03:
            self.note("may die now")
            self.host.arm()
        elif chance < 0.05:
            self.speak(self.acts.take_out)
            self.collect()
        elif chance < 0.07:
            self.freeze()
        elif chance < 0.1:
            self.impatient()
        elif chance < 0.12:
            self.configure()
        self.ask_some(self.chance.choice([1, 1, 2, 3, 6]))
        self.collect()
        self.hear_waits()
        time.sleep(self.chance.choice([0, 0, 0.01, 0.05, 0.2]))  # what tasks do takes its time

    def freeze(self) -> None:
        """Let the daemon stand still for a while: nothing may be taken for lost because of that."""
        self.note("stands still")
        self.host.freeze(is_on=True)
        time.sleep(self.chance.choice([0.05, 0.3, 1.0]))
        self.host.freeze(is_on=False)

    def configure(self) -> None:
        """Change how many tasks may run at once."""
        self.host.configure(CONFIG.format(slots=self.chance.choice([2, 5, 16]), kept=self.kept))
        self.ask_some(2)
        self.speak(lambda: self.ask("daemon.reload"))

    def impatient(self) -> None:
        """Ask, and hang up before the answer."""
        place = self.chance.randrange(CLIENTS)
        self.ask_some(self.chance.randint(1, 6))
        self.note(f"{place} hangs up")
        self.clients[place].close()
        self.lost(place)
        try:
            self.clients[place] = self.host.client()
        except OSError:
            self.is_lost = True

    def ask_some(self, count: int) -> None:
        """Ask for some things."""
        for _ in range(count):
            self.speak(self.acts.act)

    def speak(self, act: Callable[[], object]) -> None:
        """Do something to a daemon that may have died just now."""
        try:
            act()
        except OSError:
            self.is_lost = True

    def ask(self, method: str, heard: Heard | None = None, settles: Settles | None = None, **params: Any) -> None:
        """Call on any connection; the answer is heard later."""
        place = self.chance.randrange(CLIENTS)
        self.note(f"{place} asks {method} { {name: value for name, value in params.items() if name != 'yaml'} }")
        if settles is not None:
            settles[0].ask(settles[1])
        asked = Asked(method, params, heard, settles)
        try:
            number = self.clients[place].begin(method, **params)
        except OSError:
            self.settle(asked, is_done=False)
            raise
        self.asked[place][number] = asked

    def settle(self, asked: Asked, *, is_done: bool) -> None:
        """Note what is certain by an answer, if something is."""
        if asked.settles is not None:
            certain, subject, fact = asked.settles
            certain.settle(subject, fact if is_done else None)

    def collect(self) -> None:
        """Hear all answers that are due; to what was not answered anything may have happened."""
        for place, client in enumerate(self.clients):
            asked = self.asked[place]
            while asked:
                try:
                    answer = client.receive()
                except (EOFError, ConnectionError):
                    self.is_lost = True
                    self.lost(place)
                    break
                self.hear(asked.pop(answer["id"]), answer)

    def lost(self, place: int) -> None:
        """Give up the answers of a connection."""
        for one in self.asked[place].values():
            self.note(f"  no answer to {one.method}")
            self.settle(one, is_done=False)
        self.asked[place].clear()

    def hear(self, asked: Asked, answer: dict[str, Any]) -> None:
        """Learn from an answer."""
        is_moot = asked.method == "run.pause" and answer.get("result", {}).get("state") != "paused"  # it is being ended
        self.settle(asked, is_done="result" in answer and not is_moot)
        if "error" in answer:
            error = answer["error"]
            kind = error.get("data", {}).get("kind")
            self.note(f"  {asked.method}: {kind}: {error['message'][:150]}")
            assert kind in REFUSALS, f"{asked.method} {asked.params}: {error}"
            return
        result = answer["result"]
        if asked.method == "run.watch":
            self.memory.learn(result["run"])
            known = self.memory.runs[result["run"]["id"]]
            known.revision = max(known.revision, result["revision"])
        if isinstance(result, dict) and "requested_by" in result:
            self.note(f"  {asked.method}: {result['id']} of {result['workflow']} is {result['state']}")
            if result["id"] not in self.memory.runs and self.chance.random() < 0.5:
                self.wait_for(result["id"])
            self.memory.learn(result)
        if asked.heard is not None:
            self.speak(partial(asked.heard, result))

    def wait_for(self, run_id: str) -> None:
        """Have somebody wait for the end of a run."""
        assert self.patient is not None
        with contextlib.suppress(OSError):
            self.waits[self.patient.begin("run.wait", run_id=run_id)] = run_id

    def hear_waits(self, seconds: float = 0) -> None:
        """Hear of the ends that are known by now."""
        assert self.patient is not None
        while self.waits and (b"\n" in self.patient._rest or select.select([self.patient.socket], [], [], seconds)[0]):
            try:
                answer = self.patient.receive()
            except (EOFError, ConnectionError):
                self.is_lost = True
                return
            run_id = self.waits.pop(answer["id"])
            if "error" in answer:
                assert answer["error"]["data"]["kind"] == "not_found", answer
                assert self.memory.runs[run_id].is_deleted or not self.keeps_all, f"{run_id} is lost: {answer}"
                continue
            assert answer["result"]["state"] in ENDED, answer
            self.note(f"waited for {run_id}: {answer['result']['state']}")
            if not self.memory.runs[run_id].is_deleted:
                self.memory.check(answer["result"])

    # -- the end ---------------------------------------------------------------------------------------------

    def finish(self, seconds: float) -> None:
        """Let nothing new begin, answer what is asked, and wait until everything has ended."""
        self.call("schedule.hold", label="", reason="the end of the storm")
        patience, before = self.chance.choice(PATIENCE_SECONDS), ""
        begun = moved = time.monotonic()
        cancelled: set[str] = set()
        while True:
            active, fires = self.call("run.list", active=True, limit=500)["items"], self.open_fires()
            if not active and not fires:
                break
            shown = [self.help_on(run) for run in active]
            now = time.monotonic()
            if any(map(_is_busy, shown)) or repr((shown, fires)) != before:
                moved, before = now, repr((shown, fires))
            assert now < moved + STILL_SECONDS, f"nothing moves: {shown}, {fires}"
            assert now < begun + seconds, f"these do not end: {shown}, {fires}"
            for run_id in [run["id"] for run in active if now > begun + patience and run["id"] not in cancelled]:
                self.steer("run.cancel", run_id=run_id)
                cancelled.add(run_id)
            self.hear_waits(0.02)
        self.note("all have ended")
        while left := len(self.waits):
            self.hear_waits(5)
            assert len(self.waits) < left, f"nobody was told of the end of {set(self.waits.values())}"

    def open_fires(self) -> list[dict[str, Any]]:
        """Return the fires that may have a run yet: one that a person called has its retries on hold too."""
        states = ("queued", "started", "retrying")
        return [fire for state in states for fire in self.call("schedule.history", state=state, limit=100)["items"]]

    def help_on(self, run: dict[str, Any]) -> dict[str, Any]:
        """Do for a run what persons have to; return it."""
        if run["state"] == "paused":
            self.steer("run.resume", run_id=run["id"])
        shown = self.steer("run.get", run_id=run["id"]) or {"tasks": []}
        for task in shown["tasks"]:
            if task["waits_for"] == "person":
                self.steer("run.approve", run_id=run["id"], task=task["id"])
        return shown

    def steer(self, method: str, **params: Any) -> dict[str, Any] | None:
        """Ask for something that may be too late."""
        try:
            answer: dict[str, Any] = self.call(method, **params)
        except RpcError as error:
            if error.kind not in ("conflict", "not_found"):
                raise
            return None
        return answer


def _is_busy(run: dict[str, Any]) -> bool:
    """Say whether something of a run runs, or waits for an instant."""
    return any(
        task["waits_for"] == "delay" or any(one["pid"] and one["state"] == "running" for one in task["attempts"])
        for task in run["tasks"]
    )
