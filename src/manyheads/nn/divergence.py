"""How far two answers are apart: divergences of distributions over labels, from their log-probabilities.

Each takes `first` and `second` (..., C), natural logarithms of probabilities that sum to 1, and gives (...): 0 for equal ones,
above 0 for others. All grow as the square of a small difference, so that a temperature T shrinks them, and their gradients
with it, about T² times (Hinton et al., 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

Divergence: TypeAlias = Callable[[Tensor, Tensor], Tensor]
_LEAST = -1e15  # the logarithm of what cannot be: its probability is 0.0, and squares of differences to it stay finite


def of_labels(scores: Tensor, temperature: float = 1.0) -> Tensor:
    """Scores (..., C) of labels that exclude each other as log-probabilities (..., C), at least in single precision."""
    return (_wide(scores) / temperature).log_softmax(-1).clamp(min=_LEAST)


def of_flags(scores: Tensor, temperature: float = 1.0) -> Tensor:
    """Scores (..., C) of labels that are each there or not as log-probabilities (..., C, 2), of there and of not."""
    x = _wide(scores) / temperature
    return torch.stack([logsigmoid(x), logsigmoid(-x)], -1).clamp(min=_LEAST)


def mean_of(logs: Tensor) -> Tensor:
    """Log-probabilities (K, ..., C) of K answers as those (..., C) of the mean of their probabilities."""
    return logs.logsumexp(0) - math.log(len(logs))


def kl(first: Tensor, second: Tensor) -> Tensor:
    """Kullback-Leibler divergence of `second` from `first`: the sum of p (log p - log q) over labels."""
    return (first.exp() * (first - second)).sum(-1)


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """The sum of both Kullback-Leibler divergences."""
    return ((first.exp() - second.exp()) * (first - second)).sum(-1)


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """The mean of the divergences of the mean distribution from either (Lin, 1991); at most log 2."""
    middle = torch.logaddexp(first, second) - math.log(2)
    return (kl(first, middle) + kl(second, middle)) / 2


def hellinger(first: Tensor, second: Tensor) -> Tensor:
    """The squared Hellinger distance, 1 less the sum of the square roots of p q; at most 1."""
    return ((first / 2).exp() - (second / 2).exp()).square().sum(-1) / 2


def centred_mse(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference of the log-probabilities, each less its mean, which are the scores less theirs.

    (Ba and Caruana, 2014, match scores; a shift of all of them is no other answer and costs nothing here.) Temperature times
    its square leaves it as it is.
    """
    return (first - first.mean(-1, keepdim=True) - second + second.mean(-1, keepdim=True)).square().mean(-1)


DIVERGENCES: dict[str, Divergence] = {
    "kl": kl,
    "symmetric_kl": symmetric_kl,
    "js": jensen_shannon,
    "hellinger": hellinger,
    "mse": centred_mse,
}
"""By the names that recipes use; the first argument is the teacher's answer."""


def _wide(scores: Tensor) -> Tensor:
    return scores if scores.dtype == torch.float64 else scores.float()
