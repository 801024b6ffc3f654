"""Columns of weights and of groups: what they may hold, and that every fault is told at its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from manyheads.data.row_columns import RowGroups, RowWeights
from manyheads.data.targets import ClassTarget, MultilabelTarget
from manyheads.errors import DataError
from manyheads.types import Row

MakeRows = Callable[..., list[Row]]
MOOD = RowWeights(ClassTarget("mood", "label", missing=("",)), "w")


def test_numbers_and_texts_that_spell_them(make_rows: MakeRows) -> None:
    found = MOOD.read(make_rows(label=["a", "b", "a", "b"], w=["0.5", 2, 0, "1e1"]))
    assert found.dtype == np.float32
    assert found.tolist() == [0.5, 2, 0, 10]


def test_a_row_without_a_label_needs_no_weight(make_rows: MakeRows) -> None:
    rows = make_rows(label=["a", None, "", ...], w=["3", None, "no number", ...])
    assert [MOOD.check(row) for row in rows] == [3, None, None, None]
    assert MOOD.read(rows).tolist() == [3, 1, 1, 1]


FAULTS: list[tuple[Any, str]] = [
    (None, "the row has a label and no weight in column 'w'"),
    (..., "the row has a label and no weight in column 'w'"),
    ("", "the row has a label and no weight in column 'w'"),
    ("high", "expected a number, not text"),
    ("0,5", "expected a number, not text"),
    ("nan", "expected a number, not text"),
    (True, "expected a number, not true or false"),
    ([1, 2], "expected a number, not a list"),
    (-0.5, "a weight must be at least 0"),
    ("-1", "a weight must be at least 0"),
    (float("nan"), "a weight must be finite, in single precision too"),
    (float("inf"), "a weight must be finite, in single precision too"),
    ("1e39", "a weight must be finite, in single precision too"),
]


@pytest.mark.parametrize(("value", "rule"), FAULTS, ids=[json.dumps(v, default=str) for v, _ in FAULTS])
def test_what_is_no_weight(make_rows: MakeRows, value: Any, rule: str) -> None:
    with pytest.raises(DataError) as caught:
        MOOD.read(make_rows(label=["a", "b"], w=[1, value]))
    [problem] = caught.value.problems
    assert (problem.place, problem.rule.startswith("task mood: "), rule in problem.rule) == ("data.csv:3", True, True)


def test_all_faults_are_told_at_once(make_rows: MakeRows) -> None:
    with pytest.raises(DataError) as caught:
        MOOD.read(make_rows(label=["a"] * 30, w=[1, *[-1] * 29]))
    assert [p.place for p in caught.value.problems[:2]] == ["data.csv:3", "data.csv:4"]
    assert "and 9 more such problems" in str(caught.value)


def test_a_column_that_is_not_there_gives_the_nearest(make_rows: MakeRows) -> None:
    with pytest.raises(DataError, match=r"the weights of task mood: no such column .* did you mean 'confidence'"):
        RowWeights(MOOD.target, "confidense").read(make_rows(label=["a"], confidence=[1]))


def test_weights_of_which_none_is_above_0(make_rows: MakeRows) -> None:
    with pytest.raises(DataError, match=r"data.csv: task mood: all weights in column 'w' are 0, so nothing would be learned"):
        MOOD.read(make_rows(label=["a", None], w=[0, 1]))


def test_a_list_of_labels_is_a_label(make_rows: MakeRows) -> None:
    many = RowWeights(MultilabelTarget("topics", "label"), "w")
    assert many.read(make_rows(label=[["a", "b"], []], w=[2, 3])).tolist() == [2, 3]


def test_groups_are_texts_or_whole_numbers(make_rows: MakeRows) -> None:
    groups = RowGroups(MOOD.target, "g")
    rows = make_rows(label=["a", "b", "a", None, ""], g=["q1", 2, 3.0, None, [1]])
    assert groups.read(rows).tolist() == ["q1", "2", "3", "", ""]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (None, "task mood: the row has a label and no group in column 'g'"),
        ("", "task mood: the row has a label and no group in column 'g'"),
        (1.5, "task mood: a group in column 'g': expected a text or a whole number, not a number"),
        (["q1"], "task mood: a group in column 'g': expected a text or a whole number, not a list"),
    ],
)
def test_what_is_no_group(make_rows: MakeRows, value: Any, rule: str) -> None:
    with pytest.raises(DataError) as caught:
        RowGroups(MOOD.target, "g").read(make_rows(label=["a", "b"], g=["q1", value]))
    [problem] = caught.value.problems
    assert (problem.place, problem.rule) == ("data.csv:3", rule)
