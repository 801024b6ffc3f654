"""How alike two texts are that are read each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from manyheads.nn.divergence import Divergence
from manyheads.nn.losses import cosines, is_missing, multiple_negatives, squared_error
from manyheads.task.base import TASKS, Judged, Prediction, Reading

MatchingLoss: TypeAlias = Literal["cosine", "contrastive"]


@TASKS.register("matching")
class Matching:
    """vectors (B, 2, D), one for each of a row's two texts; target (B,) the cosine they should have, NaN where missing.

    loss      `cosine`: squared error of the cosine (Reimers and Gurevych, "Sentence-BERT", EMNLP 2019). `contrastive`: each
              row that belongs together is to find its second text among those of the batch
              (`manyheads.nn.losses.multiple_negatives`), so that its loss hangs on which rows its batch has
    scale     what cosines are multiplied by in the softmax of `contrastive`
    positive  the target from which on a row belongs together

    Its path ends in vectors, without a head, so that `manyheads.predict.Predictor.embed` gives them for single texts.
    """

    wants = "vector"
    metric = "spearman"
    labels: tuple[str, ...] = ()
    scheme = "none"
    outputs = 0

    def __init__(self, loss: MatchingLoss = "cosine", scale: float = 20.0, positive: float = 1.0) -> None:
        self.kind, self.scale = loss, scale
        self.positive = float(np.float32(positive))  # as targets are, so that a label is never below itself

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        if self.kind == "contrastive":
            return multiple_negatives(scores, target, self.scale, self.positive, weights)
        return squared_error(cosines(scores), target, weights)

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        """The squared difference of both cosines, of vectors (M, 2, D) or told, (M,)."""
        one, two = (cosines(answer) if answer.dim() > 1 else answer for answer in (first, second))
        return (one - two).square() / temperature**2  # as a score is by its temperature

    def blend(self, scores: Tensor) -> Tensor:
        """(M,)."""
        return (scores if scores.dim() == 2 else torch.stack([cosines(vectors) for vectors in scores])).mean(0)

    def judge(self, scores: Tensor, target: Tensor) -> Judged:
        known = ~is_missing(target)
        return Judged(target[known].tolist(), cosines(scores)[known].tolist())

    def predict(self, task: str, scores: Tensor, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        return [Prediction(task, value) for value in cosines(scores).tolist()]
