"""What a metric is, the registry of metrics, and which of two values is the better one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from manyheads.registry import Registry

Need: TypeAlias = Literal[
    "labels", "label_sets", "probabilities", "numbers", "sentences", "groups", "tags", "answers", "rankings", "likelihoods"
]
Function: TypeAlias = Callable[[Any, Any, Any], "float | Mapping[str, float]"]


class Undefined(Exception):
    """The metric has no value for these items; the text says why. `Score.compute` gives NaN and keeps the reason."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of predictions against gold: `function(gold, predicted, labels)`, a float or several under their own keys.

    `labels` are the schema's, in their order. `needs` says what gold and predicted are; an item is a row, or a word:

        labels         lists of labels, one an item
        label_sets     lists of labels, or of tuples or sets of labels, whatever the task has
        probabilities  gold as for label_sets; predicted is an array (items, C) float64, a column a label
        numbers        arrays (items,) float64, in no particular order
        sentences      lists of lists of tags, one a word; words without a tag are left out, and sentences without any
        groups         lists of lists of whatever the items are, one list for the rows of a group
        tags           lists of sets of (type, first word, word after the last), a set a sentence
        rankings       gold is a list of `ranking.Relevances`, predicted a list of tuples of scores, one a candidate
        answers        gold is a list of `reading.Accepted`, predicted a list of texts
        likelihoods    gold is a list of `likelihood.Counted`, predicted a list of sums of log-likelihoods

    `higher` is True when a higher value is better. Items without gold or prediction are left out, unless `missing` is
    True: then they are there, as None.
    """

    name: str
    higher: bool
    needs: Need
    function: Function
    missing: bool = False


METRICS: Registry[Metric] = Registry("metric")


def metric(name: str, needs: Need = "labels", *, higher: bool = True, missing: bool = False) -> Callable[[Function], Function]:
    """Decorator that registers a function of (gold, predicted, labels) as the metric `name`.

    >>> @metric("always", needs="label_sets")
    ... def always(gold, predicted, labels):
    ...     return {"always/one": 1.0, "always/items": float(len(gold))}
    >>> METRICS["always"].higher
    True
    >>> METRICS.remove("always")
    """

    def add(function: Function) -> Function:
        METRICS.register(name)(Metric(name, higher, needs, function, missing))
        return function

    return add


def better(metric: Metric, new: float, old: float | None) -> bool:
    """Whether `new` beats `old`. NaN never does; any number beats NaN and None; equal values do not."""
    if math.isnan(new):
        return False
    if old is None or math.isnan(old):
        return True
    return new > old if metric.higher else new < old
