"""Errors and correlations of numbers. Gold and predicted are float64 arrays of the same length, at least 1."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats
from sklearn import metrics as sk

from manyheads.metrics.metric import Undefined, metric


@metric("mse", needs="numbers", higher=False)
def mse(gold: np.ndarray, predicted: np.ndarray, labels: Sequence[Any]) -> float:
    """Mean squared error."""
    return float(sk.mean_squared_error(gold, predicted))


@metric("rmse", needs="numbers", higher=False)
def rmse(gold: np.ndarray, predicted: np.ndarray, labels: Sequence[Any]) -> float:
    """Root of the mean squared error."""
    return float(sk.root_mean_squared_error(gold, predicted))


@metric("mae", needs="numbers", higher=False)
def mae(gold: np.ndarray, predicted: np.ndarray, labels: Sequence[Any]) -> float:
    """Mean absolute error."""
    return float(sk.mean_absolute_error(gold, predicted))


@metric("pearson", needs="numbers")
def pearson(gold: np.ndarray, predicted: np.ndarray, labels: Sequence[Any]) -> float:
    """Pearson's correlation; undefined for fewer than two items and where all gold or all predicted numbers are equal."""
    return _correlation(stats.pearsonr, gold, predicted)


@metric("spearman", needs="numbers")
def spearman(gold: np.ndarray, predicted: np.ndarray, labels: Sequence[Any]) -> float:
    """Spearman's rank correlation, ties by mean rank; undefined where Pearson's is."""
    return _correlation(stats.spearmanr, gold, predicted)


def _correlation(function: Callable[..., Any], gold: np.ndarray, predicted: np.ndarray) -> float:
    if len(gold) < 2:
        raise Undefined("a correlation needs at least two items")
    for side, numbers in (("gold", gold), ("predicted", predicted)):
        if (numbers == numbers[0]).all():
            raise Undefined(f"all {side} numbers are equal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)  # the value is exact enough, or not finite
        warnings.simplefilter("ignore", stats.ConstantInputWarning)  # differences that vanish beside the mean
        return float(function(gold, predicted).statistic)
