"""The hidden pieces of a text, each told from all that is left of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from manyheads.metrics.likelihood import Counted
from manyheads.nn.masked import HiddenWords
from manyheads.task.base import TASKS, Judged, Prediction, Reading

_BEST = 5  # pieces that an answer names for each place


@TASKS.register("masked_language_modelling")
class MaskedLanguageModelling:
    """`HiddenWords` over `words` pieces; target (B, M), as many entries that are not `IGNORE` as pieces are hidden in the row.

    The loss is the negative log-likelihood of the pieces that stood where some are hidden (Devlin et al., NAACL 2019), and each
    is an item. Perplexity is that of these pieces alone, given all the others of their text: it is no perplexity of texts, and
    compares under one share of hidden pieces and one vocabulary. The answer to a text is, for each mask piece in it, the best
    pieces.
    """

    wants = "states"
    metric = "perplexity"
    labels: tuple[str, ...] = ()
    scheme = "none"

    def __init__(self, words: int) -> None:
        self.words = words

    @property
    def outputs(self) -> int:
        return self.words

    def loss(self, scores: HiddenWords, target: Tensor, weights: Tensor | None = None) -> Tensor:
        chosen = scores.chosen(target)
        found = -scores.log_likelihood(chosen)
        if weights is not None:
            found = found * weights[:, None].expand(chosen.shape)[chosen]
        return found.sum()

    def judge(self, scores: HiddenWords, target: Tensor) -> Judged:
        chosen = scores.chosen(target)
        row = torch.arange(len(chosen), device=chosen.device)[:, None].expand(chosen.shape)[chosen]
        sums = torch.zeros(len(chosen), dtype=torch.float64, device=chosen.device)
        sums.index_add_(0, row, scores.log_likelihood(chosen).double())
        counts = chosen.sum(1).tolist()
        told = [(Counted(n), total) for n, total in zip(counts, sums.tolist(), strict=True) if n]
        return Judged([gold for gold, _ in told], [found for _, found in told])

    def predict(self, task: str, scores: HiddenWords, rows: Sequence[Reading]) -> list[Prediction]:
        return [self._guessed(task, scores.scores(i), row) for i, row in enumerate(rows)]

    def _guessed(self, task: str, scores: Tensor, row: Reading) -> Prediction:
        """What most likely stood at each of N places, of scores (N, V)."""
        best = scores.float().softmax(-1).topk(min(_BEST, scores.shape[-1]))
        guesses = [
            {row.named(piece): value for piece, value in zip(*place, strict=True)}
            for place in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        return Prediction(task, tuple(next(iter(guess)) for guess in guesses), guesses=tuple(guesses))
