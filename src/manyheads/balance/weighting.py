"""Losses to one number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class StaticWeights:
    """sum of weight x loss; a name without a weight counts 1.

    A task of weight 0 is left out of the sum, so its private parameters get no gradient and do not move.
    """

    weights: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, losses: Mapping[str, Tensor]) -> Tensor | None:
        """One scalar, or None when nothing is left to train."""
        total: Tensor | None = None
        for name, loss in losses.items():
            weight = self.weights.get(name, 1.0)
            if weight:
                term = loss if weight == 1.0 else loss * weight
                total = term if total is None else total + term
        return total
