"""Sum and mean: no gradient gives way."""

from __future__ import annotations

import torch
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("sum")
class Sum(Stateless):
    """Weight 1 for each."""

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        return torch.ones(len(gramian), dtype=gramian.dtype)


@AGGREGATIONS.register("mean")
class Mean(Stateless):
    """Weight 1 / K for each."""

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        return torch.full((len(gramian),), 1 / len(gramian), dtype=gramian.dtype)
