"""What a weighting is: losses in, a weight a task out. Numbers only, so that its whole state is a few of them.

A method whose paper learns weights by gradient descent has that gradient in closed form here, since the losses enter it
as numbers: the model's own gradient is the weighted sum whatever the method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from manyheads.registry import Registry

Weights: TypeAlias = dict[str, float]


@dataclass(frozen=True, slots=True)
class Moment:
    """A step, as every process knows it before it is taken.

    step, epoch  numbers from 0; `seed` is the run's
    tasks        those with supervised items in this step, in one order everywhere
    """

    seed: int
    step: int
    epoch: int
    tasks: tuple[str, ...]


class Weighting(Protocol):
    """One run's weighting. Made once with the names of all tasks; a step may hold any of them.

    sees  `past`: weights follow from what was learned; `losses`: from the step's own losses as well, so that the step
          keeps the graphs of all its rounds until they are known; `norms`: it learns from gradient norms too
    """

    sees: Literal["past", "losses", "norms"]

    def weights(self, moment: Moment, losses: Mapping[str, float]) -> Weights:
        """A weight for each task of the step. `losses` are the step's mean losses, or empty where `sees` is not `losses`."""
        ...

    def learn(self, moment: Moment, losses: Mapping[str, float], norms: Mapping[str, float]) -> None:
        """Take in a step that was taken: unweighted mean losses and, where `sees` is `norms`, norms of unweighted gradients."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The state as plain values of JSON; floats come back to the same bits."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `to_json` gave."""
        ...


WEIGHTINGS: Registry[Callable[..., Weighting]] = Registry("weighting")
"""Name to a class that is made with the names of the tasks and the options of its section as keywords."""
