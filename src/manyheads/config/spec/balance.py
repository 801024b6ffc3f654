"""How the losses of several tasks become one update: a weighting of losses, an aggregation of gradients, or both."""

from __future__ import annotations

from pydantic import Field

from manyheads.config.spec.aggregation import AggregationSpec, SumAggregation
from manyheads.config.spec.base import Strict
from manyheads.config.spec.weighting import StaticWeighting, WeightingSpec


class BalanceSpec(Strict):
    """How the losses of several tasks become one update."""

    weighting: WeightingSpec = StaticWeighting(type="static")
    """Losses to weights; a task's own `weight` multiplies what comes out."""
    aggregation: AggregationSpec = SumAggregation(type="sum")
    """How gradients meet in the parameters that tasks share; private parameters always get their plain gradient."""
    cosines_every: int | None = Field(default=None, ge=1)
    """Record the cosines between the tasks' gradients every so many steps, for each pair and each block of layers."""
