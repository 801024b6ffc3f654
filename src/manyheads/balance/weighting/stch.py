"""Smooth Tchebycheff scalarization (Lin et al., ICML 2024): the greatest loss counts most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weights
from manyheads.balance.weighting.scale import shares


@WEIGHTINGS.register("stch")
class Stch:
    """Weight K softmax(L / mu) over all losses, those not in the step as last seen: the gradient of K mu log sum exp(L / mu).

    The ideal point is 0, which no loss of ours is below, and all preferences are 1; preferences of 1 / K are mu times K.
    """

    sees: Literal["losses"] = "losses"

    def __init__(self, tasks: Sequence[str], mu: float) -> None:
        self.mu = mu
        self.last: dict[str, float] = {}

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        known = self.last | {task: losses[task] for task in moment.tasks}
        found = shares({task: loss / self.mu for task, loss in known.items()})
        return {task: found[task] for task in moment.tasks}

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:
        self.last |= {task: losses[task] for task in moment.tasks}

    def to_json(self) -> dict[str, Any]:
        return {"last": dict(self.last)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.last = dict(state["last"])
