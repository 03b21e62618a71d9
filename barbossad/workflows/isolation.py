"""The keys that say as whom a task runs, what it may use and touch, and what follows when it is interrupted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from barbossad.model.isolation import SAME_USER, UNCONFINED, Isolation, Limits, RunAs, Sandbox, SandboxProfile
from barbossad.model.names import ACCOUNT, UNIT_PROPERTY
from barbossad.model.states import OnInterrupt
from barbossad.units import SIZE_HINT, Size, format_size
from barbossad.validation import RefusalError, shown
from barbossad.workflows.expressions import MARK
from barbossad.workflows.part import Bare, Source

LEAST_MEMORY_BYTES: Final = 1024 * 1024
MOST_PATHS: Final = 100
MOST_PROPERTIES: Final = 100
MAX_CPU_PERCENT: Final = 1_000_000

_CPU: Final = re.compile(r"(\d{1,7}(?:\.\d{1,3})?) ?%", flags=re.ASCII)
_LITERAL_HINT: Final = "no expressions here: what a task may do is written in the file"


def _account(name: str) -> str:
    if MARK in name:
        raise RefusalError(f"cannot hold an expression: {shown(name)}", _LITERAL_HINT)
    if not ACCOUNT.fullmatch(name):
        user, _, group = name.partition(":")
        is_pair = ACCOUNT.fullmatch(user) and ACCOUNT.fullmatch(group)
        hint = f"write {{user: {user}, group: {group}}}" if is_pair else ""
        raise RefusalError(f"is no name of an account: {shown(name)}", hint)
    return name


def _cpu(value: Any) -> float:
    match = _CPU.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise RefusalError(f"is no share: {shown(value)}", "write it in percent of one processor: 50%, or 200% for two")
    percent = float(match[1])
    if not 1 <= percent <= MAX_CPU_PERCENT:
        raise RefusalError(f"must be from 1% to {MAX_CPU_PERCENT}%, not {shown(value)}")
    return percent


def _memory(size_bytes: int) -> int:
    if size_bytes < LEAST_MEMORY_BYTES:
        raise RefusalError(f"must be at least {format_size(LEAST_MEMORY_BYTES)}, not {size_bytes} bytes", SIZE_HINT)
    return size_bytes


def _file_size(size_bytes: int) -> int:
    if size_bytes == 0:
        raise RefusalError("must be more than 0", SIZE_HINT)
    return size_bytes


def check_writable(path: str) -> str:
    """Return a path that may be made writable. Raise RefusalError with the reason otherwise."""
    if not path.startswith("/"):
        raise RefusalError(f"is not an absolute path: {shown(path)}", "write it from / on; ~ is not expanded")
    if not path.isprintable():
        raise RefusalError(f"holds characters that no path here may have: {shown(path)}")
    if ".." in path.split("/"):
        raise RefusalError(f"goes upward with ..: {shown(path)}", "write where it ends")
    if not path.strip("/."):
        raise RefusalError("is the whole file system", "name the folders, or use the profile standard")
    return path


def _writable(path: str) -> str:
    return path if MARK in path else check_writable(path)


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _property(name: str) -> str:
    if not UNIT_PROPERTY.fullmatch(name):
        raise RefusalError("is no name of a systemd property", "write it as systemd.exec(5) does: ProtectHome")
    return name


def _property_value(value: Any) -> str | int | bool | list[str]:
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) or (isinstance(text, int) and text is value) for text in texts):
        raise RefusalError("must be text, a whole number, true or false, or a list of texts")
    for text in texts:
        if isinstance(text, str) and MARK in text:
            raise RefusalError(f"cannot hold an expression: {shown(text)}", _LITERAL_HINT)
        if isinstance(text, str) and "\0" in text:
            raise RefusalError("holds a NUL character, which no property can")
    return value  # type: ignore[no-any-return]


Account = Annotated[str, AfterValidator(_account)]

Profile = Literal["none", "standard", "strict", "offline"]
Interrupted = Literal["fail", "retry", "ask", "resume"]
_TEXTS: Final = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class RunAsSource(Source):
    """A user, or one made for the attempt."""

    user: Account | None = Field(None, description="Name of the user; its groups and environment come along")
    group: Account | None = Field(None, description="Name of the group, instead of the user's own")
    dynamic: bool = Field(False, description="A user that exists for this attempt alone")

    @model_validator(mode="after")
    def _is_one(self) -> RunAsSource:
        if self.dynamic and (self.user or self.group):
            raise RefusalError("names an account and asks for a dynamic one", "remove one of them")
        if not (self.dynamic or self.user or self.group):
            raise RefusalError("names neither a user nor a group", "write the name of a user, or remove the key")
        return self


class LimitsSource(Source):
    """What an attempt may use at most."""

    memory: Annotated[Size, AfterValidator(_memory)] | None = Field(
        None, description="Memory of all its processes; past it the kernel kills"
    )
    cpu: (
        Annotated[float, BeforeValidator(_cpu), WithJsonSchema({"type": "string", "pattern": f"^{_CPU.pattern}$"})]
        | None
    ) = Field(None, description="Processor time, in percent of one processor: 50%, or 200% for two")
    processes: Annotated[int, Field(ge=1, le=4_194_304)] | None = Field(
        None, description="Processes and threads at once"
    )
    open_files: Annotated[int, Field(ge=16, le=1_048_576)] | None = Field(
        None, description="Files that each process may have open"
    )
    io_weight: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Share of the disks' time among all; 100 is what everybody has"
    )
    file_size: Annotated[Size, AfterValidator(_file_size)] | None = Field(
        None, description="Largest file that it may write"
    )


class SandboxSource(Source):
    """A profile and what differs from it."""

    profile: Profile | None = Field(None, description="none, standard, strict or offline")
    writable: Annotated[
        list[Annotated[str, AfterValidator(_writable)]],
        Field(max_length=MOST_PATHS),
        BeforeValidator(_one_or_many),
        WithJsonSchema(_TEXTS),
    ] = Field([], description="Absolute paths that stay writable under the profile; expressions are welcome")
    network: bool | None = Field(None, description="Whether there is a network; by default as the profile has it")
    best_effort: bool | None = Field(
        None, description="Run also where the launcher cannot enforce all of it, or of the limits"
    )
    systemd: Annotated[
        dict[
            Annotated[str, AfterValidator(_property)],
            Annotated[
                Any,
                BeforeValidator(_property_value),
                WithJsonSchema({"type": ["string", "integer", "boolean", "array"], "items": {"type": "string"}}),
            ],
        ],
        Field(max_length=MOST_PROPERTIES),
    ] = Field({}, description="Raw properties of the systemd unit, where the config allows them")


class Confined(Source):
    """The keys, as tasks and ``defaults`` have them."""

    run_as: Annotated[RunAsSource, Bare("user", "the name of a user")] | None = Field(
        None, description="The user that it runs as; by default the daemon's own"
    )
    limits: LimitsSource | None = Field(None, description="What an attempt may use at most")
    sandbox: Annotated[SandboxSource, Bare("profile", "the name of a profile")] | None = Field(
        None, description="How much of the host an attempt may see and touch"
    )
    on_interrupt: Interrupted | None = Field(
        None, description="What follows when the daemon went down under it: fail, retry, ask, or resume"
    )
    on_reboot: Interrupted | None = Field(
        None, description="What follows when the host went down under it; by default fail"
    )
    detach: bool | None = Field(None, description="Leave the processes alone that its first one leaves behind")


NOTHING_SAID: Final = Confined()


def isolation_of(own: Confined, defaults: Confined) -> Isolation:
    """Return what a task asks for; each limit and each part of the sandbox that it does not name is the default's."""
    if not any((own.run_as, own.limits, own.sandbox, defaults.run_as, defaults.limits, defaults.sandbox)):
        return UNCONFINED
    account = own.run_as or defaults.run_as
    limits = LimitsSource.model_construct(**{**_said(defaults.limits), **_said(own.limits)})
    sandbox = SandboxSource.model_construct(**{**_said(defaults.sandbox), **_said(own.sandbox)})
    return Isolation(
        run_as=RunAs(user=account.user, group=account.group, is_dynamic=account.dynamic) if account else SAME_USER,
        limits=Limits(
            memory_bytes=limits.memory,
            cpu_percent=limits.cpu,
            processes=limits.processes,
            open_files=limits.open_files,
            io_weight=limits.io_weight,
            file_size_bytes=limits.file_size,
        ),
        sandbox=Sandbox(
            profile=SandboxProfile(sandbox.profile) if sandbox.profile else None,
            writable=tuple(sandbox.writable),
            network=sandbox.network,
            properties={
                name: tuple(value) if isinstance(value, list) else value for name, value in sandbox.systemd.items()
            },
            is_best_effort=bool(sandbox.best_effort),
        ),
    )


def on_interrupt_of(own: Confined, defaults: Confined, key: Literal["on_interrupt", "on_reboot"]) -> OnInterrupt:
    """Return what a task, or else the defaults, say under ``key``."""
    return OnInterrupt(getattr(own, key) or getattr(defaults, key) or OnInterrupt.FAIL)


def contradictions(
    own: Confined, defaults: Confined, task_type: str, *, is_repeatable: bool
) -> Iterator[tuple[str, str, str]]:
    """Yield what a task says, defaults included, that does not go together: the key, a sentence, a hint."""
    if not is_repeatable and on_interrupt_of(own, defaults, "on_interrupt") is OnInterrupt.RESUME:
        yield (
            "on_interrupt",
            f"'on_interrupt' cannot be 'resume' for a task of type {task_type}, which may not be safe to begin again",
            "write retry, which counts as an attempt, or ask",
        )
    sandbox = isolation_of(own, defaults).sandbox
    if sandbox.profile is SandboxProfile.OFFLINE and sandbox.network:
        yield "sandbox", "'sandbox' asks for a network under the profile offline", "use the profile standard"


def _said(source: Source | None) -> dict[str, Any]:
    """Return the fields that the author wrote."""
    return {name: getattr(source, name) for name in source.model_fields_set} if source else {}
