"""What several weightings do with numbers, so that no loss, zero or huge, leads out of range."""

from __future__ import annotations

import math
from collections.abc import Mapping

from manyheads.balance.weighting.contract import Weights

EPSILON = 1e-8  # beside it a loss is nothing: it keeps logs and ratios finite


def log_of(loss: float) -> float:
    """log(loss + 1e-8), and a loss below zero counts as zero.

    >>> log_of(1.0 - 1e-8), round(log_of(0.0), 3)
    (0.0, -18.421)
    """
    return math.log(max(loss, 0.0) + EPSILON)


def shares(scores: Mapping[str, float]) -> Weights:
    """Softmax times the number of tasks: equal scores give exactly 1 each, and the order of the tasks changes no bit.

    >>> shares({"a": 5.0, "b": 5.0}), shares({"a": 1e30, "b": 0.0})
    ({'a': 1.0, 'b': 1.0}, {'a': 2.0, 'b': 0.0})
    """
    top = max(scores.values(), default=0.0)
    parts = {task: math.exp(score - top) for task, score in scores.items()}
    total = math.fsum(parts.values())
    return {task: len(parts) * part / total for task, part in parts.items()}
