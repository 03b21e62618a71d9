"""A secret reaches the task that names it, and nothing of it is found anywhere else, in any form."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from barbossad.security.forms import forms_of
from tests.helpers.daemon import Daemon

SECRET = "p4ss w'rd/\"$x%&+~é§ü:<tag>\nand a second line of it"
TOKEN = "gh0_0123456789abcdefXYZ"

TELLTALE = """\
name: telltale
secrets: {DB_PASSWORD: shop-db}
tasks:
  - id: small
    secrets: {TOKEN: api-token}
    python: |
      import base64, json, os, shlex, sys, urllib.parse
      for name in ("DB_PASSWORD", "TOKEN"):
          text = os.environ[name]
          raw = text.encode()
          print(name, text)
          print(text, file=sys.stderr)
          for before in ("", "u", "us:"):
              print(base64.b64encode(before.encode() + raw).decode(), base64.urlsafe_b64encode(raw + b"!").decode())
          print(raw.hex(), raw.hex().upper())
          for form in (urllib.parse.quote(text, safe=""), urllib.parse.quote(text), urllib.parse.quote_plus(text)):
              print(form)
          print(json.dumps({"it": text}), json.dumps(text, ensure_ascii=False))
          print(shlex.quote(text), repr(text), repr(raw))
          for byte in raw:
              os.write(1, bytes([byte]))
      with open(os.environ["BARBOSSA_OUTPUT"], "a") as outputs:
          print(f"token={os.environ['TOKEN']}", file=outputs)
          print(f"text<<END\\n{os.environ['DB_PASSWORD']}\\nEND", file=outputs)
  - id: large
    shell: |
      i=0
      while [ $i -lt 2000 ]; do echo "line $i: $DB_PASSWORD"; i=$((i+1)); done
      printf '%s' "$DB_PASSWORD" | base64
      printf '%s' "$DB_PASSWORD" | sed 's/^/> /'
  - id: broken
    shell: |
      echo "$DB_PASSWORD" >> "$BARBOSSA_OUTPUT"
  - id: after
    depends_on: [small]
    env: {SEEN: "{{ tasks.small.outputs.token }}"}
    shell: echo "seen $SEEN"
"""

_HASH = """
    python: |
      import hashlib, os
      print(hashlib.sha256(os.environ.get("TOKEN", "").encode()).hexdigest())
"""
HASHES = f"name: hash\ntasks:\n  - id: one\n    secrets: {{TOKEN: api-token}}{_HASH}  - id: two{_HASH}"


def put(daemon: Daemon, name: str, value: str) -> None:
    folder = daemon.config_path.parent / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / name).write_text(value + "\n")
    (folder / name).chmod(0o600)


def ended(daemon: Daemon, workflow: str) -> dict[str, Any]:
    run_id = daemon.call("run.start", workflow=daemon.apply(workflow))["id"]
    run: dict[str, Any] = daemon.call("run.wait", run_id=run_id, timeout_seconds=30)
    return run


def output(daemon: Daemon, run_id: str, task: str) -> list[str]:
    """Return what a task printed, lines put together again."""
    text, cursor = "", "0"
    while True:
        page = daemon.call("run.logs", run_id=run_id, task=task, cursor=cursor)
        text += "".join(item["text"] + ("" if item["partial"] else "\n") for item in page["items"])
        if page["next_cursor"] == cursor:
            return text.splitlines()
        cursor = page["next_cursor"]


def leaks(folder: Path) -> list[str]:
    forms = forms_of([SECRET, TOKEN])
    found = []
    for file in (*folder.rglob("*"), folder.parent.parent / "barbossad.log"):
        content = b""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # the daemon may have removed it meanwhile
            content = file.read_bytes()
        found += [f"{file.name}: {form!r}" for form in forms if form in content]
    return found


@pytest.fixture
def told(daemon: Daemon) -> Daemon:
    put(daemon, "shop-db", SECRET)
    put(daemon, "api-token", TOKEN)
    return daemon


def test_nothing_of_a_secret_is_kept(told: Daemon) -> None:
    """After tasks that tell their secrets in every form, neither files, log nor answers have anything of them."""
    run = ended(told, TELLTALE)
    states = {task["id"]: task["state"] for task in run["tasks"]}
    assert states == {"small": "succeeded", "large": "succeeded", "broken": "failed", "after": "succeeded"}
    answers = json.dumps([run, *(output(told, run["id"], task) for task in states)], ensure_ascii=False)
    small = output(told, run["id"], "small")
    assert "DB_PASSWORD ***" in small
    assert "***TOKEN ***" in small
    assert sum(line.count("***") for line in small) > 20
    assert output(told, run["id"], "large")[:2] == ["line 0: ***", "line 1: ***"]
    assert output(told, run["id"], "large")[-3:] == ["***", "> ***", "> ***"]
    assert output(told, run["id"], "after") == ["seen ***"]
    assert [form for form in forms_of([SECRET, TOKEN]) if form in answers.encode()] == []
    assert leaks(told.state_dir) == []
    told.stop()
    assert leaks(told.state_dir) == []


def test_the_task_has_the_secret_itself(told: Daemon) -> None:
    """What is masked is the output; the task's environment has the value, and other tasks do not have it."""
    run = ended(told, HASHES)
    assert output(told, run["id"], "one") == [hashlib.sha256(TOKEN.encode()).hexdigest()]
    assert output(told, run["id"], "two") == [hashlib.sha256(b"").hexdigest()]


def test_missing_secret(daemon: Daemon) -> None:
    """A task whose secret is not there fails before it starts and says where to put it."""
    run = ended(daemon, "name: a\ntasks:\n  - id: one\n    secrets: {TOKEN: no-such}\n    shell: echo\n")
    (task,) = run["tasks"]
    assert (run["state"], task["state"], task["attempts"]) == ("failed", "failed", [])
    folder = daemon.config_path.parent / "secrets"
    assert task["reason"] == (
        f"there is no secret 'no-such'; it was looked for as {folder}/no-such. "
        f"Put its value into {folder}/no-such, for its owner alone (mode 0600)"
    )


def test_secret_that_others_may_read(told: Daemon) -> None:
    """A file that others may read is not used."""
    (told.config_path.parent / "secrets" / "api-token").chmod(0o644)
    run = ended(told, "name: a\ntasks:\n  - id: one\n    secrets: {TOKEN: api-token}\n    shell: echo\n")
    assert "may be read by others" in run["tasks"][0]["reason"]
    assert TOKEN not in json.dumps(run)


def test_credentials_of_the_daemon(unstarted: Daemon, tmp_path: Path) -> None:
    """A secret may be a systemd credential of the daemon's unit; the task itself has no way to the others."""
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    (credentials / "api-token").write_text(TOKEN)
    unstarted.environment["CREDENTIALS_DIRECTORY"] = str(credentials)
    unstarted.start()
    run = ended(
        unstarted,
        "name: a\ntasks:\n  - id: one\n    secrets: {TOKEN: api-token}\n"
        '    shell: echo "${#TOKEN} ${CREDENTIALS_DIRECTORY:-none} $TOKEN"\n',
    )
    assert output(unstarted, run["id"], "one") == [f"{len(TOKEN)} none ***"]
    unstarted.stop()
