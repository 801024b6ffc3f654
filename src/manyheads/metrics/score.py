"""Scores that add up over batches and processes: kept whole, computed at the end, so merging is exact."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from manyheads.metrics.base import METRICS, Scored


class Score:
    """Collects gold and predicted values of one task.

    `names` are metrics; `labels` and `scheme` are those of the task. Raises RecipeError for a name nobody registered.
    """

    def __init__(self, names: Sequence[str], labels: Sequence[str] = (), scheme: str = "none") -> None:
        self.metrics = [METRICS[name] for name in names]
        self.labels, self.scheme = tuple(labels), scheme
        self.gold: list[Any] = []
        self.predicted: list[Any] = []
        self.probabilities: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.gold)

    def add(self, gold: Sequence[Any], predicted: Sequence[Any], probabilities: np.ndarray | None = None) -> None:
        """Items of one batch, `probabilities` (N, C) where there are any."""
        if len(gold) != len(predicted):
            raise ValueError(f"{len(gold)} gold values and {len(predicted)} predictions")
        self.gold += list(gold)
        self.predicted += list(predicted)
        if probabilities is not None:
            self.probabilities.append(probabilities)

    def merge(self, other: Score) -> None:
        """Take in what another process or batch has collected."""
        self.gold += other.gold
        self.predicted += other.predicted
        self.probabilities += other.probabilities

    def compute(self) -> dict[str, float]:
        """Metric name to value; NaN where it is not defined, as for a correlation with a constant."""
        if not self.gold:
            return {m.name: math.nan for m in self.metrics}
        probabilities = np.concatenate(self.probabilities) if self.probabilities else None
        scored = Scored(self.gold, self.predicted, probabilities, self.labels, self.scheme)
        values: dict[str, float] = {}
        for metric in self.metrics:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an undefined value is NaN or 0 here, by rule, and not a warning
                result = metric.function(scored)
            values |= {metric.name: float(result)} if isinstance(result, int | float) else {k: float(v) for k, v in result.items()}
        return values
