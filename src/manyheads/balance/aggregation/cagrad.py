"""CAGrad: near the mean gradient, the step that helps the worst-off task most.

Bo Liu and others, Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021, algorithm 1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.dual_cone import Array, nonnegative, simplex
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("cagrad")
class CAGrad(Stateless):
    """The d that maximises min_i <g_i, d> within |d - g0| <= c |g0|, where g0 is the mean.

    Solved exactly. The shortest way from g0 to where every <g_i, d> is at least m is d = g0 + J'v with v >= 0, a quadratic
    program; it grows with m, and the m that is sought makes it c |g0| long.
    """

    def __init__(self, c: float) -> None:
        self.c = c

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        scale = float(gramian.diagonal().mean())
        mean = np.full(len(gramian), 1 / len(gramian))
        if scale <= 0:
            return torch.from_numpy(mean)
        return torch.from_numpy(mean + _way(gramian.numpy() / scale, mean, self.c))


def _way(products: Array, mean: Array, c: float) -> Array:
    """(K,) v, for gradients of about length 1."""
    gains = products @ mean
    length = math.sqrt(max(float(mean @ gains), 0.0))
    radius = c * length

    def over(level: float) -> float:
        v = nonnegative(products, gains - level)
        return math.sqrt(max(float(v @ products @ v), 0.0)) - radius

    shortest = simplex(products)
    reach = math.sqrt(max(float(shortest @ products @ shortest), 0.0))  # what a d of length 1 gains at most for each task
    low, high = float(gains.min()), (length + radius) * reach
    if radius <= 0 or high <= low:
        return np.zeros(len(products))
    level = high if over(high) <= 0 else float(brentq(over, low, high, xtol=1e-15, rtol=1e-14))
    return nonnegative(products, gains - level)
