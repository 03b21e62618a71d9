"""Whatever a param's value is, it reaches programs as plain data, byte for byte, or is refused before a run exists."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from barbossad import Barbossa, TriggerType
from barbossad.errors import InvalidParamsError

WORKFLOW = """
name: hostile
params:
  value: {type: string}
  folder: {type: path}
tasks:
  - id: script
    depends_on: []
    shell: printf %s "$value" > "$folder/script"
  - id: arguments
    depends_on: []
    shell: [sh, -c, 'printf %s "$1" > "$2"', sh, "{{ params.value }}", "{{ params.folder }}/arguments"]
  - id: inline
    depends_on: []
    python: |
      import pathlib
      pathlib.Path(params["folder"], "inline").write_bytes(params["value"].encode())
  - id: handed-on
    depends_on: []
    env: {HANDED: "{{ params.value }}"}
    shell: printf %s "$HANDED" > "$folder/handed-on"
  - id: each
    depends_on: []
    for_each: ["{{ params.value }}"]
    env: {ITEM: "{{ item }}"}
    shell: printf %s "$ITEM" > "$folder/each"
"""

VALUES = [
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned #",
    "&& touch pwned || true",
    "'\"'\"'; touch pwned; '",
    '" ; touch pwned ; "',
    "${HOME}$((1+1))$PATH",
    "-rf --help -e",
    "--",
    "line one\nline two\n\nEND\n",
    "\n\n",
    "{{ params.folder }}{% if true %}x{% endif %}{# no #}",
    "{{ ''.__class__.__mro__ }}",
    "a=b\nBARBOSSA_OUTPUT=/tmp/x",
    "%s%n%d %%",
    "\\n\\0\\x41\\",
    "*?[a-z]~!",
    "tab\tbell\x07escape\x1b[31mred\x1b[0m\x7f",
    "\u202egnirts\u202c \u200b\ufeff \U0001f3f4\u200d\u2620\ufe0f e\u0301 \U0010fffd",
    "true",
    "null",
    " leading and trailing ",
    "",
    "x" * 100 * 1024,
    "\u2620" * (100 * 1024 // 3),
]


async def told(barbossa: Barbossa, value: str, folder: Path) -> dict[str, bytes]:
    """Run the workflow with a value; return what each task saw of it."""
    folder.mkdir()
    workflow = barbossa.engine.create_workflow(WORKFLOW)
    params: dict[str, Any] = {"value": value, "folder": str(folder)}
    result = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL, params)
    assert result.run.state == "succeeded", [(task.task_id, task.reason) for task in result.tasks.values()]
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_plain_data(tmp_path: Path) -> None:
    """Scripts, argument lists, inline Python, variables and items see the very bytes; nothing is carried out."""
    seen_by = {"script", "arguments", "inline", "handed-on", "each"}
    async with Barbossa.open(tmp_path / "state") as barbossa:
        for number, value in enumerate(VALUES):
            found = await told(barbossa, value, tmp_path / str(number))
            assert found == dict.fromkeys(seen_by, value.encode()), repr(value[:60])


@pytest.mark.by_chance
async def test_any_unicode(tmp_path: Path) -> None:
    """So does text of characters from all over Unicode, those aside that are none."""
    chance = random.Random(random.getrandbits(64))
    planes = [(1, 0xD7FF), (0xE000, 0xFDCF), (0xFDF0, 0xFFFD), (0x10000, 0x1FFFD), (0x100000, 0x10FFFD)]
    async with Barbossa.open(tmp_path / "state") as barbossa:
        for number in range(10):
            value = "".join(chr(chance.randint(*chance.choice(planes))) for _ in range(chance.randint(1, 3000)))
            found = await told(barbossa, value, tmp_path / str(number))
            assert set(found.values()) == {value.encode()}


@pytest.mark.parametrize(
    ("value", "reason"),
    [("nul \0 within", "NUL"), ("x" * 200 * 1024, "bytes long; the kernel takes"), ("half a pair \ud800", "surrogate")],
)
async def test_what_cannot_travel(tmp_path: Path, value: str, reason: str) -> None:
    """What no environment variable can carry is refused with the reason, and there is no run of it."""
    async with Barbossa.open(tmp_path / "state") as barbossa:
        workflow = barbossa.engine.create_workflow(WORKFLOW)
        with pytest.raises(InvalidParamsError, match=reason):
            await barbossa.engine.start_workflow(
                workflow, TriggerType.MANUAL, {"value": value, "folder": str(tmp_path)}
            )
        assert (await barbossa.engine.runs()).items == ()
