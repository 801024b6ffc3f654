"""Gradients to one, a file a method."""

from manyheads.balance.aggregation import (
    aligned_mtl,
    cagrad,
    config,
    dualproj,
    fairgrad,
    graddrop,
    gradvac,
    imtl_g,
    mgda,
    nash_mtl,
    pcgrad,
    plain,
    upgrad,
)
from manyheads.balance.aggregation.contract import AGGREGATIONS, Aggregation, GramianAggregation, RowsAggregation, weigh

__all__ = [
    "AGGREGATIONS",
    "Aggregation",
    "GramianAggregation",
    "RowsAggregation",
    "aligned_mtl",
    "cagrad",
    "config",
    "dualproj",
    "fairgrad",
    "graddrop",
    "gradvac",
    "imtl_g",
    "mgda",
    "nash_mtl",
    "pcgrad",
    "plain",
    "upgrad",
    "weigh",
]
