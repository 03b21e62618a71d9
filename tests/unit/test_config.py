from __future__ import annotations

import os
from pathlib import Path

import pytest

from barbossad import config
from barbossad.errors import InvalidConfigError


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(variable, raising=False)


def refused(text: str) -> list[str]:
    with pytest.raises(InvalidConfigError) as caught:
        config.parse(text, "barbossad.yaml", user=True)
    return [str(fault) for fault in caught.value.faults]


def test_an_empty_file_is_all_defaults() -> None:
    """Every setting has a default."""
    settings = config.parse("", "x", user=False)
    assert settings.tasks.limit == 16
    assert settings.tasks.log_limit == 10 * 1024**2
    assert settings.shutdown_grace == 20.0
    assert settings.clients.limit == 2048
    assert settings.state_dir == Path("/var/lib/barbossa")
    assert settings.socket == Path("/run/barbossa/barbossad.sock")
    assert settings.workflows_dir == Path("/etc/barbossa/workflows")
    assert settings.secrets_dir == Path("/etc/barbossa/secrets")


def test_a_users_own_folders_follow_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folders of ``barbossad --user`` are XDG's; a relative variable counts as not set."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/r")
    settings = config.parse("", "x", user=True)
    assert config.default_path(user=True) == Path("/c/barbossa/barbossad.yaml")
    assert settings.workflows_dir == Path("/c/barbossa/workflows")
    assert settings.secrets_dir == Path("/c/barbossa/secrets")
    assert settings.state_dir == tmp_path / ".local/state/barbossa"
    assert settings.socket == Path("/r/barbossa/barbossad.sock")


def test_the_socket_moves_with_the_runtime_folder() -> None:
    """Whoever moves the runtime folder moves the socket, unless it is named too."""
    assert config.parse("runtime_dir: /r", "x", user=True).socket == Path("/r/barbossad.sock")
    assert config.parse("{runtime_dir: /r, socket: /s}", "x", user=True).socket == Path("/s")


def test_every_key_is_read() -> None:
    """A full file is taken as written."""
    settings = config.parse(
        """
access:
  viewer: {users: [bob, 1000], groups: [staff]}
  admin: {groups: [0]}
tasks:
  {limit: 4, environment: {PATH: /bin, N: 5, B: true}, log_limit: 1G, launcher: local,
   sandbox: strict, systemd_properties: [Nice]}
logging: {level: debug}
shutdown_grace: 1m
clients: {limit: 9}
""",
        "x",
        user=True,
    )
    assert settings.access.viewer.users == ["bob", 1000]
    assert settings.access.admin.groups == [0]
    assert settings.tasks.environment == {"PATH": "/bin", "N": "5", "B": "true"}
    assert settings.tasks.log_limit == 1024**3
    assert (settings.tasks.sandbox, settings.tasks.systemd_properties) == ("strict", ["Nice"])
    assert settings.shutdown_grace == 60.0


def test_all_faults_are_told_at_once() -> None:
    """Each fault has its place and says what to do, in the order of the file."""
    assert refused(
        """\
access: {viewer: {users: [bob, -1], group: [x]}, oper: {}}
tasks: {limit: 0, launcher: locl, log_limit: 1K, environment: {"A B": 1, BARBOSSA_X: y, C: [1], D: }}
logging: {level: inf}
shutdown_grace: 2m
state_dir: var
socket:
"""
    ) == [
        "line 1, column 32: item 2 of 'users' is neither a name nor a number of an account: -1",
        "line 1, column 37: unknown key 'group' (did you mean 'groups'?)",
        "line 1, column 50: unknown key 'oper' (did you mean 'operator'?)",
        "line 2, column 9: 'limit' must be at least 1, not 0",
        "line 2, column 19: 'launcher' must be 'auto', 'systemd' or 'local', not 'locl' (did you mean 'local'?)",
        "line 2, column 35: 'log_limit' must be from 64K to 1T, not 1K",
        (
            "line 2, column 64: 'A B' is no name of an environment variable"
            " (use letters, digits and _, and no digit first)"
        ),
        "line 2, column 74: 'BARBOSSA_X' is Barbossa's own, as all names with BARBOSSA_ are (choose another name)",
        "line 2, column 89: 'C' must be text, not a list (put it in quotes)",
        "line 2, column 97: 'D' has no value (write one after the colon, or remove the key)",
        "line 3, column 11: 'level' must be 'debug', 'info', 'warning' or 'error', not 'inf' (did you mean 'info'?)",
        (
            "line 4, column 1: 'shutdown_grace' must be at most 1m, not 2m"
            " (systemd would kill the daemon in the middle of a longer one)"
        ),
        "line 5, column 1: 'state_dir' is not an absolute path: 'var' (write it from / on)",
        "line 6, column 1: 'socket' has no value (write one after the colon, or remove the key)",
    ]


def test_settings_of_confinement_are_checked() -> None:
    """Profiles and properties have their names."""
    profile, name = refused("tasks: {sandbox: strickt, systemd_properties: [Nice, no_new_privs]}")
    assert profile.endswith("must be 'none', 'standard', 'strict' or 'offline', not 'strickt' (did you mean 'strict'?)")
    assert "item 2 of 'systemd_properties' is no name of a systemd property" in name


@pytest.mark.parametrize("name", config.UNSETTABLE_PROPERTIES)
def test_a_property_that_cannot_be_set_is_refused_where_it_is_allowed(name: str) -> None:
    """Not only by the task that sets it."""
    (told,) = refused(f"tasks: {{systemd_properties: [Nice, {name}]}}")
    assert f"item 2 of 'systemd_properties' names {name}, which tasks cannot set" in told


@pytest.mark.parametrize("key", ["socket: /", "runtime_dir: /"])
def test_the_path_of_a_socket_fits_the_kernel(key: str) -> None:
    """A longer one is refused, also where it comes from the runtime folder."""
    rest = 106 - len("/barbossad.sock") if "runtime" in key else 106
    assert len(str(config.parse(key + "s" * rest, "x", user=True).socket)) == 107
    (told,) = refused(key + "ä" * rest)
    assert "'socket' is a path of " in told
    assert "bytes, and at most 107 work" in told


def test_faults_of_form_are_told() -> None:
    """What is not YAML, or no map, is told with its place."""
    assert refused("a: [") == ["line 2, column 1: not YAML: did not find expected node content"]
    assert refused("- a") == [
        "line 1, column 1: the file must be a map, not a list (write {key: value}, or one key a line, indented)"
    ]


def test_a_missing_default_file_means_defaults(tmp_path: Path) -> None:
    """Barbossa needs no config file."""
    assert config.load(None, user=True).tasks.limit == 16


def test_a_missing_named_file_is_an_error(tmp_path: Path) -> None:
    """Who names a file means it."""
    with pytest.raises(InvalidConfigError, match="there is no such file"):
        config.load(tmp_path / "none.yaml", user=True)


def test_the_default_file_is_read(tmp_path: Path) -> None:
    """The file of the XDG folder is found without being named."""
    folder = tmp_path / ".config/barbossa"
    folder.mkdir(parents=True, mode=0o755)
    (folder / "barbossad.yaml").write_text("tasks: {limit: 3}")
    (folder / "barbossad.yaml").chmod(0o644)
    assert config.load(None, user=True).tasks.limit == 3


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever may write the config file is the daemon."""
    path = tmp_path / "barbossad.yaml"
    path.write_text("")
    path.chmod(mode)
    with pytest.raises(InvalidConfigError, match=rf"may be written by others \(mode {mode:04o}\) \(chmod go-w"):
        config.load(path, user=True)


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """Whoever may write the folder may exchange the file, directly or behind a symbolic link."""
    shared = tmp_path / "shared"
    shared.mkdir()
    path = shared / "barbossad.yaml"
    path.write_text("")
    path.chmod(0o600)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    shared.chmod(0o777)
    for named in (path, link):
        with pytest.raises(InvalidConfigError, match=r"its folder .*/shared may be written by others"):
            config.load(named, user=True)


@pytest.mark.parametrize("link", ["barbossad.yaml", "."])
def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path, link: str) -> None:
    """The default file may be missing, but not where somebody has made a link to one: without it access is another."""
    folder = tmp_path / ".config" / "barbossa"
    folder.parent.mkdir()
    assert config.load(None, user=True).tasks.limit == 16
    if link != ".":
        folder.mkdir()
    dangling = folder / link
    dangling.symlink_to("/no/such/place")
    with pytest.raises(InvalidConfigError, match=f"{dangling} is a link to /no/such/place, which does not exist"):
        config.load(None, user=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_of_a_stranger_is_refused(tmp_path: Path) -> None:
    """The owner of a file may write it whatever its mode says."""
    path = tmp_path / "barbossad.yaml"
    path.write_text("")
    path.chmod(0o400)
    os.chown(path, 12345, -1)
    with pytest.raises(InvalidConfigError, match="belongs to user 12345"):
        config.load(path, user=True)


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    """Folders, FIFOs and bytes that are not UTF-8 are errors with a reason, and nothing blocks."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    binary = tmp_path / "binary"
    binary.write_bytes(b"a: 1\n\xff")
    binary.chmod(0o600)
    for path, reason in ((tmp_path, "regular file"), (fifo, "regular file"), (binary, "not UTF-8 in line 2")):
        with pytest.raises(InvalidConfigError, match=reason):
            config.load(path, user=True)


def test_changes_say_what_needs_a_restart() -> None:
    """A reload names what it put in force and what waits for a restart."""
    old = config.parse("", "x", user=True)
    new = config.parse(
        "{access: {viewer: {users: [bob]}}, tasks: {limit: 3, launcher: local}, clients: {limit: 5}}", "x", user=True
    )
    changes = old.changes(new)
    assert changes.changed == ("access", "tasks.limit", "tasks.launcher", "clients.limit")
    assert changes.needing_restart == ("tasks.launcher", "clients.limit")
    assert not old.changes(old).changed


def test_reloadable_settings_exist() -> None:
    """The list of reloadable settings names real ones."""
    settings = config.parse("", "x", user=True)
    for name in config.RELOADABLE:
        value: object = settings
        for part in name.split("."):
            value = getattr(value, part)
