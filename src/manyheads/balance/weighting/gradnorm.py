"""GradNorm (Chen et al., ICML 2018): gradients of one length, longer for tasks that learn slowly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal

from manyheads.balance.weighting.adam import Adam
from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weights
from manyheads.balance.weighting.scale import EPSILON

_LEAST = 1e-3  # of a weight, before all are scaled: a step of Adam must not take it below zero


@dataclass(frozen=True, slots=True)
class _Visit:
    """A task's first loss, and loss and gradient norm of its last step."""

    first: float
    last: float
    norm: float

    def left(self) -> float:
        """How much of the first loss is left."""
        return (max(self.last, 0.0) + EPSILON) / (max(self.first, 0.0) + EPSILON)


@WEIGHTINGS.register("gradnorm")
class GradNorm:
    """Weights minimise sum_k |w_k n_k - m (r_k / mean r)^alpha|, m the mean of w n, which counts as given.

    n is the norm of the unweighted gradient, r the share of the first loss that is left. After each step the weights of
    the tasks seen so far are scaled to add up to their number.
    """

    sees: Literal["norms"] = "norms"

    def __init__(self, tasks: Sequence[str], alpha: float, lr: float) -> None:
        self.alpha = alpha
        self.learned = dict.fromkeys(tasks, 1.0)
        self.visits: dict[str, _Visit] = {}
        self.adam = Adam(lr)

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        return {task: self.learned[task] for task in moment.tasks}

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:
        found = [task for task in moment.tasks if math.isfinite(norms[task])]
        for task in found:
            first = self.visits[task].first if task in self.visits else losses[task]
            self.visits[task] = _Visit(first, losses[task], norms[task])
        slopes = self._slopes()
        for task in found:
            self.learned[task] = max(self.learned[task] - self.adam.step(task, slopes[task]), _LEAST)
        total = math.fsum(self.learned[task] for task in self.visits)
        for task in self.visits:
            self.learned[task] = self.learned[task] * len(self.visits) / total

    def _slopes(self) -> dict[str, float]:
        """The derivative of what is minimised, for each task seen."""
        lengths = {task: self.learned[task] * visit.norm for task, visit in self.visits.items()}
        left = {task: visit.left() for task, visit in self.visits.items()}
        length, usual = (math.fsum(values.values()) / max(len(values), 1) for values in (lengths, left))
        slopes = {}
        for task, visit in self.visits.items():
            wanted = length * (left[task] / usual) ** self.alpha
            slopes[task] = visit.norm * ((lengths[task] > wanted) - (lengths[task] < wanted))
        return slopes

    def to_json(self) -> dict[str, Any]:
        visits = {task: list(astuple(visit)) for task, visit in self.visits.items()}
        return {"learned": dict(self.learned), "visits": visits, "adam": self.adam.to_json()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.learned |= state["learned"]
        self.visits = {task: _Visit(*values) for task, values in state["visits"].items()}
        self.adam.restore(state["adam"])
