"""Sum and mean: no gradient gives way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("sum")
class Sum:
    """Weight 1 for each."""

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        return torch.ones(len(gramian), dtype=gramian.dtype)

    def to_json(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...


@AGGREGATIONS.register("mean")
class Mean(Sum):
    """Weight 1 / K for each."""

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        return torch.full((len(gramian),), 1 / len(gramian), dtype=gramian.dtype)
