"""Losses as sums over supervised items, so that a step divides once, by the count of all its items.

Each takes scores and targets with gaps and returns a scalar; an item with a gap adds nothing. `items` counts the rest.
`weights` (B,) multiply the losses of each row's items, so that a row of weight 2 adds what two such rows add.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from manyheads.types import IGNORE


def cross_entropy(
    scores: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Scores (B, C) or (B, W, C); target of the same shape less C, `IGNORE` where missing, or (B, C) probabilities.

    With probabilities (soft labels) an item of NaN alone is missing. Class weights multiply an item's loss; they do not change
    the count it is divided by.
    """
    how = "sum" if weights is None else "none"
    if target.is_floating_point():
        known = ~is_missing(target)
        found = F.cross_entropy(scores[known], target[known], class_weights, reduction=how, label_smoothing=label_smoothing)
        return found if weights is None else (found * _beside(weights, known).expand_as(known)[known]).sum()
    flat = scores.reshape(-1, scores.shape[-1])
    found = F.cross_entropy(
        flat, target.reshape(-1), class_weights, ignore_index=IGNORE, reduction=how, label_smoothing=label_smoothing
    )
    return found if weights is None else (found.reshape(target.shape) * _beside(weights, target)).sum()


def binary_cross_entropy(scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Scores and target (B, C): the mean over the C labels, summed over rows; NaN targets are missing."""
    known = ~target.isnan()
    losses = F.binary_cross_entropy_with_logits(scores, target.nan_to_num(), reduction="none") * known
    return (losses if weights is None else losses * _beside(weights, target)).sum() / target.shape[-1]


def squared_error(scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Scores (B, 1) or (B,), target (B,): squared differences; missing are NaN and, among whole numbers, `IGNORE`."""
    known = ~target.isnan() if target.is_floating_point() else target != IGNORE
    losses = (scores.reshape(target.shape) - target.nan_to_num()).square() * known
    return (losses if weights is None else losses * _beside(weights, target)).sum()


def items(target: Tensor) -> int:
    """How many items of a target are supervised, as `is_missing` tells."""
    return int((~is_missing(target)).sum())


def is_missing(target: Tensor) -> Tensor:
    """(B,) or (B, W) bool: True where there is nothing to learn: `IGNORE`, NaN, or a last dimension of NaN alone."""
    if not target.is_floating_point():
        return target == IGNORE
    return target.isnan() if target.dim() == 1 else target.isnan().all(-1)


def without(target: Tensor, rows: Tensor) -> Tensor:
    """The target with nothing to learn in these rows, (B,) bool."""
    return target.masked_fill(_beside(rows, target), math.nan if target.is_floating_point() else IGNORE)


def _beside(rows: Tensor, target: Tensor) -> Tensor:
    """(B,) as (B, 1, ...), to stand beside a target (B, ...)."""
    return rows.reshape(-1, *(1 for _ in target.shape[1:]))
