"""Tensors in memory as a data set: gaps, ragged fields, clear refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from manyheads.data.dataset import Dataset
from manyheads.data.tensors import TensorDataset
from manyheads.errors import RecipeError
from manyheads.nn.losses import items
from manyheads.types import IGNORE

X = torch.arange(8.0).reshape(4, 2)


def test_it_is_a_dataset() -> None:
    face: Dataset = TensorDataset({"x": X}, {"a": torch.zeros(4), "b": [1, 2, 3, 4]}, name="plane", split="dev")
    assert (face.name, face.split, face.tasks, len(face)) == ("plane", "dev", ("a", "b"), 4)


def test_defaults() -> None:
    data = TensorDataset({"x": X}, {})
    assert (data.name, data.split, data.tasks) == ("data", "train", ())
    assert data.lengths.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0]), np.array([0, 2])[::-1], (2, 0), range(2, -1, -2)])
def test_a_batch_has_the_rows_in_their_order(rows: Any) -> None:
    batch = TensorDataset({"x": X, "y": X + 1}, {"t": torch.tensor([5, 6, 7, 8])}, name="plane").batch(rows)
    assert torch.equal(batch.fields["x"], X[[2, 0]])
    assert torch.equal(batch.fields["y"], X[[2, 0]] + 1)
    assert batch.targets["t"].tolist() == [7, 5]
    assert batch.dataset == "plane"
    assert list(batch.rows) == [2, 0]
    assert len(batch) == 2


def test_rows_from_memory_that_must_not_be_written() -> None:
    rows = np.array([1, 2])
    rows.flags.writeable = False
    assert torch.equal(TensorDataset({"x": X}, {}).batch(rows).fields["x"], X[1:3])


# fields -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=6))
def test_ragged_vectors_are_padded_with_zero(lists: list[list[int]]) -> None:
    data = TensorDataset({"ids": [torch.tensor(one, dtype=torch.long) for one in lists]}, {})
    found = data.batch(range(len(lists))).fields["ids"]
    width = max(map(len, lists))
    assert found.tolist() == [[*one, *[0] * (width - len(one))] for one in lists]
    assert data.lengths.tolist() == [max(len(one), 1) for one in lists]


def test_lengths_add_up_over_ragged_fields() -> None:
    ragged = [torch.ones(2), torch.ones(3)]
    assert TensorDataset({"a": ragged, "b": ragged, "x": torch.ones(2, 9)}, {}).lengths.tolist() == [4, 6]


@pytest.mark.parametrize(
    "field", [["a", "b"], [["a"], ["b", "c"]], [object(), None], [torch.ones(2), "b"], [torch.ones(1, 2), torch.ones(2, 2)]]
)
def test_other_lists_stay_lists(field: list[Any]) -> None:
    data = TensorDataset({"f": field}, {})
    (second, first) = data.batch(np.array([1, 0])).fields["f"]
    assert second is field[1]
    assert first is field[0]


# targets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "wanted", "count"),
    [
        ([1, 0, None], [1, 0, IGNORE], [1, 1, 0]),
        ([1, -1, 0], [1, IGNORE, 0], [1, 0, 1]),
        ([1, 0, math.nan], [1, 0, IGNORE], [1, 1, 0]),
        ([True, False, None], [1, 0, IGNORE], [1, 1, 0]),
        ([None, None, None], [IGNORE] * 3, [0, 0, 0]),
        (torch.tensor([1, -1, 0]), [1, IGNORE, 0], [1, 0, 1]),
        (torch.tensor([1, 2, 0], dtype=torch.uint8), [1, 2, 0], [1, 1, 1]),
        (torch.tensor([True, False, True]), [1, 0, 1], [1, 1, 1]),
        (torch.tensor([1, IGNORE, 0]), [1, IGNORE, 0], [1, 0, 1]),
        (torch.tensor([[1, -1], [-1, -1], [0, 1]]), [[1, IGNORE], [IGNORE, IGNORE], [0, 1]], [1, 0, 2]),
    ],
)
def test_whole_numbers_and_their_gaps(given_: Any, wanted: list[Any], count: list[int]) -> None:
    data = TensorDataset({"x": X[:3]}, {"t": given_})
    target = data.batch([0, 1, 2]).targets["t"]
    assert target.dtype == torch.int64
    assert target.tolist() == wanted
    assert data.items("t").tolist() == count
    assert torch.equal(data.gold("t", [0, 1, 2]), target)


@pytest.mark.parametrize(
    ("given_", "wanted", "count"),
    [
        ([1.5, None, -1.0], [1.5, math.nan, -1.0], [1, 0, 1]),
        ([1, math.nan, 0.5], [1.0, math.nan, 0.5], [1, 0, 1]),
        (torch.tensor([1.5, math.nan, -1.0]), [1.5, math.nan, -1.0], [1, 0, 1]),
        (
            torch.tensor([[0.5, 0.5], [math.nan, math.nan], [math.nan, 1.0]]),
            [[0.5, 0.5], [math.nan, math.nan], [math.nan, 1.0]],
            [1, 0, 1],
        ),
    ],
)
def test_other_numbers_and_their_gaps(given_: Any, wanted: list[Any], count: list[int]) -> None:
    data = TensorDataset({"x": X[:3]}, {"t": given_})
    found = data.batch([0, 1, 2]).targets["t"]
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=0, atol=0, equal_nan=True)
    assert data.items("t").tolist() == count


def test_minus_one_may_be_a_label_or_another_number_the_gap() -> None:
    assert TensorDataset({"x": X}, {"t": [-1, 0, 1, 2]}, missing=None).batch([0, 1]).targets["t"].tolist() == [-1, 0]
    assert TensorDataset({"x": X}, {"t": [9, 0, 1, 2]}, missing=9).batch([0, 1]).targets["t"].tolist() == [IGNORE, 0]


@given(st.lists(st.none() | st.integers(-1, 3) | st.just(math.nan), min_size=1, max_size=8), st.booleans())
def test_items_are_those_of_the_batch(values: list[Any], floats: bool) -> None:
    numbers = [v if v is None else float(v) for v in values] if floats else values
    data = TensorDataset({"x": torch.zeros(len(values), 1)}, {"t": numbers})
    for row in range(len(values)):
        assert items(data.batch([row]).targets["t"]) == data.items("t")[row]


def test_several_label_sets_over_the_same_rows() -> None:
    batch = TensorDataset({"x": X}, {"circle": [1, 0, None, 1], "square": torch.tensor([-1, 1, 0, 1])}).batch([0, 2])
    assert {task: target.tolist() for task, target in batch.targets.items()} == {"circle": [1, IGNORE], "square": [IGNORE, 0]}


def test_targets_carry_no_gradient_and_stay_as_they_were() -> None:
    target = torch.tensor([1, -1, 0, 1])
    soft = torch.rand(4, 2, requires_grad=True)
    batch = TensorDataset({"x": X}, {"t": target, "s": soft}).batch([1])
    assert target.tolist() == [1, -1, 0, 1]
    assert not batch.targets["s"].requires_grad


# refusals -----------------------------------------------------------------------------------------------------------


def refused(fields: Any, targets: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        TensorDataset(fields, targets)
    return str(caught.value)


@pytest.mark.parametrize(
    ("target", "type_"), [("abcd", "str"), ({"a": 1}, "dict"), (None, "NoneType"), (np.zeros(4), "ndarray"), (3, "int")]
)
def test_a_target_that_is_no_tensor_names_label_and_type(target: Any, type_: str) -> None:
    message = refused({"x": X}, {"circle": target})
    assert "targets.circle" in message
    assert type_ in message


@pytest.mark.parametrize("entry", ["a", [1], torch.tensor(1)])
def test_a_list_of_anything_else_names_label_and_type(entry: Any) -> None:
    message = refused({"x": X}, {"circle": [1, None, entry, 1]})
    assert "targets.circle" in message
    assert type(entry).__name__ in message


@pytest.mark.parametrize("target", [torch.tensor(1), torch.zeros(4, dtype=torch.complex64)])
def test_a_target_without_rows_or_order_is_refused(target: Tensor) -> None:
    assert "targets.t" in refused({"x": X}, {"t": target})


def test_unequal_sizes_name_both() -> None:
    message = refused({"x": X, "y": X[:3]}, {"t": [1, 2]})
    assert "fields.y: has 3 rows, but fields.x has 4" in message
    assert "targets.t: has 2 rows, but fields.x has 4" in message


WEIGHTS: list[tuple[Any, str]] = [
    ({"t": [1, 2, 3]}, "weights.t: weights are one a row, and there are 4 rows"),
    ({"t": torch.ones(4, 1)}, "weights.t: weights are one a row"),
    ({"t": [1, -1, math.nan, math.inf]}, "weights.t row 1: a weight is a finite number from 0 on; found '-1.0'"),
    ({"t": [1, None, 1, 1]}, "weights.t: weights are a tensor (N,) or a list of numbers"),
    ({"t": "abcd"}, "weights.t: weights are a tensor (N,) or a list of numbers"),
    ({"t": [0, 5, 0, 0]}, "weights.t: all weights of rows with a label are 0"),
    ({"tt": [1, 1, 1, 1]}, "weights.tt: no target is called this (there are: 't'); found 'tt'; did you mean 't'"),
]


@pytest.mark.parametrize(("weights", "message"), WEIGHTS, ids=[m for _, m in WEIGHTS])
def test_weights_are_finite_numbers_from_0_on(weights: Any, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        TensorDataset({"x": X}, {"t": [1, None, 0, 1]}, weights=weights)
    assert message in str(caught.value)


def test_weights_multiply_the_items_of_their_rows() -> None:
    tags = torch.tensor([[1, 0], [-1, 1], [0, -1], [-1, -1]])
    data = TensorDataset({"x": X}, {"t": [1, None, 0, 1], "tags": tags}, weights={"t": [2, 9, 0.5, 0], "tags": [3, 2, 1, 7]})
    assert data.items("t").tolist() == [2, 0, 0.5, 0]
    assert data.items("tags").tolist() == [6, 2, 1, 0]
    assert data.batch([2, 0]).weights["t"].tolist() == [0.5, 2]
    assert TensorDataset({"x": X}, {"t": [1, 0, 0, 1]}, weights={"t": [1, 1, 1, 1]}).batch([0]).weights == {}


@pytest.mark.parametrize("field", [torch.tensor(1.0), "text", np.zeros(4), None])
def test_a_field_is_a_tensor_or_a_list(field: Any) -> None:
    assert "fields.x" in refused({"x": field}, {})


def test_something_must_be_there() -> None:
    assert "needs a field" in refused({}, {"t": [1]})
    assert "needs a row" in refused({"x": []}, {})
