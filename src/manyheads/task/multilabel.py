"""Any number of labels a row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from manyheads.nn.divergence import Divergence, mean_of, of_flags
from manyheads.nn.losses import binary_cross_entropy, is_missing
from manyheads.task.base import TASKS, Judged, Prediction, Reading


@TASKS.register("multilabel")
class Multilabel:
    """scores and target (B, C), target 0, 1 or NaN; binary cross-entropy a label, averaged over the labels."""

    wants = "vector"
    metric = "f1_micro"
    scheme = "none"

    def __init__(self, labels: Sequence[str], threshold: float = 0.5) -> None:
        self.labels = tuple(labels)
        self.threshold = threshold

    @property
    def outputs(self) -> int:
        return len(self.labels)

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        return binary_cross_entropy(scores, target, weights)

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        return measure(of_flags(first, temperature), of_flags(second, temperature)).mean(-1)

    def blend(self, scores: Tensor) -> Tensor:
        there, absent = mean_of(of_flags(scores)).unbind(-1)
        return there - absent

    def judge(self, scores: Tensor, target: Tensor) -> Judged:
        known = ~is_missing(target)
        probabilities = scores[known].float().sigmoid().cpu().numpy()
        gold = target[known].cpu().numpy() > 0.5
        return Judged(self._sets(gold), self._sets(probabilities >= self.threshold), probabilities)

    def predict(self, task: str, scores: Tensor, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        probabilities = scores.float().sigmoid().cpu().numpy()
        answers = self._sets(probabilities >= self.threshold)
        return [
            Prediction(task, answer, dict(zip(self.labels, row, strict=True)))
            for answer, row in zip(answers, probabilities.tolist(), strict=True)
        ]

    def _sets(self, chosen: np.ndarray) -> list[tuple[str, ...]]:
        return [tuple(self.labels[i] for i in np.flatnonzero(row)) for row in chosen]
