"""MGDA: the shortest of all weighted means of the gradients.

Jean-Antoine Désidéri, Multiple-gradient descent algorithm (MGDA) for multiobjective optimization, Comptes Rendus
Mathématique 2012; for deep networks in Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.dual_cone import simplex
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("mgda")
class MGDA(Stateless):
    """Weights of the simplex that make the sum shortest, exactly where Sener and Koltun take steps of Frank and Wolfe.

    A task whose gradient is zero takes all of the weight: no step can improve all tasks, and there is none.
    """

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        return torch.from_numpy(simplex(gramian.numpy()))
