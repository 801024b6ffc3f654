"""One of two labels a row, told by a single score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from manyheads.errors import Problem, RecipeError, listed
from manyheads.nn.divergence import Divergence, mean_of, of_labels
from manyheads.nn.losses import binary_cross_entropy, is_missing
from manyheads.task.base import TASKS, Judged, Prediction, Reading
from manyheads.task.classification import named, weights_of
from manyheads.types import IGNORE


@TASKS.register("binary")
class Binary:
    """scores (B, 1) or (B,), target (B,) of ids 0 and 1, or (B,) or (B, 1) of probabilities of the second label.

    The sigmoid of a score is the probability of the second label, the positive one, which is the answer from `threshold` on.
    Binary cross-entropy; `class_weights` has an entry a label and multiplies the loss of that label's rows; `label_smoothing`
    and `focal`, gamma of the focal loss, as in `manyheads.nn.losses.cross_entropy`. Without `labels` ids are their own names.
    """

    wants = "vector"
    metric = "accuracy"
    scheme = "none"
    outputs = 1

    def __init__(
        self,
        labels: Sequence[str] = (),
        threshold: float = 0.5,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
    ) -> None:
        if labels and len(labels) != 2:
            raise RecipeError(Problem("a binary task has two labels", value=listed(labels)))
        self.labels = tuple(labels)
        self.threshold = threshold
        self.class_weights = weights_of(class_weights, 2)
        self.label_smoothing = label_smoothing
        self.focal = focal

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        column, wanted = scores.reshape(-1, 1), _column(target)
        return binary_cross_entropy(column, wanted, weights, self.class_weights, self.focal, self.label_smoothing)

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        return measure(*(of_labels(_of_both(scores, scores.dim() > 1), temperature) for scores in (first, second)))

    def blend(self, scores: Tensor) -> Tensor:
        """(M, 2): scores of both labels, so that they can be put into another order; `gap` takes these as well."""
        return mean_of(of_labels(_of_both(scores, scores.dim() > 2)))

    def judge(self, scores: Tensor, target: Tensor) -> Judged:
        """Of probabilities the likelier label is gold, at 0.5 the first."""
        target = _column(target)
        known = ~is_missing(target)
        found = self._probabilities(scores[known])
        gold = (target[known] > 0.5).reshape(-1).long()
        return Judged(named(gold.tolist(), self.labels), self._answers(found), found.cpu().numpy())

    def predict(self, task: str, scores: Tensor, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        found = self._probabilities(scores).cpu()
        names = [str(name) for name in named(range(2), self.labels)]
        return [
            Prediction(task, str(answer), dict(zip(names, row, strict=True)))
            for answer, row in zip(self._answers(found), found.tolist(), strict=True)
        ]

    def _probabilities(self, scores: Tensor) -> Tensor:
        """(B, 2) float32."""
        column = scores.float().reshape(-1, 1)
        return torch.cat([-column, column], 1).sigmoid()

    def _answers(self, probabilities: Tensor) -> list[str | int]:
        return named((probabilities[:, 1] >= self.threshold).long().tolist(), self.labels)


def _of_both(scores: Tensor, columns: bool) -> Tensor:
    """(..., 2) of both labels, whose softmax has the probabilities; `columns`: there is a last dimension, of 1 or already 2."""
    scores = scores if columns else scores.unsqueeze(-1)
    return scores if scores.shape[-1] == 2 else torch.cat([torch.zeros_like(scores), scores], -1)


def _column(target: Tensor) -> Tensor:
    """(B, 1) float, NaN where missing."""
    if not target.is_floating_point():
        target = target.float().masked_fill(target == IGNORE, torch.nan)
    return target.reshape(-1, 1)
