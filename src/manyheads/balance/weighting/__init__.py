"""Losses to weights, a file a method."""

from manyheads.balance.weighting import static
from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weighting, Weights

__all__ = ["WEIGHTINGS", "Moment", "Weighting", "Weights", "static"]
