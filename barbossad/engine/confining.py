"""Find out what a task may do when it is about to start: its account, its profile, the paths that it may write."""

from __future__ import annotations

import dataclasses
import grp
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from barbossad.config import Tasks
from barbossad.model.isolation import UNCONFINED, Isolation, PropertyValue, RunAs, Sandbox, SandboxProfile
from barbossad.process import profiles
from barbossad.tasks._api import TaskError
from barbossad.validation import RefusalError, shown
from barbossad.workflows import expressions
from barbossad.workflows.isolation import check_writable


def account(run_as: RunAs, own: pwd.struct_passwd) -> pwd.struct_passwd | None:
    """Return the user that a task runs as, None for one that is made for it. Raise TaskError if there is none."""
    if run_as.group is not None:
        try:
            grp.getgrnam(run_as.group)
        except KeyError:
            raise TaskError(f"no such group {run_as.group!r}") from None
    if run_as.is_dynamic:
        return None
    if run_as.user is None:
        return own
    try:
        return pwd.getpwnam(run_as.user)
    except KeyError:
        raise TaskError(f"no such user {run_as.user!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confining:
    """What the settings say about confinement."""

    unasked: Isolation
    """What a task has that asks for nothing."""

    makes_users: bool
    """Whether the launcher can make a user for a task."""

    properties: frozenset[str]
    """The raw properties of a systemd unit that tasks may set."""

    may_loosen: bool
    """Whether they may undo what a profile has: not those that are allowed because the config says nothing."""

    @classmethod
    def of(cls, settings: Tasks, *, has_default_profile: bool) -> Confining:
        """Return what these settings say, with a launcher that gives their profile unasked, or does not."""
        unasked = UNCONFINED
        if has_default_profile:
            unasked = Isolation(sandbox=Sandbox(profile=SandboxProfile(settings.sandbox)))
        return cls(
            unasked=unasked,
            makes_users=has_default_profile,
            properties=frozenset(settings.systemd_properties),
            may_loosen="systemd_properties" in settings.model_fields_set,
        )

    def run_as(self, asked: Isolation) -> RunAs:
        """Return as whom a task runs: strict without a user means one that is made for it, where that can be."""
        profile = asked.sandbox.profile or self.unasked.sandbox.profile
        if profile is SandboxProfile.STRICT and asked.run_as.user is None and self.makes_users:
            return dataclasses.replace(asked.run_as, is_dynamic=True)
        return asked.run_as

    def isolation(self, asked: Isolation, scope: Mapping[str, Any]) -> Isolation:
        """Return what is to be enforced, with its expressions rendered.

        Raise BarbossaError if one has no value or gives no usable path, and for a raw property that is not allowed.
        """
        if asked is UNCONFINED and self.run_as(asked) is asked.run_as:
            return self.unasked
        sandbox = asked.sandbox
        writable = tuple(_path(text, scope) for text in sandbox.writable)
        profile = sandbox.profile or self.unasked.sandbox.profile
        sandbox = dataclasses.replace(sandbox, profile=profile, writable=writable)
        for name, given in sandbox.properties.items():
            self._check_property(sandbox.profile or SandboxProfile.NONE, name, given)
        return dataclasses.replace(asked, run_as=self.run_as(asked), sandbox=sandbox)

    def _check_property(self, profile: SandboxProfile, name: str, given: PropertyValue) -> None:
        """Raise TaskError for a raw property that is not allowed, has no value, or undoes what the profile has."""
        task = f"its sandbox sets {name!r} of systemd"
        if name not in self.properties:
            raise TaskError(f"{task}, which tasks.systemd_properties in the config does not allow")
        try:
            own = profiles.loosened(profile, name, given)
        except RefusalError as error:
            hint = f"; {error.hint}" if error.hint else ""
            raise TaskError(f"{task}, which {error}{hint}") from error
        if own is not None and not self.may_loosen:
            raise TaskError(
                f"{task} to {shown(given)}, which loosens what the profile {profile} has ({shown(own[1])}); choose"
                f" another profile, or have an administrator name {name} in tasks.systemd_properties of the config"
            )


def _path(text: str, scope: Mapping[str, Any]) -> str:
    if expressions.MARK not in text:
        return text
    path = expressions.render_text(text, scope)
    try:
        return check_writable(path)
    except RefusalError as error:
        raise TaskError(f"{shown(text)} under 'writable' {error}") from error
