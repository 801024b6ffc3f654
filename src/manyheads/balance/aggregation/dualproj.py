"""DualProj: the mean gradient, brought out of conflict with each.

David Lopez-Paz and Marc'Aurelio Ranzato, Gradient Episodic Memory for Continual Learning, NeurIPS 2017, equation 11; as an
aggregation in Quinton and Rey, Jacobian Descent For Multi-Objective Optimization, 2024.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.dual_cone import project
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("dualproj")
class DualProj(Stateless):
    """The projection of the mean onto the dual cone of all gradients: the nearest step that makes no loss worse."""

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        return torch.from_numpy(project(gramian.numpy(), np.full(len(gramian), 1 / len(gramian))))
