"""Who may ask for what, by the uid and groups that the kernel tells of a connection."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from barbossad.operations import registry
from barbossad.security.access import Role
from tests.helpers.daemon import Daemon
from tests.helpers.other_user import as_user
from tests.helpers.rpc_client import Client, RpcError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users, which only root may")

NOBODY = 65534
USERS = {Role.VIEWER: 64711, Role.OPERATOR: 64712, Role.AUTHOR: 64713, Role.ADMIN: 64714}
GROUPS = {Role.VIEWER: 64811, Role.OPERATOR: 64812, Role.AUTHOR: 64813, Role.ADMIN: 64814}
STRANGER = 64999
CONFIG = "access:\n" + "".join(
    f"  {role.word}: {{users: [{USERS[role]}], groups: [{GROUPS[role]}]}}\n" for role in Role
)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon whose socket everybody may reach, so that it is the daemon that refuses."""
    folder = Path(tempfile.mkdtemp(prefix="barbossa-access-"))
    try:
        with Daemon(folder, config=CONFIG) as running:
            open_up(running)
            running.apply("name: there\ntasks: [{shell: 'true'}]\n")
            yield running
    finally:
        shutil.rmtree(folder)


def open_up(daemon: Daemon) -> None:
    for path in (daemon.folder, daemon.folder / "run", daemon.socket_path.parent):
        path.chmod(0o755)
    daemon.socket_path.chmod(0o666)


def kind_of(client: Client, method: str, /, **params: Any) -> str:
    """Return the kind of error that a call is answered with, or "result"."""
    try:
        client.call(method, **params)
    except RpcError as error:
        return error.kind or ""
    return "result"


def kinds(daemon: Daemon, uid: int, *, gid: int = NOBODY, groups: tuple[int, ...] = ()) -> dict[str, str]:
    """Return how each operation answers to a user who calls it with a parameter that none has."""

    def ask() -> dict[str, str]:
        with daemon.client() as client:
            return {name: kind_of(client, name, nonsense=1) for name in registry.load()}

    found: dict[str, str] = as_user(uid, ask, gid=gid, groups=groups)
    return found


def greeting(daemon: Daemon, uid: int, *, gid: int = NOBODY, groups: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return the error that a user is told for connecting alone, before it is hung up on."""

    def connect() -> Any:
        with daemon.client() as client:
            told = client.receive()
            return told if client.has_ended() else {"error": "the connection stays"}

    found: dict[str, Any] = as_user(uid, connect, gid=gid, groups=groups)
    assert found["id"] is None
    error: dict[str, Any] = found["error"]
    return error


def is_turned_away(daemon: Daemon, uid: int, *, groups: tuple[int, ...] = ()) -> bool:
    return bool(greeting(daemon, uid, groups=groups)["data"]["kind"] == "permission_denied")


def expected(role: Role) -> dict[str, str]:
    return {
        name: "invalid_params" if role >= known.role else "permission_denied" for name, known in registry.load().items()
    }


def test_a_stranger_is_refused_clearly(daemon: Daemon) -> None:
    """Whoever has no role is told so in a sentence that says who can mend it, and hung up on."""
    told = greeting(daemon, NOBODY)
    assert told["code"] == -32004
    assert told["message"] == "user nobody has no role here; an administrator can give one (access in the config)"


@pytest.mark.parametrize("role", Role)
def test_what_users_may(daemon: Daemon, role: Role) -> None:
    """A user named in the config may what its role may, on every operation, and nothing else."""
    assert kinds(daemon, USERS[role]) == expected(role)


@pytest.mark.parametrize("role", Role)
def test_what_members_of_groups_may(daemon: Daemon, role: Role) -> None:
    """A group counts as the first of a process and as a supplementary one."""
    assert kinds(daemon, STRANGER, gid=GROUPS[role]) == expected(role)
    assert kinds(daemon, STRANGER, groups=(NOBODY, GROUPS[role])) == expected(role)


def test_the_mightiest_of_several_roles_wins(daemon: Daemon) -> None:
    """Who is named as a user and by groups has the most that one of them gives."""
    assert kinds(daemon, USERS[Role.VIEWER], groups=(GROUPS[Role.OPERATOR],)) == expected(Role.OPERATOR)
    assert kinds(daemon, USERS[Role.AUTHOR], groups=(GROUPS[Role.VIEWER],)) == expected(Role.AUTHOR)


def test_a_group_that_was_given_up_does_not_count(daemon: Daemon) -> None:
    """It is the groups of the process that count, not those that the user could have."""
    assert is_turned_away(daemon, STRANGER)
    assert is_turned_away(daemon, STRANGER, groups=tuple(range(63000, 63200)))
    assert kinds(daemon, STRANGER, groups=(*range(63000, 63200), GROUPS[Role.VIEWER])) == expected(Role.VIEWER)


def test_an_operator_runs_and_does_not_define(daemon: Daemon) -> None:
    """An operator starts and cancels stored workflows under its own name, and can neither change nor add one."""

    def work() -> list[Any]:
        with daemon.client() as client:
            run = client.call("run.start", workflow="there")
            ended = client.call("run.wait", run_id=run["id"])
            return [
                ended["state"],
                ended["requested_by"],
                kind_of(client, "workflow.apply", yaml="name: mine\ntasks: [{shell: 'true'}]\n"),
                kind_of(client, "workflow.delete", name="there"),
                kind_of(client, "daemon.reload"),
                client.call("daemon.status")["role"],
            ]

    refused = "permission_denied"
    found = as_user(USERS[Role.OPERATOR], work)
    assert found == ["succeeded", str(USERS[Role.OPERATOR]), refused, refused, refused, "operator"]
    assert [item["name"] for item in daemon.call("workflow.list")["items"]] == ["there"]


def test_a_file_of_holidays_is_named_by_authors_alone(daemon: Daemon) -> None:
    """A preview opens the file as the daemon's user: whoever may not define workflows gets to see nothing of it."""
    file = daemon.folder / "private.ics"
    event = "BEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:20260504\nSUMMARY:Board\nEND:VEVENT"
    file.write_text(f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{event}\nEND:VCALENDAR\n")
    file.chmod(0o600)

    def work() -> list[Any]:
        asked = {"cron": "0 2 * * *", "timezone": "UTC", "after": "2026-05-03T12:00:00Z", "count": 1}
        with daemon.client() as client:
            plain = client.call("schedule.preview", **asked, holidays="GB")["items"]
            try:
                named = client.call("schedule.preview", **asked, holidays={"file": str(file)})
            except RpcError as error:
                return [plain, str(error)]
            return [plain, named]

    for role in (Role.VIEWER, Role.OPERATOR):
        plain, refused = as_user(USERS[role], work)
        assert plain == ["2026-05-05T02:00:00.000Z"]
        assert "with a file of holidays needs the role author" in refused
    _, named = as_user(USERS[Role.AUTHOR], work)
    assert named["skipped"] == [{"at": "2026-05-04T02:00:00.000Z", "reason": "holiday: Board"}]


def test_refusals_in_batches_and_notifications(daemon: Daemon) -> None:
    """Neither a batch nor a notification is a way around a role."""

    def work() -> list[Any]:
        call = {"jsonrpc": "2.0", "method": "workflow.delete", "params": {"name": "there"}}
        with daemon.client() as client:
            client.send_message(call)
            client.send_message([call, {**call, "id": 1}])
            return [answer["error"]["data"]["kind"] for answer in client.receive()]

    assert as_user(USERS[Role.OPERATOR], work) == ["permission_denied"]
    assert [item["name"] for item in daemon.call("workflow.list")["items"]] == ["there"]


def test_the_socket_itself_keeps_others_out(tmp_path: Path) -> None:
    """Without a test that opens it, another user cannot even connect to the socket of a user's daemon."""
    folder = Path(tempfile.mkdtemp(prefix="barbossa-access-"))
    try:
        with Daemon(folder, config=CONFIG) as running:
            for path in (folder, folder / "run"):
                path.chmod(0o755)

            def connect() -> str:
                try:
                    running.client().close()
                except PermissionError:
                    return "refused"
                return "connected"

            assert as_user(USERS[Role.ADMIN], connect) == "refused"
    finally:
        shutil.rmtree(folder)


def test_a_reload_changes_who_may(tmp_path: Path) -> None:
    """After a reload new connections have the roles of the new config."""
    folder = Path(tempfile.mkdtemp(prefix="barbossa-access-"))
    try:
        with Daemon(folder, config=CONFIG) as running:
            open_up(running)
            running.write_config(f"access: {{admin: {{users: [{STRANGER}]}}}}\n")
            assert running.call("daemon.reload")["changed"] == ["access"]
            assert kinds(running, STRANGER) == expected(Role.ADMIN)
            assert is_turned_away(running, USERS[Role.ADMIN])
    finally:
        shutil.rmtree(folder)


def test_a_reload_changes_what_open_connections_may(tmp_path: Path) -> None:
    """A role that was taken away ends what its user follows, with the reason; one that was given or lowered holds."""
    folder = Path(tempfile.mkdtemp(prefix="barbossa-access-"))
    losing, rising, falling = USERS[Role.OPERATOR], USERS[Role.VIEWER], USERS[Role.AUTHOR]
    try:
        with Daemon(folder, config=CONFIG) as running:
            open_up(running)
            running.apply("name: long\ntasks: [{shell: exec sleep 600}]\n")
            run_id = running.call("run.start", workflow="long")["id"]
            reload = folder / "reload"
            os.mkfifo(reload)
            reload.chmod(0o666)

            def lose() -> Any:
                with running.client() as client:
                    client.begin("run.wait", run_id=run_id)
                    reload.write_text("now")
                    told = client.receive()
                    return [told["id"], told["error"]["message"], client.has_ended()]

            def keep(method: str, **params: Any) -> Any:
                with running.client() as client:
                    client.call("daemon.ping")
                    reload.write_text("now")
                    while client.call("daemon.status")["role"] in {"viewer", "author"}:
                        pass
                    return [client.call("daemon.status")["role"], kind_of(client, method, **params)]

            def meanwhile(config: str, uid: int, work: Any) -> Any:
                with ThreadPoolExecutor() as pool:
                    done = pool.submit(as_user, uid, work)
                    reload.read_text()
                    running.write_config(config)
                    running.call("daemon.reload")
                    return done.result(30)

            config = f"access: {{operator: {{users: [{rising}, {falling}]}}}}\n"
            assert meanwhile(config, losing, lose) == [
                None, f"user {losing} has no role here; an administrator can give one (access in the config)", True,
            ]  # fmt: skip
            running.write_config(CONFIG)
            running.call("daemon.reload")
            assert meanwhile(config, rising, lambda: keep("run.cancel", nonsense=1)) == ["operator", "invalid_params"]
            running.write_config(CONFIG)
            running.call("daemon.reload")
            assert meanwhile(config, falling, lambda: keep("workflow.apply")) == ["operator", "permission_denied"]
    finally:
        shutil.rmtree(folder)


def test_no_user_keeps_the_others_out(tmp_path: Path) -> None:
    """Whoever connects as often as it can leaves room for other users, and more for admins."""
    folder = Path(tempfile.mkdtemp(prefix="barbossa-access-"))

    def take_all() -> int:
        clients = [running.client() for _ in range(30)]
        served = sum(map(is_served, clients))
        ready.write_text("taken")
        gate.read_text()
        return served

    def is_served(client: Client) -> bool:
        try:
            return kind_of(client, "daemon.ping") == "result"
        except (OSError, EOFError, AssertionError):
            return False

    def has_room() -> bool:
        with running.client() as client:
            return is_served(client)

    try:
        with Daemon(folder, config=f"clients: {{limit: 16}}\n{CONFIG}") as running:
            open_up(running)
            ready, gate = folder / "ready", folder / "gate"
            for pipe in (ready, gate):
                os.mkfifo(pipe)
                pipe.chmod(0o666)
            with ThreadPoolExecutor() as pool:
                done = pool.submit(as_user, USERS[Role.VIEWER], take_all)
                ready.read_text()
                told = as_user(USERS[Role.OPERATOR], lambda: [has_room() for _ in range(2)])
                admins = [has_room() for _ in range(3)]
                gate.write_text("go")
                assert done.result(30) == 6
            assert told == [True, True]
            assert admins == [True, True, True]
    finally:
        shutil.rmtree(folder)
