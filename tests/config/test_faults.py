"""One edit to any key of a full recipe, and recipes of random values: always a located error or a recipe."""

from __future__ import annotations

import re
import string
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from manyheads.config.compose import compose
from manyheads.config.dump import dump
from manyheads.config.fields import all_task_keys, keys, section_at
from manyheads.config.load import Loaded, load_recipe, recipe_from
from manyheads.config.node import KeyPath, Node
from manyheads.config.reference import EXAMPLE
from manyheads.config.schema import json_schema
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.errors import RecipeError

RECIPE = recipe_from(compose(EXAMPLE, "f").plain()).recipe
FULL = dump(RECIPE).replace("defaults: {}", "defaults:\n  metric: accuracy")
TREE = compose(FULL, "f")


def schema_keys(node: Node, path: KeyPath = ()) -> list[KeyPath]:
    """The paths of all keys that the schema chose, not the user."""
    inner: dict[Any, Node] = {}
    if isinstance(node.value, dict | list):
        inner = dict(node.value if isinstance(node.value, dict) else enumerate(node.value))
    section = section_at(path, TREE.plain())
    own = [(*path, key) for key in inner if section is not None and key in keys(section)]
    return own + [found for key, part in inner.items() for found in schema_keys(part, (*path, key))]


KEYS = [*schema_keys(TREE), ("defaults", "metric")]


@st.composite
def edits(draw: st.DrawFn) -> tuple[KeyPath, str]:
    """A key and what one edit makes of it: a letter left out, put in, replaced, or two swapped."""
    path = draw(st.sampled_from(KEYS))
    key, letter = str(path[-1]), draw(st.sampled_from(string.ascii_lowercase + "_"))
    at = draw(st.integers(0, len(key) - 1))
    kind = draw(st.sampled_from(["drop", "insert", "replace", "swap"]))
    if kind == "drop":
        return path, key[:at] + key[at + 1 :]
    if kind == "insert":
        return path, key[:at] + letter + key[at:]
    if kind == "replace":
        return path, key[:at] + letter + key[at + 1 :]
    return path, key[:at] + key[at : at + 2][::-1] + key[at + 2 :]


def known_beside(path: KeyPath) -> list[str]:
    section = section_at(path[:-1], TREE.plain())
    return keys(section) if section else all_task_keys()


def loaded(text: str) -> Loaded:
    """The text loaded as r.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            return load_recipe(path)
        except RecipeError as error:
            problems = [replace(p, place=p.place.replace(str(path), "r.yaml")) for p in error.problems]
    raise RecipeError(*problems)


def test_there_are_enough_keys_to_edit() -> None:
    assert len(KEYS) > 90
    assert loaded(FULL).recipe.tasks["stars"].metric == "accuracy"


@given(edits())
def test_one_edit_to_any_key_is_found_where_it_is(edit: tuple[KeyPath, str]) -> None:
    path, typo = edit
    assume(typo and typo not in known_beside(path))
    node = TREE.find(path)
    assert node is not None
    line, column = (int(part) for part in node.key.split(":")[1:])
    lines = FULL.splitlines()
    row = lines[line - 1]
    lines[line - 1] = row[: column - 1] + typo + row[column - 1 + len(str(path[-1])) :]
    with pytest.raises(RecipeError) as caught:
        loaded("\n".join(lines))
    assert caught.value.exit_code == 2
    (problem,) = [p for p in caught.value.problems if (p.place, p.value) == (f"r.yaml:{line}:{column}", typo)]
    assert problem.nearest is not None


@pytest.mark.parametrize("key", sorted({str(path[-1]) for path in KEYS} - set(keys(MixtureSpec))))
def test_a_key_in_the_wrong_section_is_sent_home(key: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from({"tasks": {"a": {"type": "mine"}}, "mixture": {key: 1}}, {"task": {"mine"}})
    (found,) = [p for p in caught.value.problems if p.place == f"mixture.{key}"]
    assert re.search(rf"\b{key}\b", found.remedy)


# random recipes -----------------------------------------------------------------------------------------------------

SCHEMA = json_schema()
NAMES = st.sampled_from(["a", "b", "encoder", "no way", "", "own"])
JUNK = st.sampled_from([None, True, 0, -1, 1, 2**63 - 1, 0.5, -0.0, 1e300, "", "x", "a", [], {}, [1], {"a": 1}, "😀", "\x1b["])


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the schema mostly takes."""
    return st.one_of(*[_values(schema)] * 8, JUNK)


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return st.deferred(lambda: _values(SCHEMA["$defs"][name]))
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    for union in ("anyOf", "oneOf"):
        if union in schema and "properties" not in schema:
            return st.one_of([values(part) for part in schema[union]])
    if schema.get("type") == "array":
        return st.lists(values(schema.get("items") or schema["prefixItems"][0]), max_size=3)
    if schema.get("type") == "object":
        return _objects(schema)
    simple = {"integer": st.integers(-1, 20), "number": st.floats(-0.5, 2), "boolean": st.booleans(), "null": st.none()}
    return simple.get(schema.get("type", ""), NAMES)


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "patternProperties" in schema:
        (inner,) = schema["patternProperties"].values()
        return st.dictionaries(NAMES, values(inner), max_size=2)
    if "properties" not in schema:
        inner = schema.get("additionalProperties")
        return st.dictionaries(NAMES, values(inner) if isinstance(inner, dict) else JUNK, max_size=2)
    fields = {key: values(part) for key, part in schema["properties"].items() if key != "extends"}
    required = {key: fields.pop(key) for key in [*schema.get("required", ()), "tasks"] if key in fields}
    return st.tuples(st.fixed_dictionaries(required, optional=dict(fields)), st.dictionaries(NAMES, JUNK, max_size=1)).map(
        lambda pair: {**dict(list(pair[0].items())[:5]), **(pair[1] if "a" in pair[1] else {})}
    )


@given(_values(SCHEMA))
def test_random_recipes_load_or_are_refused(data: dict[str, Any]) -> None:
    problems: tuple[object, ...] = ()
    try:
        assert isinstance(recipe_from(data), Loaded)
    except RecipeError as error:
        problems = error.problems
        event("refused")
    else:
        event("loaded")
    assert len(problems) <= 21


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.integers(0, len(FULL)), st.integers(0, 12))
def test_a_damaged_file_loads_or_is_refused_with_a_place(text: str, at: int, gone: int) -> None:
    try:
        loaded(FULL[:at] + text + FULL[at + gone :])
    except RecipeError as error:
        places = [p.place for p in error.problems if not p.rule.startswith("and ")]
    else:
        places = []
    assert all(place.startswith("r.yaml:") for place in places)
