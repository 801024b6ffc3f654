"""IMTL-G: the step whose projection onto each gradient has one length.

Liyang Liu and others, Towards Impartial Multi-task Learning, ICLR 2021, section 3.1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.dual_cone import cosines
from manyheads.balance.weighting.contract import Moment

_RESOLVED = 1e-10  # eigenvalues below this share of the largest are rounding: gradients are of single precision


@AGGREGATIONS.register("imtl_g")
class IMTLG(Stateless):
    """Weights w with <g, g_i> / |g_i| the same for each i and sum 1; they may be negative.

    With unit gradients u_i: all <g, u_i> are equal where all entries of C (w |g|) are, C the cosines; of dependent gradients
    the shortest such w |g|. No step where the weights would add up to nothing.
    """

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        unit, inverse = cosines(gramian.numpy())
        found = np.linalg.pinv(unit, rcond=_RESOLVED, hermitian=True).sum(1) * inverse
        total = found.sum()
        return torch.from_numpy(found / total if abs(total) > 1e-9 * np.abs(found).sum() else np.zeros_like(found))
