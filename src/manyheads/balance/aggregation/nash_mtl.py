"""Nash-MTL: the step that tasks would agree on when they bargain.

Aviv Navon and others, Multi-Task Learning as a Bargaining Game, ICML 2022, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads.balance.aggregation.bargain import bargain
from manyheads.balance.aggregation.contract import AGGREGATIONS
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("nash_mtl")
class NashMTL:
    """Weights w > 0 with Gw = 1 / w, solved exactly where the paper takes a sequence of convex approximations.

    max_norm      longest step; the Gramian is divided by its norm before, as the paper's code does. None: no limit
    update_every  solve every so many steps and use the last weights in between; a task without any makes it solve
    """

    def __init__(self, max_norm: float | None, update_every: int) -> None:
        self.max_norm, self.update_every = max_norm, update_every
        self.last: dict[str, float] = {}

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        products = gramian.numpy()
        scale = float(np.abs(products).max())
        if scale == 0:
            return torch.zeros(len(gramian), dtype=gramian.dtype)
        if moment.step % self.update_every == 0 or not set(moment.tasks) <= set(self.last):
            found = bargain(products / (scale * float(np.linalg.norm(products / scale))), 1.0)
            self.last |= zip(moment.tasks, found.tolist(), strict=True)
        weights = np.array([self.last[task] for task in moment.tasks])
        length = math.sqrt(scale) * math.sqrt(max(float(weights @ (products / scale) @ weights), 0.0))
        if self.max_norm is not None and length > self.max_norm:
            weights *= self.max_norm / length
        return torch.from_numpy(weights)

    def to_json(self) -> dict[str, Any]:
        return {"last": dict(self.last)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.last = dict(state["last"])
