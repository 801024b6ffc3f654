"""Scores of orders of candidates, each the mean over rows, from 0 to 1.

A row's candidates are ordered by score, best first; of equal scores the one that stands first in the row. A candidate is
relevant whose relevance is above 0, and the relevance itself is its gain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.metrics.metric import Undefined, metric


@dataclass(frozen=True, slots=True)
class Relevances:
    """How relevant each candidate of a row is, from 0 on; at least one is above 0."""

    values: tuple[float, ...]


@metric("mrr", needs="rankings")
def mrr(gold: Sequence[Relevances], predicted: Sequence[Sequence[float]], labels: Sequence[Any]) -> float:
    """Mean of 1 / rank of the first relevant candidate (Voorhees, "The TREC-8 question answering track report", 1999)."""
    return _mean(gold, predicted, _reciprocal_rank)


@metric("hits@1", needs="rankings")
def hits_at_1(gold: Sequence[Relevances], predicted: Sequence[Sequence[float]], labels: Sequence[Any]) -> float:
    """Share of rows whose first candidate is relevant."""
    return _mean(gold, predicted, lambda gains: float(gains[0] > 0))


@metric("ndcg", needs="rankings")
def ndcg(gold: Sequence[Relevances], predicted: Sequence[Sequence[float]], labels: Sequence[Any]) -> float:
    """Normalised discounted cumulative gain over all candidates.

    The sum of relevance / log2(1 + rank), divided by that of the best order (Järvelin and Kekäläinen, "Cumulated gain-based
    evaluation of IR techniques", 2002, with discounts from the second rank on).
    """
    return _mean(gold, predicted, _normalised_gain)


@metric("ndcg@10", needs="rankings")
def ndcg_at_10(gold: Sequence[Relevances], predicted: Sequence[Sequence[float]], labels: Sequence[Any]) -> float:
    """As `ndcg`, of the first ten candidates alone, in the best order too."""
    return _mean(gold, predicted, lambda gains: _normalised_gain(gains, 10))


def order(scores: Sequence[float]) -> list[int]:
    """The candidates by number, the best first.

    >>> order([0.5, 2.0, 0.5])
    [1, 0, 2]
    """
    return sorted(range(len(scores)), key=lambda i: -scores[i])


def _mean(gold: Sequence[Relevances], predicted: Sequence[Sequence[float]], value: Callable[[np.ndarray], float]) -> float:
    """The mean over rows of the value of the gains, (P,) in the order of the scores."""
    total = 0.0
    for wanted, scores in zip(gold, predicted, strict=True):
        if not np.isfinite(scores).all():
            raise Undefined("the score of a candidate is not finite")
        total += value(np.asarray(wanted.values)[order(scores)])
    return total / len(gold)


def _reciprocal_rank(gains: np.ndarray) -> float:
    return 1 / (1 + int((gains > 0).argmax()))


def _normalised_gain(gains: np.ndarray, first: int | None = None) -> float:
    best = -np.sort(-gains)
    discounts = np.log2(2 + np.arange(len(gains)))
    return float((gains / discounts)[:first].sum() / (best / discounts)[:first].sum())
