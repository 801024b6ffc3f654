"""Rows to examples: what goes in, what is refused and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.data import labels
from manyheads.data.encode import InputSpec, encode, sift
from manyheads.data.labels import LabelMap
from manyheads.data.number_target import NumberTarget
from manyheads.data.targets import ClassTarget, TagTarget
from manyheads.errors import DataError, Problem, RecipeError
from manyheads.text.tokenize import Tokenizer
from manyheads.types import Example, Place, Row

MakeRows = Callable[..., list[Row]]
TEXT = InputSpec("text")
LABEL = {"t": ClassTarget("t", "label", labels=LabelMap(("x", "y")))}


def problems(rows: list[Row], inputs: InputSpec, tokenizer: Tokenizer, targets: dict[str, Any] | None = None) -> list[Problem]:
    with pytest.raises(DataError) as caught:
        list(encode(rows, inputs, tokenizer, targets or {}, 16))
    return list(caught.value.problems)


def test_a_text_with_targets_of_two_tasks(make_rows: MakeRows, letters: Tokenizer) -> None:
    rows = make_rows(text=["a b", "c"], label=["y", None], score=[None, "0.5"])
    found = list(encode(rows, TEXT, letters, {**LABEL, "n": NumberTarget("n", "score")}, 16))
    assert found == [
        Example((2, 4, 5, 3), (0,) * 4, (), {"t": 1, "n": None}, Place("data.csv", 2)),
        Example((2, 6, 3), (0,) * 3, (), {"t": None, "n": 0.5}, Place("data.csv", 3)),
    ]


def test_a_pair(make_rows: MakeRows, letters: Tokenizer) -> None:
    rows = make_rows(one=["a b c d"], two=["e"])
    (found,) = encode(rows, InputSpec("one", "two"), letters, {}, 7)
    assert (found.ids, found.types, found.cut) == ((2, 4, 5, 6, 3, 8, 3), (0, 0, 0, 0, 0, 1, 1), 1)


def test_words_with_tags(make_rows: MakeRows, letters: Tokenizer) -> None:
    rows = make_rows(words=[["a", "bc", "d"]], tags=[["O", "B-p", "O"]])
    targets = {"t": TagTarget("t", "tags", words="words").fit(rows)}
    (found,) = encode(rows, InputSpec(words="words"), letters, targets, 4)
    assert found.words == (1, 2, -1)
    assert found.targets == {"t": (0, 1, 0)}, "the gold tags stay whole"
    assert found.cut == 1


def test_without_targets_no_label_is_looked_at(make_rows: MakeRows, letters: Tokenizer) -> None:
    (found,) = encode(make_rows(text=["a"]), TEXT, letters, {}, 16)
    assert found.targets == {}


def test_empty_text_has_special_pieces_only(make_rows: MakeRows, letters: Tokenizer) -> None:
    (found,) = encode(make_rows(text=[""]), TEXT, letters, {}, 16)
    assert found.ids == (2, 3)


def test_no_rows_have_no_columns(letters: Tokenizer) -> None:
    assert problems([], TEXT, letters)[0].value == "text"


def test_the_order_survives_chunks(letters: Tokenizer) -> None:
    rows = [Row({"text": " ".join("abcdefgh"[: i % 8])}, Place("x", i)) for i in range(2100)]
    found = list(encode(rows, TEXT, letters, {}, 16))
    assert [e.place.line for e in found] == list(range(2100))
    assert [len(e.ids) for e in found] == [i % 8 + 2 for i in range(2100)]


def test_missing_columns_come_all_at_once(make_rows: MakeRows, letters: Tokenizer) -> None:
    found = problems(make_rows(txt=["a"], other=["b"]), InputSpec("text", "pair"), letters, LABEL)
    assert [(p.value, p.nearest) for p in found] == [("text", "txt"), ("pair", None), ("label", None)]
    assert all("'txt', 'other'" in p.rule and p.place == "data.csv" for p in found)


@pytest.mark.parametrize("value", [None, 5, 1.5, True, ["a"], {"a": "b"}])
def test_what_is_no_text_is_an_error_at_its_row(make_rows: MakeRows, letters: Tokenizer, value: Any) -> None:
    (problem,) = problems(make_rows(text=["a", value]), TEXT, letters)
    assert problem.place == "data.csv:3"
    assert "column 'text' must be text, not" in problem.rule


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("a b", "must be a list of words, not text"),
        (None, "must be a list of words, not null"),
        ([], "holds no word"),
        (["a", 1], "word 2 in column 'words' must be text, not a number"),
        (["a", None], "word 2 in column 'words' must be text, not null"),
        (["a", "\ud800"], "surrogate"),
    ],
)
def test_what_is_no_list_of_words_is_an_error_at_its_row(
    make_rows: MakeRows, letters: Tokenizer, value: Any, rule: str
) -> None:
    (problem,) = problems(make_rows(words=[["a"], value]), InputSpec(words="words"), letters)
    assert problem.place == "data.csv:3"
    assert rule in problem.rule


def test_half_a_surrogate_pair_is_an_error_at_its_row(make_rows: MakeRows, letters: Tokenizer) -> None:
    (problem,) = problems(make_rows(text=["a\udfff"]), TEXT, letters)
    assert "surrogate" in problem.rule
    assert "\\udfff" in str(problem)


def test_a_row_without_the_key_is_an_error_at_its_row(make_rows: MakeRows, letters: Tokenizer) -> None:
    (problem,) = problems(make_rows(text=["a", ...]), TEXT, letters)
    assert (problem.place, problem.rule) == ("data.csv:3", "the row has no column 'text'")


def test_all_bad_rows_are_told_once_and_counted(make_rows: MakeRows, letters: Tokenizer) -> None:
    rows = make_rows(text=["a"] * 1500 + [None] * 30, label=["x", "z"] * 750 + ["x"] * 30)
    found = problems(rows, TEXT, letters, LABEL)
    assert len(found) == 21
    assert found[0].place == "data.csv:3"
    assert found[-1].rule == "and 760 more such problems"


def test_the_nearest_label_is_looked_for_only_where_it_is_shown(
    make_rows: MakeRows, letters: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(labels, "nearest", lambda name, known: asked.append(name))
    rows = make_rows(text=["a"] * 90, label=[f"label {i}" for i in range(90)])
    found = problems(rows, TEXT, letters, LABEL)
    assert found[-1].rule == "and 70 more such problems"
    assert asked == [f"label {i}" for i in range(20)]
    assert len(sift(rows, TEXT, {"t": LABEL["t"]})[1]) == 90
    assert len(asked) == 20


def test_no_example_comes_from_a_chunk_with_a_bad_row(make_rows: MakeRows, letters: Tokenizer) -> None:
    examples = encode(make_rows(text=["a", None]), TEXT, letters, {}, 16)
    with pytest.raises(DataError):
        next(examples)


def test_sift_parts_rows_that_hold_from_rows_with_the_rule_they_break(make_rows: MakeRows) -> None:
    rows = make_rows(text=["a", 3, "b", ..., "c"], label=["x", "x", "z", "y", None], score=[None, 1, 1, 1, "2"])
    good, bad = sift(rows, TEXT, {**LABEL, "n": NumberTarget("n", "score", high=2)})
    assert good == [rows[0], rows[4]]
    assert [(str(row.place), row.rule) for row in bad] == [
        ("data.csv:3", "column 'text' must be text, not a number; found '3'"),
        ("data.csv:4", "task t: the label is not in the schema; found 'z'"),
        ("data.csv:5", "the row has no column 'text'"),
    ]
    assert json.loads(bad[1].sample) == {"text": "b", "label": "z", "score": 1}


def test_sift_needs_the_columns(make_rows: MakeRows) -> None:
    with pytest.raises(DataError, match="task t: no such column"):
        sift(make_rows(text=["a"], lable=["x"]), TEXT, LABEL)


CELLS = st.one_of(st.none(), st.sampled_from(["x", "y", "z", ""]), st.integers(0, 1), st.floats(0, 1), st.lists(st.just("x")))


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_what_sift_leaves_is_encoded_and_what_it_takes_is_not(letters: Tokenizer, cells: list[tuple[Any, Any]]) -> None:
    rows = [Row({"text": a, "label": b}, Place("f", i)) for i, (a, b) in enumerate(cells)]
    good, bad = sift(rows, TEXT, LABEL)
    if good:
        assert len(list(encode(good, TEXT, letters, LABEL, 16))) == len(good)
    if bad:
        assert {p.place for p in problems(rows, TEXT, letters, LABEL)} == {str(r.place) for r in bad}
    assert sorted([*(r.place.line for r in good), *(r.place.line for r in bad)]) == list(range(len(rows)))


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_any_text_is_encoded_or_refused_at_its_row(letters: Tokenizer, texts: list[str]) -> None:
    rows = [Row({"text": t}, Place("x", i)) for i, t in enumerate(texts)]
    broken = [f"x:{i}" for i, t in enumerate(texts) if any("\ud800" <= c <= "\udfff" for c in t)]
    if broken:
        assert [p.place for p in problems(rows, TEXT, letters)] == broken
    else:
        assert len(list(encode(rows, TEXT, letters, {}, 16))) == len(texts)


def test_columns_are_named_in_order() -> None:
    assert InputSpec("a", "b").columns == ("a", "b")
    assert InputSpec(words="w").columns == ("w",)


@pytest.mark.parametrize("names", [{}, {"text": "a", "words": "b"}, {"pair": "a", "words": "b"}, {"pair": "a"}])
def test_an_input_is_a_text_or_words(names: dict[str, str]) -> None:
    with pytest.raises(RecipeError):
        InputSpec(**names)
