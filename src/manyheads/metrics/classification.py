"""Scores of labels. All averages go over the schema's labels: one that is absent from gold and predictions counts as 0.

With exactly two labels and one label an item, `precision`, `recall`, `f1` and `fbeta` are those of the second label, the
positive one; otherwise they are means over the labels (macro).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import metrics as sk

from manyheads.metrics.metric import Function, Undefined, metric


@metric("accuracy", needs="label_sets")
def accuracy(gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any]) -> float:
    """Share of items whose label, or whole set of labels, is right."""
    g, p = _indicator(gold, labels), _indicator(predicted, labels)
    return float((g == p).all(axis=1).mean())


@metric("sentence_accuracy", needs="sentences")
def sentence_accuracy(gold: Sequence[Sequence[Any]], predicted: Sequence[Sequence[Any]], labels: Sequence[Any]) -> float:
    """Share of sentences whose tags are right at every word."""
    return sum(g == p for g, p in zip(gold, predicted, strict=True)) / len(gold)


@metric("group_accuracy", needs="groups")
def group_accuracy(gold: Sequence[Sequence[Any]], predicted: Sequence[Sequence[Any]], labels: Sequence[Any]) -> float:
    """Share of groups of which every row is right, such as the answers to one question of MultiRC (Khashabi et al., 2018)."""
    return sum(g == p for g, p in zip(gold, predicted, strict=True)) / len(gold)


@metric("precision", needs="label_sets")
def precision(gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any]) -> float:
    """Share of the predictions of a label that are right; 0 where there are none."""
    return _average([ratio(right, found) for right, _, found in _counts(gold, predicted, labels)], gold)


@metric("recall", needs="label_sets")
def recall(gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any]) -> float:
    """Share of a label's items that were found; 0 where there are none."""
    return _average([ratio(right, wanted) for right, wanted, _ in _counts(gold, predicted, labels)], gold)


def f_beta(beta: float) -> Function:
    """The F score that weighs recall `beta` times as much as precision, as a metric function to register."""

    def score(gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any]) -> float:
        return _average([f_score(*counts, beta=beta) for counts in _counts(gold, predicted, labels)], gold)

    return score


f1 = metric("f1", needs="label_sets")(f_beta(1.0))
fbeta = metric("fbeta", needs="label_sets")(f_beta(0.5))


@metric("f1_micro", needs="label_sets")
def f1_micro(gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any]) -> float:
    """F1 of all labels' decisions together; the accuracy where an item has one label."""
    right, wanted, found = np.sum(_counts(gold, predicted, labels), axis=0).tolist()
    return f_score(right, wanted, found)


@metric("f1_macro", needs="label_sets")
def f1_macro(gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any]) -> float:
    """Mean of the labels' F1."""
    return float(np.mean([f_score(*counts) for counts in _counts(gold, predicted, labels)]))


@metric("mcc", needs="labels")
def mcc(gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any]) -> float:
    """Matthews' correlation, for any number of labels; 0 where gold or predictions hold one label only."""
    codes = {label: code for code, label in enumerate(labels)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A single label was found", UserWarning)
        return float(sk.matthews_corrcoef([codes[g] for g in gold], [codes[p] for p in predicted]))


@metric("coverage", needs="label_sets", missing=True)
def coverage(gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any]) -> float:
    """Share of items with a label and a prediction: the items that all other scores are about."""
    return sum(g is not None and p is not None for g, p in zip(gold, predicted, strict=True)) / len(gold)


@metric("roc_auc", needs="probabilities")
def roc_auc(gold: Sequence[Any], predicted: np.ndarray, labels: Sequence[Any]) -> float:
    """Area under the ROC curve: of the second label where there are two, else the mean of each label against the rest.

    Undefined when a label has no items, or all of them.
    """
    member = _indicator(gold, labels)
    if predicted.shape[1] != len(labels):
        raise Undefined(f"there are {predicted.shape[1]} probabilities for {len(labels)} labels")
    if not np.isfinite(predicted).all():
        raise Undefined("a probability is not finite")
    for label, column in zip(labels, member.T, strict=True):
        if column.all() or not column.any():
            raise Undefined(f"{'all' if column.all() else 'no'} items have the label {label!r}")
    areas = [float(sk.roc_auc_score(m, p)) for m, p in zip(member.T, predicted.T, strict=True)]
    return _average(areas, gold)


def ratio(part: float, whole: float) -> float:
    """`part` of `whole`; 0 of nothing."""
    return part / whole if whole else 0.0


def f_score(right: int, wanted: int, found: int, beta: float = 1.0) -> float:
    """F of counts: right predictions, gold items, predictions. 0 where there is neither gold nor prediction."""
    return ratio((1 + beta**2) * right, beta**2 * wanted + found)


def _average(values: Sequence[float], gold: Sequence[Any]) -> float:
    """The positive label's value where an item has one of two labels, else the mean over the labels."""
    return values[1] if len(values) == 2 and not _is_set(gold[0]) else float(np.mean(values))


def _counts(gold: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any]) -> list[tuple[int, int, int]]:
    """For each label: items where gold and prediction have it, where gold has it, where the prediction has it."""
    g, p = _indicator(gold, labels), _indicator(predicted, labels)
    columns = zip((g & p).sum(axis=0).tolist(), g.sum(axis=0).tolist(), p.sum(axis=0).tolist(), strict=True)
    return list(columns)


def _indicator(items: Sequence[Any], labels: Sequence[Any]) -> np.ndarray:
    """(items, labels) bool: which item has which label."""
    codes = {label: code for code, label in enumerate(labels)}
    pairs = [(row, codes[label]) for row, item in enumerate(items) for label in (item if _is_set(item) else (item,))]
    member = np.zeros((len(items), len(labels)), dtype=bool)
    if pairs:
        rows, columns = np.asarray(pairs).T
        member[rows, columns] = True
    return member


def _is_set(item: Any) -> bool:
    return isinstance(item, tuple | set | frozenset)
