"""What a task is started with: its secrets in its environment, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from barbossad.config import Tasks
from barbossad.engine import growth
from barbossad.engine.preparation import Preparation
from barbossad.errors import BarbossaError
from barbossad.model.names import SecretName
from barbossad.process.launcher import LaunchSpec
from barbossad.security.secrets import MissingSecretError
from barbossad.tasks import _registry
from barbossad.workflows.loader import Loader
from tests.helpers.records import NOON_MS, run

TYPES = _registry.load()
SECRETS = {"shop-db": "correct horse", "api": "battery staple", "other": "trombone!"}


def get(name: SecretName) -> str:
    if name not in SECRETS:
        raise MissingSecretError(name, [Path("/nowhere")])
    return SECRETS[name]


def prepared(text: str, get_secret: Callable[[SecretName], str] = get, position: int = 0) -> LaunchSpec:
    definition = Loader(TYPES).load(text)
    preparation = Preparation(
        TYPES,
        Tasks(environment={"GIVEN": "to all"}),
        "host",
        get_secret,
        has_default_profile=False,
        now_ms=lambda: NOON_MS,
    )
    return preparation.launch_spec(growth.create(definition, run()), position, 1)


def test_secrets_of_workflow_and_task() -> None:
    """A task has the workflow's secrets, those of the defaults, and its own, which win."""
    text = (
        "name: a\nsecrets: {A: shop-db, B: shop-db, C: shop-db}\ndefaults: {secrets: {B: api, D: api}}\n"
        "tasks:\n  - shell: echo\n    secrets: {C: other}\n  - shell: echo\n"
    )
    first, second = prepared(text), prepared(text, position=1)
    names = "ABCD"
    assert [first.env[name] for name in names] == ["correct horse", "battery staple", "trombone!", "battery staple"]
    assert [second.env[name] for name in names] == [
        "correct horse",
        "battery staple",
        "correct horse",
        "battery staple",
    ]
    assert first.env["GIVEN"] == "to all"


def test_masks() -> None:
    """A task with secrets has its output masked, one without has not."""
    spec = prepared("name: a\nsecrets: {A: shop-db}\ntasks:\n  - shell: echo\n    secrets: {B: api}\n")
    assert spec.make_mask is not None
    mask = spec.make_mask()
    assert mask.feed(b"correct horse, battery staple\n", is_last=True) == b"***, ***\n"
    assert spec.secrets == {"correct horse", "battery staple"}
    assert "horse" not in repr(spec)
    assert prepared("name: a\ntasks:\n  - shell: echo\n").make_mask is None


def test_expressions_see_no_secret() -> None:
    """A secret is not in ``env`` of expressions, whatever the task does with them."""
    text = "name: a\nsecrets: {A: shop-db}\ntasks:\n  - shell: [echo, \"{{ env.get('A', 'nothing') }}\"]\n"
    spec = prepared(text)
    assert spec.argv == ("echo", "nothing")


def test_missing_secret() -> None:
    """A task whose secret is not there cannot be started."""
    with pytest.raises(MissingSecretError, match="there is no secret 'nowhere'"):
        prepared("name: a\nsecrets: {A: nowhere}\ntasks:\n  - shell: echo\n")


@pytest.mark.parametrize("value", ["with \0 NUL inside", "x" * 200_000])
def test_secret_that_no_variable_can_carry(value: str) -> None:
    """A secret that a program cannot be given is refused in words that do not tell it."""
    with pytest.raises(BarbossaError) as caught:
        prepared("name: a\nsecrets: {A: api}\ntasks:\n  - shell: echo\n", lambda _: value)
    assert str(caught.value).startswith("the secret 'api' ")
    assert value[:7] not in str(caught.value)
