"""A single score for two labels; its slow twin is a classification by two scores, of which the first is 0."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from manyheads.errors import RecipeError
from manyheads.nn.losses import items
from manyheads.task.base import Task
from manyheads.task.binary import Binary
from manyheads.task.classification import Classification
from manyheads.types import IGNORE

LABELS = ("ham", "spam")
SCORES = torch.tensor([[2.0], [-3.0], [0.0]])
NAN = float("nan")
SPELLINGS = [
    torch.tensor([1, IGNORE, 0]),
    torch.tensor([1.0, NAN, 0.0]),
    torch.tensor([[1.0], [NAN], [0.0]]),
]


def two(scores: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(scores), scores], 1)


@pytest.mark.parametrize("target", SPELLINGS)
def test_the_loss_is_that_of_a_classification_whose_first_score_is_zero(target: Tensor) -> None:
    ids = torch.tensor([1, IGNORE, 0])
    for weights in (None, torch.tensor([1.0, 2.0, 0.5])):
        for of_classes in (None, [3.0, 0.25]):
            wanted = Classification(LABELS, of_classes).loss(two(SCORES), ids, weights)
            assert_close(Binary(LABELS, class_weights=of_classes).loss(SCORES, target, weights), wanted)
            assert_close(Binary(LABELS, class_weights=of_classes).loss(SCORES[:, 0], target, weights), wanted)
    assert items(target) == 2


@given(st.lists(st.tuples(st.floats(-30, 30, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=5))
def test_of_probabilities_too(rows: list[tuple[float, float]]) -> None:
    scores, shares = (torch.tensor(column)[:, None] for column in zip(*rows, strict=True))
    wanted = Classification(LABELS, [3.0, 0.25]).loss(two(scores), torch.cat([1 - shares, shares], 1))
    assert_close(Binary(LABELS, class_weights=[3.0, 0.25]).loss(scores, shares), wanted, rtol=1e-4, atol=1e-5)


def test_smoothing_is_that_of_a_classification() -> None:
    wanted = Classification(LABELS, [3.0, 0.25], 0.2).loss(two(SCORES), SPELLINGS[0])
    assert_close(Binary(LABELS, 0.5, [3.0, 0.25], 0.2).loss(SCORES, SPELLINGS[0]), wanted)


def test_a_row_without_a_label_has_no_gradient() -> None:
    scores = SCORES.clone().requires_grad_(True)
    Task("t", ["x"], Binary(LABELS)).loss_sum(scores, SPELLINGS[2], torch.tensor([0.0, 1.0, 1.0])).backward()
    assert scores.grad is not None
    assert scores.grad.flatten().tolist() == [0, 0, 0.5]


@pytest.mark.parametrize("target", SPELLINGS)
def test_judging_names_both_labels_and_leaves_out_rows_without_one(target: Tensor) -> None:
    judged = Binary(LABELS).judge(SCORES, target)
    assert (judged.gold, judged.predicted) == (["spam", "ham"], ["spam", "spam"])
    assert judged.probabilities is not None
    assert_close(torch.from_numpy(judged.probabilities), two(SCORES).softmax(1)[[0, 2]])


def test_gold_is_the_likelier_label_and_the_first_where_both_are_as_likely() -> None:
    assert Binary(LABELS).judge(SCORES, torch.tensor([[0.51], [0.5], [0.49]])).gold == ["spam", "ham", "ham"]


def test_the_positive_label_is_the_answer_from_the_threshold_on() -> None:
    def answers(threshold: float) -> list[object]:
        return [p.value for p in Binary(LABELS, threshold).predict("t", SCORES)]

    assert answers(0.5) == ["spam", "ham", "spam"]
    assert answers(0.51) == ["spam", "ham", "ham"]
    assert answers(0.04) == ["spam", "spam", "spam"]
    assert Binary(LABELS, 0.51).judge(SCORES, SPELLINGS[0]).predicted == ["spam", "ham"]
    found = Binary(LABELS).predict("t", SCORES)[0]
    assert found.probabilities == pytest.approx({"ham": 1 / (1 + math.exp(2)), "spam": 1 / (1 + math.exp(-2))})
    assert list(Binary().predict("t", SCORES)[0].probabilities) == ["0", "1"]


def test_an_unlikely_label_keeps_its_digits() -> None:
    found = Binary(LABELS).predict("t", torch.tensor([[60.0]]))[0]
    assert found.probabilities["ham"] == pytest.approx(8.7565e-27, rel=1e-3)


def test_half_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Binary(LABELS, class_weights=[1, 2]).loss(SCORES.bfloat16(), SPELLINGS[2]).dtype == torch.float32
    assert Binary(LABELS).judge(SCORES.bfloat16(), SPELLINGS[0]).predicted == ["spam", "spam"]


def test_the_mean_loss_of_torch() -> None:
    target = torch.tensor([[1.0], [1.0], [0.0]])
    assert_close(Binary(LABELS).loss(SCORES, target) / 3, F.binary_cross_entropy_with_logits(SCORES, target))


def test_there_are_two_labels_and_as_many_weights() -> None:
    with pytest.raises(RecipeError, match="a binary task has two labels; found"):
        Binary(("a", "b", "c"))
    with pytest.raises(RecipeError, match="2 labels want as many class weights, found 3"):
        Binary(LABELS, class_weights=[1, 2, 3])


def test_what_the_type_says_of_itself() -> None:
    kind = Binary(list(LABELS))
    assert (kind.wants, kind.metric, kind.scheme, kind.labels, kind.outputs) == ("vector", "accuracy", "none", LABELS, 1)
