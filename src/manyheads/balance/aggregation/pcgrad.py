"""PCGrad: from each gradient, what conflicts with the others is taken out, one after the other.

Tianhe Yu and others, Gradient Surgery for Multi-Task Learning, NeurIPS 2020, algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.aggregation.order import others
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("pcgrad")
class PCGrad(Stateless):
    """The sum of the gradients, each projected onto the normal plane of those that it conflicts with, in random order."""

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        products = gramian.numpy()
        total = torch.zeros(len(gramian), dtype=gramian.dtype)
        for i in range(len(gramian)):
            own = torch.zeros_like(total)
            own[i] = 1.0
            view = own.numpy()
            for j in others(moment, i, "pcgrad"):
                product = float(view @ products[j])
                if product < 0 < products[j, j]:
                    view[j] -= product / products[j, j]
            total += own
        return total
