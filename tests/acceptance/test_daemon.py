"""The real daemon: its config, its folders and its socket, and how it reloads them."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from barbossad import __version__
from tests.helpers import cli_process
from tests.helpers.daemon import COMMAND, ROOT, Daemon, started, state_of
from tests.helpers.rpc_client import Client, RpcError


def fails(daemon: Daemon, code: int) -> str:
    """Start a daemon that must end at once with this code; return what it said."""
    daemon.spawn()
    assert daemon.wait() == code, daemon.log
    assert "Traceback" not in daemon.log
    return daemon.log


def test_clients_leave_descriptors_to_tasks(tmp_path: Path) -> None:
    """However many connect, tasks run; who finds no room is told, and so is, once, whoever reads the log."""
    with Daemon(tmp_path, wrapper=("prlimit", "--nofile=200:200")) as daemon, contextlib.ExitStack() as stack:
        assert "72 clients may connect, not 2048 (clients.limit): this process may open 200 files" in daemon.log
        daemon.apply("name: wide\ntasks: [{id: each, for_each: '{{ range(40) | list }}', shell: [sh, -c, seq 3000]}]")
        clients = [stack.enter_context(Client(daemon.socket_path)) for _ in range(200)]
        assert b"too many clients are connected" in clients[-1].read_line()
        run = clients[0].call("run.start", workflow="wide")
        run = clients[0].call("run.wait", run_id=run["id"], timeout_seconds=20.0)
        assert run["state"] == "succeeded", run
        assert clients[0].call("daemon.backup")["size_bytes"] > 0
        assert daemon.log.count("clients may connect") == 1


@pytest.mark.parametrize("which", ["state", "runtime"])
def test_folder_that_others_may_change(unstarted: Daemon, which: str) -> None:
    """Who could put another state file or script in place could do all that the daemon may: it does not start."""
    folder = unstarted.state_dir if which == "state" else unstarted.socket_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o775)
    said = fails(unstarted, 1)
    assert f"the folder {folder} may be written by others (mode 0775) (chmod go-w {folder})" in said
    assert list(folder.iterdir()) == []
    folder.chmod(0o755)
    unstarted.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_folder_of_another_user(unstarted: Daemon) -> None:
    """A state folder that is another user's is not believed either."""
    unstarted.state_dir.mkdir(parents=True)
    os.chown(unstarted.state_dir, 65534, 65534)
    assert f"the folder {unstarted.state_dir} belongs to user 65534" in fails(unstarted, 1)


@pytest.mark.parametrize("name", ["barbossa.db", "barbossa.db-wal", "barbossa.mark", "logs"])
def test_state_that_others_may_change(unstarted: Daemon, name: str) -> None:
    """Who may change the state in place could do the same: a daemon does not start until that is mended."""
    unstarted.start()
    unstarted.kill()
    path = unstarted.state_dir / name
    mode = path.stat().st_mode & 0o777
    path.chmod(mode | 0o022)
    assert f"{path} may be written by others (mode {mode | 0o022:04o}) (chmod go-w {path})" in fails(unstarted, 1)
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
        assert f"{path} belongs to user 65534" in fails(unstarted, 1)
        os.chown(path, 0, -1)
    unstarted.start()


def test_state_file_in_a_folder_that_others_may_change(unstarted: Daemon) -> None:
    """A link in the place of the state file is followed, and so is the question who may exchange what it leads to."""
    unstarted.start()
    unstarted.stop()
    shared = unstarted.folder / "shared"
    shared.mkdir()
    database = unstarted.state_dir / "barbossa.db"
    database.rename(shared / "theirs.db")
    database.symlink_to(shared / "theirs.db")
    shared.chmod(0o777)
    assert f"the folder {shared} may be written by others (mode 0777) (chmod go-w {shared})" in fails(unstarted, 1)


# -- the config file -------------------------------------------------------------------------------------------

FAULTY = """tasks:
  limit: none
  limits: 4
logging: {level: loud}
shutdown_grace: 2h
acess: {}
"""


def test_every_fault_of_the_config_is_told_with_its_place(unstarted: Daemon) -> None:
    """With a faulty config a daemon does not start: it tells every fault with its place, and exits with 2."""
    unstarted.write_config(FAULTY)
    said = fails(unstarted, 2)
    places = re.findall(rf"{re.escape(str(unstarted.config_path))}:(\d+):\d+: .+$", said, re.MULTILINE)
    assert places == ["2", "3", "4", "5", "6"]
    assert len(said.splitlines()) == 5
    assert not unstarted.state_dir.exists()


def test_check_config(unstarted: Daemon) -> None:
    """check-config tells the same faults and exits with 2; of a good file, or of none, it says so and exits with 0."""

    def check() -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "--user", "check-config"]
        return subprocess.run(command, env=unstarted.environment, capture_output=True, text=True, check=False)

    unstarted.write_config(FAULTY)
    faulty = check()
    assert faulty.returncode == 2
    assert len(faulty.stderr.splitlines()) == 5
    unstarted.write_config("tasks: {limit: 3}\n")
    good = check()
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout == f"{unstarted.config_path}: good\n"
    unstarted.config_path.unlink()
    assert check().returncode == 0
    unstarted.config_path.symlink_to("/no/such/file")
    dangling = check()
    assert (dangling.returncode, dangling.stdout) == (2, "")
    assert f"mend the link, or remove it: rm {unstarted.config_path}" in dangling.stderr
    assert "mend the link" in fails(unstarted, 2)


def test_a_config_that_others_may_write(unstarted: Daemon) -> None:
    """A config that another user could have written is refused, with the command that mends it."""
    unstarted.config_path.chmod(0o666)
    assert "chmod go-w" in fails(unstarted, 2)


def test_a_config_that_was_named_and_is_not_there(unstarted: Daemon) -> None:
    """A named config must exist; no daemon starts with defaults in its place."""
    missing = unstarted.folder / "missing.yaml"
    ended = subprocess.run(
        [*COMMAND, "--user", "--config", str(missing)],
        env=unstarted.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert f"{missing}: there is no such file" in line


def test_the_version() -> None:
    """--version says the version, and starts nothing."""
    ended = subprocess.run([*COMMAND, "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == f"barbossad {__version__}\n"


def test_the_config_is_in_force_and_named(tmp_path: Path) -> None:
    """What the default config file says is in force, and daemon.status names the file."""
    with Daemon(tmp_path, config="tasks: {limit: 3}\n") as daemon:
        status = daemon.call("daemon.status")
        assert status["tasks"]["limit"] == 3
        assert status["config"]["path"] == str(daemon.config_path)


# -- the state folder and the socket ---------------------------------------------------------------------------


def test_a_second_daemon_is_refused(daemon: Daemon) -> None:
    """A second daemon on the same state folder ends with 1 and one line that names the first; that one goes on."""
    daemon.eventually(lambda: "is ready" in daemon.log, "its log says that it is ready")
    before = daemon.log
    second = subprocess.run(
        [*COMMAND, "--user"], env=daemon.environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert f"(pid {daemon.pid})" in line
    assert str(daemon.state_dir) in line
    assert daemon.call("daemon.ping")["pid"] == daemon.pid
    assert daemon.log == before


def test_files_are_private(daemon: Daemon) -> None:
    """The socket, the database and the folders of a user's daemon are for that user alone."""
    for path, mode in (
        (daemon.socket_path, 0o600),
        (daemon.state_dir / "barbossa.db", 0o600),
        (daemon.state_dir, 0o750),
        (daemon.socket_path.parent, 0o750),
    ):
        assert path.stat().st_mode & 0o777 & ~mode == 0, path


def test_a_stale_socket_is_replaced(unstarted: Daemon) -> None:
    """A socket that a killed daemon left is replaced by the next one."""
    unstarted.start()
    unstarted.kill()
    assert unstarted.socket_path.is_socket()
    unstarted.start()
    unstarted.says("replaced the stale socket")
    assert unstarted.stop() == 0
    assert not unstarted.socket_path.exists()


def test_a_file_in_the_place_of_the_socket(unstarted: Daemon) -> None:
    """Anything that is not a socket is left as it is, and the daemon says so and ends."""
    unstarted.socket_path.parent.mkdir()
    unstarted.socket_path.write_text("precious")
    said = fails(unstarted, 1)
    assert f"{unstarted.socket_path} that is not a socket" in said
    assert unstarted.socket_path.read_text() == "precious"


@pytest.mark.parametrize("make", ["folder", "link"])
def test_other_things_in_the_place_of_the_socket(unstarted: Daemon, make: str) -> None:
    """Nor is a folder touched, nor a link, whatever it points at."""
    unstarted.socket_path.parent.mkdir()
    if make == "folder":
        unstarted.socket_path.mkdir()
    else:
        unstarted.socket_path.symlink_to(unstarted.folder / "nowhere")
    fails(unstarted, 1)
    assert unstarted.socket_path.is_dir() or unstarted.socket_path.is_symlink()


def test_a_foreign_live_socket(unstarted: Daemon) -> None:
    """A socket on which another program answers is left to it."""
    unstarted.socket_path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(unstarted.socket_path))
        foreign.listen()
        assert "another program listens" in fails(unstarted, 1)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(unstarted.socket_path))


def test_the_socket_of_a_successor_is_left_alone(daemon: Daemon) -> None:
    """A daemon that stops removes its own socket only, not one that has taken its place."""
    daemon.socket_path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.socket_path))
        assert daemon.stop() == 0
        assert daemon.socket_path.is_socket()


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    """A path that the kernel cannot take is refused with the limit."""
    daemon = Daemon(tmp_path, config=f"socket: {tmp_path}/{'x' * 100}.sock\n")
    assert "at most 107" in fails(daemon, 2)


# -- reload ----------------------------------------------------------------------------------------------------


def test_reload_by_signal(daemon: Daemon) -> None:
    """SIGHUP puts a changed limit and log level in force; what needs a restart is told."""
    daemon.write_config("tasks: {limit: 5}\nlogging: {level: warning}\nclients: {limit: 7}\n")
    daemon.signal(signal.SIGHUP)
    daemon.says("clients.limit changed in the config; it needs a restart")
    daemon.eventually(lambda: daemon.call("daemon.status")["tasks"]["limit"] == 5, "the limit is in force")
    daemon.apply("name: quick\ntasks: [{shell: 'true'}]\n")
    daemon.call("run.wait", run_id=daemon.call("run.start", workflow="quick")["id"])
    assert "run_finished" not in daemon.log
    daemon.write_config("logging: {level: info}\n")
    done = daemon.call("daemon.reload")
    assert set(done["changed"]) == {"tasks.limit", "logging.level"}
    daemon.call("run.wait", run_id=daemon.call("run.start", workflow="quick")["id"])
    daemon.says("run_finished")


def test_a_larger_limit_lets_waiting_tasks_start(tmp_path: Path) -> None:
    """A reload that allows more tasks at once starts those that wait."""
    with Daemon(tmp_path, config="tasks: {limit: 1}\n") as daemon:
        started(daemon)
        second = daemon.call("run.start", workflow="sleeper")["id"]
        assert state_of(daemon, second) == "waiting"
        daemon.write_config("tasks: {limit: 2}\n")
        assert daemon.call("daemon.reload") == {"changed": ["tasks.limit"], "needing_restart": [], "faults": []}
        daemon.eventually(lambda: state_of(daemon, second) == "running", "the second runs")
        daemon.write_config("tasks: {limit: 2}\nshutdown_grace: 1s\n")
        daemon.call("daemon.reload")


def test_a_broken_config_keeps_the_settings_before_it(tmp_path: Path) -> None:
    """A reload with a broken config changes nothing, and says why, to the log and to who asked."""
    with Daemon(tmp_path, config="tasks: {limit: 5}\n") as daemon:
        daemon.write_config("tasks: {limit: 6}\nlogging: {level: loud}\nshutdown_grace: 2h\nacess: {}\n")
        with pytest.raises(RpcError) as caught:
            daemon.call("daemon.reload")
        assert [fault["line"] for fault in caught.value.data["faults"]] == [2, 3, 4]
        ended = cli_process.run(daemon.socket_path, "daemon", "reload")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "(and 2 more)" in ended.stderr
        daemon.signal(signal.SIGHUP)
        daemon.says("config not reloaded", times=9)
        assert daemon.call("daemon.status")["tasks"]["limit"] == 5
        daemon.write_config("tasks: {limit: 6}\n")
        daemon.call("daemon.reload")
        assert daemon.call("daemon.status")["tasks"]["limit"] == 6


def test_workflow_files(unstarted: Daemon) -> None:
    """Files of the workflows folder are applied at start and on reload; a broken one leaves its version in force."""
    unstarted.write_workflow("one.yaml", "name: one\ntasks: [{shell: echo 1}]\n")
    unstarted.write_workflow("bad.yaml", "name: bad\ntasks: [{shel: echo 1}]\n")
    unstarted.write_workflow("note.txt", "not a workflow")
    with unstarted as daemon:
        items = daemon.call("workflow.list")["items"]
        assert [item["name"] for item in items] == ["one"]
        daemon.says("bad.yaml")
        version = items[0]["version"]
        daemon.write_workflow("one.yaml", "name: one\ntasks: [{shell: [}]\n")
        daemon.write_workflow("two.yaml", "name: two\ntasks: [{shell: echo 2}]\n")
        done = daemon.call("daemon.reload")
        assert done["changed"] == ["workflow two"]
        assert {Path(fault["path"].partition(":")[0]).name for fault in done["faults"]} == {"one.yaml", "bad.yaml"}
        assert all(fault["line"] for fault in done["faults"])
        broken = next(fault for fault in done["faults"] if fault["file"].endswith("one.yaml"))
        assert broken["path"] == broken["file"] == str(daemon.workflows_dir / "one.yaml")
        daemon.says(f"{broken['path']}: line {broken['line']}")
        assert daemon.call("workflow.get", name="one")["version"] == version
        daemon.write_workflow("one.yaml", "name: one\ntasks: [{shell: echo mended}]\n")
        daemon.signal(signal.SIGHUP)
        daemon.eventually(
            lambda: daemon.call("workflow.get", name="one")["version"] != version, "the mended file is in force"
        )


def test_two_files_of_one_workflow(unstarted: Daemon) -> None:
    """Of two files with the same workflow the first is in force, whichever was changed last; the other is told of."""
    unstarted.write_workflow("copied.yaml", "name: copied\ntasks: [{shell: echo 1}]\n")
    unstarted.write_workflow("copied-2.yaml", "name: copied\ntasks: [{shell: echo 2}]\n")
    with unstarted as daemon:
        first = daemon.call("workflow.get", name="copied")
        assert "echo 1" in first["yaml"]
        for _ in range(2):
            done = daemon.call("daemon.reload")
            assert done["changed"] == []
            (fault,) = done["faults"]
            assert fault["file"] == str(daemon.workflows_dir / "copied-2.yaml")
            assert fault["message"] == "workflow 'copied' stands in copied.yaml already"
        assert len(daemon.call("workflow.versions", name="copied")["items"]) == 1


def test_what_of_the_files_is_not_in_force(unstarted: Daemon) -> None:
    """The status names a file that was refused, a workflow's as well as the config, until it is mended."""
    unstarted.write_workflow("bad.yaml", "name: bad\ntasks: [{shel: echo 1}]\n")
    with unstarted as daemon:

        def reason() -> str | None:
            said: str | None = daemon.call("daemon.status")["config"]["reason"]
            return said

        bad = daemon.workflows_dir / "bad.yaml"
        place = f"{bad}: line 2, column 10"
        assert reason() == f"workflow file refused: {place}: unknown key 'shel' (did you mean 'shell'?)"
        ended = cli_process.run(daemon.socket_path, "status")
        assert f"not in force\t{reason()}\n" in ended.stdout
        daemon.write_config("acess: {}\n")
        with pytest.raises(RpcError):
            daemon.call("daemon.reload")
        assert "unknown key 'acess'" in (reason() or "")
        daemon.write_config("")
        bad.unlink()
        daemon.call("daemon.reload")
        assert reason() is None


def test_a_file_that_undoes_what_is_done_by_hand(unstarted: Daemon) -> None:
    """Who deletes or changes a workflow that is kept as a file is told of the file, unless it says the same."""
    text = "name: kept\ntasks: [{shell: echo 1}]\n"
    unstarted.write_workflow("kept.yaml", text)
    with unstarted as daemon:
        kept = str(daemon.workflows_dir / "kept.yaml")
        first = daemon.call("workflow.get", name="kept")["version"]
        assert daemon.call("workflow.apply", yaml=text)["kept_file"] is None
        changed = daemon.folder / "changed.yaml"
        changed.write_text(text.replace("1", "2"))
        applied = cli_process.run(daemon.socket_path, "apply", str(changed))
        assert f"{kept} puts another version in force at the next reload" in applied.stderr
        assert daemon.call("workflow.rollback", name="kept", version=first)["kept_file"] is None
        deleted = cli_process.run(daemon.socket_path, "workflow", "delete", "kept", "--yes")
        assert f"{kept} puts it in force again at the next reload" in deleted.stderr
        daemon.call("daemon.reload")
        Path(kept).unlink()
        assert daemon.call("workflow.delete", name="kept")["kept_file"] is None


def test_a_workflow_file_that_others_may_write(unstarted: Daemon) -> None:
    """A workflow file that another user could have written is not applied."""
    unstarted.write_workflow("open.yaml", "name: open\ntasks: [{shell: echo 1}]\n")
    (unstarted.workflows_dir / "open.yaml").chmod(0o666)
    with unstarted as daemon:
        daemon.says("may be written by others")
        assert daemon.call("workflow.list")["items"] == []


def test_many_signals_at_once(daemon: Daemon) -> None:
    """A hail of SIGHUP is as good as one."""
    for _ in range(200):
        daemon.signal(signal.SIGHUP)
    daemon.says("action=reloaded")
    assert daemon.call("daemon.ping")["pid"] == daemon.pid


def test_a_low_limit_of_open_files(unstarted: Daemon) -> None:
    """A daemon started with a low limit of open files raises it as far as it may."""
    unstarted._wrapper = ("/bin/sh", "-c", 'ulimit -S -n 64; exec "$@"', "sh")
    with unstarted as daemon:
        clients = [daemon.client() for _ in range(100)]
        try:
            assert {client.call("daemon.ping")["pid"] for client in clients} == {daemon.pid}
        finally:
            for client in clients:
                client.close()


def test_no_open_files_left(unstarted: Daemon) -> None:
    """With no descriptors left clients wait, without a busy loop, and are served as soon as there are some again."""
    with unstarted as daemon:
        _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (64, hard))  # as if tasks had taken the rest
        clients = [daemon.client() for _ in range(100)]
        try:
            daemon.says("cannot accept clients")
            assert clients[0].call("daemon.ping")["pid"] == daemon.pid
            for client in clients[:90]:
                client.close()
            assert clients[99].call("daemon.ping")["pid"] == daemon.pid
        finally:
            for client in clients:
                client.close()
        assert daemon.log.count("cannot accept clients") < 10


def test_a_fault_of_the_command_line_without_stderr(unstarted: Daemon) -> None:
    """What would be told on a closed stderr is not told on stdout instead."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *COMMAND, "--bogus"],
        env=unstarted.environment,
        stdout=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")


def test_closed_standard_streams(tmp_path: Path) -> None:
    """A daemon without stdin, stdout or stderr starts, works, and writes what it would say into none of its files."""
    closed = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
    with Daemon(tmp_path, wrapper=closed) as daemon:
        links = [Path(f"/proc/{daemon.pid}/fd/{number}").readlink() for number in range(3)]
        assert links == [Path("/dev/null")] * 3
        started(daemon)
