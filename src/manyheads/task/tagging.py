"""One tag a word, each by itself or as a path through all words of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import get_args

from torch import Tensor

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.nn.crf import Lattice, Moves, log_likelihood, viterbi
from manyheads.nn.divergence import Divergence, mean_of, of_labels
from manyheads.nn.losses import cross_entropy
from manyheads.task.base import TASKS, Judged, Prediction, Reading
from manyheads.task.classification import weights_of
from manyheads.text.tags import Scheme, Span, legal_moves, spans
from manyheads.types import IGNORE


@TASKS.register("tagging")
class Tagging:
    """scores (B, W, C), target (B, W) with `IGNORE` after the last word; cross-entropy a word.

    `class_weights`, an entry a label, `label_smoothing` and `focal` are those of `manyheads.nn.losses.cross_entropy`.

    Where the head gives a `Lattice`, the loss of a row is the negative log-likelihood of all its tags, which counts as many
    items as it has tags, and the best path is predicted. Moves that the scheme forbids are never predicted; in training they
    have no probability, except in rows whose own tags make such moves.

    A word that was cut off with a long text has no score: it is left out of the loss, predicted as the first label (`O`)
    and judged against its gold tag, so that cutting cannot make a score look better.
    """

    wants = "states"

    def __init__(
        self,
        labels: Sequence[str],
        scheme: str = "BIO",
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
    ) -> None:
        if "O" in labels[1:] or (scheme != "none" and "O" not in labels):
            rule = "`O` must be the first label, since it is what a word without a score gets"
            raise RecipeError(Problem(rule, value=", ".join(labels)))
        self.labels = tuple(labels)
        self.scheme = scheme
        self.class_weights = weights_of(class_weights, len(labels))
        self.label_smoothing = label_smoothing
        self.focal = focal
        self._spans = _reader(scheme)
        self._spans(self.labels)  # a label that the scheme does not have is found here, not in the first answer
        self._moves = _moves(self.labels, scheme)
        self.metric = "accuracy" if scheme == "none" else "span_f1"

    @property
    def outputs(self) -> int:
        return len(self.labels)

    def loss(self, scores: Tensor | Lattice, target: Tensor, weights: Tensor | None = None) -> Tensor:
        scores = _narrow(scores, target.shape[1])
        if isinstance(scores, Tensor):
            of_classes = None if self.class_weights is None else self.class_weights.to(scores)
            return cross_entropy(scores, target, of_classes, self.label_smoothing, weights, self.focal)
        losses = -log_likelihood(scores, target, self._moves)
        return (losses if weights is None else losses * weights).sum()

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        return measure(of_labels(first, temperature), of_labels(second, temperature))

    def blend(self, scores: Tensor) -> Tensor:
        return mean_of(of_labels(scores))

    def judge(self, scores: Tensor | Lattice, target: Tensor) -> Judged:
        found = self._best(_narrow(scores, target.shape[1]))
        gold, predicted = [], []
        for wanted, got in zip(target.tolist(), found, strict=True):
            kept = [(w, g) for w, g in zip(wanted, got, strict=True) if w != IGNORE]
            if kept:
                gold.append([self.labels[w] for w, _ in kept])
                predicted.append([self.labels[g] for _, g in kept])
        return Judged(gold, predicted)

    def predict(self, task: str, scores: Tensor | Lattice, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        found = self._best(scores)
        counts = [len(row) for row in found] if rows is None else [row.words for row in rows]
        tags = [tuple(self.labels[i] for i in row[:n]) for row, n in zip(found, counts, strict=True)]
        return [Prediction(task, row, spans=tuple(self._spans(row))) for row in tags]

    def _best(self, scores: Tensor | Lattice) -> list[list[int]]:
        best = scores.argmax(-1) if isinstance(scores, Tensor) else viterbi(scores, self._moves)[0]
        found: list[list[int]] = best.tolist()
        return found


def _narrow(scores: Tensor | Lattice, width: int) -> Tensor | Lattice:
    """Scores of the first words: they are wider when a longer batch of the same round was joined with this one."""
    return scores[:, :width] if isinstance(scores, Tensor) else scores.narrow(width)


def _moves(labels: Sequence[str], scheme: str) -> Moves | None:
    """The moves that the scheme allows; of plain classes, None: all."""
    return next((Moves.of(*legal_moves(labels, known)) for known in get_args(Scheme) if scheme == known), None)


def _reader(scheme: str) -> Callable[[Sequence[str]], list[Span]]:
    """What reads spans out of tags; of plain classes, none."""
    if scheme == "none":
        return lambda tags: []
    for known in get_args(Scheme):
        if scheme == known:
            return partial(spans, scheme=known)
    schemes = (*get_args(Scheme), "none")
    raise RecipeError(Problem(f"a scheme is one of {listed(schemes)}", value=scheme, nearest=nearest(scheme, schemes)))
