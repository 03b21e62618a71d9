"""Show what crontabs and timers of systemd would be as workflows. Nothing is applied."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from barbossad.errors import InvalidWorkflowError, UnavailableError
from barbossad.importing import compose, crontab, timers
from barbossad.importing.crontab import Crontab
from barbossad.importing.draft import Draft, Found
from barbossad.model.names import ACCOUNT, VersionId, WorkflowName
from barbossad.operations.registry import Params, define
from barbossad.operations.services import Call
from barbossad.operations.views import FaultView, fault_view
from barbossad.operations.workflows import MAX_YAML_REQUEST_BYTES
from barbossad.recurrence import zones
from barbossad.security.access import Role
from barbossad.validation import RefusalError, shown
from barbossad.workflows.reader import Reader
from barbossad.workflows.source import MAX_FAULTS

MOST_NAMES: Final = 1000
MOST_CHARACTERS: Final = 4 * 1024 * 1024
"""Of all the files that an import gives together."""


def _user(name: str) -> str:
    if not ACCOUNT.fullmatch(name):
        raise RefusalError(f"is no name of a user: {shown(name)}")
    return name


def _zone(name: str) -> str:
    zones.zone(name)
    return name


Timezone = Annotated[
    Annotated[str, AfterValidator(_zone)] | None,
    Field(description="Time zone of times that name none; by default the host's"),
]


class CronParams(Params):
    """A crontab."""

    text: str = Field(description="The text of a crontab")
    user: Annotated[str, AfterValidator(_user)] | None = Field(None, description="Whose it is; tasks run as that user")
    system: bool = Field(False, description="Each line names its user, as in /etc/crontab and the files in /etc/cron.d")
    timezone: Timezone = None
    source: str | None = Field(None, max_length=4096, description="What it is called in comments, such as its path")


class TimersParams(Params):
    """Timers of systemd."""

    names: list[str] = Field([], max_length=MOST_NAMES, description="Which; by default all that are loaded")
    timezone: Timezone = None


class ImportedView(TypedDict):
    """One workflow as it would be: its text, where it comes from, and what is to be known of it."""

    name: str
    yaml: str
    source: str
    notes: list[str]


class Imported(TypedDict):
    """What can be imported, what is to be known of all of it, and what could not be, with the reason.

    Of a crontab a fault has the line, of a timer its name as the path.
    """

    items: list[ImportedView]
    notes: list[str]
    faults: list[FaultView]


@define("import.cron", Role.VIEWER, max_request_bytes=MAX_YAML_REQUEST_BYTES)
async def cron(call: Call, params: CronParams) -> Imported:
    """Show the workflows that a crontab would become.

    Each line that starts something becomes a workflow that runs when cron would run it, with the same variables and
    the same standard input. Nothing is applied. A line that cannot be read is a fault, and hides no other.
    """
    own_user, is_root = pwd.getpwuid(os.geteuid()).pw_name, os.geteuid() == 0
    source = params.source or (f"the crontab of {params.user}" if params.user else "the crontab")
    given = Crontab(
        text=params.text,
        source=source,
        user=params.user,
        is_system=params.system,
        timezone=params.timezone or zones.host_zone(),
    )
    found = await call.services.aside.run(crontab.read, given)
    if found.drafts and params.user is None and not params.system:
        found.notes.append(f"no user is named, so its tasks run as {own_user}, who runs this daemon; --user names one")
    if not is_root:
        found.drafts = [_as_own_user(draft, own_user) for draft in found.drafts]
    return await _view(call, found)


@define("import.timers", Role.VIEWER)
async def import_timers(call: Call, params: TimersParams) -> Imported:
    """Show the workflows that timers of systemd would become.

    Each starts the unit that the timer starts. Nothing is applied, and the timers are left as they are. Fails where
    there is no systemd.
    """
    from barbossad.process.systemd import timers as process_timers  # noqa: PLC0415 (the bus costs 5 MB, and is asked seldom)

    try:
        facts, missing = await process_timers.read(params.names)
    except UnavailableError as error:
        raise UnavailableError(f"there are no timers to import: {error}") from error
    found = timers.read(facts, params.timezone or zones.host_zone())
    for name, reason in missing:
        found.refuse(None, name, reason, "systemctl list-timers --all shows which there are")
    return await _view(call, found)


def _as_own_user(draft: Draft, own_user: str) -> Draft:
    """Return a draft for a daemon that is not root, and so runs tasks as nobody but its own user."""
    user = draft.task.get("run_as")
    if user == own_user:
        return replace(draft, task={key: value for key, value in draft.task.items() if key != "run_as"})
    if user is None:
        return draft
    note = f"this daemon is {own_user}'s and cannot run a task as {user}; the system's daemon can"
    return replace(draft, notes=(*draft.notes, note))


async def _view(call: Call, found: Found) -> Imported:
    """Return what was found; what the language would refuse after all is a fault too."""
    known = {record.name: record.version for record in call.services.workflows.records()}
    return await call.services.aside.run(_composed, call.services.workflow_reader, known, found)


def _composed(reader: Reader, known: Mapping[WorkflowName, VersionId], found: Found) -> Imported:
    left, refusals = MOST_CHARACTERS, 0
    items: list[ImportedView] = []
    for draft in found.drafts:
        text = compose.text_of(draft)
        path = "" if draft.line else draft.source
        left -= len(text)
        if left < 0 or refusals == MAX_FAULTS:
            why = f"all files together have more than {MOST_CHARACTERS} characters" if left < 0 else "so much is wrong"
            found.refuse(draft.line, path, f"{why}; this and what comes after it is left out", "import it in parts")
            break
        try:
            version = reader.load(text).version
        except InvalidWorkflowError as error:
            refusals += 1
            reasons = "; ".join(dict.fromkeys(fault.message for fault in error.faults))
            found.refuse(draft.line, path, f"no workflow can be made of it: {reasons}", error.faults[0].hint)
            continue
        notes: Sequence[str] = draft.notes
        if draft.name in known and version != known[WorkflowName(draft.name)]:
            notes = (*notes, f"there is a workflow {draft.name} already; this would be a new version of it")
        items.append({"name": draft.name, "yaml": text, "source": draft.source, "notes": list(notes)})
    faults = sorted(found.faults, key=lambda fault: fault.line or 0)
    return {"items": items, "notes": found.notes, "faults": [fault_view(fault) for fault in faults]}
