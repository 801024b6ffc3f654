"""Output layers: the type of a task and its loss."""

from __future__ import annotations

from typing import Any

from manyheads.pytext.section import Section

_METRICS = {"accuracy": "accuracy", "roc_auc": "roc_auc", "mcc": "mcc", "macro_f1": "f1_macro"}
_CE = "CrossEntropyLoss"


def classified(output: Section, labels: Section, column_key: str = "label_vocab") -> dict[str, Any]:
    """Type and loss of a task with a label a row: `ClassificationOutputLayer` over a `LabelTensorizer`."""
    kind, inner = labels.named("LabelTensorizer")
    several = kind in ("LabelListTensorizer", "LabelListRankTensorizer")
    _, output = output.named("ClassificationOutputLayer")
    loss, settings = output.variant("loss", _CE)
    found = _losses(loss, settings, several)
    if found is None:
        output.give_up(f"there is no {loss}; cross-entropy takes its place", "loss")
        found = {"type": "multilabel" if several else "classification"}
    if names := inner.list_of(column_key, str, []):
        found["labels"] = names
    weights = output.table("label_weights")
    if weights and found["type"] == "classification":
        found["class_weights"] = weights
    elif weights:
        output.give_up("of several labels `class_weights` multiply only where a row has the label", "label_weights")
    if kind == "SoftLabelTensorizer":
        inner.give_up("a label column may hold probabilities: `soft_labels: true` (docs/recipe.md)")
    if output.has("automatic_label_weighting_method"):
        output.give_up("see `class_weights: balanced`", "automatic_label_weighting_method")
    return found


def _losses(kind: str, settings: Section, several: bool) -> dict[str, Any] | None:
    """The type of the task with this loss, and what it says of it; None for a loss that there is not.

    PyText's binary losses train a label for itself and predict the most probable one: `multilabel` with `top: 1`.
    """
    each: dict[str, Any] = {"type": "multilabel"} if several else {"type": "multilabel", "top": 1}
    whole = {"type": "multilabel"} if several else {"type": "classification"}
    if kind in (_CE, "NLLLoss"):
        return whole
    if kind in ("BinaryCrossEntropyLoss", "BinaryCrossEntropyWithLogitsLoss", "MultiLabelSoftMarginLoss"):
        return each
    if kind == "LabelSmoothedCrossEntropyLoss" and not several:
        return {**whole, "label_smoothing": settings.number("beta", 0.1)}
    if kind in ("FocalLoss", "BinaryFocalLoss"):
        gamma = settings.number("gamma", 2.0)
        settings.flag("logits", True)
        return {**(whole if kind == "FocalLoss" else each), "focal": gamma}
    return None


def tagged(output: Section) -> dict[str, Any]:
    """Decoder and loss of a tagging task: `WordTaggingOutputLayer` or `CRFOutputLayer`."""
    kind, inner = output.named("WordTaggingOutputLayer")
    if kind == "CRFOutputLayer":
        return {"decoder": "crf"}
    loss, settings = inner.variant("loss", _CE)
    weights = inner.table("label_weights")
    found: dict[str, Any] = {"class_weights": weights} if weights else {}
    if loss == "FocalLoss":
        settings.flag("logits", True)
        return {**found, "focal": settings.number("gamma", 2.0)}
    if loss not in (_CE, "NLLLoss"):
        inner.give_up(f"there is no {loss} for tags; cross-entropy takes its place", "loss")
    return found


def squared(output: Section) -> None:
    """`RegressionOutputLayer`: squared error, the only loss of numbers."""
    _, inner = output.named("RegressionOutputLayer")
    loss, settings = inner.variant("loss", "MSELoss")
    if loss != "MSELoss":
        settings.give_up("the loss of numbers is the squared error")
        inner.give_up("the loss of numbers is the squared error", "loss")


def metric(reporter: Section) -> dict[str, Any]:
    """The score that chooses checkpoints, of a `ClassificationMetricReporter`."""
    _, inner = reporter.named("ClassificationMetricReporter")
    if inner.has("target_label"):
        inner.give_up("scores of one label are asked for by the metric's name", "target_label")
    wanted = inner.text("model_select_metric", "accuracy")
    if wanted in _METRICS:
        return {} if wanted == "accuracy" else {"metric": _METRICS[wanted]}
    inner.give_up("checkpoints are chosen by another score; see `metric` and `training.select`", "model_select_metric")
    return {}
