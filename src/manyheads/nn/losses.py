"""Losses as sums over supervised items, so that a step divides once, by the count of all its items.

Each takes scores and targets with gaps and returns a scalar; an item with a gap adds nothing. `items` counts the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.types import IGNORE


def cross_entropy(scores: Tensor, target: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """scores (B, C) or (B, W, C); target of the same shape less C, `IGNORE` where missing, or (B, C) probabilities.

    With probabilities (soft labels) a row of NaN is missing. Class weights multiply an item's loss; they do not change
    the count it is divided by.
    """
    if target.is_floating_point():
        known = ~target.isnan().any(-1)
        return F.cross_entropy(scores[known], target[known], weight, reduction="sum", label_smoothing=label_smoothing)
    flat = scores.reshape(-1, scores.shape[-1])
    return F.cross_entropy(
        flat, target.reshape(-1), weight, ignore_index=IGNORE, reduction="sum", label_smoothing=label_smoothing
    )


def binary_cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
    """scores and target (B, C): the mean over the C labels, summed over rows; NaN targets are missing."""
    known = ~target.isnan()
    losses = F.binary_cross_entropy_with_logits(scores, target.nan_to_num(), reduction="none")
    return (losses * known).sum() / target.shape[-1]


def squared_error(scores: Tensor, target: Tensor) -> Tensor:
    """scores (B, 1) or (B,), target (B,): squared differences; NaN targets are missing."""
    known = ~target.isnan()
    return ((scores.reshape(target.shape) - target.nan_to_num()).square() * known).sum()


def items(target: Tensor) -> int:
    """How many items of a target are supervised: entries that are no `IGNORE`, rows that are not NaN."""
    if not target.is_floating_point():
        return int((target != IGNORE).sum())
    known = ~target.isnan()
    return int(known.reshape(len(target), -1).any(1).sum()) if target.dim() else int(known)


def is_missing(target: Tensor) -> Tensor:
    """(B,) or (B, W) bool: True where there is nothing to learn."""
    if not target.is_floating_point():
        return target == IGNORE
    return target.isnan() if target.dim() == 1 else target.isnan().all(-1)


def finite(value: Tensor) -> bool:
    """True when every entry is a number."""
    return bool(torch.isfinite(value).all())
