"""One tag a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import get_args

from torch import Tensor

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.nn.losses import cross_entropy
from manyheads.task.base import TASKS, Judged, Prediction
from manyheads.text.tags import Scheme, Span, spans
from manyheads.types import IGNORE


@TASKS.register("tagging")
class Tagging:
    """scores (B, W, C), target (B, W) with `IGNORE` after the last word; cross-entropy a word.

    A word that was cut off with a long text has no score: it is left out of the loss, predicted as the first label (`O`)
    and judged against its gold tag, so that cutting cannot make a score look better.
    """

    wants = "states"

    def __init__(self, labels: Sequence[str], scheme: str = "BIO") -> None:
        if "O" in labels[1:]:
            raise RecipeError(Problem("`O` must be the first label, since it is what a word without a score gets", value="O"))
        self.labels = tuple(labels)
        self.scheme = scheme
        self._spans = _reader(scheme)
        self._spans(self.labels)  # a label that the scheme does not have is found here, not in the first answer
        self.metric = "accuracy" if scheme == "none" else "span_f1"

    @property
    def outputs(self) -> int:
        return len(self.labels)

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        width = target.shape[1]  # scores are wider when a longer batch of the same round was joined with this one
        return cross_entropy(scores[:, :width], target, weights=weights)

    def judge(self, scores: Tensor, target: Tensor) -> Judged:
        found = scores[:, : target.shape[1]].argmax(-1).tolist()
        gold, predicted = [], []
        for wanted, got in zip(target.tolist(), found, strict=True):
            kept = [(w, g) for w, g in zip(wanted, got, strict=True) if w != IGNORE]
            if kept:
                gold.append([self.labels[w] for w, _ in kept])
                predicted.append([self.labels[g] for _, g in kept])
        return Judged(gold, predicted)

    def predict(self, task: str, scores: Tensor, words: Sequence[int] | None = None) -> list[Prediction]:
        found = scores.argmax(-1).tolist()
        counts = [len(row) for row in found] if words is None else words
        tags = [tuple(self.labels[i] for i in row[:n]) for row, n in zip(found, counts, strict=True)]
        return [Prediction(task, row, spans=tuple(self._spans(row))) for row in tags]


def _reader(scheme: str) -> Callable[[Sequence[str]], list[Span]]:
    """What reads spans out of tags; of plain classes, none."""
    if scheme == "none":
        return lambda tags: []
    for known in get_args(Scheme):
        if scheme == known:
            return partial(spans, scheme=known)
    schemes = (*get_args(Scheme), "none")
    raise RecipeError(Problem(f"a scheme is one of {listed(schemes)}", value=scheme, nearest=nearest(scheme, schemes)))
