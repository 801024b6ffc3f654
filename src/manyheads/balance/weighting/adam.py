"""Adam for weights that are learned: single numbers, one a task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Adam (Kingma and Ba, ICLR 2015) with its usual averages. The moments of a task move only when that task does.

    A step is about `lr` long whatever the size of the gradient, so that losses of any size are followed at one pace.
    """

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self.moments: dict[str, tuple[int, float, float]] = {}

    def step(self, task: str, gradient: float) -> float:
        """What the task's number is to be lowered by."""
        count, mean, square = self.moments.get(task, (0, 0.0, 0.0))
        count += 1
        mean = _FIRST * mean + (1 - _FIRST) * gradient
        square = _SECOND * square + (1 - _SECOND) * gradient * gradient
        self.moments[task] = (count, mean, square)
        usual = math.sqrt(square / (1 - _SECOND**count)) + _EPSILON
        return self.lr * mean / (1 - _FIRST**count) / usual

    def to_json(self) -> dict[str, Any]:
        """Task to number of steps, mean and mean square of its gradients."""
        return {task: list(moments) for task, moments in self.moments.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `to_json` gave."""
        self.moments = {task: (count, mean, square) for task, (count, mean, square) in state.items()}
