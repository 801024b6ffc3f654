"""Task, the face of a task type, and what a prediction is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from manyheads.errors import Problem, RecipeError
from manyheads.graph import Step
from manyheads.nn.losses import is_missing, without
from manyheads.registry import Registry
from manyheads.task.teaching import Comparable, Perturbation, Teachable, Teaching
from manyheads.text.tags import Span
from manyheads.types import Passage, part_rows


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer of one task for one row.

    value          a label, a number, a tuple of labels, a tuple of tags, one a word, the text of a choice or an answer, or a
                   tuple of candidates, the best first
    probabilities  label to probability, of choices their number; empty for numbers, tags and answers
    spans          for tags: the spans they spell, in words
    index          for choices and candidates: the number of the best one, from 0
    measure        for numbers: what the number is
    guesses        for hidden words: at each place the best pieces and their probabilities, the best first
    found          for answers: where the answer stands
    ranking        for candidates: their numbers, from 0, the best first
    scores         for candidates: their scores, in this order
    """

    task: str
    value: str | float | tuple[str, ...]
    probabilities: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    index: int | None = None
    found: Extract | None = None
    ranking: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    measure: str = "value"
    guesses: tuple[Mapping[str, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class Extract:
    """Characters (from, to) of an answer in its text, (0, 0) for none, and the probability of just this span."""

    start: int
    stop: int
    probability: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer has to know of the row's input.

    words    how many words a text or a sentence has
    choices  the texts to choose from
    passage  the text that an answer is to be found in
    pieces   numbers of the pieces, marks of begin and end among them
    names    what a piece is called, by its number
    """

    words: int = 0
    choices: tuple[str, ...] = ()
    passage: Passage | None = None
    pieces: tuple[int, ...] = ()
    names: Callable[[int], str | None] = lambda number: None

    def named(self, piece: int) -> str:
        """What a piece is called; its number where it has no name."""
        return self.names(piece) or str(piece)


@dataclass(frozen=True, slots=True)
class Judged:
    """Supervised items only, as metrics want them: gold and predicted values, probabilities where there are any."""

    gold: Sequence[Any]
    predicted: Sequence[Any]
    probabilities: np.ndarray | None = None


class TaskType(Protocol):
    """What a type must know. `labels` is empty where ids are their own names; `scheme` is that of span tags, or 'none'."""

    wants: str  # the port its head reads: "vector" or "states"
    metric: str  # the score that chooses checkpoints unless the task says otherwise
    labels: tuple[str, ...]
    scheme: str

    @property
    def outputs(self) -> int:
        """Width C of the head's scores; 0: there is no head, the path ends in what the type wants, of any width."""
        ...

    def loss(self, scores: Any, target: Tensor) -> Tensor:
        """Sum of the losses of all supervised items, a scalar.

        With a third argument `weights` (B,) it is that of rows which have weights. A type need not take it: it is then asked
        row by row, which is slow.
        """
        ...

    def judge(self, scores: Any, target: Any) -> Judged:
        """What the scores say against the target, as the data set's `gold` has it."""
        ...

    def predict(self, task: str, scores: Any, rows: Sequence[Reading]) -> list[Prediction]:
        """One prediction a row."""
        ...


LossFunction: TypeAlias = Callable[[Any, Tensor], Tensor]
TASKS: Registry[Callable[..., TaskType]] = Registry("task")


@dataclass(frozen=True, slots=True)
class Task:
    """A name, a path through the pool, and what the end of the path means.

    path         steps, or names of modules that each read the one before
    type         loss, predictions and scores; see `manyheads.task`
    weight       static weight of the loss; 0 leaves what only this task uses unmoved
    metric       the score that chooses checkpoints; default: the type's
    metrics      further scores to report
    loss         replaces the type's loss: a callable (scores, target) -> the mean over the items it is given
    patience     evaluations without a better metric after which the task leaves the mixture
    teaching     how it learns from a teacher's scores, in batches that have some
    consistency  what two answers to a row, with two draws of dropout, cost in training for being apart; 0: rows go once
    perturbation noise on the embeddings, to which the second answer is then given, and no loss on labels for that one
    """

    name: str
    path: Sequence[Step | str]
    type: TaskType
    weight: float = 1.0
    metric: str = ""
    metrics: Sequence[str] = ()
    loss: LossFunction | None = None
    patience: int | None = None
    teaching: Teaching | None = None
    consistency: float = 0.0
    perturbation: Perturbation | None = None

    def __post_init__(self) -> None:
        place = f"tasks.{self.name}"
        if not self.name:
            raise RecipeError("a task needs a name")
        if isinstance(self.type, type):
            raise RecipeError(Problem(f"a type is an object; call the class: {self.type.__name__}(...)", f"{place}.type"))
        if isinstance(self.path, str):
            raise RecipeError(Problem("a path is a list of steps", f"{place}.path", self.path))
        if not 0 <= self.weight < math.inf:
            raise RecipeError(Problem("a weight is a finite number from 0 on", f"{place}.weight", str(self.weight)))
        if not 0 <= self.consistency < math.inf:
            rule = "consistency is a finite number from 0 on"
            raise RecipeError(Problem(rule, f"{place}.consistency", str(self.consistency)))
        if self.perturbation is not None and not self.consistency:
            rule = "a perturbation sets two answers apart, and `consistency` says what that costs"
            raise RecipeError(Problem(rule, f"{place}.perturbation", remedy="add it, for example consistency=1.0"))
        self._check_comparable(place)
        steps = tuple(Step(s) if isinstance(s, str) else s for s in self.path)
        object.__setattr__(self, "path", steps)
        object.__setattr__(self, "metric", self.metric or self.type.metric)

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(s for s in self.path if isinstance(s, Step))

    def _check_comparable(self, place: str) -> None:
        """RecipeError where answers of the type would have to be compared, and it does not know how."""
        asked = (("teacher", self.teaching is not None, Teachable), ("consistency", self.consistency > 0, Comparable))
        for key, given, knows in asked:
            if given and not isinstance(self.type, knows):
                rule = f"the task type {type(self.type).__name__} cannot compare two answers"
                remedy = f"give it the methods of `manyheads.task.teaching.{knows.__name__}`"
                raise RecipeError(Problem(rule, f"{place}.{key}", remedy=remedy))

    def scores(self) -> tuple[str, ...]:
        """All metrics to report, the choosing one first."""
        return tuple(dict.fromkeys((self.metric, *self.metrics)))

    def loss_sum(self, scores: Any, target: Tensor, weights: Tensor | None = None) -> Tensor:
        """Sum of the losses of all supervised items, a scalar: the type's, or the task's own `loss` times its items.

        `weights` (B,) multiply the losses of each row; a row of weight 0 has none, not even one that is not finite.
        """
        if weights is not None:
            return self._weighted_sum(scores, without(target, weights == 0), weights)
        if self.loss is None:
            return self.type.loss(scores, target)
        known = ~is_missing(target)
        count = int(known.sum())
        if known.dim() > 1:
            scores = scores[:, : known.shape[1]]  # wider when a longer batch of the same round was joined with this one
        return self.loss(scores[known], target[known]) * count if count else scores.sum() * 0

    def _weighted_sum(self, scores: Any, target: Tensor, weights: Tensor) -> Tensor:
        """In one call of a type that knows of weights; of another, and of the task's own `loss`, in one call a row."""
        known: Callable[..., Tensor] = self.type.loss
        if self.loss is None and "weights" in signature(known).parameters:
            return known(scores, target, weights)
        rows = [(i, i + 1) for i in range(len(target))]
        sums = [self.loss_sum(part_rows(scores, *row, len(target)), target[slice(*row)]) for row in rows]
        return (torch.stack(sums) * weights).sum()
