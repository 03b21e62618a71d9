"""One attempt in a unit of its own, as this daemon sees it: what it was told of it, and how it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from barbossad.process import cgroups
from barbossad.process.launcher import LaunchSpec, ProcessEnd, Watcher
from barbossad.process.output.capture import Capture
from barbossad.process.systemd import bus, unit_ends, unit_reasons, units
from barbossad.process.systemd.kept import KeptPipes
from barbossad.process.systemd.unit_control import RESCAN_SECONDS
from barbossad.process.systemd.unit_ends import UnitFacts, figure
from barbossad.process.systemd.unit_journal import Journal, Start

SIGTERM, SIGKILL, SIGCONT = 15, 9, 18
KILL_SECONDS: Final = 10.0
"""How long a killed process may take to go before its attempt ends without it (it hangs in the kernel)."""

FACTS: Final = (
    "MainPID", "Result", "ExecMainCode", "ExecMainStatus", "ExecMainPID", "ExecMainStartTimestamp",
    "ExecMainExitTimestamp",
)  # fmt: skip
"""Properties of the service that tell how its first process stands; systemd tells of each change of them."""

Name = tuple[str, str]
Answers = Mapping[Name, Any]

LOADED: Final[Name] = (bus.UNIT, "LoadState")
STATE: Final[Name] = (bus.UNIT, "ActiveState")
INVOCATION: Final[Name] = (bus.UNIT, "InvocationID")
ACTIVE_SINCE: Final[Name] = (bus.UNIT, "ActiveEnterTimestampMonotonic")
STANDING: Final = (INVOCATION, ACTIVE_SINCE, *((bus.SERVICE, name) for name in FACTS))
"""What tells how a unit stands that was heard of last some time ago, or never."""

_ACTIVE_UNTIL: Final[Name] = (bus.UNIT, "ActiveExitTimestamp")
_RESULT: Final[Name] = (bus.SERVICE, "Result")
_CPU: Final[Name] = (bus.SERVICE, "CPUUsageNSec")
_PEAK: Final[Name] = (bus.SERVICE, "MemoryPeak")
_READ: Final[Name] = (bus.SERVICE, "IOReadBytes")
_WRITTEN: Final[Name] = (bus.SERVICE, "IOWriteBytes")
ACCOUNTS: Final = (STATE, _CPU, _PEAK, _READ, _WRITTEN)
"""What is asked of every unit that has ended; no change of these is told."""

_UNTIL_MONOTONIC: Final[Name] = (bus.UNIT, "ActiveExitTimestampMonotonic")
_SINCE_MONOTONIC: Final[Name] = (bus.SERVICE, "ExecMainStartTimestampMonotonic")
WHY: Final = (_RESULT, _ACTIVE_UNTIL, INVOCATION, _UNTIL_MONOTONIC, _SINCE_MONOTONIC)
"""What is asked besides unless the unit stays active, as one does whose program was executed and exited with 0."""

_OF_THE_PROCESS: Final = frozenset({"success", "exit-code", "signal", "core-dump"})
"""Results that tell what the process made of it, and not why it did."""

_NEVER: Final = float("inf")


class Controls(Protocol):
    """What a process asks of its launcher."""

    def kill(self, process: UnitProcess, number: int) -> None:
        """Send a signal to everything in the unit."""

    def let_go(self, process: UnitProcess) -> None:
        """Release the unit and what was kept of it."""


class UnitProcess:
    """One live attempt: its ``Process``."""

    def __init__(self, spec: LaunchSpec, watcher: Watcher, controls: Controls) -> None:
        self.spec = spec
        self.watcher = watcher
        self.unit = units.unit_name(spec.key)
        self.path = bus.object_path(self.unit)
        self.pid: int | None = None
        self.pid_started_ticks: int | None = None
        self.invocation_id: str | None = None
        self.started_at_ms: int | None = None
        self.peak_memory_bytes: int | None = None
        self.capture: Capture
        self.pipes: KeptPipes | None = None
        """None: they could not be made."""

        self.asked_to_stop = asyncio.Event()
        self.is_started = False
        """Whether systemd has accepted its unit."""

        self.facts: UnitFacts | None = None
        """How it ended, once that is known."""

        self.was_left_active = False
        """Whether its unit was active at its end, and so is none that systemd calls failed."""

        self._start: Start | None = None
        """What the journal says of its start, if that was in doubt."""

        self._controls = controls
        self._kill_at = _NEVER
        self._killing: asyncio.TimerHandle | None = None

    @property
    def log(self) -> Capture:
        """Its output so far."""
        return self.capture

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether ``stop`` was called."""
        return self.asked_to_stop.is_set()

    def stop(self, grace_seconds: float) -> None:
        """Ask every process of the attempt to end (SIGTERM); kill what is left after the grace (0: at once)."""
        loop = asyncio.get_running_loop()
        is_first = not self.is_asked_to_stop
        self.asked_to_stop.set()
        kill_at = loop.time() + grace_seconds
        if kill_at < self._kill_at:
            self._kill_at = kill_at
            if self._killing is not None:
                self._killing.cancel()
            self._killing = loop.call_at(kill_at, self._controls.kill, self, SIGKILL)
        if is_first and grace_seconds > 0:
            self.ask()

    def ask(self) -> None:
        """Ask it to end: SIGTERM, and SIGCONT so that stopped processes can act on it.

        Before its start is known, perhaps nothing is there yet to hear that: then it is put off, see ``catch_up``.
        """
        if self.started_at_ms is not None:
            self._controls.kill(self, SIGTERM)
            self._controls.kill(self, SIGCONT)

    def catch_up(self) -> None:
        """Now that its start is known, ask it to end if that was put off, and kill it if the grace is over."""
        if self.is_asked_to_stop:
            self.ask()
            if asyncio.get_running_loop().time() >= self._kill_at:
                self._controls.kill(self, SIGKILL)

    def release(self) -> None:
        """Its end is recorded: the unit may go, and with it what systemd kept for us."""
        self._controls.let_go(self)

    def hear(self, changed: Mapping[str, Any]) -> bool:
        """Take in what systemd says of the unit; return whether it says, for the first time, that it ended."""
        code, result = changed.get("ExecMainCode", 0), changed.get("Result", "success")
        if self.facts is not None or not (code or (result != "success" and not changed.get("MainPID", 0))):
            return False
        self.facts = UnitFacts(
            result=result,
            code=code,
            status=changed.get("ExecMainStatus", 0),
            pid=changed.get("ExecMainPID", 0),
            started_at_us=changed.get("ExecMainStartTimestamp", 0),
            exited_at_us=changed.get("ExecMainExitTimestamp", 0),
        )
        return True

    def wanted(self) -> tuple[Name, ...]:
        """Return what to ask of the unit now that it has ended: what is not known yet, and may still matter."""
        assert self.facts is not None
        if not self.facts.is_plain_success:
            return (*ACCOUNTS, *WHY)
        return ACCOUNTS if self.invocation_id is not None else (*ACCOUNTS, INVOCATION)

    async def ask_why(self, systemd: bus.Bus, journal: Journal) -> Answers:
        """Ask systemd what ``end`` needs, and the journal whether its program was executed if that is in doubt."""
        answers = await systemd.answers(self.path, self.wanted())
        if answers[STATE] != "active" and not answers.keys() >= set(WHY):
            answers |= await systemd.answers(self.path, WHY)
        self.was_left_active = answers[STATE] == "active"
        invocation_id = self.invocation_id or bytes(answers[INVOCATION] or ()).hex()
        if unit_ends.is_ambiguous(self._known(answers)) and invocation_id:
            self._start = await journal.start_of(self.unit, invocation_id)
        return answers

    def _known(self, answers: Answers) -> UnitFacts:
        """Return what systemd knows of the end."""
        assert self.facts is not None
        state = answers[STATE]
        is_there = state in {"active", "failed"}
        was_active = state == "active" or bool(answers[_ACTIVE_UNTIL])
        result = answers[_RESULT] if state == "failed" else self.facts.result
        is_gone = not is_there and self.facts.result == "success"
        return replace(
            self.facts,
            result=result,
            was_active=was_active or not is_there or self.started_at_ms is not None,
            is_stopped=self.facts.is_stopped or is_gone or self._was_being_stopped(answers, result),
            is_restarted=not self.is_asked_to_stop and self._has_another_start(answers, result),
        )

    def is_stopped_by_others(self, answers: Answers) -> bool:
        """Say whether somebody else had its unit stopped: by hand, or because the host goes down."""
        return answers[STATE] != "active" and not self.is_asked_to_stop and self._known(answers).is_stopped

    def _was_being_stopped(self, answers: Answers, result: str) -> bool:
        """Say whether its unit was being stopped when the process ended, and so not active any more.

        One that fails is active until systemd has seen that end. What that stops by itself has a result of its own, but
        for a timeout, which may be that of the stop: so it is where the task has none, or had not come to it.
        """
        assert self.facts is not None
        active_until, limit = answers.get(_ACTIVE_UNTIL) or 0, self.spec.timeout_seconds
        was_active = 0 < active_until < self.facts.exited_at_us
        if result != "timeout":
            return was_active and result in _OF_THE_PROCESS
        had_us = (answers.get(_UNTIL_MONOTONIC) or 0) - (answers.get(_SINCE_MONOTONIC) or 0)
        return limit is None or (was_active and had_us < limit * 1_000_000)

    def _has_another_start(self, answers: Answers, result: str) -> bool:
        """Say whether the unit was started once more: as another invocation, or in vain, which the process was not."""
        assert self.facts is not None
        invocation = bytes(answers.get(INVOCATION) or ()).hex()
        is_other = bool(invocation) and self.invocation_id not in {None, invocation}
        return self.facts.code != 0 and (is_other or result == "resources")

    def end(self, answers: Answers, message: str | None, now_ms: int) -> Callable[..., ProcessEnd]:
        """Return what makes the end, given log and output.

        ``answers`` are to ``wanted``, and to ``WHY`` unless the unit is active.
        """
        invocation = answers.get(INVOCATION)
        if invocation and self.invocation_id is None:
            self.invocation_id = bytes(invocation).hex()
        facts = self._known(answers)
        self.pid = self.pid or facts.pid or None
        found = self.explained(facts)
        cpu_ns = figure(answers[_CPU])
        return partial(
            ProcessEnd,
            cause=found.cause,
            exit_code=found.exit_code,
            signal=found.signal,
            message=message or found.message,
            started_at_ms=facts.started_at_us // 1000 or self.started_at_ms,
            finished_at_ms=facts.exited_at_us // 1000 or now_ms,
            cpu_seconds=None if cpu_ns is None else cpu_ns / 1e9,
            peak_memory_bytes=figure(answers[_PEAK]) or self.peak_memory_bytes,
            io_read_bytes=figure(answers[_READ]),
            io_write_bytes=figure(answers[_WRITTEN]),
        )

    async def leftovers_gone(self) -> bool:
        """Return when nothing lives in the unit any more; False if something cannot be killed.

        What the first process left is killed at once, or when the grace of a stop is over.
        """
        loop = asyncio.get_running_loop()
        killed_at = _NEVER
        while await cgroups.is_surely_populated(self.unit):
            now = loop.time()
            if killed_at == _NEVER and (not self.is_asked_to_stop or now >= self._kill_at):
                killed_at = now
                self._controls.kill(self, SIGKILL)
            if now - killed_at > KILL_SECONDS:
                return False
            await asyncio.sleep(RESCAN_SECONDS)
        return True

    def disarm(self) -> None:
        """Kill nothing later."""
        if self._killing is not None:
            self._killing.cancel()

    def explained(self, facts: UnitFacts) -> unit_ends.Verdict:
        """Return in words how it ended."""
        spec, start = self.spec, self._start
        run_as = spec.isolation.run_as
        context = unit_ends.Context(
            program=spec.argv[0] if spec.argv else "",
            working_dir=spec.working_dir,
            user=run_as.user or "root",
            group=run_as.group or "",
            detail=unit_reasons.detail(facts.status, spec, start.error_number if start else 0),
        )
        if not unit_ends.is_ambiguous(facts):
            return unit_ends.verdict(facts, context)
        if start is not None and not (start.was_executed and unit_reasons.hides_journal(spec)):
            return unit_ends.verdict(replace(facts, was_active=start.was_executed), context)
        if unit_reasons.established(facts.status, spec) is not None:
            return unit_ends.verdict(facts, context)
        return unit_ends.in_doubt(facts, context)
