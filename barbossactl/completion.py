"""What a shell proposes for names that live in the daemon: quick, and silent when it is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from click.shell_completion import CompletionItem

from barbossactl.client import Client
from barbossactl.exits import CommandError

TIMEOUT_SECONDS: Final = 0.5
PROPOSED_RUNS: Final = 20


def proposals(what: str, path: Path, given: Mapping[str, Any], incomplete: str) -> list[CompletionItem]:
    """Return the ``what`` (a key of ``_SOURCES``) that begin with ``incomplete``.

    ``given`` are the arguments that stand before it.
    """
    try:
        with Client(path) as client:
            found = list(_SOURCES[what](client, given))
    except (CommandError, LookupError, TypeError):
        return []
    return [item for item in found if item.value.startswith(incomplete)]


def _workflows(client: Client, _given: Mapping[str, Any]) -> Iterable[CompletionItem]:
    for item in client.call("workflow.list", {"limit": 100}, timeout=TIMEOUT_SECONDS)["items"]:
        yield CompletionItem(item["name"], help=_first_line(item.get("description")))


def _runs(client: Client, _given: Mapping[str, Any]) -> Iterable[CompletionItem]:
    for item in client.call("run.list", {"limit": PROPOSED_RUNS}, timeout=TIMEOUT_SECONDS)["items"]:
        yield CompletionItem(item["id"], help=f"{item['workflow']} {item['state']}")
    yield CompletionItem("last", help="the newest run")


def _tasks(client: Client, given: Mapping[str, Any]) -> Iterable[CompletionItem]:
    run_id = given["run"]
    if run_id == "last":
        items = client.call("run.list", {"limit": PROPOSED_RUNS}, timeout=TIMEOUT_SECONDS)["items"]
        run_id = next((item for item in items if not item.get("parent")), items[0])["id"]
    for task in client.call("run.get", {"run_id": run_id, "brief": True}, timeout=TIMEOUT_SECONDS)["tasks"]:
        yield CompletionItem(task["id"], help=task["state"])


def _retry_points(client: Client, given: Mapping[str, Any]) -> Iterable[CompletionItem]:
    yield CompletionItem("failed", help="what had not succeeded")
    yield CompletionItem("start", help="all of it")
    yield from (item for item in _tasks(client, given) if "[" not in item.value)


def _asking(client: Client, given: Mapping[str, Any]) -> Iterable[CompletionItem]:
    yield from (item for item in _tasks(client, given) if item.help == "waiting")


def _params(client: Client, given: Mapping[str, Any]) -> Iterable[CompletionItem]:
    workflow = client.call("workflow.get", {"name": given["name"]}, timeout=TIMEOUT_SECONDS)
    for param in workflow["params"]:
        yield CompletionItem(f"{param['name']}=", help=_first_line(param.get("description")) or param["type"])


def _versions(client: Client, given: Mapping[str, Any]) -> Iterable[CompletionItem]:
    asked = {"name": given["name"], "limit": 100}
    for item in client.call("workflow.versions", asked, timeout=TIMEOUT_SECONDS)["items"]:
        yield CompletionItem(item["version"], help="in force" if item["current"] else str(item["applied_at"]))


def _schedules(client: Client, _given: Mapping[str, Any]) -> Iterable[CompletionItem]:
    for item in client.call("schedule.list", {"limit": 100}, timeout=TIMEOUT_SECONDS)["items"]:
        yield CompletionItem(item["id"], help=item["when"])


def _first_line(words: str | None) -> str:
    return (words or "").partition("\n")[0]


_SOURCES: Final[dict[str, Callable[[Client, Mapping[str, Any]], Iterable[CompletionItem]]]] = {
    "workflows": _workflows,
    "runs": _runs,
    "tasks": _tasks,
    "retry_points": _retry_points,
    "asking": _asking,
    "params": _params,
    "schedules": _schedules,
    "versions": _versions,
}
