"""Geometric mean of the losses (Chennupati et al., MultiNet++, CVPR workshops 2019): no loss is too small to count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weights
from manyheads.balance.weighting.scale import log_of


@WEIGHTINGS.register("geometric")
class Geometric:
    """Weight g / L, the gradient of K times the geometric mean g of all losses; those not in the step as last seen."""

    sees: Literal["losses"] = "losses"

    def __init__(self, tasks: Sequence[str]) -> None:
        self.logs: dict[str, float] = {}

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        logs = self.logs | {task: log_of(losses[task]) for task in moment.tasks}
        mean = math.fsum(logs.values()) / max(len(logs), 1)
        return {task: math.exp(mean - logs[task]) for task in moment.tasks}

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:
        self.logs |= {task: log_of(losses[task]) for task in moment.tasks}

    def to_json(self) -> dict[str, Any]:
        return {"logs": dict(self.logs)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.logs = dict(state["logs"])
