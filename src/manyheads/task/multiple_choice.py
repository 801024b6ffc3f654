"""The right one of a row's choices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from manyheads.nn.divergence import Divergence, mean_of, of_labels
from manyheads.nn.losses import cross_entropy, is_missing
from manyheads.task.base import TASKS, Judged, Prediction, Reading


@TASKS.register("multiple_choice")
class MultipleChoice:
    """scores (B, P, 1), one for each of a row's P choices, -inf where there are fewer; target (B,) the number of the right one.

    Cross-entropy over the choices of a row, as SWAG was scored with BERT (Zellers et al. 2018, Devlin et al. 2019).
    """

    wants = "vector"
    metric = "accuracy"
    labels: tuple[str, ...] = ()
    scheme = "none"
    outputs = 1

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        return cross_entropy(_of_choices(scores), target, weights=weights)

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        """Over a row's own choices, as many as `second` has; `first` may be padded further."""
        first, second = _of_choices(first), _of_choices(second)
        counts = (~second.isneginf()).sum(-1)
        found = second.new_zeros(len(second), dtype=torch.promote_types(second.dtype, torch.float32))
        for count in {*counts.tolist()} or {0}:  # none of no rows is a sum with a graph too
            rows = counts == count
            found[rows] = measure(*(of_labels(scores[rows, :count], temperature) for scores in (first, second)))
        return found

    def blend(self, scores: Tensor) -> Tensor:
        """(M, P)."""
        given = scores.squeeze(-1) if scores.dim() > 3 else scores
        return mean_of(of_labels(given)).masked_fill(given[0].isneginf(), -math.inf)

    def judge(self, scores: Tensor, target: Tensor) -> Judged:
        known = ~is_missing(target)
        return Judged(target[known].tolist(), _of_choices(scores)[known].argmax(-1).tolist())

    def predict(self, task: str, scores: Tensor, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        probabilities = _of_choices(scores).float().softmax(-1).cpu()
        found = []
        for i, shares in enumerate(probabilities.tolist()):
            choices = rows[i].choices if rows else tuple(map(str, range(len(shares))))
            best = max(range(len(choices)), key=shares.__getitem__)
            numbered = {str(number): shares[number] for number in range(len(choices))}
            found.append(Prediction(task, choices[best], numbered, index=best))
        return found


def _of_choices(scores: Tensor) -> Tensor:
    """(B, P)."""
    return scores.squeeze(-1) if scores.dim() > 2 else scores
