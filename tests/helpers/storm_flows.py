"""Workflows by chance whose tasks are real: each notes that it began, and does one of the things that programs do."""

from __future__ import annotations

import json
import random
from typing import Any, Final

from tests.helpers.random_flows import random_tree

NAMES: Final = ("w0", "w1", "w2", "w3", "w4")
"""Each calls those before it alone, and holds locks and places in groups of its own: so nobody waits in a circle."""

NOTE: Final = 'echo "$BARBOSSA_ATTEMPT" >> "$LEDGER/$BARBOSSA_RUN_ID"\n'
BODIES: Final = (
    *[":"] * 6,
    *["sleep 0.1"] * 4,
    "exec sleep 0.4",
    "sleep 1.5",
    "exit 1",
    "exit 75",
    "kill -9 $$",
    '[ "$BARBOSSA_ATTEMPT_NUMBER" -ge 2 ]',
    '[ -n "$BARBOSSA_RESUMED" ] || sleep 0.7',
    "(trap '' TERM INT HUP; sleep 0.5) & sleep 0.1",
    "trap 'exit 0' TERM; sleep 0.8 & wait",
    "trap '' TERM; sleep 0.3; sleep 0.3; sleep 0.3",
    "setsid sleep 3600.$STORM & sleep 3601.$STORM & sleep 0.1",
    "env -i setsid sh -c 'setsid sleep 3602.TOKEN &' & sleep 0.2",
    "seq 3000; seq 10 >&2",
    "head -c 200000 /dev/zero | tr '\\0' x; sleep 0.1; echo end",
    'echo "size=$BARBOSSA_ATTEMPT_NUMBER" >> "$BARBOSSA_OUTPUT"',
    'echo broken >> "$BARBOSSA_OUTPUT"',
    "exec 1>&- 2>&-; sleep 0.2",
)
TRUTHS: Final = ("{{{{ {} > 0 }}}}", "{{{{ {} > 0 and params.flag }}}}", "{{{{ {} < 0 }}}}", "{{{{ 1 // ({} * 0) }}}}")
LISTS: Final = ("{{ params.items }}", "{{ range(3) | list }}", "{{ [] }}", "{{ params.flag }}")
TIMES: Final = ({"every": "1s"}, {"every": "2s"}, {"cron": "*/2 * * * * *", "timezone": "UTC"})
SHORTER: Final = {
    "20s": "3s",
    "2m": "1m",
    "4s": "400ms",
    "15s": "2s",
    "9s": "700ms",
    "10s": "500ms",
    "5s": "300ms",
    "3s": "200ms",
    "1s": "100ms",
    "6s": "800ms",
    "2s": "100ms",
}


def any_text(chance: random.Random, name: str, ledger: str, token: str) -> str:
    """Return the text of a workflow of that name."""
    tree = _Maker(chance, NAMES.index(name), token).real(random_tree(chance))
    tree |= {
        "name": name,
        "env": {"LEDGER": ledger, "STORM": token},
        "params": {
            "flag": {"type": "boolean", "default": chance.random() < 0.5},
            "items": {"type": "list", "default": list(range(chance.randint(0, 3)))},
        },
    }
    if chance.random() < 0.35:
        policy = chance.choice(["queue", "queue", "skip", "replace"])
        tree["concurrency"] = {"limit": chance.randint(1, 2), "policy": policy}
    if chance.random() < 0.2:
        tree["lock"] = f"run-{name}"
    if chance.random() < 0.2:
        tree["outputs"] = {"a": chance.choice(["{{ params.flag }}", "{{ run.id }}", "{{ 1 // 0 }}"])}
    if chance.random() < 0.3:
        tree["schedules"] = [_schedule(chance) for _ in range(chance.randint(1, 2))]
    if name != NAMES[0] and chance.random() < 0.3:
        tree["triggers"] = [_trigger(chance, chance.choice(NAMES[: NAMES.index(name)]))]
    return json.dumps(tree)


def _schedule(chance: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = dict(chance.choice(TIMES))
    made |= {
        "overlap": chance.choice(["skip", "queue", "replace", "allow"]),
        "catch_up": chance.choice(["none", "last", "all"]),
    }
    if made["catch_up"] == "all":
        made["catch_up_limit"] = 2
    if chance.random() < 0.3:
        made["retry"] = {"attempts": 2, "delay": "200ms"}
    return made


def _trigger(chance: random.Random, other: str) -> dict[str, Any]:
    states = chance.sample(["succeeded", "failed", "cancelled", "interrupted", "timed_out"], chance.randint(1, 4))
    return {"workflow": {"name": other, "states": states}, "overlap": chance.choice(["skip", "queue", "allow"])}


class _Maker:
    """Puts what really happens in the place of what the flows of other tests have."""

    def __init__(self, chance: random.Random, level: int, token: str) -> None:
        self.chance = chance
        self.level = level
        self.token = token

    def real(self, keys: Any) -> Any:
        """Return a piece of a workflow with all that is below it."""
        if isinstance(keys, list):
            return [self.real(one) for one in keys]
        if not isinstance(keys, dict):
            return keys
        made = {key: self.value(key, value) for key, value in keys.items()}
        if "workflow" in made and self.level == 0:
            del made["workflow"]
            made["shell"] = self.script()
        if "shell" in made:
            self.of_shell(made)
        return made

    def value(self, key: str, value: Any) -> Any:
        """Return what stands under a key."""
        if key == "shell":
            return self.script()
        if key == "workflow":
            return {"name": self.chance.choice(NAMES[: self.level]) if self.level else "none"}
        if key == "for_each":
            return self.chance.choices(LISTS, [6, 4, 1, 1])[0] if isinstance(value, str) else value
        if isinstance(value, str) and value.startswith("{{"):
            return self.chance.choices(TRUTHS, [10, 6, 4, 0.5])[0].format(value.strip("{} ").partition(" ")[0])
        if isinstance(value, str):
            return SHORTER.get(value, value)
        return self.real(value)

    def script(self) -> str:
        """Return one that notes that it began."""
        return NOTE + self.chance.choice(BODIES).replace("TOKEN", self.token)

    def of_shell(self, made: dict[str, Any]) -> None:
        """Give a task keys that others do not have."""
        chance = self.chance
        made.pop("creates", None)
        if chance.random() < 0.1:
            made["unless"] = chance.choice(["false", "true", "sleep 0.1; exit 1"])
        if chance.random() < 0.15:
            made["lock"] = f"{chance.choice('ab')}{self.level}"
        if chance.random() < 0.3:
            made["grace"] = chance.choice(["100ms", "500ms"])
        if chance.random() < 0.2:
            made["timeout"] = chance.choice(["200ms", "600ms"])
        if chance.random() < 0.04:
            made |= {"detach": True, "shell": f"{NOTE}sleep 0.6 >/dev/null 2>&1 &"}
        if chance.random() < 0.1:
            made["priority"] = chance.randint(-5, 5)
