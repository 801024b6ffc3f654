from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.node import MAX_DEPTH, Finding, Node, dotted, from_python, overlay
from manyheads.errors import RecipeError

scalars = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
trees = st.recursive(scalars | texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@given(trees)
def test_python_values_come_back_as_they_were(value: object) -> None:
    assert from_python(value).plain() == value


@given(trees)
def test_size_counts_every_value(value: object) -> None:
    def count(part: object) -> int:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return 1 + sum(count(v) for v in inner)

    assert from_python(value).size == count(value)


def test_height_counts_levels() -> None:
    assert from_python({"a": [1, {"b": 2}], "c": 3}).height == 4


def test_find_put_and_without() -> None:
    root = from_python({"a": [1, {"b": 2}]})
    found = root.find(("a", 1, "b"))
    assert found is not None
    assert (found.value, found.place) == (2, "a.1.b")
    assert root.find(("a", 2)) is None
    assert root.find(("a", "b")) is None
    assert root.find(("a", 1, "b", "c")) is None
    assert root.put(("a", 1, "c"), Node(3, "x")).plain() == {"a": [1, {"b": 2, "c": 3}]}
    assert root.put(("a", 0), Node(5, "x")).plain() == {"a": [5, {"b": 2}]}
    assert root.put((), Node(5, "x")).plain() == 5
    assert root.without(("a", 0)).plain() == {"a": [{"b": 2}]}
    assert root.without(("a", 1, "b")).plain() == {"a": [1, {}]}
    assert root.without(("z", "y")).plain() == {"a": [1, {"b": 2}]}
    assert root.plain() == {"a": [1, {"b": 2}]}


def test_overlay_joins_mappings_and_replaces_the_rest() -> None:
    low = from_python({"a": {"x": 1, "y": [1, 2]}, "b": 1, "c": {"d": 1}})
    high = from_python({"a": {"y": [3], "z": 4}, "c": 2})
    assert overlay(low, high).plain() == {"a": {"x": 1, "y": [3], "z": 4}, "b": 1, "c": 2}


@given(trees, trees)
def test_what_lies_on_top_wins(low: object, high: object) -> None:
    joined = overlay(from_python(low), from_python(high)).plain()
    if isinstance(low, dict) and isinstance(high, dict):
        assert joined.keys() == low.keys() | high.keys()
    else:
        assert joined == high


def test_a_finding_stands_where_the_deepest_node_does() -> None:
    inner = Node(1, "f:2:6", "f:2:3", "1")
    root = Node({"a": Node({"b": inner}, "f:2:1", "f:1:1")}, "f:1:1")
    assert Finding(("a", "b"), "rule").problem(root).place == "f:2:6"
    assert Finding(("a", "b"), "rule", at="key").problem(root).place == "f:2:3"
    assert Finding(("a", "c"), "rule").problem(root).place == "f:1:1"
    assert Finding(("x",), "rule").problem(root).place == "f:1:1"


@pytest.mark.parametrize(
    ("value", "place", "rule"),
    [
        ({"a": {"b": math.nan}}, "a.b", "finite"),
        ({"a": [1, math.inf]}, "a.1", "finite"),
        ({"a": 2**63}, "a", "64 bits"),
        ({"a": "\ud800"}, "a", "valid Unicode"),
        ({"a": object}, "a", "not type"),
        ({"a": {1: 2}}, "a", "keys must be text"),
    ],
)
def test_values_that_no_recipe_can_hold_are_refused(value: object, place: str, rule: str) -> None:
    with pytest.raises(RecipeError, match=rule) as caught:
        from_python(value)
    assert caught.value.problems[0].place == place


def test_values_without_end_are_refused() -> None:
    endless: dict[str, object] = {}
    endless["a"] = endless
    with pytest.raises(RecipeError, match=f"deeper than {MAX_DEPTH}"):
        from_python(endless)


def test_tuples_are_lists() -> None:
    assert from_python({"a": (1, 2)}).plain() == {"a": [1, 2]}


def test_dotted() -> None:
    assert dotted(()) == ""
    assert dotted(("a", 0)) == "a.0"
