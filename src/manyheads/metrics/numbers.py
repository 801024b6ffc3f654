"""Metrics of numbers."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from manyheads.metrics.base import Scored, metric


@metric("mse", higher=False)
def mse(scored: Scored) -> float:
    """Mean squared error."""
    gold, predicted = _arrays(scored)
    return float(np.mean((gold - predicted) ** 2))


@metric("rmse", higher=False)
def rmse(scored: Scored) -> float:
    """Root of the mean squared error."""
    return math.sqrt(mse(scored))


@metric("mae", higher=False)
def mae(scored: Scored) -> float:
    """Mean absolute error."""
    gold, predicted = _arrays(scored)
    return float(np.mean(np.abs(gold - predicted)))


@metric("pearson")
def pearson(scored: Scored) -> float:
    """Linear correlation; NaN for fewer than two items or a constant."""
    gold, predicted = _arrays(scored)
    return float(stats.pearsonr(gold, predicted).statistic) if _varies(gold, predicted) else math.nan


@metric("spearman")
def spearman(scored: Scored) -> float:
    """Correlation of ranks; NaN for fewer than two items or a constant."""
    gold, predicted = _arrays(scored)
    return float(stats.spearmanr(gold, predicted).statistic) if _varies(gold, predicted) else math.nan


def _arrays(scored: Scored) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(scored.gold, dtype=np.float64), np.asarray(scored.predicted, dtype=np.float64)


def _varies(gold: np.ndarray, predicted: np.ndarray) -> bool:
    return len(gold) > 1 and bool(np.ptp(gold) > 0) and bool(np.ptp(predicted) > 0)
