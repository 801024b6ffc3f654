"""Scores, behind one face over scikit-learn, scipy and seqeval."""

from __future__ import annotations

from manyheads.metrics import labels as _labels
from manyheads.metrics import numbers as _numbers
from manyheads.metrics import tags as _tags
from manyheads.metrics.base import METRICS, Metric, Scored
from manyheads.metrics.score import Score

__all__ = ["METRICS", "Metric", "Score", "Scored"]
del _labels, _numbers, _tags  # imported for the metrics that they register
