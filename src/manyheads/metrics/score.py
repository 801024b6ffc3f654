"""Score, which collects what a task predicted and computes its metrics once, at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from manyheads.errors import Problem, RecipeError, listed
from manyheads.metrics.items import Items, check_labels, check_lengths, grouped, ordered, parts, plain, sentences, words
from manyheads.metrics.likelihood import Counted
from manyheads.metrics.metric import METRICS, Metric, Need, Undefined
from manyheads.metrics.ranking import Relevances
from manyheads.metrics.reading import Accepted
from manyheads.metrics.spans import extract


class Score:
    """The metrics of one task over all items that were added, whatever the batches and the order they came in.

    All items are kept, since F1, correlation and ROC-AUC of a whole are not means over its batches. The state is lists,
    so a Score can be pickled, gathered from all processes and merged.

    >>> score = Score(["accuracy", "f1_macro"], labels=["no", "yes"])
    >>> score.add(["no", "yes"], ["no", "no"])
    >>> score.add([None, "yes"], ["no", "yes"])
    >>> {name: round(value, 3) for name, value in score.compute().items()}
    {'accuracy': 0.667, 'f1_macro': 0.667}
    """

    def __init__(self, metrics: Sequence[str], labels: Sequence[Any] = (), scheme: str = "none") -> None:
        """`labels`: the schema's, all of them; empty where ids are their own names and for numbers.

        `scheme`: how tags spell spans, `none` for labels and for tags that spell none. Raises RecipeError for an unknown
        metric and for one that these labels cannot have.
        """
        self.metrics = tuple(metrics)
        self.labels = tuple(labels)
        self.scheme = scheme
        self.gold: Items = []
        self.predicted: Items = []
        self.probabilities: list[list[float]] = []
        self.groups: list[str] = []
        self.undefined: dict[str, str] = {}
        """Metric to the reason why the last `compute` gave NaN for it."""
        _check_fit([METRICS[name] for name in self.metrics], self._possible())

    def __len__(self) -> int:
        return len(self.gold)

    def add(
        self, gold: Iterable[Any], predicted: Iterable[Any], probabilities: Any = None, groups: Sequence[str] | None = None
    ) -> None:
        """A batch: an item a row, None where there is no label.

        An item is a label, a tuple or set of labels, a number, a list of tags, one a word, a text where gold says what is
        `Accepted`, or a tuple of scores where gold says the `Relevances`. `probabilities` is (B, C), and
        `groups` names the group of each item.
        Raises DataError for a label that is not in the schema, and ValueError for unequal lengths.
        """
        gold, predicted = plain(gold), plain(predicted)
        rows = None if probabilities is None else np.asarray(probabilities, dtype=np.float64).tolist()
        check_lengths(gold, predicted, rows)
        if gold and self.gold and bool(rows) != bool(self.probabilities):
            raise ValueError("probabilities come with every batch or with none")
        if len(gold) != len(groups or gold) or (gold and self.gold and bool(groups) != bool(self.groups)):
            raise ValueError("each item has a group, or none has one")
        if self.labels:
            check_labels((*gold, *predicted), self.labels)
        self.gold += gold
        self.predicted += predicted
        self.probabilities += rows or []
        self.groups += groups or []

    def merge(self, other: Score) -> None:
        """Add the items of `other`, a score of the same metrics and labels."""
        if (self.metrics, self.labels, self.scheme) != (other.metrics, other.labels, other.scheme):
            raise ValueError("only scores of the same metrics, labels and scheme merge")
        self.add(other.gold, other.predicted, other.probabilities or None, other.groups or None)

    def check(self) -> None:
        """RecipeError when the items are of a kind that a metric cannot score."""
        if self.gold:
            _check_fit([METRICS[name] for name in self.metrics], self._kinds())

    def compute(self) -> dict[str, float]:
        """Metric to value, NaN where it is undefined; `undefined` then holds the reason.

        Raises RecipeError when the items are of a kind that a metric cannot score.
        """
        self.check()
        values: dict[str, float] = {}
        self.undefined = {}
        for metric in (METRICS[name] for name in self.metrics):
            for key, value in self._value(metric).items():
                if key in values:
                    raise RecipeError(Problem("two metrics give a value of the same name", value=key))
                values[key] = value
        return values

    def _value(self, metric: Metric) -> dict[str, float]:
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is reported below
                found = metric.function(*self._arguments(metric))
        except Undefined as reason:
            self.undefined[metric.name] = str(reason)
            return {metric.name: math.nan}
        values = found if isinstance(found, Mapping) else {metric.name: found}
        for key, value in values.items():
            if not math.isfinite(value):
                self.undefined[key] = "its value is not finite"
        return {key: float(value) if math.isfinite(value) else math.nan for key, value in values.items()}

    def _arguments(self, metric: Metric) -> tuple[Any, Any, Any]:
        if not self.gold:
            raise Undefined("there are no items")
        if metric.missing:
            return (*words(self.gold, self.predicted), self.labels)
        known = [i for i, (g, p) in enumerate(zip(self.gold, self.predicted, strict=True)) if g is not None and p is not None]
        gold, predicted = [self.gold[i] for i in known], [self.predicted[i] for i in known]
        if not known:
            raise Undefined("no item has a label")
        if metric.needs == "tags":
            return (*extract(gold, predicted, self.scheme), self.labels)
        if metric.needs == "sentences":
            return (*sentences(gold, predicted), self.labels)
        if metric.needs == "groups":
            names = [self.groups[i] for i in known]
            return grouped(gold, names), grouped(predicted, names), self.labels
        if metric.needs == "numbers":
            return (*ordered(gold, predicted), self.labels)
        if metric.needs in ("answers", "rankings", "likelihoods"):
            return gold, predicted, self.labels
        if metric.needs == "probabilities":
            rows = np.asarray(self.probabilities)[known]
            return gold, rows, self.labels or tuple(range(rows.shape[1]))
        gold, predicted = words(gold, predicted)
        pairs = [(g, p) for g, p in zip(gold, predicted, strict=True) if g is not None and p is not None]
        if not pairs:
            raise Undefined("no word has a label")
        gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
        return gold, predicted, self.labels or self._seen(gold, predicted)

    def _seen(self, gold: Items, predicted: Items) -> tuple[Any, ...]:
        """The labels where no schema names them: every id that has a probability, else those that occur."""
        if self.probabilities:
            return tuple(range(len(self.probabilities[0])))
        return tuple(sorted({label for item in (*gold, *predicted) for label in parts(item)}))

    def _possible(self) -> set[Need]:
        """What the items may be, before any is seen."""
        labelled: set[Need] = {"labels", "label_sets", "sentences", "groups"}
        if self.scheme != "none":
            return labelled | {"tags"}
        if self.labels:
            return labelled | {"probabilities"}
        return labelled | {"probabilities", "numbers", "answers", "rankings", "likelihoods"}

    def _kinds(self) -> set[Need]:
        """What the items are. Whole numbers without a schema or probabilities may be ids of labels as well as numbers."""
        first = next((item for item in self.gold if item is not None), None)
        if isinstance(first, Accepted):
            return {"answers"}
        if isinstance(first, Relevances):
            return {"rankings"}
        if isinstance(first, Counted):
            return {"likelihoods"}
        if isinstance(first, float):
            kinds: set[Need] = {"numbers"}
        elif isinstance(first, tuple | set | frozenset):
            kinds = {"label_sets"}
        else:
            kinds = {"labels", "label_sets"}
        if self.groups and "label_sets" in kinds:
            kinds |= {"groups"}
        if isinstance(first, list):
            return kinds | {"sentences", "tags"}
        if self.probabilities:
            kinds |= {"probabilities"}
        elif isinstance(first, int):
            kinds |= {"numbers"}
        return self._possible() if first is None else kinds


def _check_fit(metrics: Iterable[Metric], kinds: set[Need]) -> None:
    strange = [m for m in metrics if m.needs not in kinds]
    if strange:
        rule = "the metric needs {}, which this task does not give"
        fitting = "metrics that fit: " + listed(name for name in METRICS if METRICS[name].needs in kinds)
        column = "name the column that rows of a group share, under `data.group`"
        remedies = [column if m.needs == "groups" and "label_sets" in kinds else fitting for m in strange]
        told = zip(strange, remedies, strict=True)
        raise RecipeError(*(Problem(rule.format(m.needs.replace("_", " ")), value=m.name, remedy=r) for m, r in told))


def unfit(
    task: str, metric: str, metrics: Sequence[str], labels: Sequence[Any], scheme: str, sample: Sequence[Any] = ()
) -> list[Problem]:
    """What is wrong with a task's metrics, each at its key: unknown ones, and those that its labels cannot have.

    `sample`, where there is one, is what the task gives to `Score.add`.
    """
    problems: list[Problem] = []
    places = {f"tasks.{task}.metric": metric, **{f"tasks.{task}.metrics.{i}": name for i, name in enumerate(metrics)}}
    for place, name in places.items():
        try:
            score = Score([name], labels, scheme)
            if sample:
                score.add(*sample)
            score.check()
        except RecipeError as error:
            problems += [replace(problem, place=place) for problem in error.problems]
    return problems
