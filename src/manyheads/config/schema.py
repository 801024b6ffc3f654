"""The JSON Schema of a recipe, for editors and for `docs/recipe.md`."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from manyheads.config.recipe import Recipe


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of a recipe as it stands in a file."""
    schema = Recipe.model_json_schema(by_alias=True)
    # a file that extends another need not have tasks of its own, and `defaults` takes what any task takes
    schema.pop("required")
    schema["anyOf"] = [{"required": ["tasks"]}, {"required": ["extends"]}]
    for named in ("modules", "data", "tasks"):
        schema["properties"][named]["additionalProperties"] = False
    definitions = schema["$defs"]
    tasks = [definitions[part["$ref"].rpartition("/")[2]] for part in _task_types(schema)]
    taken = {key: value for task in tasks for key, value in task["properties"].items()}
    for never in ("use_defaults", "type"):
        taken.pop(never)
    schema["properties"]["defaults"] |= {"properties": taken, "additionalProperties": False}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _task_types(schema: dict[str, Any]) -> list[dict[str, str]]:
    (entry,) = schema["properties"]["tasks"]["patternProperties"].values()
    found: list[dict[str, str]] = entry["oneOf"]
    return found


@cache  # a tenth of a second, for every run that writes it
def schema_text() -> str:
    """The schema as `schema/recipe.schema.json` holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
