"""Errors of the command line: one line, what to do next, the right exit code, never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from barbossactl import client, staying
from barbossactl.client import Client
from barbossactl.exits import CommandError, LostError
from barbossad import wire
from tests.helpers import cli_process
from tests.helpers.cli_process import Ctl, Ended
from tests.helpers.cli_stub import HangUpError, StubDaemon, StubError

pytest_plugins = ("tests.helpers.cli_fixtures",)


def refuse(kind: str, message: str, **details: Any) -> Callable[[dict[str, Any]], object]:
    def handler(_: dict[str, Any]) -> object:
        raise StubError(kind, message, **details)

    return handler


def assert_one_line(ended: Ended | subprocess.CompletedProcess[str], *words: str) -> None:
    text = ended.err if isinstance(ended, Ended) else ended.stderr
    assert text.startswith("barbossactl: ")
    assert text.count("\n") == 1
    for word in words:
        assert word in text


def test_no_socket_says_how_to_start_the_daemon(socket_folder: Path) -> None:
    """Without a daemon the exit code is 3 and the line names the socket and both ways to start one."""
    path = socket_folder / "none.sock"
    ended = cli_process.run(path, "daemon", "ping")
    assert ended.returncode == 3
    assert_one_line(ended, str(path), "systemctl start barbossad", "barbossad --user")


@pytest.mark.parametrize("is_installed", [False, True])
def test_a_runtime_folder_that_is_gone(
    socket_folder: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, *, is_installed: bool
) -> None:
    """Where the system's daemon is installed, its missing folder was removed; where it never was, no unit is named."""
    path = socket_folder / "barbossa" / "barbossad.sock"
    monkeypatch.setattr(wire, "SYSTEM_SOCKET_PATH", path)
    monkeypatch.setattr(client, "UNIT_FOLDERS", (socket_folder / "none", socket_folder))
    if is_installed:
        (socket_folder / "barbossad.socket").touch()
    ended = ctl("--socket", str(path), "ps")
    assert ended.code == 3
    gone = f"{path.parent} is gone, and is made again by: systemctl restart barbossad.socket barbossad"
    start = "start it: systemctl start barbossad (or your own: barbossad --user)"
    assert_one_line(ended, f"there is no socket {path}; {gone if is_installed else start}\n")


def test_a_socket_that_a_sandbox_hides(socket_folder: Path) -> None:
    """In a task that does not see the daemon's folder the message is about that, and not about a daemon at rest."""
    folder = socket_folder / "barbossa"
    folder.mkdir(mode=0)  # as systemd has it for InaccessiblePaths=
    path = folder / "barbossad.sock"
    hint = "a task that asks the daemon says sandbox: none"
    assert_one_line(cli_process.run(path, "ps"), f"{path} is hidden from this process by its sandbox; {hint}\n")


def test_a_dead_socket_says_how_to_start_the_daemon(socket_folder: Path) -> None:
    """A socket that nobody listens on any more is told apart from a file that is no socket."""
    path = socket_folder / "dead.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    ended = cli_process.run(path, "status")
    assert ended.returncode == 3
    assert_one_line(ended, "nobody listens", "systemctl start barbossad")
    file = socket_folder / "file"
    file.touch()
    ended = cli_process.run(file, "status")
    assert ended.returncode == 3
    assert_one_line(ended, "is not the socket of a daemon")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("is_named", [False, True], ids=["environment", "option"])
def test_a_forbidden_socket_names_the_group_to_join(socket_folder: Path, *, is_named: bool) -> None:
    """Whoever may not use the socket is told which group may, whichever way it was named."""
    path = socket_folder / "root.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        os.chown(path, 0, 12)  # Debian's group "man"
        path.chmod(0o660)
        socket_folder.chmod(0o755)
        # imported before, since the checkout and this Python may be root's alone
        become_nobody = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)"
        call = "import grp; from barbossactl import cli; from barbossactl.commands import daemon"
        arguments = [*(["--socket", str(path)] if is_named else []), "daemon", "ping"]
        done = subprocess.run(
            [*cli_process.COMMAND[:3], "-c", f"{call}\n{become_nobody}\nraise SystemExit(cli.run({arguments}))"],
            env=cli_process.environment(Path("/nonexistent") if is_named else path),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 4
    assert_one_line(done, f"permission denied on {path}; join its group", "sudo usermod -aG man $USER")


def test_a_path_that_is_too_long_is_an_error_like_others(ctl: Ctl) -> None:
    """A path that no socket can have is told in one line."""
    ended = ctl("--socket", "/tmp/" + "x" * 200, "daemon", "ping")
    assert ended.code == 3
    assert_one_line(ended, "cannot connect")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("not_found", 1),
        ("conflict", 1),
        ("unavailable", 1),
        ("invalid_params", 2),
        ("permission_denied", 4),
        ("refused_by_guard", 4),
        ("timed_out", 6),
        ("internal_error", 1),
    ],
)
def test_the_daemons_errors_become_exit_codes(stub_daemon: StubDaemon, ctl: Ctl, kind: str, code: int) -> None:
    """What the daemon refuses is one line with its own words and the exit code of the table."""
    stub_daemon.handlers["run.start"] = refuse(kind, "there is no workflow 'backup'\nand \x1b[2J")
    ended = ctl("start", "backup")
    assert ended.code == code
    assert_one_line(ended, "there is no workflow 'backup'\\nand \\x1b[2J")


def test_a_hint_of_the_daemon_is_shown(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """What the daemon advises comes after its sentence."""
    stub_daemon.handlers["run.get"] = refuse("not_found", "there is no run 'x'", hint="see: barbossactl ps --all")
    assert ctl("run", "get", "zzzzzzzzzz").err == "barbossactl: there is no run 'x'; see: barbossactl ps --all\n"


def test_a_fault_of_the_daemon_is_told_once(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """What failed inside the daemon is one sentence and the daemon's advice, with nothing said twice."""
    stub_daemon.handlers["run.get"] = refuse("internal_error", "run.get failed", hint="the log says why")
    assert ctl("run", "get", "zzzzzzzzzz").err == "barbossactl: run.get failed; the log says why\n"
    stub_daemon.handlers["run.get"] = refuse("internal_error", "the answer is too large; ask for less")
    assert ctl("run", "get", "zzzzzzzzzz").err == "barbossactl: the answer is too large; ask for less\n"


def test_who_has_no_role_is_told_once_who_can_mend_it(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """Where the daemon says already who gives roles, no hint says it again; where it does not, one does."""
    words = "user ada has no role here; an administrator can give one (access in the config)"
    stub_daemon.handlers["run.get"] = refuse("permission_denied", words)
    assert ctl("run", "get", "zzzzzzzzzz").err == f"barbossactl: {words}\n"
    stub_daemon.handlers["run.get"] = refuse("permission_denied", "run.get needs the role viewer")
    assert_one_line(ctl("run", "get", "zzzzzzzzzz"), "; an administrator maps users and groups to roles")


@pytest.mark.parametrize("is_system", [False, True], ids=["own", "system"])
def test_a_silent_daemons_log_is_named(
    stub_daemon: StubDaemon, monkeypatch: pytest.MonkeyPatch, *, is_system: bool
) -> None:
    """The journal is named for the system's daemon alone: a daemon of one's own has nothing there."""
    stub_daemon.handlers["daemon.ping"] = lambda _: stub_daemon.stopping.wait(20)
    if is_system:
        monkeypatch.setattr(wire, "SYSTEM_SOCKET_PATH", stub_daemon.path)
    with Client(stub_daemon.path) as connected, pytest.raises(CommandError) as raised:
        connected.call("daemon.ping", {}, timeout=0.05)
    where = "journalctl -u barbossad" if is_system else "its log, where it was started"
    assert raised.value.hint == f"see what it does: {where}"


def test_a_connection_that_ends_is_told(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """A daemon that dies before it answers is exit 3, not a traceback."""

    def hang_up(_: dict[str, Any]) -> object:
        raise HangUpError

    stub_daemon.handlers["daemon.status"] = hang_up
    ended = ctl("status")
    assert ended.code == 3
    assert_one_line(ended, "closed the connection")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"[]\n", b'{"id": 1}\n', b"\xff\n"])
def test_a_stranger_on_the_socket_is_told(socket_folder: Path, ctl: Ctl, answer: bytes) -> None:
    """Whatever else answers on the socket is named as not being the daemon."""
    path = socket_folder / "stranger.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with Client(path) as connected:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(answer)
                with pytest.raises(CommandError, match="is not barbossad") as raised:
                    staying.begin(connected, "run.start", {"workflow": "backup"})
    assert raised.value.exit_code == 3
    assert raised.value.hint == "name its socket: --socket PATH"  # it starts nothing


def test_an_error_without_an_id_reaches_the_caller(socket_folder: Path) -> None:
    """A daemon that could not read the call at all says so with a null id; that is the answer then."""
    path = socket_folder / "null.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with Client(path) as connected:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(wire.encode(wire.error(None, "invalid_request", "too long")))
                with pytest.raises(CommandError, match="too long"):
                    connected.call("daemon.ping", {})


def test_a_silent_daemon_is_given_up(stub_daemon: StubDaemon) -> None:
    """A daemon that does not answer in time is reported with the time it had."""
    stub_daemon.handlers["daemon.ping"] = lambda _: stub_daemon.stopping.wait(20)
    with Client(stub_daemon.path) as connected, pytest.raises(CommandError, match=r"did not answer .* within 0.05 s"):
        connected.call("daemon.ping", {}, timeout=0.05)


def test_answers_may_come_in_any_order(stub_daemon: StubDaemon) -> None:
    """Each call gets its own answer, whichever comes first."""
    stub_daemon.handlers["slow"] = lambda _: (stub_daemon.wait_for_call("quick"), "slow")[1]
    stub_daemon.handlers["quick"] = lambda _: "quick"
    with Client(stub_daemon.path) as connected:
        slow = connected.send("slow", {})
        assert connected.call("quick", {}) == "quick"
        answer = connected.receive(20)
        assert answer is not None
        assert (answer.identity, answer.result()) == (slow, "slow")


def test_a_large_answer_arrives_whole(stub_daemon: StubDaemon) -> None:
    """An answer near the limit of the protocol is read."""
    stub_daemon.handlers["large"] = lambda _: "x" * (15 * 1024 * 1024)
    with Client(stub_daemon.path) as connected:
        assert len(connected.call("large", {})) == 15 * 1024 * 1024


def test_a_message_beyond_the_limit_is_not_sent(stub_daemon: StubDaemon) -> None:
    """What no daemon would take is refused here."""
    with Client(stub_daemon.path) as connected, pytest.raises(CommandError, match="16 MiB") as raised:
        connected.send("workflow.apply", {"yaml": "x" * (16 * 1024 * 1024)})
    assert raised.value.exit_code == 2


def test_a_number_that_json_lacks_is_not_called_text(stub_daemon: StubDaemon) -> None:
    """What cannot be sent is named for what it is."""
    with Client(stub_daemon.path) as connected, pytest.raises(CommandError, match="'x' is no number of JSON: nan"):
        connected.send("any", {"x": float("nan")})


def test_reconnecting_waits_for_the_daemon(socket_folder: Path) -> None:
    """A client that lost the daemon connects again once it is back."""
    path = socket_folder / "again.sock"
    pauses: list[float] = []
    with StubDaemon(path, {"daemon.ping": lambda _: "first"}):
        connected = Client(path)
        assert connected.call("daemon.ping", {}) == "first"
    second = StubDaemon(path, {"daemon.ping": lambda _: "second"})

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            second.__enter__()

    try:
        with pytest.raises(LostError):
            connected.call("daemon.ping", {})
        connected.reconnect(pause=pause)
        assert connected.call("daemon.ping", {}) == "second"
    finally:
        connected.close()
        second.__exit__()
    assert pauses == sorted(pauses)


def test_reconnecting_gives_up(socket_folder: Path) -> None:
    """A daemon that stays away is given up after the patience is used up."""
    with StubDaemon(socket_folder / "gone.sock") as daemon:
        connected = Client(daemon.path)
    with pytest.raises(CommandError, match="is not running"):
        connected.reconnect(patience_seconds=0.01, pause=lambda _: None)


def test_an_answer_of_another_shape_is_no_traceback(stub_daemon: StubDaemon, ctl: Ctl) -> None:
    """A daemon of another version may answer what this client cannot read; that is one line too."""
    stub_daemon.handlers["daemon.status"] = lambda _: {"version": "9"}
    ended = ctl("status")
    assert ended.code == 1
    assert_one_line(ended, "not what this barbossactl expects")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["strat"], "'start'"),
        (["run", "cancle"], "'cancel'"),
        (["start"], "barbossactl start --help"),
        (["run", "list", "--limit", "0"], "barbossactl run list --help"),
        (["run", "list", "--limit", "99999999999999999999"], "is not in the range"),
        (["schedule", "history", "-n", "99999999999999999999"], "is not in the range"),
        (["logs", "last", "-n", "99999999999999999999"], "is not in the range"),
        (["daemon", "drain", "--timeout", "nan"], "'--timeout': nan is no number"),
        (["schedule", "stats", "x", "--days", "nan"], "'--days': nan is no number"),
        (["schedule", "hold", "a=b", "--reason", "r", "--until", "99999999999d"], "beyond what a calendar holds"),
        (
            ["schedule", "hold", "a=b", "--reason", "r", "--until", "0001-01-01T00:00:00+14:00"],
            "beyond what a calendar",
        ),
        (["start", "x", "--detach", "--wait"], "exclude"),
        (["start", "x", "-p", "novalue"], "keep_days=3"),
        (["start", "x", "-p"], "barbossactl start --help"),
        (["schedule", "add", "x", "--cron"], "barbossactl schedule add --help"),
        (["start", "x", "keep_days=3"], "params are given as -p NAME=VALUE"),
        (["start", "x", "y"], "extra argument (y); see: barbossactl start --help"),
        (["start", "backup.yaml"], "barbossactl apply backup.yaml"),
        (["completion"], "Choose from: bash, zsh, fish"),
        (["run", "wait", "last", "--timeout", "soon"], "1h30m"),
        (["logs", "x", "--attempt", "1"], "needs a TASK"),
        (["run", "get", "no-id"], "barbossactl ps --all"),
        (["ping"], "no command 'ping'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(ctl: Ctl, arguments: list[str], words: str) -> None:
    """Wrong usage never reaches the daemon, and says where the help is or what is right."""
    ended = ctl(*arguments)
    assert ended.code == 2
    assert_one_line(ended, words)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["start", "x", "--idempotency-key", ""], "--idempotency-key"),
        (["start", "x", "--plan", ""], "--plan"),
        (["approve", "0a1b2c3d4e", ""], "[TASK]"),
        (["reject", "0a1b2c3d4e", ""], "[TASK]"),
        (["schedule", "hold", "", "--reason", "why"], "[LABEL]"),
        (["schedule", "release", "--label", ""], "--label"),
        (["schedule", "list", "--workflow", ""], "--workflow"),
        (["schedule", "add", "x", "--every", "1h", "--jitter", ""], "--jitter"),
        (["schedule", "add", "x", "--every", "1h", "--within", ""], "--within"),
        (["schedule", "preview", "0 2 * * *", "--timezone", ""], "--timezone"),
        (["import", "cron", "/etc/crontab", "-o", ""], "--output"),
    ],
)
def test_what_is_given_is_not_empty(stub_daemon: StubDaemon, ctl: Ctl, arguments: list[str], named: str) -> None:
    """A script's variable that is not set is wrong usage, and never means all, any, or the default."""
    ended = ctl(*arguments)
    assert ended.code == 2
    assert_one_line(ended, named, ": it is empty; see: barbossactl ")
    assert not stub_daemon.calls


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["start", "e2", "-p", b"s=/srv/b\xfccher"], "the value of -p s is not UTF-8"),
        (["start", "e2", "-p", r's:="\ud800"'], "the value of -p s is no text"),
        (["start", b"\xfc"], "run.start: 'workflow' is no text in UTF-8"),
        (["plan", "e2", "-p", b"s=\xfc"], "the value of -p s is not UTF-8"),
        (["retry", "0a1b2c3d4e", "-p", b"s=\xfc"], "the value of -p s is not UTF-8"),
        (["approve", "0a1b2c3d4e", "ask", "-v", b"s=\xfc"], "the value of -v s is not UTF-8"),
        (["approve", "0a1b2c3d4e", "ask", "--comment", b"\xfc"], "run.approve: 'comment' is no text in UTF-8"),
        (["cancel", "0a1b2c3d4e", "--reason", b"\xfc"], "run.cancel: 'reason' is no text in UTF-8"),
    ],
)
def test_what_is_no_text_is_never_sent(
    stub_daemon: StubDaemon, ctl: Ctl, arguments: list[str | bytes], words: str
) -> None:
    """Bytes that are no UTF-8 and halves of characters are refused here: they would arrive as something else."""
    ended = ctl(*(os.fsdecode(word) for word in arguments))
    assert ended.code == 2
    assert_one_line(ended, words)
    assert not stub_daemon.calls


def test_without_a_command_there_is_the_help(ctl: Ctl) -> None:
    """The bare program shows what there is and exits as wrong usage."""
    ended = ctl()
    assert ended.code == 2
    assert "Commands:" in ended.out


def test_the_socket_option_goes_over_the_environment(
    stub_daemon: StubDaemon, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--socket is taken before BARBOSSA_SOCKET."""
    stub_daemon.handlers["daemon.ping"] = lambda _: {"version": "1", "pid": 2, "uptime_seconds": 3.0}
    monkeypatch.setenv("BARBOSSA_SOCKET", "/nonexistent/socket")
    assert ctl("daemon", "ping").code == 3
    assert ctl("--socket", str(stub_daemon.path), "daemon", "ping").out == "1\t2\t3.0\n"


def test_a_reader_that_leaves_is_no_traceback(stub_daemon: StubDaemon) -> None:
    """``barbossactl ... | head -1`` ends without a word on stderr."""
    items = [{"id": f"{number:010}", "workflow": "w" * 60, "state": "succeeded"} for number in range(100)]
    stub_daemon.handlers["run.list"] = lambda params: {
        "items": items,
        "next_cursor": "more" if len(stub_daemon.asked("run.list")) < 50 else None,
    }
    command = [*cli_process.COMMAND, "run", "list", "--all"]
    with subprocess.Popen(
        command, env=cli_process.environment(stub_daemon.path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("arguments", [["daemon", "ping"], ["ls", "--json"], ["ls"], ["status", "--json"], ["--help"]])
def test_a_full_disk_is_told(stub_daemon: StubDaemon, arguments: list[str]) -> None:
    """Output that cannot be written is an error, not silence, whether it fails at once or at the end."""
    stub_daemon.handlers["daemon.ping"] = lambda _: {"version": "1", "pid": 2, "uptime_seconds": 3.0}
    stub_daemon.handlers["daemon.status"] = lambda _: {"much": "x" * 100_000}
    items = [{"name": "x" * 9000, "enabled": True, "tasks": 2, "last_run": None, "description": None}]
    stub_daemon.handlers["workflow.list"] = lambda _: {"items": items, "next_cursor": None}
    with open("/dev/full", "w") as full:  # noqa: PTH123 (a device, for its file descriptor)
        done = subprocess.run(
            [*cli_process.COMMAND, *arguments],
            env=cli_process.environment(stub_daemon.path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "barbossactl: cannot write the output: No space left on device\n"


@pytest.mark.parametrize(
    ("closed", "arguments", "code", "said"),
    [
        (">&-", ["ls"], 0, ""),
        (">&-", ["ls", "--json"], 0, ""),
        (">&-", ["--help"], 0, ""),
        ("2>&-", ["ls"], 0, "backup\n"),
        ("2>&-", ["run", "get", "no-id"], 2, ""),
        ("2>/dev/full", ["ls"], 0, "backup\n"),
        ("2>/dev/full", ["run", "get", "no-id"], 2, ""),
        ("2>/dev/full", ["no-command"], 2, ""),
        (">/dev/full 2>/dev/full", ["ls"], 1, ""),
        ("<&- >&- 2>&-", ["ls"], 0, ""),
        ("<&-", ["apply", "-"], 0, "backup\tv1\tapplied\n"),
    ],
)
def test_standard_streams_that_take_nothing_are_as_dev_null(
    stub_daemon: StubDaemon, closed: str, arguments: list[str], code: int, said: str
) -> None:
    """A command line does its work without stdin, stdout or stderr, and where nobody can be told what went wrong."""
    item = {"name": "backup", "enabled": True, "tasks": 2, "last_run": None, "description": None}
    stub_daemon.handlers["workflow.list"] = lambda _: {"items": [item], "next_cursor": None}
    stub_daemon.handlers["workflow.apply"] = lambda _: {"name": "backup", "version": "v1", "changed": True}
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *cli_process.COMMAND, *arguments],
        env=cli_process.environment(stub_daemon.path),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stdout.replace("\tyes\t2\t-\t-\t-", ""), done.stderr) == (code, said, "")


def test_patience_is_bounded() -> None:
    """A command waits for a daemon that restarts, and not for ever."""
    assert 10 <= client.PATIENCE_SECONDS <= 120


def test_draining_that_somebody_has_ended(ctl: Ctl, stub_daemon: StubDaemon) -> None:
    """Who waits for the daemon to be drained does not begin it again, and is told that it is not."""
    stub_daemon.handlers["daemon.drain"] = lambda _: {"draining": False, "done": False, "running": 2, "waiting": 0}
    ended = ctl("daemon", "drain")
    assert ended.code == 1
    assert "somebody has ended draining" in ended.err
    assert len(stub_daemon.asked("daemon.drain")) == 1


def test_draining_over_a_restart(ctl: Ctl, stub_daemon: StubDaemon) -> None:
    """Who waits for the daemon to be drained is told that the next one is not."""

    def hang_up(_: dict[str, Any]) -> object:
        raise HangUpError

    stub_daemon.handlers["daemon.drain"] = hang_up
    ended = ctl("daemon", "drain")
    assert ended.code == 3
    assert_one_line(ended, "if it was restarted it drains no more")
