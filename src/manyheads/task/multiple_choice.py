"""The right one of a row's choices."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from manyheads.nn.losses import cross_entropy, is_missing
from manyheads.task.base import TASKS, Judged, Prediction, Reading
from manyheads.task.teaching import OverChoices, of_choices


@TASKS.register("multiple_choice")
class MultipleChoice(OverChoices):
    """scores (B, P, 1), one for each of a row's P choices, -inf where there are fewer; target (B,) the number of the right one.

    Cross-entropy over the choices of a row, as SWAG was scored with BERT (Zellers et al. 2018, Devlin et al. 2019).
    """

    wants = "vector"
    metric = "accuracy"
    labels: tuple[str, ...] = ()
    scheme = "none"
    outputs = 1

    def loss(self, scores: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        return cross_entropy(of_choices(scores), target, weights=weights)

    def judge(self, scores: Tensor, target: Tensor) -> Judged:
        known = ~is_missing(target)
        return Judged(target[known].tolist(), of_choices(scores)[known].argmax(-1).tolist())

    def predict(self, task: str, scores: Tensor, rows: Sequence[Reading] | None = None) -> list[Prediction]:
        probabilities = of_choices(scores).float().softmax(-1).cpu()
        found = []
        for i, shares in enumerate(probabilities.tolist()):
            choices = rows[i].choices if rows else tuple(map(str, range(len(shares))))
            best = max(range(len(choices)), key=shares.__getitem__)
            numbered = {str(number): shares[number] for number in range(len(choices))}
            found.append(Prediction(task, choices[best], numbered, index=best))
        return found
