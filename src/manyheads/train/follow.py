"""What a run remembers about its scores: the best step of each task and of the whole, and how long ago that was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manyheads.config.criterion import LOSS, SELECTIONS, Criterion, criteria
from manyheads.errors import Problem, RecipeError, listed, nearest, shown
from manyheads.metrics import METRICS
from manyheads.task.base import Task
from manyheads.types import Record

WHOLE = "*"  # stands for the selection over all tasks; no task can be called so


@dataclass(slots=True)
class Best:
    """The best value so far, the step that gave it, and evaluations since. `value` None: none yet."""

    value: float | None = None
    step: int = 0
    waited: int = 0

    def see(self, value: float, step: int, higher: bool) -> bool:
        """Take a new value in; True when it is better. NaN, an undefined value, is neither better nor worse."""
        if math.isnan(value):
            return False
        better = self.value is None or (value > self.value if higher else value < self.value)
        if better:
            self.value, self.step, self.waited = value, step, 0
        else:
            self.waited += 1
        return better


@dataclass(slots=True)
class Follow:
    """Follows evaluations on dev rows.

    select   what the best step is chosen by, as `training.select`
    value    what it came to at the last evaluation; NaN where it was undefined
    """

    select: str | Sequence[str] = "average"
    best: dict[str, Best] = field(default_factory=dict)
    value: float = field(default=math.nan, compare=False)

    def see(self, records: Sequence[Record], tasks: Mapping[str, Task], step: int) -> list[str]:
        """Names that got better: tasks, and WHOLE when the selection did.

        The selection is the mean over the criteria, each a mean over tasks and data sets, a metric where lower is better
        counted negative. It is undefined where one of them is: what is left could not be compared with other steps.
        """
        better = []
        for name, task in tasks.items():
            values = [r.value for r in records if r.task == name and r.metric == task.metric]
            if not values:
                continue
            if self.best.setdefault(name, Best()).see(sum(values) / len(values), step, METRICS[task.metric].higher):
                better.append(name)
        chosen = [_value(criterion, records, tasks) for _, criterion in criteria(self.select)]
        self.value = sum(chosen) / len(chosen)
        if not math.isnan(self.value) and self.best.setdefault(WHOLE, Best()).see(self.value, step, True):
            better.append(WHOLE)
        return better

    def undefined(self, records: Sequence[Record], tasks: Mapping[str, Task]) -> list[str]:
        """Tasks whose own metric has no value, and keys of single scores that have none; such a step is not compared."""
        own = [r.task for r in records if r.metric == tasks[r.task].metric and math.isnan(r.value)]
        single = [c for _, c in criteria(self.select) if c.own or (c.task and c.metric not in ("", tasks[c.task].metric))]
        return [*own, *(c.key for c in single if math.isnan(_value(c, records, tasks)))]

    def exhausted(self, tasks: Mapping[str, Task]) -> tuple[str, ...]:
        """Tasks whose own patience has run out."""
        return tuple(
            name
            for name, task in tasks.items()
            if task.patience is not None and name in self.best and self.best[name].waited >= task.patience
        )

    def all_spent(self, tasks: Mapping[str, Task], patience: int | None) -> bool:
        """True when each task that has scores has not got better for its own patience, or for `patience` where it has none."""
        limits = {name: tasks[name].patience or patience for name in self.best if name != WHOLE}
        return bool(limits) and all(limit is not None and self.best[n].waited >= limit for n, limit in limits.items())

    def stop(self, patience: int | None) -> bool:
        """True when the selection has not got better for `patience` evaluations."""
        return patience is not None and WHOLE in self.best and self.best[WHOLE].waited >= patience

    def steps(self) -> set[int]:
        """Steps whose checkpoints are some best."""
        return {b.step for b in self.best.values() if b.value is not None}

    def to_json(self) -> dict[str, Any]:
        return {name: {"value": b.value, "step": b.step, "waited": b.waited} for name, b in self.best.items()}

    @classmethod
    def from_json(cls, select: str | Sequence[str], data: Mapping[str, Any]) -> Follow:
        return cls(select, {name: Best(b["value"], b["step"], b["waited"]) for name, b in data.items()})


def higher_is_better(metric: str) -> bool:
    """The direction of a reported score; one of several values of a metric is called `metric/value`."""
    return metric != LOSS and METRICS[metric if metric in METRICS else metric.partition("/")[0]].higher


def _value(criterion: Criterion, records: Sequence[Record], tasks: Mapping[str, Task]) -> float:
    """The value of a criterion, higher is better; NaN where there is none."""
    if criterion.own:
        return (-1 if criterion.direction == "min" else 1) * own_value(criterion, scores_by_name(records))
    found = []
    for name, task in tasks.items():
        metric = criterion.metric or task.metric
        own = [r for r in records if r.task == name and r.metric == metric]
        values = [r.value for r in own if criterion.dataset in ("", r.dataset)]
        if values and criterion.task in ("", name):
            higher = criterion.direction == "max" if criterion.direction else higher_is_better(metric)
            found.append((1 if higher else -1) * sum(values) / len(values))
    return sum(found) / len(found) if found else math.nan


def scores_by_name(records: Sequence[Record]) -> dict[str, float]:
    """task/metric to value, the mean over data sets; what a selection of a plug-in is given."""
    values: dict[str, list[float]] = {}
    for record in records:
        values.setdefault(f"{record.task}/{record.metric}", []).append(record.value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def own_value(criterion: Criterion, scores: Mapping[str, float]) -> float:
    """What a selection of a plug-in says of scores. RecipeError where it fails or gives no number."""
    try:
        return float(SELECTIONS[criterion.own](scores))
    except KeyError as error:
        rule = f"the selection {shown(criterion.own)} wants a score that no task reports; there are {listed(scores)}"
        close = nearest(str(error.args[0]), scores)
        remedy = "name the metric under `metrics` of its task"
        raise RecipeError(Problem(rule, "training.select", str(error.args[0]), close, remedy)) from error
    except Exception as error:
        rule = f"the selection {shown(criterion.own)} failed: {type(error).__name__}: {error}"
        raise RecipeError(Problem(rule, "training.select", criterion.key)) from error
