"""The settings of the daemon: what may stand in the config file, its defaults, and reading it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from barbossad import document, wire
from barbossad.errors import Fault, InvalidConfigError
from barbossad.model.isolation import SandboxProfile
from barbossad.model.names import ACCOUNT, UNIT_PROPERTY
from barbossad.trusted import UntrustedFileError, read_trusted
from barbossad.units import Duration, PositiveDuration, Size, format_duration, format_size
from barbossad.validation import RefusalError, kind_of, shown, validate
from barbossad.variables import Environment

SYSTEM_CONFIG_DIR: Final = Path("/etc/barbossa")
SYSTEM_STATE_DIR: Final = Path("/var/lib/barbossa")
CONFIG_FILE: Final = "barbossad.yaml"

MAX_SHUTDOWN_GRACE_SECONDS: Final = 60.0
MIN_LOG_LIMIT_BYTES: Final = 64 * 1024
MAX_LOG_LIMIT_BYTES: Final = 1024**4

RELOADABLE: Final = frozenset(
    {
        *("access", "logging.level", "retention", "shutdown_grace"),
        *("tasks.limit", "tasks.environment", "tasks.log_limit", "tasks.sandbox", "tasks.systemd_properties"),
    }
)
"""Settings that ``daemon.reload`` puts in force; a change of any other waits for a restart."""

HARMLESS_PROPERTIES: Final = (
    *("CPUWeight", "InaccessiblePaths", "MemoryHigh", "MemorySwapMax"),
    *("Nice", "PrivateDevices", "ProtectHome", "ReadOnlyPaths"),
)
"""Raw properties of a unit that only take something from the task; what a profile has they cannot loosen."""

UNSETTABLE_PROPERTIES: Final = ("BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem")
"""Raw properties that no config allows: they show what a profile hides, and are made by Barbossa alone."""

MAX_SOCKET_PATH_BYTES: Final = 107
"""``sun_path`` of unix(7), less its NUL."""

_DROP_IN: Final = "under systemd another one needs a drop-in (`docs/systemd.md`)"

_DAY_SECONDS: Final = 86_400.0
_MAX_ID: Final = 2**32 - 2


def _account(value: Any) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_ID:
        return value
    if isinstance(value, str) and ACCOUNT.fullmatch(value):
        return value
    raise RefusalError(f"is neither a name nor a number of an account: {shown(value)}")


def _absolute(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise RefusalError(f"must be a path, not {kind_of(value)}")
    if not value.startswith("/") or "\0" in value:
        raise RefusalError(f"is not an absolute path: {shown(value)}", "write it from / on")
    return Path(value)


def _socket(path: Path) -> Path:
    count = len(os.fsencode(path))
    if count > MAX_SOCKET_PATH_BYTES:
        raise RefusalError(
            f"is a path of {count} bytes, and at most {MAX_SOCKET_PATH_BYTES} work: {shown(str(path))}",
            "write a shorter one; where no socket is named it is in runtime_dir",
        )
    return path


def _property(name: str) -> str:
    if not UNIT_PROPERTY.fullmatch(name):
        raise RefusalError("is no name of a systemd property", "write it as systemd.exec(5) does: ProtectHome")
    if name in UNSETTABLE_PROPERTIES:
        raise RefusalError(
            f"names {name}, which tasks cannot set",
            "see docs/confinement.md; `writable` opens paths",
        )
    return name


def _log_limit(size_bytes: int) -> int:
    if not MIN_LOG_LIMIT_BYTES <= size_bytes <= MAX_LOG_LIMIT_BYTES:
        raise RefusalError(
            f"must be from {format_size(MIN_LOG_LIMIT_BYTES)} to {format_size(MAX_LOG_LIMIT_BYTES)},"
            f" not {format_size(size_bytes)}"
        )
    return size_bytes


def _shutdown_grace(seconds: float) -> float:
    if seconds > MAX_SHUTDOWN_GRACE_SECONDS:
        raise RefusalError(
            f"must be at most {format_duration(MAX_SHUTDOWN_GRACE_SECONDS)}, not {format_duration(seconds)}",
            "systemd would kill the daemon in the middle of a longer one",
        )
    return seconds


Account = Annotated[str | int, BeforeValidator(_account)]
AbsolutePath = Annotated[Path, BeforeValidator(_absolute)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Members(_Settings):
    """Who has a role."""

    users: list[Account] = Field([], description="Names or numbers of users")
    groups: list[Account] = Field([], description="Names or numbers of groups")


class Access(_Settings):
    """Who may use the control socket; root and the daemon's own user are admins always.

    Groups are those that the process of the client was in when it connected.
    """

    viewer: Members = Field(Members(), description="May read")
    operator: Members = Field(Members(), description="May run stored workflows too")
    author: Members = Field(Members(), description="May define workflows too")
    admin: Members = Field(Members(), description="May do everything")


class Tasks(_Settings):
    """How tasks run."""

    limit: int = Field(16, ge=1, le=4096, description="Tasks that may run at once")
    environment: Environment = Field({}, description="Environment that every task gets; a task's own wins")
    log_limit: Annotated[Size, AfterValidator(_log_limit)] = Field(
        10 * 1024**2, description="Output kept of each attempt; beyond it the head and the tail are kept"
    )
    launcher: Literal["auto", "systemd", "local"] = Field("auto", description="What starts the processes of tasks")
    sandbox: Literal["none", "standard", "strict", "offline"] = Field(
        SandboxProfile.STANDARD.value,
        description="Sandbox profile of tasks that name none, under systemd; the local launcher gives them none",
    )
    systemd_properties: list[Annotated[str, AfterValidator(_property)]] = Field(
        list(HARMLESS_PROPERTIES),
        description="Raw properties that tasks may set under sandbox.systemd; unless set here, they loosen no profile",
    )


class Logging(_Settings):
    """What the daemon says of itself."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity that is logged")


class Clients(_Settings):
    """Bounds on those who call."""

    limit: int = Field(
        2048,
        ge=1,
        le=65536,
        description="Connections that may be open at once, fewer where tasks need the open files; some are kept for "
        "admins, and no other user gets all",
    )


class Retention(_Settings):
    """How long history is kept; `null` keeps it for ever. Runs that have not ended are kept always."""

    max_age: PositiveDuration | None = Field(
        90 * _DAY_SECONDS,
        description="Runs that ended longer ago go, with their logs and events; fires of schedules too",
    )
    max_runs: int | None = Field(
        10_000, ge=1, le=10_000_000, description="Runs kept of each workflow, and fires of each schedule, the newest"
    )
    max_log_size: Size | None = Field(
        5 * 1024**3, description="Disk for the files of logs; beyond it the oldest runs that have some go, with them"
    )
    max_event_age: PositiveDuration | None = Field(
        90 * _DAY_SECONDS, description="Events that are older go, of runs that are kept too"
    )


class Config(_Settings):
    """All settings; each has a default."""

    access: Access = Field(Access(), description="Who may use the control socket")
    tasks: Tasks = Field(Tasks(), description="How tasks run")
    retention: Retention = Field(Retention(), description="How long history is kept")
    logging: Logging = Field(Logging(), description="What the daemon says of itself")
    clients: Clients = Field(Clients(), description="Bounds on those who call")
    shutdown_grace: Annotated[Duration, AfterValidator(_shutdown_grace)] = Field(
        20.0, description="Time that running tasks get when the daemon is stopped"
    )
    state_dir: AbsolutePath = Field(description=f"Folder of the database and the logs; {_DROP_IN}")
    runtime_dir: AbsolutePath = Field(description=f"Folder of what a restart does not need; {_DROP_IN}")
    socket: Annotated[AbsolutePath, AfterValidator(_socket)] = Field(
        description="Where the daemon listens; of the service, `ListenStream=` of `barbossad.socket` says that"
    )
    workflows_dir: AbsolutePath = Field(description="Workflows kept as files")
    secrets_dir: AbsolutePath = Field(description="Secrets, each in a file of its own name and mode 0600")

    def changes(self, new: Config) -> Changes:
        """Return which settings differ in ``new``, and which of them need a restart, by dotted name."""
        before, after = dict(_flat(self)), dict(_flat(new))
        changed = tuple(name for name in after if before[name] != after[name])
        return Changes(changed=changed, needing_restart=tuple(name for name in changed if name not in RELOADABLE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs between two configurations, by dotted name (``tasks.limit``)."""

    changed: tuple[str, ...]
    needing_restart: tuple[str, ...]


def default_path(*, user: bool) -> Path:
    """Return where the config file is, if none is named."""
    return _config_dir(user=user) / CONFIG_FILE


def defaults(*, user: bool) -> dict[str, Path]:
    """Return the folders of the system's daemon, or of a user's own."""
    if not user:
        runtime = wire.SYSTEM_SOCKET_PATH.parent
        state = SYSTEM_STATE_DIR
    else:
        runtime = wire.user_runtime_dir()
        state = wire.user_dir("XDG_STATE_HOME", ".local/state")
    return {
        "state_dir": state,
        "runtime_dir": runtime,
        "workflows_dir": _config_dir(user=user) / "workflows",
        "secrets_dir": _config_dir(user=user) / "secrets",
    }


def load(path: Path | None, *, user: bool) -> Config:
    """Return the settings of the file ``path``, or of the default file, which may be missing.

    Raise InvalidConfigError with every fault and its place; for a file that is not there but was named, or to which
    a link leads; and for one that others than root or the daemon's user may write.
    """
    named = path or default_path(user=user)
    try:
        text = read_trusted(named)
    except FileNotFoundError:
        links = [part for part in (named, *named.parents) if part.is_symlink() and not part.exists()]
        if links:  # somebody means it to be there: without it nobody's access would be as he has said
            words = f"there is no such file: {links[-1]} is a link to {links[-1].readlink()}, which does not exist"
            raise _refused(named, words, f"mend the link, or remove it: rm {links[-1]}") from None
        if path is not None:
            raise _refused(path, "there is no such file", "") from None
        text = ""
    except UntrustedFileError as error:
        raise _refused(named, str(error), error.hint) from error
    return parse(text, str(named), user=user)


def parse(text: str, name: str, *, user: bool) -> Config:
    """Return the settings that ``text`` makes of the defaults; ``name`` is what messages call it."""
    source = document.parse(text)
    faults = list(source.faults)
    value = {} if source.value is None else source.value
    if not faults:
        config = validate(Config, _with_defaults(value, user=user), source, faults)
        if config is not None:
            return config
    raise InvalidConfigError(name, sorted(faults, key=lambda fault: (fault.line or 0, fault.column or 0)))


def _with_defaults(value: object, *, user: bool) -> object:
    """Fill in the folders; the socket is in the runtime folder, wherever that was put."""
    if not isinstance(value, dict):
        return value
    filled: dict[str, Any] = {**defaults(user=user), **value}
    runtime = filled["runtime_dir"]
    filled.setdefault("socket", Path(runtime if isinstance(runtime, str | Path) else "/") / "barbossad.sock")
    return filled


def _refused(path: Path, reason: str, hint: str) -> InvalidConfigError:
    return InvalidConfigError(str(path), [Fault(line=None, column=None, path="", message=reason, hint=hint)])


def _config_dir(*, user: bool) -> Path:
    return wire.user_dir("XDG_CONFIG_HOME", ".config") if user else SYSTEM_CONFIG_DIR


def _flat(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Walk all settings by dotted name; a room that is reloaded as a whole (``access``) is one."""
    values: Mapping[str, object] = dict(settings)
    for name, value in values.items():
        if isinstance(value, BaseModel) and prefix + name not in RELOADABLE:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
