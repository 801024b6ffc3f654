"""GradDrop: each coordinate takes the gradients of one sign, which is drawn by how pure the signs are.

Zhao Chen and others, Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout, NeurIPS 2020,
algorithm 1, at the parameters in place of the activations.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS, Stateless
from manyheads.balance.weighting.contract import Moment
from manyheads.seeds import generator


@AGGREGATIONS.register("graddrop")
class GradDrop(Stateless):
    """The sum of what was kept.

    leak  share of each gradient that passes in any case
    """

    def __init__(self, leak: float) -> None:
        self.leak = leak

    def combine(self, rows: Tensor, moment: Moment) -> Tensor:
        drawn = generator(moment.seed, "graddrop", moment.step).random(rows.shape[1], dtype=np.float32)
        total = rows.sum(0)
        size = rows.abs().sum(0)
        purity = (1 + total / size.where(size > 0, 1)) / 2  # share of what is positive
        positive = purity > torch.from_numpy(drawn).to(rows.device)
        kept = torch.zeros_like(total)
        for row in rows:
            kept += row.where((row > 0) == positive, 0)
        return self.leak * total + (1 - self.leak) * kept
