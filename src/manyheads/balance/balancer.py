"""The balance of a run: weights for the losses of each step, gradients by the chosen way, and what is learned from both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import Tensor

from manyheads.balance.aggregation import AGGREGATIONS, GramianAggregation
from manyheads.balance.backward import Exchange, Gramians, Layout, OnePass, Part, Rows, Trunk
from manyheads.balance.conflict import Conflicts
from manyheads.balance.weighting import WEIGHTINGS, Moment, Weights
from manyheads.config.spec.balance import BalanceSpec
from manyheads.errors import Problem, RecipeError

Way: TypeAlias = OnePass | Rows | Trunk


class Balancer:
    """One for a run. A step calls `start`, `add` for each part, `finish`, and `learn` once it was taken.

    static  task to its own weight, which multiplies what the weighting says; tasks of weight 0 take no part

    The state is plain values, small, and known again to the bit.
    """

    def __init__(self, spec: BalanceSpec, static: Mapping[str, float], layout: Layout) -> None:
        self.spec, self.static, self.layout = spec, static, layout
        chosen = {task: weight for task, weight in static.items() if weight}
        self.weighting = WEIGHTINGS[spec.weighting.type](list(chosen), **spec.weighting.model_dump(exclude={"type"}))
        self.aggregation = AGGREGATIONS[spec.aggregation.type](**spec.aggregation.model_dump(exclude={"type", "level"}))
        if spec.aggregation.type != "sum" and len(chosen) < 2:
            rule = f"an aggregation needs two tasks whose weight is not 0 or more, and there is {len(chosen)}"
            raise RecipeError(Problem(rule, "balance.aggregation.type", spec.aggregation.type, remedy="type: sum"))
        self.usual: Way = self._usual()
        exact = spec.cosines_every and spec.aggregation.type == "sum"  # else a look would change the weights, and so the update
        norms = self.weighting.sees == "norms"  # learned at the trunk from a look too
        self.looking = Rows(self.aggregation, layout, tapped=norms) if exact else self.usual
        self.way: Way = self.usual
        self.known: Weights | None = None
        self.held: list[Part] = []
        self.gramians: Gramians | None = None
        self.conflicts = Conflicts()

    def _usual(self) -> Way:
        level = getattr(self.spec.aggregation, "level", "trunk" if self.weighting.sees == "norms" else "sum")
        if level == "rows":
            return Rows(self.aggregation, self.layout)
        if level != "trunk":
            return OnePass()
        if isinstance(self.aggregation, GramianAggregation):
            return Trunk(self.aggregation, self.layout)
        rule = "this aggregation chooses coordinate by coordinate and needs the whole gradients"
        raise RecipeError(Problem(rule, "balance.aggregation.level", level, remedy="level: rows"))

    def start(self, moment: Moment) -> None:
        """Begin a step."""
        self.moment = Moment(moment.seed, moment.step, moment.epoch, tuple(t for t in moment.tasks if self.static[t]))
        every = self.spec.cosines_every
        self.way = self.looking if every and moment.step % every == 0 else self.usual
        self.way.start(self.moment)
        self.known = None if self.weighting.sees == "losses" else self.weighting.weights(self.moment, {})

    @property
    def apart(self) -> bool:
        """Each batch of this step is to run by itself."""
        return self.way.apart

    @property
    def tapped(self) -> bool:
        """This step wants to see what the trunk gives."""
        return self.way.tapped

    def add(self, part: Part) -> None:
        """Take in unweighted shares of the losses; they go backward at once unless the weights wait for all of them."""
        if self.known is None:
            self.held.append(part)
        else:
            self.way.add(self._weighted(part, self.known))

    def finish(self, means: Mapping[str, float], exchange: Exchange) -> None:
        """All parts are in; `means` are the mean losses of the step. Afterwards every gradient of this process is set."""
        if self.known is None:
            self.known = self.weighting.weights(self.moment, {t: means[t] for t in self.moment.tasks})
            for part in self.held:
                self.way.add(self._weighted(part, self.known))
            self.held = []
        self.gramians = self.way.finish(exchange)

    def learn(self, means: Mapping[str, float], shares: Mapping[str, float] | None = None) -> None:
        """The step was taken. `shares`: task to what its mean loss was multiplied by in the parts, 1 where it is not named."""
        shares = shares or {}
        norms: dict[str, float] = {}
        if self.weighting.sees == "norms" and self.gramians is not None and self.known is not None:
            found = self.gramians.whole if self.gramians.shifts is None else self.gramians.shifts
            lengths = found.diagonal().clamp(min=0).sqrt().tolist()
            scales = {t: self._weight(t, self.known) * shares.get(t, 1.0) for t in self.gramians.tasks}
            norms = {t: n / scales[t] for t, n in zip(self.gramians.tasks, lengths, strict=True)}
        self.weighting.learn(self.moment, {t: means[t] for t in self.moment.tasks}, norms)

    @property
    def weights(self) -> dict[str, float]:
        """Task to what its loss is multiplied by, of the tasks in this step whose own weight is not 0."""
        return {} if self.known is None else {task: self._weight(task, self.known) for task in self.moment.tasks}

    @property
    def look(self) -> Gramians | None:
        """The inner products of a step that is to be recorded."""
        every = self.spec.cosines_every
        return self.gramians if every and self.moment.step % every == 0 else None

    def to_json(self) -> dict[str, Any]:
        """The state, for a checkpoint."""
        return {
            "weighting": self.weighting.to_json(),
            "aggregation": self.aggregation.to_json(),
            "conflicts": self.conflicts.to_json(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `to_json` gave."""
        self.weighting.restore(state["weighting"])
        self.aggregation.restore(state["aggregation"])
        self.conflicts.restore(state["conflicts"])

    def _weight(self, task: str, known: Weights) -> float:
        return known[task] * self.static[task]

    def _weighted(self, part: Part, known: Weights) -> Part:
        """Losses times weights; a weight of exactly 1 is no product, so that one task alone is the plain loop to the bit."""
        losses: dict[str, Tensor] = {}
        for task, loss in part.losses.items():
            if self.static[task]:
                weight = self._weight(task, known)
                losses[task] = loss if weight == 1.0 else loss * weight
        return Part(losses, part.trunk)
