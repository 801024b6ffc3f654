from __future__ import annotations

import torch

from manyheads.balance.aggregation.plain import Mean, Sum
from manyheads.balance.weighting import Moment

MOMENT = Moment(1, 0, 0, ("a", "b", "c", "d"))


def test_sum_and_mean() -> None:
    gramian = torch.randn(4, 4, dtype=torch.float64)
    assert Sum().weights(gramian, MOMENT).tolist() == [1] * 4
    assert Mean().weights(gramian, MOMENT).tolist() == [0.25] * 4
