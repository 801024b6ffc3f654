"""The loss side of DB-MTL (Lin et al., "Dual-Balancing for Multi-Task Learning", 2023): losses are trained by their logs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weights
from manyheads.balance.weighting.scale import log_of


@WEIGHTINGS.register("db_mtl")
class DbMtl:
    """Weight 1 / L, the gradient of the sum of log L. Its gradient side is an aggregation's to take on."""

    sees: Literal["losses"] = "losses"

    def __init__(self, tasks: Sequence[str]) -> None: ...

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        return {task: math.exp(-log_of(losses[task])) for task in moment.tasks}

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None: ...

    def to_json(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...
