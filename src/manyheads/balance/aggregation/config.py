"""ConFIG: the direction that has the same angle to all gradients.

Qiang Liu and others, ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks, ICLR 2025, equation 2.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.dual_cone import cosines
from manyheads.balance.weighting.contract import Moment

_RESOLVED = 1e-10  # eigenvalues below this share of the largest are rounding: gradients are of single precision


@AGGREGATIONS.register("config")
class ConFIG(Stateless):
    """Along U+ 1, U the unit gradients and + the pseudo-inverse; as long as the gradients' projections onto it together.

    U+ = U'(UU')+, and UU' are the cosines C, so the direction is U'p with p = C+ 1 and its squared length p'Cp. Projections
    add up to |g|'Cp / sqrt(p'Cp).
    """

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        unit, inverse = cosines(gramian.numpy())
        p = np.linalg.pinv(unit, rcond=_RESOLVED, hermitian=True).sum(1)
        along = unit @ p
        square = float(p @ along)
        lengths = np.sqrt(gramian.diagonal().numpy().clip(min=0))
        return torch.from_numpy(p * inverse * (float(lengths @ along) / square) if square > 0 else np.zeros_like(p))
