"""What every part of a workflow file is, and values that may be written shorter than they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from barbossad.validation import LITERAL_HINT, RefusalError, kind_of


class Source(BaseModel):
    """What all parts of the file have in common: no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Bare:
    """Marks a model that may be written as one word or number, which then stands for its field ``field``."""

    field: str
    words: str
    """What is expected there, for a message: ``the name of a user``."""

    kind: type = str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Fill in the map that a bare word stands for, before the model sees it."""
        return core_schema.no_info_before_validator_function(self._filled, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Say that it is the word or the map."""
        model = handler(schema)
        word = handler.resolve_ref_schema(model)["properties"][self.field]
        return {"anyOf": [{key: word[key] for key in word if key not in {"default", "title"}}, model]}

    def _filled(self, value: Any) -> Any:
        if isinstance(value, self.kind) and not isinstance(value, bool):
            return {self.field: value}
        if isinstance(value, dict | BaseModel) or value is None:
            return value
        hint = LITERAL_HINT if isinstance(value, str) and "{{" in value else ""
        raise RefusalError(f"must be {self.words} or a map, not {kind_of(value)}", hint)
