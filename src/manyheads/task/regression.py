"""A number a row."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.nn.divergence import Divergence
from manyheads.nn.losses import absolute_error, is_missing, squared_error
from manyheads.task.base import TASKS, Judged, Prediction, Reading

_LOSSES = {"squared": squared_error, "absolute": absolute_error}


@TASKS.register("regression")
class Regression:
    """scores (B, 1) or (B,), target (B,), NaN where missing; squared or absolute error. Answers are clipped to [low, high]."""

    wants = "vector"
    metric = "spearman"
    scheme = "none"
    labels: tuple[str, ...] = ()
    outputs = 1

    def __init__(self, low: float | None = None, high: float | None = None, loss: str = "squared") -> None:
        if loss not in _LOSSES:
            raise RecipeError(Problem(f"the loss of numbers is one of {listed(_LOSSES)}", "loss", loss, nearest(loss, _LOSSES)))
        self.low, self.high, self._loss = low, high, _LOSSES[loss]

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        return self._loss(scores, target, weights)

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        return (first.reshape(-1) - second.reshape(-1)).square() / temperature**2  # as a score is by its temperature

    def blend(self, scores: Tensor) -> Tensor:
        return self._clip(scores.float()).mean(0)

    def judge(self, scores: Tensor, target: Tensor) -> Judged:
        known = ~is_missing(target)
        found = self._clip(scores.float().reshape(target.shape))
        return Judged(target[known].tolist(), found[known].tolist())

    def predict(self, task: str, scores: Tensor, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        return [Prediction(task, value) for value in self._clip(scores.float().reshape(-1)).tolist()]

    def _clip(self, scores: Tensor) -> Tensor:
        return scores if self.low is None and self.high is None else scores.clamp(self.low, self.high)
