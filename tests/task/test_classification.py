from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from manyheads.errors import RecipeError
from manyheads.task.classification import Classification, named
from manyheads.types import IGNORE

SCORES = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 1.0, 0.0]])
LABELS = ("bad", "fair", "good")


def test_predictions_have_a_label_and_a_probability_a_label() -> None:
    found = Classification(LABELS).predict("mood", SCORES)
    assert [p.value for p in found] == ["bad", "good", "fair"]
    assert all(p.task == "mood" for p in found)
    assert list(found[0].probabilities) == list(LABELS)
    assert found[0].probabilities["bad"] == pytest.approx(math.exp(2) / (math.exp(2) + 2))


@given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=1, max_size=5))
def test_probabilities_sum_to_one_and_their_highest_is_the_answer(rows: list[list[float]]) -> None:
    for found in Classification(LABELS).predict("mood", torch.tensor(rows)):
        assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert found.probabilities[str(found.value)] == max(found.probabilities.values())


def test_without_labels_ids_are_their_own_names() -> None:
    assert [p.value for p in Classification().predict("a", SCORES)] == ["0", "2", "1"]
    assert list(Classification().predict("a", SCORES)[0].probabilities) == ["0", "1", "2"]
    assert list(Classification().judge(SCORES, torch.tensor([0, 1, 2])).gold) == [0, 1, 2]
    assert named([1, 0], ()) == [1, 0]


def test_judging_leaves_out_rows_without_a_label() -> None:
    judged = Classification(LABELS).judge(SCORES, torch.tensor([0, IGNORE, 2]))
    assert judged.gold == ["bad", "good"]
    assert judged.predicted == ["bad", "fair"]
    assert judged.probabilities is not None
    assert judged.probabilities.shape == (2, 3)


def test_judging_soft_labels_takes_the_likeliest_as_gold() -> None:
    target = torch.tensor([[0.1, 0.2, 0.7], [float("nan")] * 3, [0.6, 0.4, 0.0]])
    assert Classification(LABELS).judge(SCORES, target).gold == ["good", "bad"]


def test_judging_nothing() -> None:
    judged = Classification(LABELS).judge(SCORES, torch.full((3,), IGNORE))
    assert (judged.gold, judged.predicted) == ([], [])


def test_half_precision_scores_are_judged_as_floats() -> None:
    judged = Classification(LABELS).judge(SCORES.bfloat16(), torch.tensor([0, 1, 2]))
    assert judged.probabilities is not None
    assert judged.probabilities.dtype == "float32"


def test_the_loss_is_the_sum_of_cross_entropies() -> None:
    target = torch.tensor([0, IGNORE, 2])
    assert_close(Classification().loss(SCORES, target), F.cross_entropy(SCORES, target) * 2)
    soft = F.one_hot(torch.tensor([0, 1, 2])).float()
    assert_close(Classification().loss(SCORES, soft), F.cross_entropy(SCORES, torch.tensor([0, 1, 2])) * 3)


def test_class_weights_and_smoothing_reach_the_loss() -> None:
    target, weight = torch.tensor([0, 1, 2]), [1, 2, 4]
    wanted = F.cross_entropy(SCORES, target, torch.tensor(weight).float(), reduction="sum", label_smoothing=0.2)
    assert_close(Classification(LABELS, weight, 0.2).loss(SCORES, target), wanted)


def test_there_is_a_class_weight_a_label() -> None:
    with pytest.raises(RecipeError, match="3 labels want as many class weights, found 2"):
        Classification(LABELS, [1.0, 2.0])


def test_what_the_type_says_of_itself() -> None:
    kind = Classification(list(LABELS))
    assert (kind.wants, kind.metric, kind.scheme, kind.labels, kind.outputs) == ("vector", "accuracy", "none", LABELS, 3)
