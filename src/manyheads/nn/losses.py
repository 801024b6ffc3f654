"""Losses as sums over supervised items, so that a step divides once, by the count of all its items.

Each takes scores and targets with gaps and returns a scalar; an item with a gap adds nothing. `items` counts the rest.
`weights` (B,) multiply the losses of each row's items, so that a row of weight 2 adds what two such rows add.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.types import IGNORE


class Loss(Protocol):
    """The sum over supervised items; `weights` (B,) or None."""

    def __call__(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor: ...


def cross_entropy(
    scores: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    weights: Tensor | None = None,
    gamma: float = 0.0,
) -> Tensor:
    """Scores (B, C) or (B, W, C); target of the same shape less C, `IGNORE` where missing, or (B, C) probabilities.

    With probabilities (soft labels) an item of NaN alone is missing. Class weights multiply an item's loss; they do not change
    the count it is divided by.

    With `gamma` above 0 it is the focal loss (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017): what class c
    adds, -log p_c times its share of the target, is multiplied by (1 - p_c) ** gamma. Class weights are the paper's alpha.
    """
    known = ~is_missing(target)
    if gamma:
        found = _focal(scores[known], target[known], class_weights, label_smoothing, gamma)
        return found.sum() if weights is None else (found * _beside(weights, known).expand_as(known)[known]).sum()
    how = "sum" if weights is None else "none"
    if target.is_floating_point():
        found = F.cross_entropy(scores[known], target[known], class_weights, reduction=how, label_smoothing=label_smoothing)
        return found if weights is None else (found * _beside(weights, known).expand_as(known)[known]).sum()
    flat = scores.reshape(-1, scores.shape[-1])
    found = F.cross_entropy(
        flat, target.reshape(-1), class_weights, ignore_index=IGNORE, reduction=how, label_smoothing=label_smoothing
    )
    return found if weights is None else (found.reshape(target.shape) * _beside(weights, target)).sum()


def _focal(scores: Tensor, target: Tensor, class_weights: Tensor | None, label_smoothing: float, gamma: float) -> Tensor:
    """(N, C) and (N,) or (N, C) of items that are all known: (N,) losses."""
    logs = F.log_softmax(_exact(scores), -1)
    share = target.to(logs) if target.is_floating_point() else F.one_hot(target, logs.shape[-1]).to(logs)
    share = share * (1 - label_smoothing) + label_smoothing / logs.shape[-1]
    if class_weights is not None:
        share = share * class_weights.to(logs)
    rest = (-logs.expm1()).clamp(min=torch.finfo(logs.dtype).tiny)  # 1 - p; at 0 a root of it would have no finite slope
    return -(share * rest.pow(gamma) * logs).sum(-1)


def binary_cross_entropy(
    scores: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    class_weights: Tensor | None = None,
    gamma: float = 0.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Scores and target (B, C): the mean over the C labels, summed over rows; NaN targets are missing.

    A target is how likely its label is, mostly 0 or 1. `class_weights`, (2,) or for each label (2, C), multiply the losses of 0
    and of 1; `gamma` and `label_smoothing`, here over 0 and 1, as in `cross_entropy`.
    """
    known = ~target.isnan()
    wanted = target.nan_to_num() * (1 - label_smoothing) + label_smoothing / 2
    yes, no = (-F.logsigmoid(side) for side in (_exact(scores), -_exact(scores)))  # -log p, -log(1 - p)
    of_no, of_yes = (1.0, 1.0) if class_weights is None else class_weights.to(yes).unbind()
    if gamma:  # (1 - p) ** gamma, p ** gamma
        of_yes, of_no = of_yes * (-gamma * no).exp(), of_no * (-gamma * yes).exp()
    losses = (wanted * of_yes * yes + (1 - wanted) * of_no * no) * known
    return (losses if weights is None else losses * _beside(weights, target)).sum() / target.shape[-1]


def squared_error(scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Scores (B, 1) or (B,), target (B,): squared differences; missing are NaN and, among whole numbers, `IGNORE`."""
    return _apart(torch.square, scores, target, weights)


def absolute_error(scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """As `squared_error`, without the square: what is far off counts by its distance alone."""
    return _apart(torch.abs, scores, target, weights)


def _apart(measure: Callable[[Tensor], Tensor], scores: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    known = ~target.isnan() if target.is_floating_point() else target != IGNORE
    losses = measure(scores.reshape(target.shape) - target.nan_to_num()) * known
    return (losses if weights is None else losses * _beside(weights, target)).sum()


def listwise(scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Scores (B, P), -inf for candidates that a row does not have; target (B, P) relevances from 0 on, NaN there.

    The cross-entropy between each candidate's share of the row's relevance and the softmax of the row's scores, summed over
    rows: ListNet's top-one loss (Cao et al., "Learning to rank: from pairwise approach to listwise approach", ICML 2007).
    """
    known = ~is_missing(target)
    kept, wanted = _candidates(scores, target)
    there = ~wanted.isnan()
    logs = F.log_softmax(_exact(kept), -1).masked_fill(~there, 0)
    relevance = wanted.nan_to_num() / max(wanted.shape[-1], 1)  # the largest numbers have no sum
    found = -(relevance / relevance.sum(-1, keepdim=True) * logs).sum(-1)
    return found.sum() if weights is None else (found * weights[known]).sum()


def pairwise(scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """As `listwise`: log(1 + exp(s_j - s_i)), the mean over a row's pairs of which i is more relevant than j, summed over rows.

    RankNet's loss where the better of two is known (Burges et al., "Learning to rank using gradient descent", ICML 2005).
    """
    known = ~is_missing(target)
    kept, wanted = _candidates(scores, target)
    better = wanted[:, :, None] > wanted[:, None, :]  # never of NaN
    level = _exact(kept).masked_fill(wanted.isnan(), 0)
    losses = F.softplus(level[:, None, :] - level[:, :, None]) * better
    found = losses.sum((1, 2)) / better.sum((1, 2)).clamp(min=1)
    return found.sum() if weights is None else (found * weights[known]).sum()


def cosines(vectors: Tensor) -> Tensor:
    """(B, 2, D) -> (B,): the cosine of each row's two vectors, in single precision at least."""
    first, second = _exact(vectors).unbind(1)
    return F.cosine_similarity(first, second, dim=-1)


def multiple_negatives(vectors: Tensor, target: Tensor, scale: float, positive: float, weights: Tensor | None = None) -> Tensor:
    """Vectors (B, 2, D), target (B,) how alike a row's two texts are, NaN where missing: summed over rows from `positive` on.

    For each of these the cross-entropy of its own second vector among the second vectors of all rows with a target, scored
    by `scale` times the cosine with its first one: the loss of multiple negatives (Henderson et al., "Efficient natural
    language response suggestion for Smart Reply", 2017), with cosines for their dot products.
    """
    known = ~is_missing(target)
    first, second = F.normalize(_exact(vectors[known]), dim=-1).unbind(1)
    with torch.autocast(first.device.type, enabled=False):  # it would make the product in half precision
        scores = scale * first @ second.T
    losses = -F.log_softmax(scores, -1).diagonal() * (target[known] >= positive)
    return (losses if weights is None else losses * weights[known]).sum()


def _candidates(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Of the rows with a target; a row without one may have more candidates than any that has."""
    known = ~is_missing(target)
    return scores[known, : target.shape[1]], target[known]


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


def _exact(scores: Tensor) -> Tensor:
    """In single precision at least."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _beside(rows: Tensor, target: Tensor) -> Tensor:
    """(B,) as (B, 1, ...), to stand beside a target (B, ...)."""
    return rows.reshape(-1, *(1 for _ in target.shape[1:]))
