"""What every launcher keeps. A new launcher joins by a line in ``MAKERS``."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from barbossad.process import procfs
from barbossad.process.launcher import OUTPUT_LIMIT, SCRIPT, EndCause, LiveLog
from barbossad.process.output import logs
from barbossad.security.masking import make_mask_of
from tests.helpers.launching import (
    ENV,
    Bench,
    Needle,
    Watched,
    has_systemd,
    make_local,
    make_systemd,
    no_descriptors,
    open_files,
)
from tests.helpers.waiting import eventually_async

MAKERS: dict[str, Callable[[Path], Bench]] = {"local": make_local}
if has_systemd():  # tests/systemd/test_contract.py runs this file where there is one
    MAKERS["systemd"] = make_systemd


@pytest.fixture(params=sorted(MAKERS))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = MAKERS[request.param](tmp_path)
    await bench.launcher.start()
    yield bench
    await bench.close()
    assert list(bench.runtime_dir.iterdir()) == [], "files of ended attempts stay"


@pytest.mark.parametrize("code", [0, 1, 7, 255])
async def test_exit_code(bench: Bench, code: int) -> None:
    """The exit code is that of the first process."""
    end = await bench.run(f"exit {code}")
    assert (end.cause, end.exit_code, end.signal) == (EndCause.EXITED, code, None)


async def test_times_and_usage(bench: Bench) -> None:
    """An end says when it began and was over, and what it cost."""
    end = await bench.run("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    assert end.started_at_ms is not None
    assert end.started_at_ms <= end.finished_at_ms
    assert end.cpu_seconds is not None
    assert end.cpu_seconds > 0
    if bench.launcher.name == "local":  # a unit's are the kernel's to count, if it does
        assert end.peak_memory_bytes is not None
        assert end.peak_memory_bytes > 100_000


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_signal(bench: Bench, number: signal.Signals) -> None:
    """A process that a signal ended is told apart from one that exited."""
    end = await bench.run(f"ulimit -c 0; kill -{int(number)} $$")
    assert (end.cause, end.exit_code, end.signal) == (EndCause.SIGNALLED, None, number)


async def test_start_is_told_with_a_lasting_name(bench: Bench) -> None:
    """A process that lives on is told of with its pid and start."""
    watched = bench.launch("echo ready; exec sleep 600")
    process = await watched.start()
    assert process.pid is not None
    stat = procfs.stat(process.pid)
    assert stat is not None
    assert stat.start_ticks == process.pid_started_ticks
    process.stop(0)
    assert (await watched.end()).signal == signal.SIGKILL


async def test_streams_are_kept_apart_and_in_order(bench: Bench) -> None:
    """Each stream's lines are recorded in the order in which they were written."""
    end = await bench.run("for i in 1 2 3; do echo out $i; echo err $i >&2; done")
    assert bench.text(end.log, "stdout") == "out 1\nout 2\nout 3\n"
    assert bench.text(end.log, "stderr") == "err 1\nerr 2\nerr 3\n"


async def test_small_output_is_text(bench: Bench) -> None:
    """A small log comes with its text, and leaves no file once that is discarded."""
    for script in ("echo quick", "echo slow; sleep 0.2"):
        end = await bench.run(script)
        assert end.log.text is not None
        assert end.log.size_bytes == len(end.log.text)
        bench.folder.discard(end.log)
        assert bench.text(end.log) == script[5:10].rstrip(";") + "\n"
    assert [path for path in bench.folder.root.rglob("*") if path.is_file()] == []


async def test_silence(bench: Bench) -> None:
    """A task that says nothing has an empty log and makes no file."""
    end = await bench.run("true")
    assert end.log.size_bytes == 0
    assert bench.text(end.log) == ""
    assert not bench.folder.root.exists()


async def test_big_output_is_whole(bench: Bench) -> None:
    """Output below the cap is recorded whole, in order, in a file."""
    end = await bench.run("seq 1 100000")
    assert end.log.path is not None
    assert end.log.dropped_bytes == 0
    assert bench.text(end.log) == "".join(f"{number}\n" for number in range(1, 100_001))


async def test_output_without_final_newline(bench: Bench) -> None:
    """The last line counts though nothing ends it."""
    end = await bench.run("printf 'one\ntwo'")
    assert bench.text(end.log) == "one\ntwo\n"


async def test_prompt_shows(bench: Bench) -> None:
    """What a task prints without ending the line is there to read while it waits."""
    watched = bench.launch("printf 'continue? '; exec sleep 600")
    log = watched.process.log
    async with asyncio.timeout(30):
        await log.changed(0)
    assert bench.text(log.snapshot()) == "continue? "
    watched.process.stop(0)
    end = await watched.end()
    assert bench.text(end.log) == "continue? \n"


async def test_following(bench: Bench) -> None:
    """A follower's cursor goes on through the end of the attempt without a gap or a repetition."""
    watched = bench.launch("for i in 1 2 3; do echo $i; sleep 0.1; done; echo end")
    log = watched.process.log
    seen: list[str] = []
    cursor = 0
    async with asyncio.timeout(20):
        while True:
            page = logs.read(bench.folder, log.snapshot(), cursor, 2)
            seen += [entry.text for entry in page.items]
            if page.next_cursor == cursor:
                if watched.ends:
                    break
                await log.changed(cursor)
            cursor = page.next_cursor
    assert seen == ["1", "2", "3", "end"]


@pytest.mark.slow
async def test_one_line_of_100_mb(bench: Bench) -> None:
    """A single line of 100 MB is held in no memory, and its head and tail are kept."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_kib()
    end = await bench.run("printf begin; head -c 100000000 /dev/zero | tr '\\0' x; printf end")
    assert _peak_kib() - before < 64 * 1024
    text = bench.text(end.log)
    assert text.startswith("beginxxx")
    assert text.endswith("xxxend\n")
    assert "bytes of log records dropped here" in text
    assert end.log.dropped_bytes > 85_000_000
    assert end.log.size_bytes <= bench.folder.cap_bytes


async def test_bytes_that_are_no_text(bench: Bench) -> None:
    """Bytes that are not UTF-8, and NUL, become escapes; carriage returns and control characters stay."""
    end = await bench.run(r"printf 'a\377b\000c\rd\033[1me\303\251\303'")
    assert bench.text(end.log) == "a\\xffb\\x00c\rd\033[1meé\\xc3\n"


async def test_records_of_exact_form(bench: Bench) -> None:
    """Records have the form of the container runtime interface."""
    end = await bench.run("echo hello; echo oops >&2")
    assert end.log.text is not None
    lines = end.log.text.decode().splitlines()
    for line, rest in zip(lines, ["stdout F hello", "stderr F oops"], strict=True):
        at, _, after = line.partition(" ")
        assert after == rest
        assert len(at) == len("2026-01-31T02:00:00.123456789Z")
        assert at.endswith("Z")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("no-such-program-xyz",), "no such program on the task's PATH"),
        (("/no/such/program",), "it does not exist"),
        (("./plain",), "not executable"),
        (("./broken",), "interpreter named in its first line does not exist"),
        (("./text",), "it is not a program"),
        (("/bin/echo", "x" * 200_000), "too long"),
        (("/bin/echo", "a\0b"), "NUL"),
        (("/bin",), "not executable"),
    ],
)
async def test_program_that_cannot_be_started(bench: Bench, tmp_path: Path, argv: tuple[str, ...], words: str) -> None:
    """A program that cannot be started is an end that says why, in words."""
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "broken").write_text("#!/no/such/interpreter\n")
    (tmp_path / "text").write_text("just words\n")
    for name in ("broken", "text"):
        (tmp_path / name).chmod(0o755)
    end = await bench.run(argv=argv, working_dir=str(tmp_path))
    assert end.cause is EndCause.START_FAILED
    assert end.exit_code is None
    assert words in (end.message or "")
    assert argv[0] in (end.message or "")


@pytest.mark.parametrize(("name", "words"), [("missing", "does not exist"), ("file", "not a directory")])
async def test_working_dir_that_is_none(bench: Bench, tmp_path: Path, name: str, words: str) -> None:
    """A working directory that cannot be entered is named."""
    (tmp_path / "file").touch()
    end = await bench.run("true", working_dir=str(tmp_path / name))
    assert end.cause is EndCause.START_FAILED
    assert words in (end.message or "")
    assert str(tmp_path / name) in (end.message or "")


async def test_working_dir(bench: Bench, tmp_path: Path) -> None:
    """A task runs in its working directory, and relative programs are found from there."""
    (tmp_path / "here").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "here").chmod(0o755)
    end = await bench.run(argv=("./here",), working_dir=str(tmp_path))
    assert bench.text(end.log) == f"{tmp_path}\n"


async def test_large_command(bench: Bench) -> None:
    """Arguments and environment may be as long as the kernel takes them."""
    argv = ("/bin/sh", "-c", "echo $# ${#LONG}", "sh", *["x" * 100_000] * 5)
    end = await bench.run(argv=argv, env={**ENV, "LONG": "y" * 100_000})
    assert bench.text(end.log) == "5 100000\n"


async def test_stdout_closed_by_the_task(bench: Bench) -> None:
    """A task that closes its output goes on, and its end is its end."""
    watched = bench.launch("exec >&- 2>&-; sleep 0.3; exit 3")
    assert (await watched.end()).exit_code == 3


async def test_child_that_holds_the_pipe(bench: Bench) -> None:
    """A child left behind in the background does not delay the end, and dies with it."""
    needle = Needle()
    end = await bench.run(f"{needle.command} & echo done")
    assert end.exit_code == 0
    assert bench.text(end.log) == "done\n"
    assert needle.pids == []


@pytest.mark.parametrize("prefix", ["", "setsid ", "env -i setsid ", "env -i setsid setsid "])
async def test_escapees_are_gone_at_the_end(bench: Bench, prefix: str) -> None:
    """Whatever an attempt forked twice, put into its own session or stripped of its environment is gone at its end."""
    needle = Needle()
    hidden = f"({prefix}{needle.command} </dev/null >/dev/null 2>&1 &)"
    end = await bench.run(f"{hidden}; {hidden}; sleep 0.1; echo main over")
    assert end.exit_code == 0
    assert needle.pids == []


async def test_escapees_of_one_are_not_another_s(bench: Bench) -> None:
    """The end of one attempt leaves the hidden processes of another alone."""
    mine, theirs = Needle(), Needle()
    other = bench.launch(f"(env -i setsid {theirs.command} >/dev/null 2>&1 &); exec sleep 600")
    await eventually_async(lambda: len(theirs.pids) == 1, 30, "the other's process hides")
    hidden = f"(env -i setsid {mine.command} >/dev/null 2>&1 &)"
    await bench.run(f"{hidden}; sleep 0.1")
    assert mine.pids == []
    assert len(theirs.pids) == 1
    other.process.stop(0)
    await other.end()
    assert theirs.pids == []


async def test_sigterm_ends(bench: Bench) -> None:
    """A stop asks first."""
    watched = bench.launch("trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    await _says(bench, watched.process.log, "ready")
    watched.process.stop(20)
    end = await watched.end()
    assert end.exit_code == 9
    assert "asked" in bench.text(end.log)


async def test_sigterm_reaches_hidden_processes(bench: Bench) -> None:
    """A stop asks the whole tree, also where it hides, and gives all of it the grace."""
    inner = "trap 'echo inner asked; exit' TERM; echo ready; while :; do sleep 0.05; done"
    watched = bench.launch(f'setsid sh -c "{inner}" & exec sleep 600')
    await _says(bench, watched.process.log, "ready")
    watched.process.stop(20)
    end = await watched.end()
    assert end.signal == signal.SIGTERM
    assert "inner asked" in bench.text(end.log)


async def test_sigterm_ignored(bench: Bench) -> None:
    """What ignores SIGTERM is killed when the grace is over, its children too."""
    needle = Needle()
    watched = bench.launch(f"trap '' TERM; {needle.command} & echo ready; while :; do sleep 0.05; done")
    await _says(bench, watched.process.log, "ready")
    watched.process.stop(0.3)
    end = await watched.end()
    assert end.signal == signal.SIGKILL
    assert needle.pids == []


async def test_stopped_process_can_be_ended(bench: Bench) -> None:
    """A process in the state "stopped" gets to act on SIGTERM."""
    watched = bench.launch("trap 'exit 4' TERM; echo ready; kill -STOP $$; exit 5")
    process = await watched.start()
    await _says(bench, process.log, "ready")
    process.stop(20)
    assert (await watched.end()).exit_code in {4, 5}


async def test_second_stop_is_sooner(bench: Bench) -> None:
    """A second stop with less grace holds, one with more does not lengthen it."""
    watched = bench.launch("trap '' TERM; echo ready; while :; do sleep 0.05; done")
    await _says(bench, watched.process.log, "ready")
    watched.process.stop(600)
    watched.process.stop(0)
    watched.process.stop(600)
    assert (await watched.end()).signal == signal.SIGKILL
    watched.process.stop(0)  # after the end nothing happens


async def test_stop_before_the_start(bench: Bench) -> None:
    """A stop that comes right after the launch is not lost."""
    watched = bench.launch("exec sleep 600")
    watched.process.stop(0)
    end = await watched.end()
    assert end.signal == signal.SIGKILL or end.cause is EndCause.NEVER_STARTED, "killed, or never begun"


async def test_stdin_is_empty(bench: Bench) -> None:
    """A task reads nothing from its standard input."""
    end = await bench.run("cat; readlink /proc/self/fd/0")
    assert bench.text(end.log) == "/dev/null\n"


async def test_environment_is_exact(bench: Bench) -> None:
    """The environment is what the spec says, the file for outputs, and which attempt of which task and run it is."""
    end = await bench.run(argv=("/usr/bin/env",), env={"A": "1", "B": "zwei ü\n"})
    found = dict(line.split("=", 1) for line in bench.text(end.log).splitlines() if "=" in line)
    assert sorted(found) == ["A", "B", "BARBOSSA_ATTEMPT", "BARBOSSA_OUTPUT"]
    assert re.fullmatch(r"[0-9a-z]{10}/[^/]+/[1-9][0-9]*", found["BARBOSSA_ATTEMPT"])


async def test_inheritance_is_clean(bench: Bench) -> None:
    """A task has files 0 to 2 open, umask 022, a session of its own, and no signal ignored or blocked."""
    ids = "cut -d ' ' -f 1,5,6 /proc/$$/stat"
    checks = f"ls /proc/self/fd | tr '\\n' ' '; umask; {ids}; grep -E 'Sig(Blk|Ign)' /proc/self/status"
    end = await bench.run(argv=("/bin/sh", "-c", checks))
    fds, _, rest = bench.text(end.log).partition("0022\n")
    assert fds.split() == ["0", "1", "2", "3"]  # 3 is the folder that ls reads
    named, *masks = rest.splitlines()
    assert len(set(named.split())) == 1
    private = 1 << 31 | 1 << 32  # signals 32 and 33, which glibc's posix_spawn ignores and nobody but glibc can use
    assert [int(mask.split()[1], 16) & ~private for mask in masks] == [0, 0]


async def test_limit_of_open_files(bench: Bench) -> None:
    """A task gets the limit on open files that the daemon was started with, not the daemon's raised one."""
    end = await bench.run("ulimit -n")
    assert bench.text(end.log) == "1024\n"


async def test_script_file(bench: Bench) -> None:
    """A script lies in a file that its owner alone may read, for as long as it runs."""
    end = await bench.run('stat -c "%a" "$0"; echo "$0"')
    mode, path = bench.text(end.log).splitlines()
    assert mode == "500"
    await eventually_async(lambda: not Path(path).exists(), 30, "it is removed")


async def test_script_with_arguments(bench: Bench) -> None:
    """The script's place among the arguments is the spec's to choose."""
    end = await bench.run("echo $1 $2", argv=("/bin/sh", SCRIPT, "a b", "c"))
    assert bench.text(end.log) == "a b c\n"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("true", None),
        ('echo key=value >> "$BARBOSSA_OUTPUT"', b"key=value\n"),
        ('ln -s /etc/passwd "$BARBOSSA_OUTPUT"', None),
        ('mkfifo "$BARBOSSA_OUTPUT"', None),
        ('mkdir -p "$BARBOSSA_OUTPUT/deep"', None),
        (f'head -c {OUTPUT_LIMIT + 5} /dev/zero > "$BARBOSSA_OUTPUT"', b"\0" * (OUTPUT_LIMIT + 1)),
    ],
)
async def test_outputs(bench: Bench, script: str, expected: bytes | None) -> None:
    """What a task wrote as outputs is handed over, bounded; what is no plain file is nothing."""
    assert (await bench.run(script)).output == expected


async def test_many_launches_leave_nothing(bench: Bench) -> None:
    """200 launches with 16 in flight leave no file, no process and no descriptor behind."""
    await bench.run("true")
    before = open_files()
    needle = Needle()
    gate = asyncio.Semaphore(16)

    async def one(number: int) -> str:
        async with gate:
            end = await bench.run(f"{needle.command} & echo {number}")
            assert end.exit_code == 0
            return bench.text(end.log)

    texts = await asyncio.gather(*(one(number) for number in range(200)))
    assert texts == [f"{number}\n" for number in range(200)]
    assert needle.pids == []
    await eventually_async(lambda: list(bench.runtime_dir.iterdir()) == [], 30, "its files are removed")
    await eventually_async(lambda: open_files() <= before, 30, "all descriptors are closed")


@pytest.mark.slow
async def test_bounded_fork_bomb(bench: Bench) -> None:
    """200 processes that fork further, in sessions of their own, are all gone at the end."""
    needle = Needle()
    bomb = f"f() {{ [ $1 -gt 0 ] || {needle.command}; (setsid sh -c '{needle.command}' & f $(($1-1)) & f $(($1-1))); }}"
    watched = bench.launch(f"{bomb}; f 6 & sleep 600")
    await eventually_async(lambda: len(needle.pids) > 40, 30, "the bomb has gone off")
    watched.process.stop(0)
    assert (await watched.end()).signal == signal.SIGKILL
    assert needle.pids == []


async def test_close_ends_everything(bench: Bench, tmp_path: Path) -> None:
    """Closing a launcher ends what runs, tells of it, and refuses what comes later."""
    second = MAKERS[bench.launcher.name](tmp_path / "second")
    await second.launcher.start()
    needle = Needle()
    watched = second.launch(f"(env -i setsid {needle.command} &); exec {needle.command}")
    await eventually_async(lambda: len(needle.pids) == 2, 30, "both run")
    await second.close()
    assert (await watched.end()).signal == signal.SIGKILL
    assert needle.pids == []
    late = second.launch("true")
    assert (await late.end()).cause is EndCause.START_FAILED


def _peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


async def _says(bench: Bench, log: LiveLog, words: str) -> None:
    """Wait until the log of a running attempt holds some words."""
    async with asyncio.timeout(20):
        while words not in bench.text(log.snapshot()):
            await log.changed(log.snapshot().end_cursor)


SECRET = "correct horse battery staple"


async def test_secrets_are_masked(bench: Bench) -> None:
    """No secret gets into the log of an attempt that ends at once, in either stream."""
    script = (
        'printf %s "$SECRET"; echo; echo "error: $SECRET!" >&2; printf "%s" "$SECRET" | base64; printf "correct hor"'
    )
    end = await bench.run(script, env={**ENV, "SECRET": SECRET}, make_mask=make_mask_of([SECRET]))
    assert bench.text(end.log, "stdout") == "***\n***\n***\n"
    assert bench.text(end.log, "stderr") == "error: ***!\n"


async def test_a_task_that_is_ended_in_the_middle_of_a_secret(bench: Bench) -> None:
    """What had come of the secret is masked: the rest never comes."""
    script = 'printf "begin\\n"; printf "token %s" "$SECRET" | head -c 21; exec sleep 1000'
    watched = bench.launch(script, env={**ENV, "SECRET": SECRET}, make_mask=make_mask_of([SECRET]))
    await watched.start()
    await _says(bench, watched.process.log, "token")
    watched.process.stop(0)
    assert bench.text((await watched.end()).log) == "begin\ntoken ***\n"


async def test_secrets_in_pieces_are_masked(bench: Bench) -> None:
    """A secret that is written a few bytes at a time, while the log is read, is masked; so is one in a flood."""
    code = (
        "import os, sys, time\n"
        "secret = os.environ['SECRET'].encode()\n"
        "os.write(1, b'begin\\n')\n"
        "time.sleep(0.15)\n"  # until its pipes are watched
        "for byte in secret: os.write(1, bytes([byte])); time.sleep(0.005)\n"
        "os.write(1, b'\\n' + (b'x' * 1000 + secret + b'\\n') * 1000)\n"
    )
    watched = bench.launch(
        argv=("python3", "-I", "-c", code), env={**ENV, "SECRET": SECRET}, make_mask=make_mask_of([SECRET])
    )
    end = await watched.end()
    assert bench.text(end.log) == "begin\n***\n" + ("x" * 1000 + "***\n") * 1000


async def test_secrets_are_not_told_in_passing(bench: Bench) -> None:
    """What stands for an attempt in messages and tracebacks does not have its environment in it."""
    assert SECRET not in repr(bench.spec("true", env={"SECRET": SECRET}, make_mask=make_mask_of([SECRET])))


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the actions that were logged."""
    return [record.__dict__.get("action", "") for record in caplog.records]


async def test_no_descriptor_left(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A launch for which the daemon has no descriptors left waits until there are, and says so once."""
    await bench.run("true")
    with no_descriptors():
        first, second = bench.launch("seq 3; sleep 0.2; echo late"), bench.launch(argv=("/bin/true",))
        following = asyncio.ensure_future(first.process.log.changed(0))
        await eventually_async(lambda: "starts_wait" in actions(caplog), 30, "it is told")
    end = await first.end()
    assert (end.exit_code, bench.text(end.log)) == (0, "1\n2\n3\nlate\n")
    assert (await second.end()).exit_code == 0
    await following
    assert actions(caplog).count("starts_wait") == 1


async def test_stopped_while_no_descriptor_is_left(bench: Bench) -> None:
    """What waits for them can be ended like any other, and is not started afterwards."""
    await bench.run("true")
    with no_descriptors():
        watched = bench.launch("true")
        watched.process.stop(1)
        watched.process.stop(0)
        end = await watched.end()
    assert (end.cause, end.message) == (EndCause.NEVER_STARTED, "it was stopped before it started")
    assert (await bench.run("true")).exit_code == 0


async def test_no_descriptor_at_the_end(bench: Bench) -> None:
    """Neither what a task printed last nor its outputs are lost for that: its end is told when they can be read."""
    await bench.run("true")
    watched = bench.launch(
        'trap go=1 USR1; echo ready; while [ -z "$go" ]; do sleep 0.02; done; echo a=1 >>$BARBOSSA_OUTPUT; echo last'
    )
    process = await watched.start()
    async with asyncio.timeout(20):
        await process.log.changed(0)
    assert process.pid is not None
    with no_descriptors():
        os.kill(process.pid, signal.SIGUSR1)
        await eventually_async(lambda: process.log.is_over, 20, "it has ended")  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        assert watched.ends == []
    end = await watched.end()
    assert (end.exit_code, end.output, bench.text(end.log)) == (0, b"a=1\n", "ready\nlast\n")


async def test_no_descriptor_at_an_end_that_comes_at_once(bench: Bench) -> None:
    """The same where nothing was read before: the launch had its descriptors, the end has none."""
    await bench.run("true")
    watched = bench.launch('trap go=1 USR1; while [ -z "$go" ]; do sleep 0.02; done; echo last')
    process = await watched.start()
    assert process.pid is not None
    with no_descriptors():
        os.kill(process.pid, signal.SIGUSR1)
        await eventually_async(lambda: process.log.is_over, 20, "it has ended")  # type: ignore[attr-defined]
    end = await watched.end()
    assert (end.exit_code, bench.text(end.log)) == (0, "last\n")


async def _stopped_at_any_moment(bench: Bench, script: str, grace_seconds: float) -> list[Watched]:
    """Launch a script again and again, and stop it ever later in its start."""
    watched = []
    for turns in range(0, 60, 2):
        watched.append(bench.launch(script))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        watched[-1].process.stop(grace_seconds)
    return watched


async def test_killed_at_any_moment_of_its_start(bench: Bench) -> None:
    """Without grace, what does not heed SIGTERM is gone too, however far its start had come."""
    for each in await _stopped_at_any_moment(bench, "trap '' TERM; sleep 4711 & wait; wait; sleep 4711", 0):
        assert (await each.end()).cause in {EndCause.SIGNALLED, EndCause.NEVER_STARTED}


async def test_asked_to_end_at_any_moment_of_its_start(bench: Bench) -> None:
    """What is stopped while it starts is asked like any other, and is not left to be killed when the grace is over."""
    for each in await _stopped_at_any_moment(bench, "sleep 4711", 600):
        end = await each.end()
        assert end.cause is EndCause.NEVER_STARTED or end.signal == signal.SIGTERM
