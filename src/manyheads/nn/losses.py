"""Losses as sums over supervised items, so that a step divides once, by the count of all its items.

Each takes scores and targets with gaps and returns a scalar; an item with a gap adds nothing. `items` counts the rest.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from manyheads.types import IGNORE


def cross_entropy(scores: Tensor, target: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Scores (B, C) or (B, W, C); target of the same shape less C, `IGNORE` where missing, or (B, C) probabilities.

    With probabilities (soft labels) an item of NaN alone is missing. Class weights multiply an item's loss; they do not change
    the count it is divided by.
    """
    if target.is_floating_point():
        known = ~is_missing(target)
        return F.cross_entropy(scores[known], target[known], weight, reduction="sum", label_smoothing=label_smoothing)
    flat = scores.reshape(-1, scores.shape[-1])
    return F.cross_entropy(
        flat, target.reshape(-1), weight, ignore_index=IGNORE, reduction="sum", label_smoothing=label_smoothing
    )


def binary_cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
    """Scores and target (B, C): the mean over the C labels, summed over rows; NaN targets are missing."""
    known = ~target.isnan()
    losses = F.binary_cross_entropy_with_logits(scores, target.nan_to_num(), reduction="none")
    return (losses * known).sum() / target.shape[-1]


def squared_error(scores: Tensor, target: Tensor) -> Tensor:
    """Scores (B, 1) or (B,), target (B,): squared differences; missing are NaN and, among whole numbers, `IGNORE`."""
    known = ~target.isnan() if target.is_floating_point() else target != IGNORE
    return ((scores.reshape(target.shape) - target.nan_to_num()).square() * known).sum()


def items(target: Tensor) -> int:
    """How many items of a target are supervised, as `is_missing` tells."""
    return int((~is_missing(target)).sum())


def is_missing(target: Tensor) -> Tensor:
    """(B,) or (B, W) bool: True where there is nothing to learn: `IGNORE`, NaN, or a last dimension of NaN alone."""
    if not target.is_floating_point():
        return target == IGNORE
    return target.isnan() if target.dim() == 1 else target.isnan().all(-1)
