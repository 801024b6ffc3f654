"""Label texts, missing labels, and the sorted map of names."""

from __future__ import annotations

import json
import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.data.labels import Found, LabelMap, is_missing, kind_of, label_text
from manyheads.errors import ArtefactError, DataError, Problem, RecipeError
from manyheads.types import Value

names = st.lists(st.text(max_size=6), max_size=8)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("007", "007"),
        ("1e5", "1e5"),
        ("True", "True"),
        (" a ", " a "),
        ("", ""),
        (1, "1"),
        (-1, "-1"),
        (1.0, "1"),
        (-0.0, "0"),
        (True, "true"),
        (False, "false"),
        (0.5, None),
        (math.nan, None),
        (math.inf, None),
        (None, None),
        (["a"], None),
        ({"a": 1}, None),
    ],
)
def test_label_text_is_the_text_and_never_a_guess(value: Value, text: str | None) -> None:
    assert label_text(value) == text


@pytest.mark.parametrize(
    ("value", "missing", "answer"),
    [
        (None, (), True),
        ("", (), False),
        ("", ("",), True),
        ("-1", ("-1",), True),
        (-1, ("-1",), True),
        (-1.0, ("-1",), True),
        (-1, (), False),
        (math.nan, ("NaN",), True),
        (math.nan, ("nan",), True),
        (math.nan, ("",), False),
        ("NaN", ("NaN",), True),
        ("nan", ("NaN",), False),
        (1.5, ("1.5",), False),
        (["a"], ("a",), False),
    ],
)
def test_missing_is_null_or_what_was_declared(value: Value, missing: tuple[str, ...], answer: bool) -> None:
    assert is_missing(value, missing) is answer


def test_kinds_have_words() -> None:
    values = ("a", 1, 1.5, True, None, [1], {"a": 1})
    words = ["text", "a number", "a number", "true or false", "null", "a list", "a map"]
    assert [kind_of(value) for value in values] == words


def test_found_shows_the_first_and_counts_the_rest() -> None:
    def fail(number: int) -> int:
        raise DataError(Problem("a rule", f"f:{number}"), Problem("another", f"f:{number}"))

    found = Found(limit=3)
    found.check()
    assert found.collect(abs, -1) == 1
    assert [found.collect(fail, n) for n in range(3)] == [None, None, None]
    with pytest.raises(DataError, match="and 3 more such problems") as caught:
        found.check()
    assert [p.place for p in caught.value.problems] == ["f:0", "f:0", "f:1", ""]


def test_found_says_nothing_of_more_when_all_are_shown() -> None:
    found = Found()
    found.collect(LabelMap(("a",)).index, "b")
    with pytest.raises(DataError) as caught:
        found.check()
    assert len(caught.value.problems) == 1


@given(names)
def test_names_are_sorted_by_code_point(values: list[str]) -> None:
    labels = LabelMap.fit(values)
    assert list(labels.names) == sorted(set(values))
    assert [labels.index(name) for name in labels.names] == list(range(len(labels)))


@given(names)
def test_the_map_does_not_depend_on_the_order_of_the_rows(values: list[str]) -> None:
    assert LabelMap.fit(values) == LabelMap.fit(reversed(values))
    assert LabelMap.fit(values).sha256 == LabelMap.fit(reversed(values)).sha256


def test_one_name_may_lead() -> None:
    assert LabelMap.fit(["B-x", "O", "I-x", "Z"], first="O").names == ("O", "B-x", "I-x", "Z")
    assert LabelMap.fit(["B-x", "A"], first="O").names == ("A", "B-x"), "but only if it is there"


def test_the_hash_tells_names_and_order_apart() -> None:
    maps = [LabelMap(names) for names in ((), ("a",), ("a", "b"), ("b", "a"), ("a,b",), ('a","b',))]
    assert len({m.sha256 for m in maps}) == len(maps)


def test_a_name_that_stands_twice_is_an_error() -> None:
    with pytest.raises(RecipeError, match="named twice; found 'a'"):
        LabelMap(("a", "b", "a"))


@given(names)
def test_json_round_trip(values: list[str]) -> None:
    labels = LabelMap.fit(values)
    assert LabelMap.from_json(json.loads(json.dumps(labels.to_json()))) == labels


@pytest.mark.parametrize(
    "data",
    [
        None,
        ["a"],
        {},
        {"names": ["a"]},
        {"names": "ab", "sha256": ""},
        {"names": [1], "sha256": ""},
        {"names": ["a", "a"], "sha256": ""},
        {"names": ["b"], "sha256": LabelMap(("a",)).sha256},
        {**LabelMap(("a",)).to_json(), "more": 1},
    ],
)
def test_json_of_anything_else_is_refused(data: object) -> None:
    with pytest.raises(ArtefactError):
        LabelMap.from_json(data)


def test_an_unknown_label_names_the_nearest() -> None:
    with pytest.raises(DataError) as caught:
        LabelMap(("negative", "positive")).index("postive", "a.csv:7", "no such label")
    (problem,) = caught.value.problems
    assert (problem.place, problem.rule, problem.value, problem.nearest) == ("a.csv:7", "no such label", "postive", "positive")


@pytest.mark.parametrize("variant", ["CAFÉ", "café ", "\tcafé", unicodedata.normalize("NFD", "café")])
def test_variants_in_case_space_and_unicode_form_are_flagged(variant: str) -> None:
    with pytest.raises(DataError, match="only in case, space or Unicode form") as caught:
        LabelMap(("café", "tea")).index(variant)
    assert caught.value.problems[0].nearest == "café"


def test_among_very_many_names_only_a_variant_is_looked_for() -> None:
    many = LabelMap(tuple(f"name {i}" for i in range(2000)))
    with pytest.raises(DataError) as caught:
        many.index("nmae 7")
    assert caught.value.problems[0].nearest is None
    with pytest.raises(DataError) as caught:
        many.index("Name 7")
    assert caught.value.problems[0].nearest == "name 7"


def test_without_hints_the_problem_is_the_same_but_for_the_nearest() -> None:
    known = ("negative", "positive")
    with pytest.raises(DataError) as caught:
        LabelMap(known, hints=False).index("Positive", "a.csv:7")
    problem = caught.value.problems[0]
    assert (problem.place, problem.value, problem.nearest) == ("a.csv:7", "Positive", None)
    assert LabelMap(known, hints=False) == LabelMap(known)


@pytest.mark.parametrize(
    ("name", "known", "wanted"),
    [
        ("B-locaton", ("B-location", "I-location", "B-loan", "O"), "B-location"),
        ("I-locaton", ("B-location", "I-location"), "I-location"),
        ("B-ORG", ("B-LOC", "B-PER", "I-ORG", "O"), None),
        ("I-PERS", ("B-PER", "I-PER", "I-LOC"), "I-PER"),
        ("U-location", ("B-location", "O"), "B-location"),
        ("B_location", ("B-location",), "B-location"),
        ("a-lot", ("alot", "many"), "alot"),
    ],
)
def test_tags_are_compared_behind_their_letter(name: str, known: tuple[str, ...], wanted: str | None) -> None:
    with pytest.raises(DataError) as caught:
        LabelMap(known).index(name)
    assert caught.value.problems[0].nearest == wanted


def test_an_empty_label_points_to_missing() -> None:
    with pytest.raises(DataError, match=r'missing: \[""\]'):
        LabelMap(("a",)).index("")


def test_variants_among_the_known_labels_are_listed() -> None:
    assert LabelMap.fit(["yes", "Yes", "no", "yes ", "maybe"]).variants() == [("Yes", "yes", "yes ")]
    assert LabelMap.fit(["a", "b"]).variants() == []


def test_membership() -> None:
    assert "a" in LabelMap(("a",))
    assert "b" not in LabelMap(("a",))
