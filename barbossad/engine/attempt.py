"""One try of a task: what to launch for it, and what its end means. No I/O."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, Final

from barbossad.clock import Clock, seconds_between
from barbossad.engine.progress import RunProgress
from barbossad.model.records import AttemptRecord, LogRecord, changed
from barbossad.model.states import AttemptState, StopCause
from barbossad.process.launcher import OUTPUT_LIMIT, EndCause, LaunchSpec, Mask, Process, ProcessEnd
from barbossad.process.output import blackout
from barbossad.process.output.blackout import Blackout
from barbossad.tasks import _outputs, _report
from barbossad.tasks._report import Report
from barbossad.units import format_duration

Prepare = Callable[[RunProgress, int, int], LaunchSpec]
"""From a run, a task's cell and the attempt's number to what is launched. Raises BarbossaError."""

InForce = Mapping[str, Any] | None
"""What a launcher enforces for an attempt, in words."""

ParseOutputs = Callable[[str, ProcessEnd], Report]
"""From a task's type and the end of its process, which exited, to what it said in ``BARBOSSA_OUTPUT``."""

TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
"""In which the kernel counts since the boot."""

OUTPUTS_UNKNOWN: Final = f"its outputs were not recorded: {blackout.WHY}"
"""The reason of a task that succeeded and whose outputs nobody may look at."""

_CUT = "\n[barbossad: more was printed, and is not here]"

_STOPPED_STATE = {
    StopCause.CANCEL: AttemptState.CANCELLED,
    StopCause.RUN_TIMEOUT: AttemptState.TIMED_OUT,
    StopCause.TASK_TIMEOUT: AttemptState.TIMED_OUT,
    StopCause.GROUP_TIMEOUT: AttemptState.CANCELLED,
    StopCause.FAIL_FAST: AttemptState.CANCELLED,
    StopCause.SHUTDOWN: AttemptState.INTERRUPTED,
    StopCause.HOST_DOWN: AttemptState.INTERRUPTED,
}


def stopped_state(cause: StopCause) -> AttemptState:
    """Return how an attempt ends that is ended for a cause."""
    return _STOPPED_STATE[cause]


def ended_by_itself(end: ProcessEnd, stopped_at_ms: int | None) -> bool:
    """Say whether a process had come to its end before it was asked to: it is heard of late after a restart, say."""
    if stopped_at_ms is None or end.finished_at_ms >= stopped_at_ms:
        return False
    is_by_others = end.cause is EndCause.SIGNALLED and end.signal in (signal.SIGTERM, signal.SIGKILL)
    return end.cause in (EndCause.EXITED, EndCause.SIGNALLED, EndCause.OUT_OF_MEMORY) and not is_by_others


def age_seconds(attempt: AttemptRecord, clock: Clock) -> float:
    """Return how long an attempt of this boot has had, no more than that.

    The wall clock may have been set since its start, so the kernel's note of that is asked, which counts from the boot
    on, with sleep (proc(5), field 22). The clock that timeouts go by stands still in a sleep: what was slept, systemd
    leaves out when it ends the unit.
    """
    if attempt.pid_started_ticks is not None:
        return max(clock.monotonic() - attempt.pid_started_ticks / TICKS_A_SECOND, 0.0)
    return seconds_between(attempt.started_at_ms, clock.now_ms()) or 0.0


def without_secrets(end: ProcessEnd, make_mask: Callable[[], Mask] | None) -> ProcessEnd:
    """Return an end in whose words and outputs the task's secrets are masked, as they are in its log.

    Outputs are masked as they were written, before they are read: a sentence about them may quote a part. Where it is
    not known what to mask, they are left as they are, for ``untold``.
    """
    if make_mask is None or (end.output is None and end.message is None):
        return end
    output, message = end.output, end.message
    if make_mask is Blackout:
        return changed(end, message=None if message is None else f"more is not told: {blackout.WHY}")
    if output is not None and len(output) <= OUTPUT_LIMIT:  # else it is refused for its length, and not quoted
        output = _outputs.masked(output, lambda text: make_mask().feed(text, is_last=True))
    if message is not None:
        said = make_mask().feed(message.encode(errors="surrogatepass"), is_last=True)
        message = said.decode(errors="surrogatepass")
    return changed(end, output=output, message=message)


def untold(read: Callable[[ProcessEnd], Report], end: ProcessEnd) -> Report:
    """Return what a task said of itself, but for its words: of them nobody knows what is secret."""
    report = read(end)
    if report.failure is not None:
        return Report(failure=f"why it failed is not told: {blackout.WHY}")
    if report.skipped is not None or not report.outputs:
        return report
    return Report(lack=OUTPUTS_UNKNOWN)


def outcome(
    attempt: AttemptRecord,
    end: ProcessEnd,
    stopped: tuple[StopCause, str] | None,
    parse_outputs: Callable[[ProcessEnd], Report],
    *,
    process: Process | None = None,
) -> tuple[AttemptRecord, Mapping[str, Any] | None]:
    """Return the attempt as it ended, and the task's outputs if it succeeded.

    ``process`` is what it was, if one was made.
    ``stopped`` says why it was being ended, if it was: then that is how it ended, whatever its exit code.
    """
    state, reason = _verdict(end)
    outputs: Mapping[str, Any] | None = None
    if stopped is not None and end.cause is not EndCause.START_FAILED:
        state, reason = _STOPPED_STATE[stopped[0]], stopped[1]
    elif end.cause is EndCause.EXITED:
        report = parse_outputs(end)
        if report.failure is not None:
            state, reason = AttemptState.FAILED, report.failure
        elif report.skipped is not None:
            state, reason = AttemptState.SKIPPED, report.skipped
        elif state is AttemptState.SUCCEEDED:
            outputs, reason = report.outputs, report.lack
    ended = changed(
        attempt,
        **(identity(process) if process is not None else {}),
        state=state,
        reason=reason,
        exit_code=end.exit_code,
        signal=end.signal,
        started_at_ms=end.started_at_ms or attempt.started_at_ms,
        finished_at_ms=end.finished_at_ms,
        cpu_seconds=end.cpu_seconds,
        peak_memory_bytes=end.peak_memory_bytes,
        io_read_bytes=end.io_read_bytes,
        io_write_bytes=end.io_write_bytes,
        log=end.log,
    )
    return ended, outputs


def identity(process: Process) -> dict[str, Any]:
    """Return the facts of an attempt that name its process."""
    return {
        "pid": process.pid,
        "pid_started_ticks": process.pid_started_ticks,
        "invocation_id": process.invocation_id,
    }


def readable(stdout: str, log: LogRecord) -> tuple[str, str | None]:
    """Return as much of what a task printed as is kept for expressions, and what is wrong if that is not all.

    Half of it would give false verdicts: "no warning was printed".
    """
    if blackout.WHY in stdout:
        return stdout[:OUTPUT_LIMIT], f"expressions look at its stdout, and not all of that is recorded: {blackout.WHY}"
    if len(stdout) > OUTPUT_LIMIT:
        what = f"its stdout is longer than {OUTPUT_LIMIT} characters, too long for expressions to look at"
    elif log.dropped_bytes:
        what = "a part of its output was dropped (tasks.log_limit), and expressions look at its stdout"
    else:
        return stdout, None
    return stdout[:OUTPUT_LIMIT] + _CUT, f"{what}: let it print less, or write what matters to $BARBOSSA_OUTPUT"


def json_outputs(stdout: str, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the outputs of a task with ``output: json``: what it printed, over what it wrote. Raise ValueError.

    Anything but an object is the output ``value``.
    """
    found = _report.value_of(stdout)
    return {**(given or {}), **(found if isinstance(found, dict) else {"value": found})}


def timeout_reason(seconds: float) -> str:
    """Say that a task took longer than it may."""
    return f"it did not end within its timeout of {format_duration(seconds)}"


def _verdict(end: ProcessEnd) -> tuple[AttemptState, str | None]:
    """Return how a process ended by itself; success needs a seen exit code of 0."""
    if end.cause is EndCause.EXITED:
        if end.exit_code == 0:
            return AttemptState.SUCCEEDED, None
        return AttemptState.FAILED, f"exit code {end.exit_code}" + (f" ({end.message})" if end.message else "")
    if end.cause is EndCause.SIGNALLED:
        return AttemptState.FAILED, f"killed by signal {end.signal}{_signal_name(end.signal)}"
    if end.cause is EndCause.START_FAILED:
        return AttemptState.FAILED, f"could not be started: {end.message}"
    return _OTHER.get(end.cause) or (
        AttemptState.INTERRUPTED,
        end.message or "what became of its process is not known",
    )


_OTHER = {
    EndCause.OUT_OF_MEMORY: (
        AttemptState.FAILED,
        "out of memory: the kernel killed it (limits.memory, or the host had none left)",
    ),
    EndCause.TIMED_OUT: (
        AttemptState.TIMED_OUT,
        "its timeout passed while the daemon was away; systemd ended it",
    ),
}


def _signal_name(number: int | None) -> str:
    try:
        return f" ({signal.Signals(number or 0).name})"
    except ValueError:
        return ""
