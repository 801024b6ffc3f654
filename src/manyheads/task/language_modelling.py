"""How likely the words of a text are, each told from those before it, from those behind it, or both ways."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from manyheads.metrics.likelihood import Counted, nats
from manyheads.nn.language import NextWords, Unigrams
from manyheads.task.base import TASKS, Judged, Prediction, Reading
from manyheads.types import IGNORE


@TASKS.register("language_modelling")
class LanguageModelling:
    """`NextWords` of `words` words; target (B, T, S), `IGNORE` where no word is told.

    The side S is the next word (`forward`), the one before (`backward`), or both, in this order. The loss is the negative
    log-likelihood, and each word told is an item, the mark at the text's end too. The answer to a text is its perplexity.
    """

    wants = "states"
    metric = "perplexity"
    labels: tuple[str, ...] = ()
    scheme = "none"

    def __init__(self, words: int, direction: str = "forward") -> None:
        self.words, self.direction = words, direction

    @property
    def outputs(self) -> int:
        return self.words

    def loss(self, scores: NextWords, target: Tensor, weights: Tensor | None = None) -> Tensor:
        found = -scores.log_likelihood(target)
        if weights is not None:
            found = found * weights[:, None, None].expand(target.shape)[target != IGNORE]
        return found.sum()

    def judge(self, scores: NextWords, target: Tensor) -> Judged:
        known = target != IGNORE
        row = torch.arange(len(target), device=target.device)[:, None, None].expand(target.shape)[known]
        sums = torch.zeros(len(target), dtype=torch.float64, device=target.device)
        sums.index_add_(0, row, scores.log_likelihood(target).double())
        counts = known.flatten(1).sum(1).tolist()
        told = [(Counted(n), total) for n, total in zip(counts, sums.tolist(), strict=True) if n]
        return Judged([gold for gold, _ in told], [found for _, found in told])

    def predict(self, task: str, scores: NextWords, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        if rows is None:
            raise ValueError("how likely a text is, is told by its words")
        judged = [self.judge(scores.part(i, i + 1), self._target(row, scores.hidden)) for i, row in enumerate(rows)]
        values = [math.exp(nats(j.gold, j.predicted)) if j.gold else math.nan for j in judged]
        return [Prediction(task, value, measure=self.metric) for value in values]

    def constant(self, counts: Tensor, target: Tensor) -> NextWords:
        """What says of every word how often it came, (V,), whatever stands beside it."""
        return NextWords(torch.zeros(*target.shape, 0), Unigrams(counts))

    def _target(self, row: Reading, like: Tensor) -> Tensor:
        """(1, T, S) of a text by itself."""
        ids = torch.tensor([*row.pieces], device=like.device)
        beyond = ids.new_full((1,), IGNORE)
        sides = {"forward": torch.cat([ids[1:], beyond]), "backward": torch.cat([beyond, ids[:-1]])}
        return torch.stack(list(sides.values()) if self.direction == "both" else [sides[self.direction]], -1)[None]
