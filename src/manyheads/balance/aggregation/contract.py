"""What an aggregation is: how the gradients of several tasks become one, in the parameters that the tasks share.

Nearly all methods are a weighted sum of the gradients whose weights follow from their inner products, the Gramian. They
see nothing else, so one method serves every way of getting the Gramian. Those that choose coordinate by coordinate need
the gradients themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from manyheads.balance.weighting.contract import Moment
from manyheads.registry import Registry


@runtime_checkable
class GramianAggregation(Protocol):
    """Weights from inner products."""

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        """(K,) weights of the sum from the (K, K) Gramian, both float64 on the CPU, rows in the order of `moment.tasks`."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The state as plain values of JSON, keyed by task; floats come back to the same bits."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `to_json` gave."""
        ...


@runtime_checkable
class RowsAggregation(Protocol):
    """One gradient from the gradients themselves."""

    def combine(self, rows: Tensor, moment: Moment) -> Tensor:
        """(P,) from (K, P), rows in the order of `moment.tasks`; random choices are a function of the moment."""
        ...

    def to_json(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


class Stateless:
    """What a method without memory has to save."""

    def to_json(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...


Aggregation: TypeAlias = GramianAggregation | RowsAggregation
AGGREGATIONS: Registry[Callable[..., Aggregation]] = Registry("aggregation")
"""Name to a class that is made with the options of its section as keywords."""


def weigh(aggregation: GramianAggregation, gramian: Tensor, moment: Moment) -> Tensor:
    """(K,) weights from the (K, K) Gramian. One task alone has weight 1, whatever the method.

    So has each where the Gramian is not finite: the gradient of the step is not either, the step will not be taken, and a
    method neither fails on such numbers nor remembers them.
    """
    if len(gramian) < 2 or not bool(gramian.isfinite().all()):
        return torch.ones(len(gramian), dtype=gramian.dtype)
    return aggregation.weights(gramian, moment)
