"""Uncertainty weighting (Kendall, Gal and Cipolla, CVPR 2018): each task learns how noisy its labels are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from manyheads.balance.weighting.adam import Adam
from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weights

_LIMIT = 10.0  # of |s|: a loss that stays at zero would let the weight grow without end


@WEIGHTINGS.register("uncertainty")
class Uncertainty:
    """Weight exp(-s), where s = log sigma² of the task minimises exp(-s) L + s / 2, the paper's form for classification.

    It is used for every task; the form for regression has half the weight on L, which a task's own `weight` can say.
    """

    sees: Literal["past"] = "past"

    def __init__(self, tasks: Sequence[str], lr: float) -> None:
        self.log_variances = dict.fromkeys(tasks, 0.0)
        self.adam = Adam(lr)

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        return {task: math.exp(-self.log_variances[task]) for task in moment.tasks}

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:
        for task in moment.tasks:
            now = self.log_variances[task]
            slope = 0.5 - math.exp(-now) * losses[task]
            self.log_variances[task] = max(-_LIMIT, min(now - self.adam.step(task, slope), _LIMIT))

    def to_json(self) -> dict[str, Any]:
        return {"log_variances": dict(self.log_variances), "adam": self.adam.to_json()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.log_variances |= state["log_variances"]
        self.adam.restore(state["adam"])
