"""Errors and correlations of numbers against scikit-learn, scipy and values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from manyheads.metrics import METRICS, Score

NAMES = ("mse", "rmse", "mae", "pearson", "spearman")
numbers = st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 3))
pairs = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30)


def score_of(gold, predicted, names=NAMES):
    score = Score(names)
    score.add(gold, predicted)
    return score


@given(pairs)
def test_equal_the_libraries(items):
    gold, predicted = (list(side) for side in zip(*items, strict=True))
    assume(len(set(gold)) > 1 and len(set(predicted)) > 1)
    found = score_of(gold, predicted).compute()
    assert found["mse"] == pytest.approx(sk.mean_squared_error(gold, predicted))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(gold, predicted))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(gold, predicted))
    assert found["pearson"] == pytest.approx(stats.pearsonr(gold, predicted).statistic, abs=1e-9)
    assert found["spearman"] == pytest.approx(stats.spearmanr(gold, predicted).statistic, abs=1e-9)


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter_to_the_last_bit(items, random):
    shuffled = random.sample(items, len(items))
    one, two = (score_of(*zip(*some, strict=True)).compute() for some in (items, shuffled))
    assert one == pytest.approx(two, abs=0, rel=0, nan_ok=True)


def test_by_hand():
    found = score_of([1.0, 2.0, 3.0], [1.0, 4.0, 3.0]).compute()
    assert found["mse"] == pytest.approx(4 / 3)
    assert found["rmse"] == pytest.approx(math.sqrt(4 / 3))
    assert found["mae"] == pytest.approx(2 / 3)
    assert found["pearson"] == pytest.approx(2 / math.sqrt(2 * (42 / 9)))
    assert found["spearman"] == pytest.approx(0.5)


def test_ties_share_their_mean_rank():
    assert score_of([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], ["spearman"]).compute()["spearman"] == pytest.approx(math.sqrt(3) / 2)


@pytest.mark.parametrize(
    ("gold", "predicted", "why"),
    [
        ([1.0], [2.0], "at least two items"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "all gold numbers are equal"),
        ([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], "all predicted numbers are equal"),
    ],
)
@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_correlation_with_a_constant_is_undefined(name, gold, predicted, why):
    score = score_of(gold, predicted, [name, "mse"])
    found = score.compute()
    assert math.isnan(found[name])
    assert math.isfinite(found["mse"])
    assert why in score.undefined[name]


def test_nearly_constant_input_gives_no_warning():
    found = score_of([1.0, 2.0, 3.0], [1e9, 1e9, 1e9 + 1e-6], ["pearson", "spearman"]).compute()
    assert all(-1 <= value <= 1 or math.isnan(value) for value in found.values())


def test_nan_gold_is_a_missing_label():
    assert score_of([1.0, math.nan, 3.0], [1.0, 7.0, 3.0], ["mse"]).compute() == {"mse": 0.0}
    score = score_of([math.nan], [7.0], ["mse"])
    assert math.isnan(score.compute()["mse"])
    assert score.undefined == {"mse": "no item has a number"}


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_a_prediction_that_is_not_finite_makes_every_score_undefined(strange):
    score = score_of([1.0, 2.0], [1.0, strange])
    assert all(math.isnan(value) for value in score.compute().values())
    assert set(score.undefined.values()) == {"a predicted number is not finite"}


def test_overflow_is_undefined_and_not_a_warning():
    score = score_of([1e300, 0.0], [-1e300, 1.0], ["mse"])
    assert math.isnan(score.compute()["mse"])
    assert "not finite" in score.undefined["mse"]


def test_whole_numbers_and_arrays_are_numbers():
    assert score_of([1, 2], [1, 4], ["mse"]).compute() == {"mse": 2.0}
    assert score_of(np.array([1, 2], dtype=np.float32), np.array([1.0, 4.0]), ["mse"]).compute() == {"mse": 2.0}


def test_errors_are_better_lower_and_correlations_higher():
    assert [METRICS[name].higher for name in NAMES] == [False, False, False, True, True]
