"""Static weights: every task counts 1 here; its own `weight` in the recipe is all that there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weights


@WEIGHTINGS.register("static")
class Static:
    """1 for every task."""

    sees: Literal["past"] = "past"

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = tuple(tasks)

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        return dict.fromkeys(moment.tasks, 1.0)

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None: ...

    def to_json(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...
