"""Dynamic weight average (Liu, Johns and Davison, CVPR 2019): a task whose loss falls slowly counts more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal

from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weights
from manyheads.balance.weighting.scale import EPSILON, shares


@dataclass(frozen=True, slots=True)
class _Course:
    """How a task's loss went: means of the two epochs before `epoch`, older first, and the sum over `count` steps of it."""

    epoch: int = 0
    total: float = 0.0
    count: int = 0
    older: float | None = None
    newer: float | None = None

    def at(self, epoch: int) -> _Course:
        """The same at an epoch that may have begun since. Epochs without the task are none to it."""
        if epoch == self.epoch or not self.count:
            return self
        return _Course(epoch, 0.0, 0, self.newer, self.total / self.count)

    def rate(self) -> float:
        """Newer by older mean; 1, as in the paper, until there are both."""
        if self.older is None or self.newer is None:
            return 1.0
        return (max(self.newer, 0.0) + EPSILON) / (max(self.older, 0.0) + EPSILON)


@WEIGHTINGS.register("dwa")
class Dwa:
    """Weight K softmax(r / temperature) over all tasks, r = mean loss of the last epoch by that of the one before."""

    sees: Literal["past"] = "past"

    def __init__(self, tasks: Sequence[str], temperature: float) -> None:
        self.temperature = temperature
        self.courses = dict.fromkeys(tasks, _Course())

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        found = shares({task: course.at(moment.epoch).rate() / self.temperature for task, course in self.courses.items()})
        return {task: found[task] for task in moment.tasks}

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:
        for task in moment.tasks:
            now = self.courses[task].at(moment.epoch)
            self.courses[task] = _Course(moment.epoch, now.total + losses[task], now.count + 1, now.older, now.newer)

    def to_json(self) -> dict[str, Any]:
        return {"courses": {task: list(astuple(course)) for task, course in self.courses.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.courses |= {task: _Course(*values) for task, values in state["courses"].items()}
