"""Scores of orders of candidates, beside scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score

from manyheads.errors import RecipeError
from manyheads.metrics import Relevances, Score

ALL = ("mrr", "hits@1", "ndcg", "ndcg@10")


def scored(gold: list[list[float]], predicted: list[list[float]]) -> dict[str, float]:
    score = Score(ALL)
    for wanted, found in zip(gold, predicted, strict=True):
        score.add([Relevances(tuple(wanted))], [tuple(found)])
    return score.compute()


@given(st.integers(1, 5), st.integers(2, 14), st.integers(0, 999))
def test_gains_are_those_of_scikit_learn(rows: int, candidates: int, seed: int) -> None:
    noise = np.random.default_rng(seed)
    gold = noise.integers(0, 4, (rows, candidates)).astype(float)
    gold[:, 0] = 2
    predicted = noise.permuted(np.tile(np.arange(candidates, dtype=float), (rows, 1)), axis=1)
    found = scored(gold.tolist(), predicted.tolist())
    assert found["ndcg"] == pytest.approx(ndcg_score(gold, predicted))
    assert found["ndcg@10"] == pytest.approx(ndcg_score(gold, predicted, k=10))


@given(st.integers(1, 5), st.integers(3, 9), st.integers(0, 999))
def test_of_one_relevant_candidate_the_reciprocal_rank_is_the_average_precision(rows: int, candidates: int, seed: int) -> None:
    noise = np.random.default_rng(seed)
    right = noise.integers(0, candidates, rows)
    predicted = noise.permuted(np.tile(np.arange(candidates, dtype=float), (rows, 1)), axis=1)
    gold = np.eye(candidates)[right]
    found = scored(gold.tolist(), predicted.tolist())
    assert found["mrr"] == pytest.approx(label_ranking_average_precision_score(gold, predicted))
    assert found["hits@1"] == pytest.approx(top_k_accuracy_score(right, predicted, k=1, labels=range(candidates)))


def test_by_hand() -> None:
    """Rows of different lengths; of equal scores the first candidate comes first; any relevance above 0 is a hit."""
    found = scored([[0, 0.5, 3], [0, 1]], [[1.0, 2.0, 0.0], [7.0, 7.0]])
    assert found["mrr"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["hits@1"] == pytest.approx(1 / 2)
    first = (0.5 + 3 / 2) / (3 + 0.5 / math.log2(3))
    assert found["ndcg"] == pytest.approx((first + 1 / math.log2(3)) / 2)


def test_a_score_that_is_not_finite_is_told() -> None:
    score = Score(["mrr"])
    score.add([Relevances((0.0, 1.0))], [(math.nan, 0.0)])
    assert math.isnan(score.compute()["mrr"])
    assert score.undefined["mrr"] == "the score of a candidate is not finite"


def test_orders_are_not_scored_as_labels_nor_labels_as_orders() -> None:
    score = Score(["accuracy"])
    score.add([Relevances((0.0, 1.0))], [(1.0, 0.0)])
    with pytest.raises(
        RecipeError, match=r"needs label sets, which this task does not give(.|\n)*metrics that fit: 'hits@1', 'mrr', 'ndcg'"
    ):
        score.compute()
    labels = Score(["mrr"])
    labels.add([1.5], [2.5])
    with pytest.raises(RecipeError, match="needs rankings, which this task does not give"):
        labels.compute()
