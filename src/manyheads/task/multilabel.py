"""Any number of labels a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.nn.divergence import Divergence, mean_of, of_flags
from manyheads.nn.losses import binary_cross_entropy, is_missing
from manyheads.task.base import TASKS, Judged, Prediction, Reading
from manyheads.task.classification import weights_of

_THRESHOLD = 0.5  # of a label that is not named


@TASKS.register("multilabel")
class Multilabel:
    """scores and target (B, C), target 0, 1 or NaN; binary cross-entropy a label, averaged over the labels.

    A label is predicted from its `threshold` on, one for all or a mapping that names some; with `top` that many are, the most
    probable ones, and no threshold is looked at.
    `class_weights` has an entry a label and multiplies its loss where a row has it, not where it lacks it; `label_smoothing`
    and `focal`, gamma of the focal loss, as in `manyheads.nn.losses.cross_entropy`.
    """

    wants = "vector"
    metric = "f1_micro"
    scheme = "none"

    def __init__(
        self,
        labels: Sequence[str],
        threshold: float | Mapping[str, float] = 0.5,
        top: int | None = None,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
    ) -> None:
        self.labels = tuple(labels)
        given = threshold if isinstance(threshold, Mapping) else dict.fromkeys(labels, threshold)
        if unknown := [label for label in given if label not in self.labels]:
            rule = f"no label is called this; there are {listed(labels)}"
            raise RecipeError(*(Problem(rule, "threshold", label, nearest(label, labels)) for label in unknown))
        self.threshold = np.array([given.get(label, _THRESHOLD) for label in labels], np.float32)
        self.top = top
        there = weights_of(class_weights, len(labels))
        self.class_weights = None if there is None else torch.stack([torch.ones_like(there), there])  # of 0 and of 1
        self.label_smoothing = label_smoothing
        self.focal = focal

    @property
    def outputs(self) -> int:
        return len(self.labels)

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        return binary_cross_entropy(scores, target, weights, self.class_weights, self.focal, self.label_smoothing)

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        return measure(of_flags(first, temperature), of_flags(second, temperature)).mean(-1)

    def blend(self, scores: Tensor) -> Tensor:
        there, absent = mean_of(of_flags(scores)).unbind(-1)
        return there - absent

    def judge(self, scores: Tensor, target: Tensor) -> Judged:
        known = ~is_missing(target)
        probabilities = scores[known].float().sigmoid().cpu().numpy()
        gold = target[known].cpu().numpy() > 0.5
        return Judged(self._sets(gold), self._sets(self._chosen(probabilities)), probabilities)

    def predict(self, task: str, scores: Tensor, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        probabilities = scores.float().sigmoid().cpu().numpy()
        answers = self._sets(self._chosen(probabilities))
        return [
            Prediction(task, answer, dict(zip(self.labels, row, strict=True)))
            for answer, row in zip(answers, probabilities.tolist(), strict=True)
        ]

    def _chosen(self, probabilities: np.ndarray) -> np.ndarray:
        """(B, C) bool: the labels to predict; of equal ones the first is taken."""
        if self.top is None:
            found: np.ndarray = probabilities >= self.threshold
            return found
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.top]
        found = np.zeros(probabilities.shape, bool)
        np.put_along_axis(found, best, True, axis=1)
        return found

    def _sets(self, chosen: np.ndarray) -> list[tuple[str, ...]]:
        return [tuple(self.labels[i] for i in np.flatnonzero(row)) for row in chosen]
