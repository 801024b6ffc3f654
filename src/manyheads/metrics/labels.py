"""Metrics of labels: one a row, several a row, or one a word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import metrics as sk

from manyheads.metrics.base import Scored, metric


@metric("accuracy")
def accuracy(scored: Scored) -> float:
    """Share of items whose prediction is the gold value; of words, where items are sentences."""
    gold, predicted = _flat(scored.gold), _flat(scored.predicted)
    return sum(g == p for g, p in zip(gold, predicted, strict=True)) / len(gold)


@metric("f1")
def f1(scored: Scored) -> float:
    """F1 of the second of two labels; with more labels the macro average."""
    return _prf(scored, 2)


@metric("precision")
def precision(scored: Scored) -> float:
    """Precision of the second of two labels; with more labels the macro average."""
    return _prf(scored, 0)


@metric("recall")
def recall(scored: Scored) -> float:
    """Recall of the second of two labels; with more labels the macro average."""
    return _prf(scored, 1)


@metric("fbeta")
def fbeta(scored: Scored) -> float:
    """F of beta 0.5, which weighs precision more, averaged as f1 is."""
    return _prf(scored, 2, beta=0.5)


@metric("f1_macro")
def f1_macro(scored: Scored) -> float:
    """Mean F1 over all labels of the schema; a label that neither gold nor predictions have counts 0."""
    return _average(scored, "macro")


@metric("f1_micro")
def f1_micro(scored: Scored) -> float:
    """F1 of all decisions together."""
    return _average(scored, "micro")


@metric("f1_weighted")
def f1_weighted(scored: Scored) -> float:
    """Mean F1 over labels, weighted by how often each is gold."""
    return _average(scored, "weighted")


@metric("mcc")
def mcc(scored: Scored) -> float:
    """Matthews correlation coefficient; 0 where gold or predictions are constant."""
    return float(sk.matthews_corrcoef(_flat(scored.gold), _flat(scored.predicted)))


@metric("roc_auc")
def roc_auc(scored: Scored) -> float:
    """Area under the ROC curve: of the second of two labels, else the mean over labels that gold has and has not."""
    if scored.probabilities is None:
        return math.nan
    columns = [i for i in range(scored.probabilities.shape[1]) if not _is_binary(scored) or i == 1]
    areas = []
    for i in columns:
        truth = np.array([_has(g, _name(scored, i)) for g in scored.gold])
        if truth.any() and not truth.all():
            areas.append(float(sk.roc_auc_score(truth, scored.probabilities[:, i])))
    return float(np.mean(areas)) if areas else math.nan


def _prf(scored: Scored, which: int, beta: float = 1.0) -> float:
    gold, predicted, names = _encoded(scored)
    if _is_binary(scored):
        result = sk.precision_recall_fscore_support(
            gold, predicted, beta=beta, labels=[names[1]], average="macro", zero_division=0
        )
    else:
        result = sk.precision_recall_fscore_support(gold, predicted, beta=beta, labels=names, average="macro", zero_division=0)
    return float(result[which])


def _average(scored: Scored, how: str) -> float:
    gold, predicted, names = _encoded(scored)
    return float(sk.f1_score(gold, predicted, labels=names, average=how, zero_division=0))


def _encoded(scored: Scored) -> tuple[Any, Any, list[Any]]:
    """Values as scikit-learn reads them, with the list of all labels: an indicator matrix where a row has several."""
    if scored.gold and isinstance(scored.gold[0], tuple):
        place = {name: i for i, name in enumerate(scored.labels)}
        return _matrix(scored.gold, place), _matrix(scored.predicted, place), list(range(len(place)))
    gold, predicted = _flat(scored.gold), _flat(scored.predicted)
    return gold, predicted, list(scored.labels) or sorted({*gold, *predicted})


def _matrix(rows: Sequence[tuple[str, ...]], place: dict[str, int]) -> np.ndarray:
    found = np.zeros((len(rows), len(place)), dtype=np.int8)
    for i, row in enumerate(rows):
        found[i, [place[name] for name in row]] = 1
    return found


def _flat(values: Sequence[Any]) -> list[Any]:
    """Words of all sentences where items are sentences."""
    return [v for row in values for v in row] if values and isinstance(values[0], list) else list(values)


def _is_binary(scored: Scored) -> bool:
    if scored.gold and isinstance(scored.gold[0], tuple | list):
        return False
    if scored.labels:
        return len(scored.labels) == 2
    return scored.probabilities is not None and scored.probabilities.shape[1] == 2


def _name(scored: Scored, column: int) -> Any:
    return scored.labels[column] if scored.labels else column


def _has(gold: Any, name: Any) -> bool:
    return name in gold if isinstance(gold, tuple) else bool(gold == name)
