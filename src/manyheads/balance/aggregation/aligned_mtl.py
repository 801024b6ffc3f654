"""Aligned-MTL: gradients are made orthogonal and equally long, as close to what they were as can be, and then averaged.

Dmitry Senushkin and others, Independent Component Alignment for Multi-Task Learning, CVPR 2023, algorithm 1.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor
from torchjd.aggregation import AlignedMTLWeighting
from torchjd.linalg import PSDMatrix

from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("aligned_mtl")
class AlignedMTL(Stateless):
    """Mean of the aligned gradients, by torchjd.

    scale  the length that all principal components get: the least of theirs, their median, or the root of their mean square

    torchjd judges by the precision of the numbers which components are rounding. Gradients have single precision, so their
    Gramian comes as such; in double precision the noise of two dependent gradients would be the least component.
    """

    def __init__(self, scale: Literal["min", "median", "rmse"]) -> None:
        self.rule = AlignedMTLWeighting(scale_mode=scale)

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        trace = gramian.trace()
        unit = (gramian / trace if trace > 0 else gramian).float()
        with torch.no_grad():
            return self.rule(cast(PSDMatrix, unit)).to(gramian.dtype)
