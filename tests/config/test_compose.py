from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.config.compose import MAX_ALIASES, compose
from manyheads.config.node import MAX_NODES
from manyheads.errors import RecipeError


def problems_of(text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        compose(text, "f")
    return [str(p) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("5.0e-5", 5e-5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-0.0", 0.0),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("+1", 1),
        ("no", "no"),
        ("Yes", "Yes"),
        ("off", "off"),
        ("True", True),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("'1'", "1"),
        ('"null"', "null"),
        ('"\\ud83d\\ude00"', "😀"),
        ("|\n  x\n  y\n", "x\ny\n"),
        ("http://a//b", "http://a//b"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = compose(f"a: {text}", "f").plain()["a"]
    assert (found, type(found)) == (value, type(value))


def test_every_value_knows_where_it_and_its_key_stand() -> None:
    root = compose("a:\n  - x\n  - b: 1\nc:   {d: e}\n", "f")

    def spot(*path: str | int) -> tuple[str, str]:
        node = root.find(path)
        assert node is not None
        return node.key, node.place

    assert spot("a") == ("f:1:1", "f:2:3")
    assert spot("a", 0) == ("", "f:2:5")
    assert spot("a", 1, "b") == ("f:3:5", "f:3:8")
    assert spot("c", "d") == ("f:4:7", "f:4:10")


def test_keys_are_text_as_written() -> None:
    assert compose("{0: a, no: b, 1.0: c, true: d, null: e}", "f").plain() == {
        "0": "a",
        "no": "b",
        "1.0": "c",
        "true": "d",
        "null": "e",
    }


numbers = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8).filter("<<".__ne__), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_json_is_a_subset(value: object) -> None:
    assert compose(json.dumps(value), "f").plain() == value


@given(st.text(max_size=200) | st.text("[]{},:-?*&!|>'\"#%@` \n\tab1.~", max_size=60))
def test_any_text_gives_a_tree_or_a_located_error(text: str) -> None:
    try:
        places = [compose(text, "f").place]
    except RecipeError as error:
        places = [problem.place for problem in error.problems]
    assert all(place.startswith("f:") for place in places)


def test_a_key_given_twice_shows_both_lines() -> None:
    assert problems_of("a: 1\nb:\n  c: 1\n  'c': 2\na: 3\n") == [
        "f:4:3: the key is given twice, first at f:3:3; found 'c'",
        "f:5:1: the key is given twice, first at f:1:1; found 'a'",
    ]


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("a:\n\t- 1", "f:2:1", "a tab cannot"),
        ("a:\n  b: 1\n\tc: 2", "f:3:1", "a tab cannot"),
        ("a:\t1", "f:1:3", "a tab cannot"),
        ("a: \x01", "f:1:4", "control character"),
        ('a: 1\nb: "\x00"', "f:2:5", "control character"),
        ("{ // c\n 'a': 1}", "f:2:5", "comments begin with #"),
        ("a: b: c", "f:1:5", "mapping values are not allowed here"),
        ("a: [1", "f:1:6", "from line 1"),
        ("a: 'x", "f:1:6", "unexpected end of stream"),
        ("x: @a", "f:1:4", "cannot start any token"),
        ("%YAML 1.1\n---\na: 1", "f:2:1", "YAML 1.2; found '%YAML 1.1'"),
        ("a: 1\n---\nb: 2", "f:2:1", "one document"),
        ("a: &a [*a]", "f:1:8", "inside its own anchor"),
        ("a: *b", "f:1:4", "no anchor before it"),
        ('a: "\\uD800"', "f:1:4", "surrogate"),
        ('a: "\\U00110000"', "f:1:1", "no Unicode character"),
        ("? [a]\n: 1", "f:1:3", "plain text"),
        ("a: {<<: {b: 1}}", "f:1:5", "merge key"),
        ("a: .nan", "f:1:4", "finite"),
        ("a: -.INF", "f:1:4", "finite"),
        ("a: 1e999", "f:1:4", "finite"),
        ("a: 9223372036854775808", "f:1:4", "64 bits"),
        ("a: " + "9" * 5000, "f:1:4", "64 bits"),
    ],
)
def test_what_no_recipe_can_hold_is_refused_at_its_place(text: str, place: str, rule: str) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith(f"{place}: ")
    assert rule in problem


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system", "!!python/name:os.system", "!own", "!!str", "!!binary", "!<tag:x>", "!"],
)
def test_tags_are_refused(tag: str) -> None:
    (problem,) = problems_of(f"a: {tag} [x]")
    assert problem.startswith("f:1:4: tags cannot stand in a recipe")


def test_all_that_parses_and_is_wrong_is_told_at_once() -> None:
    assert len(problems_of("a: !x 1\nb: .nan\na: 2\n<<: {}\n")) == 4


def test_aliases_are_expanded() -> None:
    root = compose("a: &x {p: 1}\nb: [*x, *x]", "f")
    assert root.plain() == {"a": {"p": 1}, "b": [{"p": 1}, {"p": 1}]}
    assert root.size == 8


def bomb(levels: int = 9, width: int = 9) -> str:
    lines = ["a0: &a0 [" + ",".join("x" * width) + "]"]
    lines += [f"a{i}: &a{i} [" + ",".join([f"*a{i - 1}"] * width) + "]" for i in range(1, levels)]
    return "\n".join(lines)


def test_an_alias_bomb_is_refused_by_what_it_would_expand_to() -> None:
    assert len(bomb()) < 400
    (problem,) = problems_of(bomb())
    assert f"at most {MAX_NODES} values" in problem


def test_too_many_aliases_are_refused() -> None:
    text = "a: &a 1\nb: [" + ", ".join(["*a"] * (MAX_ALIASES + 1)) + "]"
    assert f"at most {MAX_ALIASES} aliases" in problems_of(text)[0]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_a_depth_bomb_is_refused_where_it_gets_too_deep(opening: str) -> None:
    (problem,) = problems_of(opening * 10_000)
    assert problem.startswith("f:1:")
    assert "deeper than 64" in problem


def test_aliases_cannot_go_deeper_either() -> None:
    text = "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40
    assert "deeper than 64" in problems_of(text)[0]


def test_too_many_values_are_refused() -> None:
    assert f"at most {MAX_NODES} values" in problems_of("a: [" + "1," * (MAX_NODES + 1) + "]")[0]


def test_a_text_that_is_not_a_file_is_its_own_place() -> None:
    node = compose("[1, {a: 2}]", "override 'x'", located=False)
    assert node.place == "override 'x'"
    with pytest.raises(RecipeError) as caught:
        compose("[1", "override 'x'", located=False)
    assert caught.value.problems[0].place == "override 'x'"
