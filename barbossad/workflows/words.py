"""What authors write and mean: keys of other tools, keys of later versions, and what to write instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from barbossad.validation import proposal

LATER_IN_TASK: Final = frozenset(
    {"artifacts", "host", "file", "service", "git", "http", "health_check", "database", "notify", "backup"}
)
"""Keys of a task, and types, of the published language that this version does not have yet."""

MEANT: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("run", "command", "cmd", "script", "bash", "sh", "exec"), ("shell",)),
    **dict.fromkeys(("needs", "after", "requires", "dependencies", "depends"), ("depends_on",)),
    **dict.fromkeys(("cwd", "chdir", "dir", "workdir", "directory"), ("working_dir",)),
    **dict.fromkeys(("environment", "vars", "variables"), ("env",)),
    **dict.fromkeys(("secret", "credentials", "passwords"), ("secrets",)),
    **dict.fromkeys(("steps", "jobs", "stages"), ("tasks",)),
    **dict.fromkeys(("inputs", "parameters", "args", "arguments", "fields"), ("params", "form")),
    **dict.fromkeys(("code", "py"), ("python",)),
    **dict.fromkeys(("name", "title"), ("id",)),
    **dict.fromkeys(("user", "username", "become_user", "uid"), ("run_as",)),
    **dict.fromkeys(("resources", "ulimit"), ("limits",)),
    **dict.fromkeys(("if", "only_if", "condition", "precondition", "preconditions"), ("when", "if")),
    **dict.fromkeys(("loop", "with_items", "matrix", "foreach", "strategy"), ("for_each",)),
    **dict.fromkeys(("retries", "max_retries", "retry_policy", "retryPolicy"), ("retry", "attempts")),
    **dict.fromkeys(
        ("ignore_errors", "allow_failure", "continue-on-error", "continueOn", "continue_on"), ("continue_on_error",)
    ),
    **dict.fromkeys(("on_error", "catch", "rescue"), ("on_failure",)),
    **dict.fromkeys(("finally", "always", "cleanup"), ("on_exit",)),
    **dict.fromkeys(("undo", "compensate", "revert"), ("rollback",)),
    **dict.fromkeys(
        ("parallelism", "concurrency", "max_concurrency", "max-parallel", "maxActiveRuns", "max_active_runs"),
        ("max_parallel", "concurrency"),
    ),
    **dict.fromkeys(("mutex", "locks", "semaphore"), ("lock",)),
    **dict.fromkeys(("deadline", "timeout_seconds", "timeout-minutes", "max_time"), ("timeout", "deadline")),
    **dict.fromkeys(("sla", "soft_timeout"), ("warn_after", "expect")),
    **dict.fromkeys(("trigger_rule", "run_if"), ("trigger",)),
    **dict.fromkeys(("failed_when", "assert", "verify"), ("expect",)),
    **dict.fromkeys(("tries", "count", "max_attempts", "limit", "max"), ("attempts", "max", "limits")),
    **dict.fromkeys(("every", "sleep", "delay", "pause", "wait"), ("delay", "interval", "wait")),
    **dict.fromkeys(("interval", "period"), ("interval", "every")),
    "when": ("if",),
    "timeout": ("deadline",),
    **dict.fromkeys(("do", "tasks"), ("then",)),
    "otherwise": ("else",),
    **dict.fromkeys(("members", "branches"), ("tasks",)),
    **dict.fromkeys(("approvers", "reviewers"), ("users",)),
    **dict.fromkeys(("text", "question", "prompt"), ("message",)),
    **dict.fromkeys(("manual", "confirm", "gate"), ("approval",)),
    **dict.fromkeys(("call", "uses", "subworkflow"), ("workflow",)),
    **dict.fromkeys(("schedule", "cron", "timers", "timer"), ("schedules", "cron")),
    **dict.fromkeys(("events", "event", "watch"), ("triggers", "changes", "file")),
    **dict.fromkeys(("tz", "time_zone", "zone", "timeZone"), ("timezone",)),
    **dict.fromkeys(("crontab", "expression", "OnCalendar", "calendar"), ("cron",)),
    **dict.fromkeys(("date", "datetime", "once", "run_at", "run_date"), ("at",)),
    **dict.fromkeys(("start_date", "end_date", "from", "until", "to"), ("start", "end", "between")),
    **dict.fromkeys(("start", "end"), ("between",)),
    **dict.fromkeys(("offset", "align", "phase"), ("anchor",)),
    **dict.fromkeys(("catchup", "misfire", "misfire_policy", "backfill", "Persistent", "coalesce"), ("catch_up",)),
    **dict.fromkeys(("misfire_grace_time", "startingDeadlineSeconds"), ("catch_up_window",)),
    **dict.fromkeys(("concurrencyPolicy", "concurrency_policy", "max_instances", "overlap_policy"), ("overlap",)),
    **dict.fromkeys(("splay", "random_delay", "randomized_delay", "RandomizedDelaySec"), ("jitter",)),
    **dict.fromkeys(("disabled", "active", "suspend", "paused"), ("enabled",)),
    **dict.fromkeys(("exclude", "except", "blackouts", "not"), ("blackout",)),
    **dict.fromkeys(("queue", "max_queue", "backlog"), ("queue_depth",)),
    **dict.fromkeys(("daylight_saving", "dst_policy", "ambiguous"), ("dst",)),
    **dict.fromkeys(("region", "state", "province"), ("subdivision", "states")),
    **dict.fromkeys(("ics", "ical", "calendar_file"), ("file",)),
    **dict.fromkeys(("glob", "filter", "match"), ("pattern",)),
    **dict.fromkeys(("path", "folder"), ("file",)),
    **dict.fromkeys(("settle", "quiet"), ("debounce",)),
    **dict.fromkeys(("service",), ("unit",)),
    **dict.fromkeys(("status", "on"), ("states", "changes")),
}
"""What a key of another tool is called here: the first of these that exists where it stands is proposed."""

_OF_THE_WORKFLOW: Final = "it is a key of the whole workflow; beside this task, one with trigger: {} does it"
_HOOKS: Final = "write the tasks under on_success, on_failure, on_cancel and on_exit"
_STARTED_BY: Final = "what starts a workflow stands at its top, under schedules (by time) and triggers (by events)"

ADVICE_FOR_TASKS: Final[Mapping[str, str]] = {
    "register": "outputs need no name of their own: later tasks read {{ tasks.ID.outputs.NAME }} with this task's id",
    "outputs": "a task's outputs are what it writes to $BARBOSSA_OUTPUT; only a workflow has the key",
    "params": "they are the whole workflow's, and every task sees them",
    **dict.fromkeys(("on_failure", "on_error", "catch", "rescue"), _OF_THE_WORKFLOW.format("one_failed")),
    **dict.fromkeys(("on_exit", "finally", "always", "cleanup"), _OF_THE_WORKFLOW.format("all_done")),
    "on_success": "it is a key of the whole workflow; beside this task, one that depends on it does it",
    "on_cancel": "it is a key of the whole workflow",
    **dict.fromkeys(("schedule", "schedules", "cron", "every", "at", "triggers"), _STARTED_BY),
}
ADVICE_FOR_WORKFLOWS: Final[Mapping[str, str]] = {
    "on": _STARTED_BY,
    **dict.fromkeys(("handlerOn", "handler_on", "handlers", "hooks"), _HOOKS),
    **dict.fromkeys(("mailOn", "mail_on", "notifications"), "have a task under on_failure tell it"),
    **dict.fromkeys(("histRetentionDays", "hist_retention_days", "retention"), "the daemon's config has it: retention"),
    **dict.fromkeys(("every", "at", "timezone"), "it is a key of an entry under schedules"),
}
ADVICE_FOR_ENTRIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("timeout", "concurrency", "priority"), "it is a key of the whole workflow"),
    "delay": "it is a key of boot: write boot: {delay: 5m}",
    "tasks": "they are the workflow's; what differs from schedule to schedule are its params",
    "labels": "they are the workflow's, and its schedules have them from it: write them at the top of the file",
    "env": "give it what differs from schedule to schedule as params",
}
ADVICE_FOR_PARAMS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("required", "mandatory"), "a param without a default must be given anyway; remove the key"),
    "optional": "a param with a default need not be given; write default",
}

ADVICE: Final[Mapping[str, Mapping[str, str]]] = {
    "depends_on": ADVICE_FOR_TASKS,
    "tasks": ADVICE_FOR_WORKFLOWS,
    "overlap": ADVICE_FOR_ENTRIES,
    "choices": ADVICE_FOR_PARAMS,
}
"""What to do instead of a key that has no like here, by a key that tells where it stands."""


def key_hint(key: str, known: Collection[str]) -> str:
    """Return which known key an unknown one was probably meant to be, what to do instead, or all that are known."""
    meant = next((name for name in MEANT.get(key, ()) if name in known), None)
    if meant is not None:
        return f"did you mean {meant!r}?"
    advice = next((advice[key] for mark, advice in ADVICE.items() if mark in known and key in advice), "")
    return advice or proposal(key, known)


MEANT_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("str", "text", "varchar"), "string"),
    **dict.fromkeys(("int", "long"), "integer"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    **dict.fromkeys(("bool", "flag"), "boolean"),
    **dict.fromkeys(("enum", "select", "option"), "choice"),
    **dict.fromkeys(("file", "folder", "dir", "directory", "filename"), "path"),
    **dict.fromkeys(("array", "tuple"), "list"),
    **dict.fromkeys(("dict", "object", "mapping"), "map"),
    **dict.fromkeys(("time", "timeout", "timedelta"), "duration"),
    "password": "secret",
}
"""What a type of a param is called elsewhere."""
