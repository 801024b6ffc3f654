"""IMTL-L (Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021): every loss is scaled to about 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from manyheads.balance.weighting.adam import Adam
from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weights

_LIMIT = 10.0  # of |s|: a loss that stays at zero would let the weight grow without end


@WEIGHTINGS.register("imtl_l")
class ImtlL:
    """Weight exp(s), where s minimises exp(s) L - s: it follows -log L, so that the weighted loss comes to 1."""

    sees: Literal["past"] = "past"

    def __init__(self, tasks: Sequence[str], lr: float) -> None:
        self.log_scales = dict.fromkeys(tasks, 0.0)
        self.adam = Adam(lr)

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        return {task: math.exp(self.log_scales[task]) for task in moment.tasks}

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:
        for task in moment.tasks:
            now = self.log_scales[task]
            slope = math.exp(now) * losses[task] - 1
            self.log_scales[task] = max(-_LIMIT, min(now - self.adam.step(task, slope), _LIMIT))

    def to_json(self) -> dict[str, Any]:
        return {"log_scales": dict(self.log_scales), "adam": self.adam.to_json()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.log_scales |= state["log_scales"]
        self.adam.restore(state["adam"])
