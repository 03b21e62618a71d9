"""What clients may ask a daemon for, drawn by chance, and what they learn from the answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, Protocol

from tests.helpers import storm_flows
from tests.helpers.storm_memory import Certain, Memory

NAMES: Final = storm_flows.NAMES
Heard = Callable[[dict[str, Any]], None]


class Ask(Protocol):
    """Asks on any connection; ``settles`` is what an answer makes certain, and of what subject."""

    def __call__(
        self, method: str, heard: Heard | None = None, settles: tuple[Certain, str, Any] | None = None, **params: Any
    ) -> None:
        """Ask, and do not wait for the answer."""


class Acts:
    """Each act asks for something."""

    def __init__(self, chance: random.Random, memory: Memory, ask: Ask, ledger: str, token: str) -> None:
        self.chance = chance
        self.memory = memory
        self.ask = ask
        self.ledger = ledger
        self.token = token
        self.applied = 0
        self.deletes = chance.random() < 0.3

    def act(self) -> None:
        """Ask for one thing."""
        acts: dict[Callable[[], None], float] = {
            self.apply: 2 if self.applied > len(NAMES) else 10,
            self.start: 8,
            self.start_again: 2,
            self.cancel: 3,
            self.pause: 2,
            self.resume: 2,
            self.answer: 4,
            self.retry: 3,
            self.delete: 1 if self.deletes else 0,
            self.look: 4,
            self.schedule: 1.5,
            self.switch: 1,
            self.drain: 0.4,
        }
        self.chance.choices(list(acts), list(acts.values()))[0]()

    def any_name(self) -> str:
        return self.chance.choice(NAMES)

    def any_run(self) -> str | None:
        """Return a run, of the newest most often."""
        newest = sorted(self.memory.runs)[-self.chance.choice([1, 3, 8, 100]) :]
        return self.chance.choice(newest) if newest else None

    # -- runs ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        name, params = self.any_name(), dict[str, Any]()
        if self.chance.random() < 0.3:
            params["params"] = {"flag": self.chance.random() < 0.5, "items": list(range(self.chance.randint(0, 3)))}
        if self.chance.random() < 0.4:
            params["idempotency_key"] = f"key-{self.chance.randrange(40)}"
        self.ask("run.start", self.with_key(name, params), workflow=name, **params)

    def start_again(self) -> None:
        """Repeat a start with its key at once, as a client does that had no answer."""
        name, params = self.any_name(), {"idempotency_key": f"twice-{self.chance.randrange(1000)}"}
        for _ in range(self.chance.randint(2, 4)):
            self.ask("run.start", self.with_key(name, params), workflow=name, **params)

    def with_key(self, workflow: str, params: dict[str, Any]) -> Heard | None:
        """Return what notes which run a key gave."""
        key = params.get("idempotency_key")
        if key is None:
            return None
        return lambda run: self.memory.by_key.setdefault((workflow, key), set()).add(run["id"])

    def cancel(self) -> None:
        """End a run; if it had not been decided by then, it is cancelled in the end."""

        def heard(run: dict[str, Any]) -> None:
            self.memory.runs[run["id"]].is_cancelled = run["outcome"] in (None, "cancelled")

        if run_id := self.any_run():
            self.memory.paused.facts.pop(run_id, None)
            self.ask("run.cancel", heard, run_id=run_id)

    def pause(self) -> None:
        if run_id := self.any_run():
            self.ask("run.pause", settles=(self.memory.paused, run_id, True), run_id=run_id)

    def resume(self) -> None:
        if run_id := self.any_run():
            self.ask("run.resume", settles=(self.memory.paused, run_id, False), run_id=run_id)

    def answer(self) -> None:
        """Look for something that waits for a person, and answer it, twice at times."""

        def heard(run: dict[str, Any]) -> None:
            waiting = [task["id"] for task in run["tasks"] if task["waits_for"] == "person"]
            if waiting:
                task = self.chance.choice(waiting)
                for _ in range(self.chance.choice([1, 1, 2])):
                    self.ask("run.approve", run_id=run["id"], task=task, approve=self.chance.random() < 0.7)

        if run_id := self.any_run():
            self.ask("run.get", heard, run_id=run_id)

    def retry(self) -> None:
        if not (run_id := self.any_run()):
            return
        params: dict[str, Any] = {"from": self.chance.choice(["failed", "failed", "start", "t1", "t2"])}
        if self.chance.random() < 0.3:
            params["params"] = {"flag": self.chance.random() < 0.5}
        if self.chance.random() < 0.3:
            params["idempotency_key"] = f"again-{run_id}"
        heard = self.with_key(self.memory.runs[run_id].workflow, params)
        for _ in range(self.chance.choice([1, 1, 2])):
            self.ask("run.retry", heard, run_id=run_id, **params)

    def delete(self) -> None:
        def heard(deleted: dict[str, Any]) -> None:
            self.memory.runs[deleted["id"]].is_deleted = True

        if run_id := self.any_run():
            self.ask("run.delete", heard, run_id=run_id)

    def look(self) -> None:
        """Read something."""
        chance, run_id = self.chance, self.any_run()
        match chance.randrange(10):
            case 0:
                self.ask("run.list", limit=chance.choice([1, 5, 50]), active=chance.random() < 0.3)
            case 1:
                self.ask("daemon.status")
            case 2 if run_id:
                self.ask(
                    "run.watch", run_id=run_id, wait_seconds=chance.choice([0, 0.05]), after=chance.randrange(1000)
                )
            case 3:
                self.ask("schedule.list")
            case 4 if run_id:
                self.ask("run.logs", run_id=run_id, task="t1", wait_seconds=chance.choice([0, 0.05]))
            case 5:
                self.ask("workflow.plan", name=self.any_name())
            case 6:
                self.ask("schedule.history", limit=5)
            case 7 if run_id:
                self.ask("run.diff", run_id=run_id, other=self.any_run())
            case 8 if run_id:
                self.ask("run.get", run_id=run_id, brief=chance.random() < 0.5)
            case 9 if chance.random() < 0.2:
                self.ask("daemon.backup")

    # -- workflows and schedules -----------------------------------------------------------------------------

    def apply(self) -> None:
        name = self.any_name()
        text = storm_flows.any_text(self.chance, name, self.ledger, self.token)
        self.applied += 1
        self.ask("workflow.apply", settles=(self.memory.texts, name, text), yaml=text)

    def take_out(self) -> None:
        """Take a workflow out of force, with its schedules; nobody may ask for anything else meanwhile."""
        name = self.any_name()
        self.memory.schedules.forget(f"{name}/")
        self.ask("workflow.delete", settles=(self.memory.texts, name, None), name=name)

    def schedule(self) -> None:
        workflow = self.any_name()
        name = f"added{self.chance.randrange(3)}"
        schedules, schedule_id = self.memory.schedules, f"{workflow}/{name}"
        if self.chance.random() < 0.4:
            self.ask("schedule.remove", settles=(schedules, schedule_id, False), name=schedule_id)
            return
        more: dict[str, Any] = {"every": self.chance.choice(["1s", "2s"])}
        if self.chance.random() < 0.3 and workflow != NAMES[0]:
            more = {"after_workflow": self.chance.choice(NAMES[: NAMES.index(workflow)])}
        more["overlap"] = self.chance.choice(["skip", "queue", "replace", "allow"])
        self.ask("schedule.add", settles=(schedules, schedule_id, True), workflow=workflow, name=name, **more)

    def switch(self) -> None:
        schedule = f"{self.any_name()}/{self.chance.choice(['every-1', 'cron-1', 'added0', 'added1', 'workflow-1'])}"
        method, name = self.chance.choice(
            [
                ("schedule.disable", schedule),
                ("schedule.enable", schedule),
                ("schedule.trigger", schedule),
                ("workflow.disable", self.any_name()),
                ("workflow.enable", self.any_name()),
            ]
        )
        self.ask(method, name=name)

    def drain(self) -> None:
        self.ask("daemon.drain", wait_seconds=self.chance.choice([0, 0.1]))
        self.ask("daemon.drain", end=True)
