"""What a task learns beside its labels: the answers of a teacher, and that two of its own answers to one row agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.nn.divergence import DIVERGENCES, Divergence, mean_of, of_labels, symmetric_kl
from manyheads.nn.losses import is_missing, without


@runtime_checkable
class Comparable(Protocol):
    """What a task type knows that can be consistent: how far two of its answers to the same input are apart."""

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        """(M,) of the scores of M items in two answers, softened by a temperature.

        Items are words where targets are whole numbers (B, W), else rows. A type whose answers are no distributions may leave
        the measure out.
        """
        ...


@runtime_checkable
class Teachable(Comparable, Protocol):
    """What a task type knows that can be taught: also what several answers are together."""

    def blend(self, scores: Tensor) -> Tensor:
        """The scores (M, ...) of the mean answer of K models, from theirs, (K, M, ...)."""
        ...


class OverChoices:
    """`Teachable` of types that score the choices of a row, (M, P, 1) or (M, P), -inf for those that it does not have."""

    def gap(self, measure: Divergence, first: Tensor, second: Tensor, temperature: float) -> Tensor:
        """Over a row's own choices, as many as `second` has; `first` may be padded further."""
        first, second = of_choices(first), of_choices(second)
        counts = (~second.isneginf()).sum(-1)
        found = second.new_zeros(len(second), dtype=torch.promote_types(second.dtype, torch.float32))
        for count in {*counts.tolist()} or {0}:  # none of no rows is a sum with a graph too
            rows = counts == count
            found[rows] = measure(*(of_labels(scores[rows, :count], temperature) for scores in (first, second)))
        return found

    def blend(self, scores: Tensor) -> Tensor:
        """(M, P)."""
        given = scores.squeeze(-1) if scores.dim() > 3 else scores
        return mean_of(of_labels(given)).masked_fill(given[0].isneginf(), -math.inf)


@dataclass(frozen=True, slots=True)
class Teaching:
    """How a task learns from a teacher's scores (Hinton et al., 2015).

    The loss of an item is (1 - weight) × its loss on the label, if it has one, + weight × temperature² × the divergence of
    both answers at this temperature; numbers have squared differences instead, and no temperature.
    """

    weight: float = 0.5
    temperature: float = 2.0
    loss: str = "kl"

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise RecipeError(Problem("the weight of a teacher is above 0 and at most 1", "teaching.weight", str(self.weight)))
        if not 0 < self.temperature < math.inf:
            rule = "a temperature is a finite number above 0"
            raise RecipeError(Problem(rule, "teaching.temperature", str(self.temperature)))
        if self.loss not in DIVERGENCES:
            rule = f"no divergence is called this (there are: {listed(DIVERGENCES)})"
            raise RecipeError(Problem(rule, "teaching.loss", self.loss, nearest(self.loss, DIVERGENCES)))

    def mixed(self, labelled: Tensor, kind: Teachable, scores: Any, soft: Tensor, weights: Tensor | None) -> Tensor:
        """The sum over items, from that of the losses on labels.

        soft     the teacher's scores, (B, C), (B, W, C), (B, P) of choices or (B,) numbers; NaN where there is none
        weights  (B,) of the rows, or None
        """
        known = ~is_missing(soft if weights is None else without(soft, weights == 0))
        measure, wide = DIVERGENCES[self.loss], _narrow(scores, known)
        gaps = kind.gap(measure, soft[known], wide[known], self.temperature) * self.temperature**2
        return (1 - self.weight) * labelled + self.weight * _sum(gaps, known, weights)


@dataclass(frozen=True, slots=True)
class Perturbation:
    """Noise on the embeddings that sets the second answer of a task with `consistency` apart from the first.

    noise    standard deviation of the normal noise that is added to each number of the vectors of pieces
    step     how far it then goes where the two answers part most; see `manyheads.nn.perturb.Noise.climb`
    ascents  how often it goes there (SMART: Jiang et al., ACL 2020); 0: the noise alone (R3F: Aghajanyan et al., ICLR 2021)
    """

    noise: float = 1e-5
    step: float = 1e-3
    ascents: int = 1

    def __post_init__(self) -> None:
        for key in ("noise", "step"):
            if not 0 < getattr(self, key) < math.inf:
                rule = f"`{key}` is a finite number above 0"
                raise RecipeError(Problem(rule, f"perturbation.{key}", str(getattr(self, key))))
        if self.ascents < 0:
            raise RecipeError(Problem("`ascents` is a number from 0 on", "perturbation.ascents", str(self.ascents)))


def disagreement(
    kind: Comparable, first: Any, second: Any, target: Tensor, soft: Tensor | None, weights: Tensor | None
) -> Tensor:
    """Half the symmetric divergence of two answers, or the squared difference of numbers, over the items that count.

    (R-Drop: Liang et al., 2021; SMART and R3F too.) Items count that have a label in `target` or a teacher's answer in `soft`.
    """
    known = ~is_missing(target if weights is None else without(target, weights == 0))
    known = known.flatten(1).any(1) if known.dim() > 2 else known  # of the windows of a row, the row is the item
    if soft is not None:
        known = known | ~is_missing(soft if weights is None else without(soft, weights == 0))
    gaps = kind.gap(_half, _narrow(first, known)[known], _narrow(second, known)[known], 1.0)
    return _sum(gaps, known, weights)


def _half(first: Tensor, second: Tensor) -> Tensor:
    return symmetric_kl(first, second) / 2


def _narrow(scores: Any, known: Tensor) -> Any:
    """Scores of the first words: they are wider when a longer batch of the same round was joined with this one."""
    if not isinstance(scores, Tensor):
        rule = f"an answer of {type(scores).__name__} is no scores an item, so it has neither teacher nor consistency"
        raise RecipeError(Problem(rule, remedy="use a head that scores each word by itself, `decoder: softmax`"))
    return scores[:, : known.shape[1]] if known.dim() > 1 else scores


def _sum(gaps: Tensor, known: Tensor, weights: Tensor | None) -> Tensor:
    """The sum of what M items are apart, each times the weight of its row."""
    return (gaps if weights is None else gaps * weights[torch.nonzero(known)[:, 0]]).sum()


def of_choices(scores: Tensor) -> Tensor:
    """(B, P)."""
    return scores.squeeze(-1) if scores.dim() > 2 else scores
