"""The endless sequence of rounds, which any position can continue."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.config.recipe import BatchSpec, MixtureSpec
from manyheads.data import mixture
from manyheads.data.batching import plan_pass


@dataclass(frozen=True, slots=True)
class Draw:
    """One batch: rows of batch `index` in pass `epoch` over a data set."""

    dataset: str
    epoch: int
    index: int
    rows: np.ndarray


@dataclass(frozen=True, slots=True)
class Position:
    """Where a stream stands: epoch of the mixture, draws taken in it, and for each data set (pass, next batch)."""

    epoch: int
    draw: int
    cursors: Mapping[str, tuple[int, int]]

    @classmethod
    def start(cls, names: Sequence[str]) -> Position:
        return cls(0, 0, {name: (0, 0) for name in names})

    def to_json(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "draw": self.draw, "cursors": {n: list(c) for n, c in self.cursors.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Position:
        return cls(data["epoch"], data["draw"], {n: (c[0], c[1]) for n, c in data["cursors"].items()})


class Stream:
    """Rounds of batches of several data sets; a data set that is used up starts over with a new permutation.

    lengths   data set to the lengths (N,) of its rows
    """

    def __init__(self, lengths: Mapping[str, np.ndarray], spec: MixtureSpec, batch: BatchSpec, seed: int) -> None:
        mixture.check(spec, list(lengths))
        self.names = list(lengths)
        self.lengths, self.spec, self.batch, self.seed = dict(lengths), spec, batch, seed
        self._passes: dict[str, dict[int, list[np.ndarray]]] = {name: {} for name in lengths}
        self._sizes: dict[tuple[str, int], int] = {}

    def rounds(self, position: Position, retired: Collection[str] = ()) -> Iterator[tuple[list[Draw], Position]]:
        """Rounds from `position` on, each with the position after it; ends only when every data set has retired.

        The draws of retired data sets are left out and their cursors stay.
        """
        epoch, taken, cursors = position.epoch, position.draw, dict(position.cursors)
        while len(set(retired).intersection(self.names)) < len(self.names):
            order, width = self._order(epoch)
            progressed = False
            for start in range(taken, len(order), width):
                chosen = [self.names[i] for i in order[start : start + width]]
                draws = [self._draw(name, cursors) for name in chosen if name not in retired]
                stop = start + width
                after = Position(epoch, stop, dict(cursors)) if stop < len(order) else Position(epoch + 1, 0, dict(cursors))
                if draws:
                    progressed = True
                    yield draws, after
            if not progressed and taken == 0:
                return  # what is left has no share of its own
            epoch, taken = epoch + 1, 0

    def rounds_in(self, epoch: int) -> int:
        """Rounds of one epoch of the mixture."""
        return mixture.rounds(self.spec, self.names, self._epoch_sizes(epoch))

    def batches(self, name: str, epoch: int) -> int:
        """Batches of one pass over a data set."""
        if (name, epoch) not in self._sizes:
            self._sizes[name, epoch] = len(self._pass(name, epoch))
        return self._sizes[name, epoch]

    def _order(self, epoch: int) -> tuple[np.ndarray, int]:
        order = mixture.order(self.spec, self.names, self._epoch_sizes(epoch), self.seed, epoch)
        return order, len(order) // max(self.rounds_in(epoch), 1)

    def _epoch_sizes(self, epoch: int) -> list[int]:
        """Where an epoch is one pass over everything its sizes are those of that very pass; else those of the first one."""
        aligned = self.spec.epoch == "pass" and self.spec.sampling in ("proportional", "sequential")
        return [self.batches(name, epoch if aligned else 0) for name in self.names]

    def _draw(self, name: str, cursors: dict[str, tuple[int, int]]) -> Draw:
        epoch, index = cursors[name]
        batches = self._pass(name, epoch)
        cursors[name] = (epoch, index + 1) if index + 1 < len(batches) else (epoch + 1, 0)
        return Draw(name, epoch, index, batches[index])

    def _pass(self, name: str, epoch: int) -> list[np.ndarray]:
        known = self._passes[name]
        if epoch not in known:
            for old in sorted(known)[:-1]:
                del known[old]
            known[epoch] = plan_pass(self.lengths[name], self.batch, self.seed, name, epoch)
        return known[epoch]
