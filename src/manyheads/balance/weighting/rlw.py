"""Random loss weighting (Lin et al., "Reasonable Effectiveness of Random Weighting", TMLR 2022): a litmus test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from manyheads.balance.weighting.contract import WEIGHTINGS, Moment, Weights
from manyheads.balance.weighting.scale import shares
from manyheads.seeds import generator


@WEIGHTINGS.register("rlw")
class Rlw:
    """Weights are drawn anew at each step for all tasks, and add up to K.

    normal, uniform  K softmax of draws from N(0, 1) or from [0, 1)
    dirichlet        K times a point of the simplex, all of them equally likely

    What is drawn is a function of seed and step. There is no state.
    """

    sees: Literal["past"] = "past"

    def __init__(self, tasks: Sequence[str], distribution: Literal["normal", "uniform", "dirichlet"]) -> None:
        self.tasks = tuple(sorted(tasks))
        self.distribution = distribution

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        drawn = self._draw(generator(moment.seed, "rlw", moment.step))
        return {task: drawn[task] for task in moment.tasks}

    def _draw(self, random: np.random.Generator) -> Weights:
        count = len(self.tasks)
        if self.distribution == "dirichlet":
            return dict(zip(self.tasks, (count * random.dirichlet(np.ones(count))).tolist(), strict=True))
        values = random.standard_normal(count) if self.distribution == "normal" else random.random(count)
        return shares(dict(zip(self.tasks, values.tolist(), strict=True)))

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None: ...

    def to_json(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...
