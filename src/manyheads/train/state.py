"""Where a run stands, and what one step of it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manyheads.balance.backward import Gramians
from manyheads.balance.conflict import Pair
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.stream import Position


@dataclass(slots=True)
class State:
    """All that a run must remember beside weights and moments: a few numbers and names."""

    position: Position
    step: int = 0
    skipped: int = 0
    retired: tuple[str, ...] = ()
    balance: dict[str, Any] = field(default_factory=dict)
    mixture: dict[str, Any] = field(default_factory=dict)
    scale: float = 1.0

    def to_json(self) -> dict[str, Any]:
        return {
            "position": self.position.to_json(),
            "step": self.step,
            "skipped": self.skipped,
            "retired": list(self.retired),
            "balance": self.balance,
            "mixture": self.mixture,
            "scale": self.scale,
        }

    def is_through(self, spec: TrainingSpec, steps: int) -> bool:
        """Whether all of the run's `steps` are done, or its epochs, which are shorter once a data set has left."""
        return self.step >= steps or (spec.steps is None and self.position.epoch >= spec.epochs)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> State:
        position, retired = Position.from_json(data["position"]), tuple(data["retired"])
        return cls(position, data["step"], data["skipped"], retired, data["balance"], data["mixture"], data["scale"])


@dataclass(frozen=True, slots=True)
class Progress:
    """One optimizer step, done.

    losses     task to its mean loss over the step's items, without the task's weight
    items      task to how many items that was; where rows have weights, the sum of them over the items
    rows       data set to rows, over all processes; `batches` and `tokens` (pieces without padding) likewise
    norm       norm of the whole gradient before clipping
    epoch_end  True when the next step belongs to another epoch
    last       True when no step comes after it
    skipped    True when the gradient was not finite and the weights were left alone
    gramians   inner products of the tasks' gradients, in steps whose cosines are recorded
    conflicts  pairs of tasks whose gradients have been in conflict for long, told once, with their mean cosine
    weights    task to what its loss was multiplied by: the weighting's factor times its own weight
    orthogonality  the penalty on subspaces before the step; None where there is none
    """

    step: int
    steps: int
    epoch: int
    losses: Mapping[str, float]
    items: Mapping[str, float]
    rows: Mapping[str, int]
    batches: Mapping[str, int]
    tokens: Mapping[str, int]
    rate: float
    norm: float
    epoch_end: bool
    last: bool
    skipped: bool
    gramians: Gramians | None = None
    conflicts: Sequence[tuple[Pair, float]] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    orthogonality: float | None = None
