"""Scores: one face over scikit-learn, scipy and seqeval, computed over the schema's labels and exact over any batching.

    metric          what a metric is, the registry, which of two values is better
    score           the accumulator: add batches, merge processes, compute
    classification  accuracy, of whole sentences too, precision, recall, F, MCC, coverage, ROC-AUC
    regression      MSE, RMSE, MAE, Pearson, Spearman
    spans           strict precision, recall and F1 of spans
    ranking         MRR, hits, NDCG of orders of candidates
    reading         exact match and F1 of answers read out of a text
    likelihood      perplexity and bits a word

A metric of your own joins by the decorator `metric`, or as a `Metric` under the entry point group `manyheads.metric`; a
function of all tasks' scores that chooses the best step joins by the decorator `selection`.
"""

from manyheads.config.criterion import SELECTIONS, selection
from manyheads.metrics import (  # noqa: F401  # importing them fills the registry
    classification,
    likelihood,
    ranking,
    reading,
    regression,
    spans,
)
from manyheads.metrics.likelihood import Counted
from manyheads.metrics.metric import METRICS, Metric, Undefined, better, metric
from manyheads.metrics.ranking import Relevances
from manyheads.metrics.reading import Accepted
from manyheads.metrics.score import Score, unfit

__all__ = [
    "METRICS",
    "SELECTIONS",
    "Accepted",
    "Counted",
    "Metric",
    "Relevances",
    "Score",
    "Undefined",
    "better",
    "metric",
    "selection",
    "unfit",
]
