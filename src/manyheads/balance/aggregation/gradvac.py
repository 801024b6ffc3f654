"""GradVac: gradients are turned until each pair is as alike as such pairs have been.

Zirui Wang and others, Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively Multilingual
Models, ICLR 2021, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads.balance.aggregation.contract import AGGREGATIONS
from manyheads.balance.aggregation.order import others
from manyheads.balance.dual_cone import Array
from manyheads.balance.weighting.contract import Moment


@AGGREGATIONS.register("gradvac")
class GradVac:
    """Sum of the gradients, to each of which enough of the others is added to reach the running mean of their cosine.

    beta  share of the new cosine in that mean; it starts at 0, and with `beta` 0 this is PCGrad
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta
        self.means: dict[str, dict[str, float]] = {}

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        products = gramian.numpy()
        total = np.zeros(len(products))
        for i, task in enumerate(moment.tasks):
            means = self.means.setdefault(task, {})
            own = np.zeros(len(products))
            own[i] = 1.0
            for j in others(moment, i, "gradvac"):
                own[j] += self._turn(products, own, j, means, moment.tasks[j])
            total += own
        return torch.from_numpy(total)

    def _turn(self, products: Array, own: Array, j: int, means: dict[str, float], other: str) -> float:
        """How much of gradient j to add; 0 where one of the two is zero, which says nothing about their likeness."""
        length = math.sqrt(max(float(own @ products @ own), 0.0))
        length_j = math.sqrt(max(products[j, j], 0.0))
        if length * length_j == 0:
            return 0.0
        wanted = means.get(other, 0.0)
        cosine = min(max(float(own @ products[j]) / (length * length_j), -1.0), 1.0)
        means[other] = (1 - self.beta) * wanted + self.beta * cosine
        if not cosine < wanted < 1:
            return 0.0
        across = math.sqrt(1 - wanted**2)
        return length * (wanted * math.sqrt(1 - cosine**2) - cosine * across) / (length_j * across)

    def to_json(self) -> dict[str, Any]:
        return {"means": {task: dict(means) for task, means in self.means.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.means = {task: dict(means) for task, means in state["means"].items()}
