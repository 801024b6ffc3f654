"""What a metric is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from manyheads.registry import Registry


@dataclass(frozen=True, slots=True)
class Scored:
    """All supervised items of an evaluation.

    gold, predicted  labels, numbers, tuples of labels, or lists of tags, an entry an item
    probabilities    (N, C), or None
    labels           all labels of the task, in the order of the columns; empty where ids are their own names
    scheme           how tags spell spans; 'none' where they do not
    """

    gold: Sequence[Any]
    predicted: Sequence[Any]
    probabilities: np.ndarray | None
    labels: tuple[str, ...]
    scheme: str


Result: TypeAlias = float | Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A name, a function of everything scored, and whether more is better. A dict of results gives several keys."""

    name: str
    function: Callable[[Scored], Result]
    higher: bool = True


METRICS: Registry[Metric] = Registry("metric")


def metric(name: str, *, higher: bool = True) -> Callable[[Callable[[Scored], Result]], Callable[[Scored], Result]]:
    """Decorator that registers a function of `Scored` as a metric."""

    def add(function: Callable[[Scored], Result]) -> Callable[[Scored], Result]:
        METRICS.register(name)(Metric(name, function, higher))
        return function

    return add
