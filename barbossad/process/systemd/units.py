"""What a task's unit is called and made of: from a ``LaunchSpec`` to properties of a transient service.

No I/O but that ``..`` in a path, which systemd does not take, is followed.

Sources: systemd.service(5), systemd.exec(5), systemd.resource-control(5), org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dbus_fast import Variant

from barbossad.model.isolation import Limits
from barbossad.model.names import RUN_ID, RunId, plain_task_id
from barbossad.process import profiles
from barbossad.process.cgroups import SLICE
from barbossad.process.launcher import AttemptKey, LaunchSpec
from barbossad.process.raw_properties import LIST
from barbossad.process.systemd import unit_paths

PREFIX: Final = "barbossa-"
SUFFIX: Final = ".service"
PATTERN: Final = f"{PREFIX}*{SUFFIX}"
TIMEOUT_MARGIN_SECONDS: Final = 2.0
"""How much longer than the daemon itself systemd waits before it ends a task whose time is over."""

_INFINITY: Final = 2**64 - 1
"""As a span of time. It is what a start may take, of which systemd may hear late: its own 90 s end a task that runs."""

DETACHED: Final = "process"
"""The ``KillMode`` of tasks that may leave processes behind."""

LONGEST_NAME: Final = 255 - len(f"systemd-private-{'0' * 32}--XXXXXX")
"""What leaves room for the name of the folder that systemd makes in /tmp for a unit with a /tmp of its own."""

_HASH_CHARACTERS: Final = 16
_NAME: Final = re.compile(rf"{PREFIX}({RUN_ID.pattern})-[A-Za-z0-9][A-Za-z0-9_.-]*-[1-9][0-9]*{re.escape(SUFFIX)}")
_NAMES_OF_USER: Final = ("USER", "LOGNAME")
_UNSET: Final = (
    "HOME", *_NAMES_OF_USER, "SHELL",
    "INVOCATION_ID", "SYSTEMD_EXEC_PID", "RUNTIME_DIRECTORY", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY",
    "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
    "WATCHDOG_USEC", "WATCHDOG_PID",
)  # fmt: skip
"""What systemd adds to the environment of a service; a task's is made from nothing."""

_NO_CHARACTERS: Final = "\ufdd0-\ufdef\ufffe\uffff\U0001fffe-\U0010ffff"
"""What Unicode calls no character, which systemd takes for no text; and more above them, where nobody minds."""

_NOT_FOR_FILES: Final = re.compile(f"[\x01-\x08\x0b-\x1f\x7f{_NO_CHARACTERS}]")
"""What systemd leaves out of an environment file without a word: controls too."""

_NOT_FOR_ARGUMENTS: Final = re.compile(f"[{_NO_CHARACTERS}]")

Property = tuple[str, Variant]


def unit_name(key: AttemptKey) -> str:
    """Return the name of an attempt's unit; of an id that is too long for it a hash has the place of the end."""
    task = plain_task_id(key.task_id)
    head, tail = f"{PREFIX}{key.run_id}-", f"-{key.number}{SUFFIX}"
    room = LONGEST_NAME - len(head) - len(tail)
    if len(task) > room:  # no part of an id begins with a dash, so no id is like this
        digest = hashlib.sha256(task.encode()).hexdigest()[:_HASH_CHARACTERS]
        task = f"{task[: room - len(digest) - 2]}.-{digest}"
    return head + task + tail


def run_of(unit: str) -> RunId | None:
    """Return the run that a unit is named for, None if it is no name of ours."""
    match = _NAME.fullmatch(unit)
    return None if match is None else RunId(match[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where the files of an attempt are; None for what it does not have."""

    environment: str
    credentials: Mapping[str, str]
    """Files that systemd is to hand to a user who does not exist yet, by name."""

    exports: str | None = None
    """Variables and arguments that systemd does not take, as shell text."""

    runtime_folder: str
    """Made by systemd for the attempt's user and removed with the unit; relative to /run."""


def properties(spec: LaunchSpec, argv: Sequence[str], files: Files, hidden: Sequence[str] = ()) -> list[Property]:
    """Return the properties of an attempt's unit; its two pipes are descriptors 0 and 1 of the message.

    ``hidden`` are folders that no profile shows. What its environment must not have, ``without``, comes on top.
    Raise StartFailureError if a path leads nowhere.
    """
    if files.exports is not None:
        argv = ["/bin/sh", "-c", '. "$0" && exec "$@"', files.exports]
    command = [unit_paths.program(spec, argv[0]), [word.replace("$", "$$") for word in argv], False]
    path = unit_paths.search_path(spec.env.get("PATH", ""))
    found: list[Property] = [
        ("Description", Variant("s", f"Barbossa: task {spec.key.task_id} of run {spec.key.run_id}")),
        ("Type", Variant("s", "exec")),
        ("RemainAfterExit", Variant("b", True)),
        ("Slice", Variant("s", SLICE)),
        ("ExecStart", Variant("a(sasb)", [command])),
        ("StandardOutputFileDescriptor", Variant("h", 0)),
        ("StandardErrorFileDescriptor", Variant("h", 1)),
        ("EnvironmentFiles", Variant("a(sb)", [[files.environment, False]])),
        ("WorkingDirectory", Variant("s", unit_paths.folder(spec))),
        ("RuntimeDirectory", Variant("as", [files.runtime_folder])),
        ("RuntimeDirectoryMode", Variant("u", 0o700)),
        ("UMask", Variant("u", 0o022)),
        ("IgnoreSIGPIPE", Variant("b", False)),
        ("KillMode", Variant("s", DETACHED if spec.detach else "control-group")),
        ("OOMPolicy", Variant("s", "kill")),
        ("TimeoutStopUSec", _microseconds(spec.grace_seconds)),
        *((name, Variant("b", True)) for name in ("CPUAccounting", "IOAccounting", "MemoryAccounting")),
    ]
    if path:
        found.append(("ExecSearchPath", Variant("as", path)))
    if spec.timeout_seconds is None:
        found.append(("TimeoutStartUSec", Variant("t", _INFINITY)))
    else:
        longest = _microseconds(spec.timeout_seconds + TIMEOUT_MARGIN_SECONDS)
        found += [("RuntimeMaxUSec", longest), ("TimeoutStartUSec", longest)]
    if files.credentials:
        found.append(("LoadCredential", Variant("a(ss)", [list(item) for item in files.credentials.items()])))
    found += _user(spec)
    found += _limits(spec.isolation.limits)
    sandbox = profiles.properties(spec.isolation, hidden)
    replaced = {name for name in spec.isolation.sandbox.properties if sandbox[name][0] != LIST}
    found = [one for one in found if one[0] not in replaced]
    return found + [(name, Variant(*value)) for name, value in sandbox.items()]


def without(spec: LaunchSpec, foreign: Sequence[str]) -> Property:
    """Return the property that keeps from a task's environment what systemd adds, its own variables too (``foreign``).

    What the task sets itself it has all the same, and of a user who is made for it the name, which systemd alone knows.
    """
    wanted = {*spec.env, *(_NAMES_OF_USER if spec.isolation.run_as.is_dynamic else ())}
    return "UnsetEnvironment", Variant("as", [name for name in (*_UNSET, *foreign) if name not in wanted])


def _user(spec: LaunchSpec) -> list[Property]:
    run_as = spec.isolation.run_as
    if run_as.is_dynamic:
        return [("DynamicUser", Variant("b", True))]
    found: list[Property] = [("User", Variant("s", run_as.user or "root"))]
    if run_as.group is not None:
        found.append(("Group", Variant("s", run_as.group)))
    return found


def _limits(limits: Limits) -> list[Property]:
    values = {
        "MemoryMax": limits.memory_bytes,
        "MemorySwapMax": None if limits.memory_bytes is None else 0,
        "CPUQuotaPerSecUSec": None if limits.cpu_percent is None else round(limits.cpu_percent * 10_000),
        "TasksMax": limits.processes,
        "LimitNOFILE": limits.open_files,
        "IOWeight": limits.io_weight,
        "LimitFSIZE": limits.file_size_bytes,
    }
    return [(name, Variant("t", value)) for name, value in values.items() if value is not None]


def refusal(spec: LaunchSpec, error: Exception) -> str:
    """Say that systemd does not take an attempt's unit; its own words do not always name the property."""
    raw = ", ".join(spec.isolation.sandbox.properties)
    return f"systemd refuses its unit: {error}" + (f"; 'systemd' under 'sandbox' sets {raw}" if raw else "")


def _microseconds(seconds: float) -> Variant:
    return Variant("t", max(round(seconds * 1_000_000), 1))


def environment_file(env: Mapping[str, str], argv: Sequence[str]) -> tuple[bytes, bytes]:
    """Return the text of an environment file, and shell text for what systemd does not take.

    That is mostly nothing. Where it is something, it ends with the arguments, whether they need it or not.
    """
    plain: list[str] = []
    odd: list[str] = []
    for name, value in env.items():
        if _NOT_FOR_FILES.search(value):
            odd.append(f"export {name}={shlex.quote(value)}\n")
        else:
            quoted = re.sub(r'(["\\`$])', r"\\\1", value)
            plain.append(f'{name}="{quoted}"\n')
    if odd or any(map(_NOT_FOR_ARGUMENTS.search, argv)):
        odd.append(f"set -- {shlex.join(argv)}\n")
    return "".join(plain).encode(), "".join(odd).encode()


def facts(changed: Mapping[str, Variant]) -> dict[str, Any]:
    """Return changed properties as plain values."""
    return {name: value.value for name, value in changed.items()}
