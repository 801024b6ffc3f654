"""FairGrad: the step that divides the decrease of the losses fairly, in the sense of alpha-fair allocation.

Hao Ban and Kaiyi Ji, Fair Resource Allocation in Multi-Task Learning, ICML 2024, equation 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from manyheads.balance.aggregation.bargain import bargain
from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("fairgrad")
class FairGrad(Stateless):
    """Weights w > 0 with Gw = w^(-1/alpha), solved exactly.

    alpha  1 is proportional fairness, 2 the least total delay, more comes closer to helping the worst-off task alone
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        return torch.from_numpy(bargain(gramian.numpy(), 1 / self.alpha))
