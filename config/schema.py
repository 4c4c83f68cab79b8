"""The JSON Schema of the configuration file, for completion and checking in editors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from config.models import Settings
from config.types import readable_duration


class _AsWritten(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return readable_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the TOML file, with values as they are written in it."""
    schema = Settings.model_json_schema(schema_generator=_AsWritten)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "VirtualText CRM sync"}
