"""What the end of a process means: success needs a seen exit code of 0."""

from __future__ import annotations

from functools import partial

import pytest

from barbossad.engine.attempt import OUTPUTS_UNKNOWN, outcome, readable, timeout_reason, untold, without_secrets
from barbossad.model.records import LogRecord
from barbossad.model.states import AttemptState, StopCause
from barbossad.process.launcher import OUTPUT_LIMIT, EndCause, ProcessEnd
from barbossad.process.output.blackout import WHY, Blackout
from barbossad.security.masking import Mask, Masking, make_mask_of
from barbossad.tasks import _report
from barbossad.tasks._outputs import of_worker
from barbossad.tasks._report import Report
from tests.helpers.records import NOON_MS, attempt

LOG = LogRecord(text=b"x", size_bytes=1)


def ended(cause: EndCause, **more: object) -> ProcessEnd:
    facts: dict[str, object] = {"finished_at_ms": NOON_MS + 9, "log": LOG}
    return ProcessEnd(cause=cause, **{**facts, **more})  # type: ignore[arg-type]


def read(end: ProcessEnd) -> Report:
    assert end.cause is EndCause.EXITED, "who did not exit has nothing to say"
    if end.output == b"done":
        return Report(skipped="/srv/shop is there already")
    if end.output == b"nonsense":
        return Report(failure="its outputs cannot be read: line 1 is no output")
    return Report(outputs=None if end.output is None else {"written": end.output.decode()})


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        (ended(EndCause.EXITED, exit_code=0), AttemptState.SUCCEEDED, None),
        (ended(EndCause.EXITED, exit_code=3), AttemptState.FAILED, "exit code 3"),
        (ended(EndCause.EXITED, exit_code=3, message="or so"), AttemptState.FAILED, "exit code 3 (or so)"),
        (ended(EndCause.EXITED), AttemptState.FAILED, "exit code None"),
        (ended(EndCause.SIGNALLED, signal=9), AttemptState.FAILED, "killed by signal 9 (SIGKILL)"),
        (ended(EndCause.SIGNALLED, signal=63), AttemptState.FAILED, "killed by signal 63"),
        (
            ended(EndCause.START_FAILED, message="no such file"),
            AttemptState.FAILED,
            "could not be started: no such file",
        ),
        (
            ended(EndCause.TIMED_OUT),
            AttemptState.TIMED_OUT,
            "its timeout passed while the daemon was away; systemd ended it",
        ),
        (ended(EndCause.LOST, message="it is gone"), AttemptState.INTERRUPTED, "it is gone"),
        (ended(EndCause.LOST, exit_code=0), AttemptState.INTERRUPTED, "what became of its process is not known"),
    ],
)
def test_end_by_itself(end: ProcessEnd, state: AttemptState, reason: str | None) -> None:
    """An attempt ends as its process did; what nobody saw is never a success."""
    over, outputs = outcome(attempt(), end, None, read)
    assert (over.state, over.reason, outputs) == (state, reason, None)
    assert (over.exit_code, over.signal, over.finished_at_ms, over.log) == (end.exit_code, end.signal, NOON_MS + 9, LOG)


@pytest.mark.parametrize(
    ("cause", "state"),
    [
        (StopCause.CANCEL, AttemptState.CANCELLED),
        (StopCause.RUN_TIMEOUT, AttemptState.TIMED_OUT),
        (StopCause.TASK_TIMEOUT, AttemptState.TIMED_OUT),
        (StopCause.GROUP_TIMEOUT, AttemptState.CANCELLED),
        (StopCause.FAIL_FAST, AttemptState.CANCELLED),
        (StopCause.SHUTDOWN, AttemptState.INTERRUPTED),
        (StopCause.HOST_DOWN, AttemptState.INTERRUPTED),
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_end_by_a_stop(cause: StopCause, state: AttemptState, code: int) -> None:
    """An attempt that was being ended ended for that reason, also if it tidied up and exited with 0."""
    end = ended(EndCause.EXITED, exit_code=code, output=b"half")
    over, outputs = outcome(attempt(), end, (cause, "somebody said so"), read)
    assert (over.state, over.reason, over.exit_code, outputs) == (state, "somebody said so", code, None)


def test_what_never_started_failed_to_start() -> None:
    """A process that could not be made did not end because it was stopped."""
    end = ended(EndCause.START_FAILED, message="no such file")
    over, _ = outcome(attempt(), end, (StopCause.CANCEL, "enough"), read)
    assert (over.state, over.reason) == (AttemptState.FAILED, "could not be started: no such file")


def test_outputs_of_a_success() -> None:
    """Outputs are read of what succeeded, and of nothing else."""
    assert outcome(attempt(), ended(EndCause.EXITED, exit_code=0, output=b"a"), None, read)[1] == {"written": "a"}
    assert outcome(attempt(), ended(EndCause.EXITED, exit_code=1, output=b"a"), None, read)[1] is None


@pytest.mark.parametrize("code", [0, 1])
def test_what_a_task_says_of_its_failure(code: int) -> None:
    """A task that says why it failed has failed for that reason, whatever its exit code."""
    over, outputs = outcome(attempt(), ended(EndCause.EXITED, exit_code=code, output=b"nonsense"), None, read)
    assert (over.state, over.exit_code, outputs) == (AttemptState.FAILED, code, None)
    assert over.reason == "its outputs cannot be read: line 1 is no output"


def test_what_was_done_already_is_skipped() -> None:
    """A task that says that there was nothing to do is skipped, and has no outputs."""
    over, outputs = outcome(attempt(), ended(EndCause.EXITED, exit_code=0, output=b"done"), None, read)
    assert (over.state, over.reason, outputs) == (AttemptState.SKIPPED, "/srv/shop is there already", None)


def test_known_start_is_kept() -> None:
    """The end may bring the instant of the start; if not, the recorded one stays."""
    begun = attempt(started_at_ms=NOON_MS)
    assert outcome(begun, ended(EndCause.LOST), None, read)[0].started_at_ms == NOON_MS
    assert outcome(begun, ended(EndCause.LOST, started_at_ms=NOON_MS + 1), None, read)[0].started_at_ms == NOON_MS + 1


def test_timeout_reason() -> None:
    """A timeout is told without needless digits."""
    assert timeout_reason(90.0) == "it did not end within its timeout of 1m30s"
    assert "500ms" in timeout_reason(0.5)


def test_words_of_an_end_without_secrets() -> None:
    """Neither what a launcher says of an end nor what a task outputs keeps a secret; all else stays as it is."""
    make_mask = make_mask_of(["correct horse"])
    end = ended(
        EndCause.START_FAILED, message="no such file: /correct horse \udcff", output=b"token=correct horse\nn=1\n"
    )
    masked = without_secrets(end, make_mask)
    assert (masked.message, masked.output) == ("no such file: /*** \udcff", b"token=***\nn=1\n")
    assert without_secrets(end, None) is end
    assert without_secrets(ended(EndCause.EXITED), make_mask).output is None


@pytest.mark.parametrize(
    ("secret", "value", "told"),
    [
        ("barbossa", 1, 1),
        ("result", "results", "***s"),
        ("succeeded", {"succeeded": [True]}, {"***": [True]}),
        ("123456", 81234567, "8***7"),
        ("123456", [81234567, "a"], '[8***7, "a"]'),
        ('q"uote', ['a q"uote'], ["a ***"]),
        ("output", "bG91dHB1dA==", "bG***"),
        ('"value"', 'the "value"', "the ***"),
    ],
)
def test_a_report_stays_one_without_secrets(secret: str, value: object, told: object) -> None:
    """Of what a worker reports only what its task said is masked, and a number with a secret in it becomes text."""
    make_mask = make_mask_of([secret])
    end = ended(EndCause.EXITED, exit_code=0, output=_report.encode({"a": value, "b": 2}, OUTPUT_LIMIT))
    assert of_worker(without_secrets(end, make_mask)) == Report(outputs={"a": told, "b": 2})
    failed = ended(EndCause.EXITED, exit_code=1, output=_report.encode_failure(f"failed: {secret!r} is the reason"))
    assert of_worker(without_secrets(failed, make_mask)).failure == "failed: '***' is the reason"


@pytest.mark.parametrize(("secret", "most"), [("hunter2", 1), ("output", 1 + 2 * _report.MOST_BROKEN)])
def test_a_report_full_of_secrets(secret: str, most: int) -> None:
    """Lines are masked one by one only where stars have broken them, and not for ever."""
    sizes: list[int] = []

    class Counted(Mask):
        def feed(self, data: bytes, *, is_last: bool = False) -> bytes:
            sizes.append(len(data))
            return super().feed(data, is_last=is_last)

    written = _report.encode({f"a{number}": "the hunter2" for number in range(5000)}, OUTPUT_LIMIT)
    masked = without_secrets(ended(EndCause.EXITED, output=written), partial(Counted, Masking([secret])))
    assert b"***" in (masked.output or b"")
    assert len(sizes) <= most


@pytest.mark.parametrize("written", [b'{"output": "secret_name", "value": 1}', b'{"x": "secret_name"}', b"secret_name"])
def test_a_report_hides_no_secret(written: bytes) -> None:
    """What is no line of a report, and the name of an output, is masked as it stands."""
    end = ended(EndCause.EXITED, output=b'{"barbossa_report": 1}\n' + written + b"\n")
    assert b"secret_name" not in (without_secrets(end, make_mask_of(["secret_name"])).output or b"")


def test_what_was_done_already_stays_so_without_secrets() -> None:
    """What a guard says has no secret, though its words may be one."""
    end = ended(EndCause.EXITED, exit_code=0, output=b'{"barbossa_skipped":"creates"}\n')
    assert without_secrets(end, make_mask_of(["barbossa"])).output == end.output


def test_too_large_outputs_stay_too_large() -> None:
    """Outputs that are refused for their length are not made acceptable by stars."""
    make_mask = make_mask_of(["correct horse"])
    written = b"correct horse" + b"x" * OUTPUT_LIMIT
    assert without_secrets(ended(EndCause.EXITED, output=written), make_mask).output == written


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        (ended(EndCause.EXITED, exit_code=0), AttemptState.SUCCEEDED, None),
        (ended(EndCause.EXITED, exit_code=0, output=b"token=correct horse"), AttemptState.SUCCEEDED, OUTPUTS_UNKNOWN),
        (ended(EndCause.EXITED, exit_code=0, output=b"done"), AttemptState.SKIPPED, "/srv/shop is there already"),
        (ended(EndCause.EXITED, exit_code=1, output=b"n=1"), AttemptState.FAILED, "exit code 1"),
        (
            ended(EndCause.EXITED, exit_code=0, output=b"nonsense"),
            AttemptState.FAILED,
            f"why it failed is not told: {WHY}",
        ),
        (
            ended(EndCause.START_FAILED, message="correct horse"),
            AttemptState.FAILED,
            f"could not be started: more is not told: {WHY}",
        ),
    ],
)
def test_an_end_of_which_nobody_knows_what_is_secret(end: ProcessEnd, state: AttemptState, reason: str | None) -> None:
    """A task ends as its process did; what it said of itself counts, and is not told."""
    masked = without_secrets(end, Blackout)
    over, outputs = outcome(attempt(), masked, None, lambda one: untold(read, one))
    assert (over.state, over.reason, outputs) == (state, reason, None)


def test_stdout_that_was_not_recorded() -> None:
    """Expressions that look at what a task printed would be wrong about what was blacked out."""
    assert readable("all of it", LOG) == ("all of it", None)
    _, lack = readable("one\n" + Blackout().feed(b"two").decode(), LOG)
    assert lack is not None
    assert lack.startswith("expressions look at its stdout, and not all of that is recorded")
