"""Losses to weights, a file a method."""

from manyheads.balance.weighting import (
    db_mtl,
    dwa,
    famo,
    geometric,
    gradnorm,
    imtl_l,
    rlw,
    static,
    stch,
    uncertainty,
)
from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weighting, Weights

__all__ = [
    "WEIGHTINGS",
    "Moment",
    "Weighting",
    "Weights",
    "db_mtl",
    "dwa",
    "famo",
    "geometric",
    "gradnorm",
    "imtl_l",
    "rlw",
    "static",
    "stch",
    "uncertainty",
]
