"""A recipe as YAML with every value in it, and the two files that are made from the schema.

`python -m manyheads.config.dump` writes `schema/recipe.schema.json` and `docs/recipe.md` below the working directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from manyheads.config.recipe import Recipe
from manyheads.config.reference import reference
from manyheads.config.schema import json_schema, schema_text
from manyheads.config.spec.base import Strict
from manyheads.config.spec.data import BESIDE_FROM, TaskData

__all__ = ["dump", "json_schema", "main", "reference", "schema_text"]

_MODELINE = "# yaml-language-server: $schema={}\n"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
# words that YAML 1.1 or 1.2 reads as something else than text
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def dump(recipe: Recipe, schema: str = "recipe.schema.json") -> str:
    """The recipe with every value that has an effect, defaults included; loading it gives an equal recipe.

    `schema` is where editors find the JSON Schema: a path relative to the file, or a URL.
    """
    return _MODELINE.format(schema) + "\n".join(_block(plain(recipe), "")) + "\n"


def plain(value: Any) -> Any:
    """Recipe objects as the mappings that a file holds. Keys that are absent by default and not set are left out."""
    if isinstance(value, TaskData) and value.from_ is not None:  # nothing else may stand beside `from`
        return {"from": value.from_} | {key: v for key in BESIDE_FROM if (v := getattr(value, key)) not in (None, [])}
    if isinstance(value, Strict):
        fields = type(value).model_fields
        found = {field.alias or name: (getattr(value, name), field.default) for name, field in fields.items()}
        return {key: plain(v) for key, (v, default) in found.items() if not (v is None and default is None)}
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def _block(value: dict[str, Any], indent: str) -> Iterator[str]:
    """A mapping, one key a line; lists and empty mappings in flow style."""
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield f"{indent}{key_text(key)}:"
            yield from _block(inner, indent + "  ")
        else:
            yield f"{indent}{key_text(key)}: {flow(inner)}"


def flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key_text(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return key_text(value)
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)


def key_text(text: str) -> str:
    """`text` as it is where no reader of YAML can mistake it, else in double quotes."""
    if _PLAIN.fullmatch(text) and text.casefold() not in _WORDS:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def main() -> None:
    """Write the files that are made from the schema."""
    for name, text in (("schema/recipe.schema.json", schema_text()), ("docs/recipe.md", reference())):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
