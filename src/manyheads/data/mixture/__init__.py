"""Which data set comes when, a file a family of samplings. docs/mixture.md tells what each computes."""

from manyheads.data.mixture import by_share, in_turn, learned, main, phases
from manyheads.data.mixture.contract import SAMPLINGS, Epoch, Sampling
from manyheads.data.mixture.learned import learn, shares_at
from manyheads.data.mixture.order import Course, by_passes, course, order, round_width, rounds_per_epoch, taking_part

__all__ = [
    "SAMPLINGS",
    "Course",
    "Epoch",
    "Sampling",
    "by_passes",
    "by_share",
    "course",
    "in_turn",
    "learn",
    "learned",
    "main",
    "order",
    "phases",
    "round_width",
    "rounds_per_epoch",
    "shares_at",
    "taking_part",
]
