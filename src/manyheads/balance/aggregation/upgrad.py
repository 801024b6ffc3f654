"""UPGrad: each gradient is brought out of conflict with all, and the mean of the results is taken.

Pierre Quinton and Valérian Rey, Jacobian Descent For Multi-Objective Optimization, 2024.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.dual_cone import project
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("upgrad")
class UPGrad(Stateless):
    """Mean over i of the projection of g_i onto the dual cone of all gradients: a step that makes no loss worse."""

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        return torch.from_numpy(project(gramian.numpy(), np.eye(len(gramian)) / len(gramian)).sum(0))
