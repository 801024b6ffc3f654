"""How much each label of a task counts in its loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from manyheads.config.spec.tasks import BinaryTask, ClassificationTask, MultilabelTask, TaggingTask
from manyheads.data.targets import ClassTarget, KnownTarget, MultilabelTarget, TagTarget
from manyheads.prepare import Prepared
from manyheads.types import IGNORE, Row


def class_weights(
    task: ClassificationTask | BinaryTask | MultilabelTask | TaggingTask, prepared: Prepared, name: str, labels: Sequence[str]
) -> list[float] | None:
    """A weight a label, None where all count alike.

    `balanced` makes each label's rows, or words, count the same, with 1 on average over them; of labels that a row may have
    or lack, those rows that have one as much as those that lack it. Where rows have weights of their own, a row of weight w
    is w rows here too; of a soft label each label has its share.
    """
    if task.class_weights is None:
        return None
    if task.class_weights != "balanced":
        return [task.class_weights.get(label, 1.0) for label in labels]
    rows, target = prepared.rows["train"], prepared.targets[name]
    weights = prepared.weights[name].tolist() if name in prepared.weights else [1.0] * len(rows)
    counts, known = [0.0] * len(labels), 0.0
    for row, weight in zip(rows, weights, strict=True):
        known += weight * (target.target(row) is not None)
        for i, share in _held(target, row):
            counts[i] += weight * share
    if isinstance(task, MultilabelTask):
        return [(known - count) / count if 0 < count < known else 1.0 for count in counts]
    return [sum(counts) / (len(labels) * (count or 1)) for count in counts]


def _held(target: KnownTarget, row: Row) -> Iterable[tuple[int, float]]:
    """The labels of a row by their numbers, and how much of it each has."""
    match target:
        case TagTarget():
            return ((i, 1.0) for i in target.target(row) or () if i != IGNORE)
        case MultilabelTarget():
            return enumerate(target.target(row) or ())
        case ClassTarget():
            return enumerate(target.shares(row) or ())
    return ()
