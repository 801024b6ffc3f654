from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from manyheads.config.compose import compose
from manyheads.config.dump import dump
from manyheads.config.load import Loaded
from manyheads.config.reference import EXAMPLE
from manyheads.config.schema import json_schema, schema_text

Load = Callable[..., Loaded]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(json_schema())
    return Draft202012Validator(json_schema())


def mistakes(validator: Draft202012Validator, text: str) -> list[str]:
    return [error.json_path for error in validator.iter_errors(compose(text, "f").plain())]


def test_recipes_that_load_are_valid(validator: Draft202012Validator, load: Load, small: str) -> None:
    for text in (EXAMPLE, small, dump(load(EXAMPLE).recipe), dump(load(small).recipe)):
        assert mistakes(validator, text) == []
    assert mistakes(validator, small.replace("pretrained, name: minilm", "mine, options: {a: 1}")) == []
    assert mistakes(validator, small.replace("pretrained, name: minilm", "pool")) == []


def test_a_recipe_that_extends_another_needs_no_tasks(validator: Draft202012Validator) -> None:
    assert mistakes(validator, "extends: base.yaml") == []
    assert mistakes(validator, "seed: 3") == ["$"]


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("modules:", "module:", "$"),
        ("name: minilm", "nme: minilm", "$.modules.encoder"),
        ("pretrained, name: minilm", "mine, name: minilm", "$.modules.encoder"),
        ("  mood:", "  m o:", "$.tasks"),
        ("label: mood", "lable: mood", "$.tasks.mood"),
        ("tasks:", "defaults: {droput: 0.1}\ntasks:", "$.defaults"),
        ("tasks:", "defaults: {dropout: 1}\ntasks:", "$.defaults.dropout"),
        ("tasks:", "seed: x\ntasks:", "$.seed"),
    ],
)
def test_recipes_with_mistakes_are_not(validator: Draft202012Validator, small: str, old: str, new: str, path: str) -> None:
    assert mistakes(validator, small.replace(old, new)) == [path]


def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from properties(part)
    if isinstance(schema, dict):
        yield from schema["properties"].items() if isinstance(schema.get("properties"), dict) else ()


def test_every_key_is_described() -> None:
    missing = {name for name, value in properties(json_schema()) if "description" not in value and name != "type"}
    assert missing == set()


def test_the_text_is_strict_json() -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(schema_text(), parse_constant=refuse) == json_schema()
