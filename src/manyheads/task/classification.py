"""One label a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from manyheads.errors import RecipeError
from manyheads.nn.divergence import Divergence, mean_of, of_labels
from manyheads.nn.losses import cross_entropy, is_missing
from manyheads.task.base import TASKS, Judged, Prediction, Reading


@TASKS.register("classification")
class Classification:
    """scores (B, C), target (B,) of ids or (B, C) of probabilities; cross-entropy, class weights, label smoothing.

    `labels` are the names of the ids in their order; without them ids are their own names. `class_weights` has an entry
    a label and multiplies the loss of that label's rows. `focal` is gamma of the focal loss
    (`manyheads.nn.losses.cross_entropy`).
    """

    wants = "vector"
    metric = "accuracy"
    scheme = "none"

    def __init__(
        self,
        labels: Sequence[str] = (),
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
    ) -> None:
        self.labels = tuple(labels)
        self.class_weights = weights_of(class_weights, len(labels))
        self.label_smoothing = label_smoothing
        self.focal = focal

    @property
    def outputs(self) -> int:
        return len(self.labels)

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        of_classes = None if self.class_weights is None else self.class_weights.to(scores)
        return cross_entropy(scores, target, of_classes, self.label_smoothing, weights, self.focal)

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        return measure(of_labels(first, temperature), of_labels(second, temperature))

    def blend(self, scores: Tensor) -> Tensor:
        return mean_of(of_labels(scores))

    def judge(self, scores: Tensor, target: Tensor) -> Judged:
        known = ~is_missing(target)
        gold, found = target[known], scores[known].float()
        if gold.is_floating_point():
            gold = gold.argmax(-1)
        probabilities = found.softmax(-1)
        return Judged(
            named(gold.tolist(), self.labels), named(found.argmax(-1).tolist(), self.labels), probabilities.cpu().numpy()
        )

    def predict(self, task: str, scores: Tensor, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        probabilities = scores.float().softmax(-1).cpu()
        answers = named(probabilities.argmax(-1).tolist(), self.labels)
        names = named(range(scores.shape[-1]), self.labels)
        return [
            Prediction(task, str(answer), dict(zip(map(str, names), row, strict=True)))
            for answer, row in zip(answers, probabilities.tolist(), strict=True)
        ]


def named(ids: Sequence[int], labels: Sequence[str]) -> list[Any]:
    """Names of ids; the ids themselves where there are no names."""
    return [labels[i] for i in ids] if labels else list(ids)


def weights_of(given: Sequence[float] | None, labels: int) -> Tensor | None:
    """(C,) class weights, None where none are given; RecipeError where there are not as many as `labels`, 0 for any number."""
    if given is not None and labels and len(given) != labels:
        raise RecipeError(f"{labels} labels want as many class weights, found {len(given)}")
    return None if given is None else torch.tensor(given, dtype=torch.float32)
