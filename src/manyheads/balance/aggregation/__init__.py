"""Gradients to one, a file a method."""

from manyheads.balance.aggregation import plain
from manyheads.balance.aggregation.contract import AGGREGATIONS, Aggregation, GramianAggregation, RowsAggregation

__all__ = ["AGGREGATIONS", "Aggregation", "GramianAggregation", "RowsAggregation", "plain"]
