"""The order of a row's candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from torch import Tensor

from manyheads.metrics.ranking import Relevances, order
from manyheads.nn.losses import Loss, is_missing, listwise, pairwise
from manyheads.task.base import TASKS, Judged, Prediction, Reading
from manyheads.task.teaching import OverChoices

_LOSSES: Mapping[str, Loss] = {"listwise": listwise, "pairwise": pairwise}
RankingLoss: TypeAlias = Literal["listwise", "pairwise"]


@TASKS.register("ranking")
class Ranking(OverChoices):
    """scores (B, P, 1), one for each of a row's P candidates, -inf where there are fewer; target (B, P) relevances, NaN there.

    A row whose candidates are all equally relevant has no order, and no target. The loss is `listwise` or `pairwise`, each as
    in `manyheads.nn.losses`. Of equal scores the candidate that stands first is the better one. Two answers are
    apart as the shares that their scores give the candidates, which are those of `listwise`.
    """

    wants = "vector"
    metric = "mrr"
    labels: tuple[str, ...] = ()
    scheme = "none"
    outputs = 1

    def __init__(self, loss: RankingLoss = "listwise") -> None:
        self._loss = _LOSSES[loss]

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        return self._loss(scores.squeeze(-1), target, weights)

    def judge(self, scores: Tensor, target: Tensor) -> Judged:
        known = ~is_missing(target)
        rows = zip(scores.squeeze(-1)[known].float().tolist(), target[known].tolist(), strict=True)
        kept = [[(s, r) for s, r in zip(*row, strict=False) if r == r] for row in rows]
        return Judged([Relevances(tuple(r for _, r in row)) for row in kept], [tuple(s for s, _ in row) for row in kept])

    def predict(self, task: str, scores: Tensor, rows: Sequence[Reading]) -> list[Prediction]:
        found = []
        for row, line in zip(rows, scores.squeeze(-1).float().tolist(), strict=True):
            ranking = order(line[: len(row.choices)])
            texts, levels = tuple(row.choices[i] for i in ranking), tuple(line[i] for i in ranking)
            found.append(Prediction(task, texts, index=ranking[0], ranking=tuple(ranking), scores=levels))
        return found
