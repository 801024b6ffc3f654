"""FAMO (Liu, Feng, Stone and Liu, NeurIPS 2023): the logs of all losses fall at one pace, at the cost of no gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from manyheads.balance.weighting.adam import Adam
from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weights
from manyheads.balance.weighting.scale import log_of, shares


@WEIGHTINGS.register("famo")
class Famo:
    """Weight proportional to z / L, z = softmax(w); a task whose log loss fell by more than the mean loses in w.

    The paper runs each batch a second time after the update to see how far its losses fell. Here a fall is that between
    two visits of a task, on different rows: no second pass, more noise, and w follows one visit later.

    logits  w
    logs    log loss at the last visit
    falls   by how much it fell since the visit before
    """

    sees: Literal["losses"] = "losses"

    def __init__(self, tasks: Sequence[str], lr: float, decay: float) -> None:
        self.decay = decay
        self.logits = dict.fromkeys(tasks, 0.0)
        self.logs: dict[str, float] = {}
        self.falls: dict[str, float] = {}
        self.adam = Adam(lr)

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        logs = self.logs | {task: log_of(losses[task]) for task in moment.tasks}
        found = shares({task: self.logits[task] - log for task, log in logs.items()})
        return {task: found[task] for task in moment.tasks}

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:
        for task in moment.tasks:
            now = log_of(losses[task])
            if task in self.logs:
                self.falls[task] = self.logs[task] - now
            self.logs[task] = now
        found = shares({task: self.logits[task] for task in self.falls})
        z = {task: share / len(found) for task, share in found.items()}
        mean = math.fsum(z[task] * fall for task, fall in self.falls.items())
        for task in moment.tasks:
            if task in self.falls:
                slope = z[task] * (self.falls[task] - mean) + self.decay * self.logits[task]
                self.logits[task] -= self.adam.step(task, slope)

    def to_json(self) -> dict[str, Any]:
        numbers = {"logits": dict(self.logits), "logs": dict(self.logs), "falls": dict(self.falls)}
        return numbers | {"adam": self.adam.to_json()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.logits |= state["logits"]
        self.logs, self.falls = dict(state["logs"]), dict(state["falls"])
        self.adam.restore(state["adam"])
