"""What chooses the best step of the recipe deeppavlov-example: the mean of three tasks' scores."""

from __future__ import annotations

from collections.abc import Mapping

from manyheads.metrics import selection


@selection("mean_of_three")
def mean_of_three(scores: Mapping[str, float]) -> float:
    """Mean of two areas under the ROC curve and the F1 of entities; higher is better."""
    return (scores["cola/roc_auc"] + scores["rte/roc_auc"] + scores["names/span_f1"]) / 3
