"""Turn the entries of ``schedules`` and ``triggers`` into definitions, or into everything that is wrong with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from barbossad.document import Document, Path
from barbossad.errors import Fault, InvalidParamsError
from barbossad.model.definition import ParamDefinition, WorkflowDefinition
from barbossad.model.schedules import ScheduleDefinition, ScheduleKind
from barbossad.validation import RefusalError, kind_of, proposal, validate
from barbossad.workflows import params as binding
from barbossad.workflows import schedule_rules as rules
from barbossad.workflows import scope
from barbossad.workflows.expressions import ExpressionError, leaves, references, render
from barbossad.workflows.schedule_instants import never, read_instants
from barbossad.workflows.schedule_keys import EVENT_KEYS, TIME_KEYS, ScheduleEntry, TriggerEntry
from barbossad.workflows.schedule_parts import schedule_of, trigger_of
from barbossad.workflows.source import MAX_FAULTS, MOST_ENTRIES
from barbossad.workflows.words import key_hint

LISTS: Final = ("schedules", "triggers")
"""The keys of a workflow whose entries start its runs."""

_EXAMPLES: Final = {
    False: 'write {cron: "0 2 * * *", timezone: Europe/London}',
    True: "write {file: /srv/in}",
}
_NO_EXPRESSIONS: Final = "write the value itself; the tasks may look at {{ run.scheduled_for }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The workflow that entries belong to, as far as it is known."""

    name: str | None
    params: Sequence[ParamDefinition]
    unclear: Collection[str] = frozenset()
    """Params in whose declaration something is wrong, which is told there."""


def read_all(
    value: Mapping[str, Any], declared: Sequence[ParamDefinition], document: Document, faults: list[Fault]
) -> list[ScheduleDefinition]:
    """Return what the entries of a file say; add what is wrong with them to ``faults``."""
    name, params = value.get("name"), value.get("params")
    unclear = (params.keys() if isinstance(params, dict) else frozenset()) - {param.name for param in declared}
    owner = Owner(name=name if isinstance(name, str) else None, params=declared, unclear=unclear)
    found: list[ScheduleDefinition] = []
    lines: dict[str, int] = {}
    numbers: Counter[str] = Counter()
    for key in LISTS:
        entries = value.get(key)
        for index, raw in enumerate(entries[:MOST_ENTRIES] if isinstance(entries, list) else ()):
            if len(faults) > MAX_FAULTS:
                return found
            path = (key, index)
            reading = _Reading(raw, path, owner, document, faults, is_trigger=key == "triggers")
            kind = reading.kind or "entry"
            numbers[kind] += 1
            definition = reading.definition(f"{kind}-{numbers[kind]}")
            if reading.name in lines:
                message = f"the name {reading.name!r} is taken by the entry in line {lines[reading.name]}"
                faults.append(document.fault((*path, "name"), message, "give each entry a name of its own"))
            lines.setdefault(reading.name, document.place(path)[0] or 0)
            if definition is not None:
                found.append(definition)
    return found


def read_entry(
    mapping: Mapping[str, Any], workflow: WorkflowDefinition, taken_names: Collection[str], *, default_name: str
) -> tuple[ScheduleDefinition | None, list[Fault]]:
    """Return what one entry says that stands in no file, or None and all that is wrong with it.

    ``mapping`` holds keys of either list; ``taken_names`` are those of the workflow's other schedules. The faults have
    paths (``between.start``) and no lines.
    """
    raw = dict(mapping)
    faults: list[Fault] = []
    is_trigger = any(key in raw for key in (*EVENT_KEYS, rules.WEBHOOK)) and not any(key in raw for key in TIME_KEYS)
    owner = Owner(name=workflow.name, params=workflow.params)
    reading = _Reading(raw, (), owner, Document("", raw), faults, is_trigger=is_trigger)
    definition = reading.definition(default_name)
    if reading.name in taken_names:
        message = f"the name {reading.name!r} is taken by another schedule of {workflow.name!r}"
        faults.append(Fault(line=None, column=None, path="name", message=message, hint="choose another"))
    faults += _unstorable(raw)
    return (None if faults else definition), list(dict.fromkeys(faults))[: MAX_FAULTS + 1]


def _unstorable(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield the keys whose values cannot be stored; JSON and Python, other than YAML, let such come so far."""
    for key, value in raw.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            message = f"{key!r} holds half a character (a lone surrogate), which is no text"
            yield Fault(line=None, column=None, path=key, message=message)
        except (TypeError, ValueError):
            yield Fault(line=None, column=None, path=key, message=f"{key!r} holds something that is no plain value")


def render_params(definition: ScheduleDefinition, trigger: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a trigger's params for one event; ``trigger`` is what expressions see of that.

    They are plain data, and are not yet held against the params of the workflow. Raise InvalidParamsError with every
    expression that has no value.
    """
    rendered: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, value in definition.params.items():
        try:
            rendered[name] = render(value, {"trigger": trigger})
        except ExpressionError as error:
            path = f"params.{name}"
            faults.append(
                Fault(line=None, column=None, path=path, message=f"{name!r}: {error.message}", hint=error.hint)
            )
    if faults:
        raise InvalidParamsError(f"params of {definition.name!r}", faults)
    return rendered


@dataclass(slots=True)
class _Reading:
    """One entry on its way to a definition."""

    raw: Any
    path: Path
    owner: Owner
    document: Document
    faults: list[Fault]
    is_trigger: bool = field(kw_only=True)
    kind: ScheduleKind | None = field(init=False, default=None)
    name: str = field(init=False, default="")

    def __post_init__(self) -> None:
        if isinstance(self.raw, dict):
            self.kind = rules.kind_of(self.raw)

    def definition(self, default_name: str) -> ScheduleDefinition | None:
        """Return what it says; None with every fault added where something is wrong with it."""
        raw, before = self.raw, len(self.faults)
        self.name = default_name
        if not isinstance(raw, dict):
            what = "a trigger" if self.is_trigger else "a schedule"
            self._refuse((), f"{what} must be a map, not {kind_of(raw)}", _EXAMPLES[self.is_trigger])
            return None
        name = raw.get("name")
        self.name = name if isinstance(name, str) else default_name
        self._refuse_nothing(raw)
        for key, message, hint in rules.contradictions(raw, is_trigger=self.is_trigger, workflow=self.owner.name):
            self._refuse((key,) if key else (), message, hint)
        told = rules.told_of(is_trigger=self.is_trigger)
        known = {key: item for key, item in raw.items() if key not in told and item is not None}
        model: type[TriggerEntry] | type[ScheduleEntry] = TriggerEntry if self.is_trigger else ScheduleEntry
        source = validate(model, known, self.document, self.faults, at=self.path, hint_for=key_hint)
        instants = read_instants(raw, self._refuse)
        if any(key in raw for key in (EVENT_KEYS if self.is_trigger else TIME_KEYS)):
            self._check_params(raw.get("params", {}))
        if len(self.faults) > before or source is None or self.kind is None:
            return None
        if isinstance(source, TriggerEntry):
            return trigger_of(source, self.kind, self.name)
        definition = schedule_of(source, self.kind, self.name, instants)
        found = never(definition.timing) if definition.timing else None
        if found is not None:
            key, message, hint = found
            self._refuse((key,), message, hint)
            return None
        return definition

    def _refuse_nothing(self, raw: Mapping[str, Any], inner: Path = ()) -> None:
        """Refuse keys after which nothing stands; the models take that for a key that is not there."""
        for key, item in raw.items():
            if item is None:
                self._refuse((*inner, key), f"{key!r} has no value", "write one after the colon, or remove the key")
            elif isinstance(item, dict) and inner != ("params",):
                self._refuse_nothing(item, (*inner, key))

    def _check_params(self, given: object) -> None:
        """Hold the values that it gives against the params of the workflow."""
        if not isinstance(given, dict):
            return
        named = {name: value for name, value in given.items() if name not in self.owner.unclear and value is not None}
        templated = {name: list(leaves(value, ("params", name))) for name, value in named.items()}
        for path, text in (leaf for found in templated.values() for leaf in found):
            for message, hint in self._wrong_with(text):
                self._refuse(path, message, hint)
        declared = {param.name: param for param in self.owner.params}
        later = {name for name, found in templated.items() if found} | (given.keys() - named.keys())
        _, faults = binding.check(
            [param for name, param in declared.items() if name not in later],
            {name: value for name, value in named.items() if name not in later & declared.keys()},
        )
        for fault in faults:
            _, _, name = fault.path.partition(".")
            self._refuse(("params", name) if name else ("params",), fault.message, fault.hint)

    def _wrong_with(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with a text that holds expressions."""
        if not self.is_trigger:
            yield "a schedule by time has nothing that an expression could look at", _NO_EXPRESSIONS
            return
        try:
            found = references(text)
        except ExpressionError as error:
            yield error.message, error.hint
            return
        for keys in found:
            try:
                _check_reference(keys, self.kind)
            except RefusalError as error:
                yield str(error), error.hint

    def _refuse(self, inner: Path, message: str, hint: str = "") -> None:
        self.faults.append(self.document.fault((*self.path, *inner), message, hint))


def _check_reference(keys: tuple[str, ...], kind: ScheduleKind | None) -> None:
    """Refuse a name that the params of a trigger cannot look at. Raise RefusalError."""
    root, *rest = keys
    if root in scope.FUNCTIONS:
        return
    fields = scope.TRIGGER_FIELDS.get(kind or "", frozenset())
    if root != "trigger":
        if root in fields:
            raise RefusalError(f"there is no {root!r} in expressions here", f"write trigger.{root}")
        raise RefusalError(f"there is no {root!r} here: no run exists yet", "what happened is in trigger")
    if rest and fields and rest[0] not in fields and rest[0] not in scope.MAP_METHODS:
        raise RefusalError(f"'trigger' has no {rest[0]!r} here", proposal(rest[0], fields, noun="it has"))
