"""The endless sequence of rounds, which any position can continue."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from manyheads.config.check_mixture import check_mixture
from manyheads.config.node import refuse
from manyheads.config.spec.mixture import LEARNING, MixtureSpec
from manyheads.config.spec.training import BatchSpec
from manyheads.data import mixture
from manyheads.data.batching import in_turn, plan_pass
from manyheads.errors import ArtefactError, Problem, RecipeError, listed, nearest

_KEYS = ("epoch", "draw", "cursors")


@dataclass(frozen=True, slots=True)
class Draw:
    """One batch: rows of batch `index` in pass `epoch` over a data set."""

    dataset: str
    epoch: int
    index: int
    rows: np.ndarray = field(compare=False)  # follows from the rest


@dataclass(frozen=True, slots=True)
class Position:
    """Where a stream stands: epoch of the mixture, draws taken in it, and for each data set (pass, next batch)."""

    epoch: int
    draw: int
    cursors: Mapping[str, tuple[int, int]]

    @classmethod
    def start(cls, names: Sequence[str]) -> Position:
        return cls(0, 0, dict.fromkeys(names, (0, 0)))

    def to_json(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "draw": self.draw, "cursors": {n: list(c) for n, c in self.cursors.items()}}

    @classmethod
    def from_json(cls, data: Any) -> Position:
        """What `to_json` gave; ArtefactError for anything else."""
        if not isinstance(data, Mapping) or set(data) != set(_KEYS) or not isinstance(data["cursors"], Mapping):
            raise ArtefactError(Problem(f"a position in the data has exactly {listed(_KEYS)}", "position", repr(data)))
        for key, value in (("epoch", data["epoch"]), ("draw", data["draw"])):
            if not _is_count(value):
                raise ArtefactError(Problem("must be a whole number from 0 on", f"position.{key}", repr(value)))
        for name, cursor in data["cursors"].items():
            if not (isinstance(cursor, list | tuple) and len(cursor) == 2 and all(map(_is_count, cursor))):
                rule = "must be [pass, next batch], whole numbers from 0 on"
                raise ArtefactError(Problem(rule, f"position.cursors.{name}", repr(cursor)))
        return cls(data["epoch"], data["draw"], {name: (c[0], c[1]) for name, c in data["cursors"].items()})


class Stream:
    """Rounds of batches of several data sets; a data set that is used up starts over with a new permutation.

    lengths  data set to the lengths (N,) of its rows
    batch    how rows become batches, for all data sets or for each by name
    ordered  data sets whose rows go through a model in their order, and how many at a time

    Raises RecipeError for a mixture that does not fit the data sets.
    """

    def __init__(
        self,
        lengths: Mapping[str, np.ndarray],
        spec: MixtureSpec,
        batch: BatchSpec | Mapping[str, BatchSpec],
        seed: int,
        ordered: Mapping[str, int] | None = None,
    ) -> None:
        refuse(check_mixture(spec, list(lengths)))
        self.names = list(lengths)
        self.lengths, self.spec, self.seed = dict(lengths), spec, seed
        self.ordered = dict(ordered or {})
        self.batch = {name: batch if isinstance(batch, BatchSpec) else batch[name] for name in lengths}
        self._passes: dict[str, dict[int, list[np.ndarray]]] = {name: {} for name in lengths}
        self._sizes: dict[tuple[str, int], int] = {}
        self._asked: tuple[Any, dict[str, float]] = (None, {})
        self.rounds_in(0)  # raises what only the sizes can tell

    def rounds(
        self, position: Position, retired: Collection[str] = (), memory: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[list[Draw], Position]]:
        """Rounds from `position` on, each with the position after it; ends only when every data set has retired.

        The draws of retired data sets are left out and their cursors stay. `memory` is what `learn` gave, for a mixture
        that learns; without it its first shares hold. Raises RecipeError for an unknown name in `retired`, and
        ArtefactError for a position that cannot be in these data.
        """
        self._check(position, retired)
        epoch, taken, cursors = position.epoch, position.draw, dict(position.cursors)
        while not set(retired).issuperset((course := self._course(epoch, memory)).names):
            order, width = course.order(), course.width
            end = self._end(order, retired)
            for start in range(taken, end, width):
                chosen = [self.names[i] for i in order[start : start + width]]
                draws = [self._draw(name, cursors) for name in chosen if name not in retired]
                stop = start + width
                if draws:
                    yield draws, Position(*((epoch, stop) if stop < end else (epoch + 1, 0)), dict(cursors))
            epoch, taken = epoch + 1, 0

    def past(self, position: Position, retired: Collection[str], memory: Mapping[str, Any]) -> Position:
        """The next epoch where `position` has nothing behind it in its own but draws of retired data sets."""
        if position.draw < self._end(self._course(position.epoch, memory).order(), retired) or not position.draw:
            return position
        return Position(position.epoch + 1, 0, position.cursors)

    def _end(self, order: np.ndarray, retired: Collection[str]) -> int:
        """Where the last draw ends that is of no retired data set."""
        kept = np.flatnonzero(~np.isin(order, [self.names.index(name) for name in retired])) if retired else [len(order) - 1]
        return int(kept[-1]) + 1 if len(kept) else 0

    def rounds_in(self, epoch: int) -> int:
        """Rounds of one epoch of the mixture."""
        return mixture.rounds_per_epoch(self.spec, self.names, self._epoch_sizes(epoch), epoch)

    def passed(self, position: Position) -> Fraction:
        """The share of its epoch's draws that lies behind a position."""
        return Fraction(position.draw, self._course(position.epoch, None).draws) if position.draw else Fraction(0)

    def rounds_to(self, epoch: int, share: Fraction) -> int:
        """Rounds of an epoch until that share of its draws lies behind, as `passed` counts it."""
        course = self._course(epoch, None)
        return min(self.rounds_in(epoch), math.ceil(share * course.draws / course.width))

    @property
    def learns(self) -> bool:
        """Whether the shares follow from what the run sees."""
        return self.spec.sampling in LEARNING

    def learn(
        self,
        memory: Mapping[str, Any],
        position: Position,
        scores: Mapping[str, float] | None = None,
        norms: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        """What the mixture knows after an evaluation or a step that ended at `position`: plain values of JSON, `{}` at first.

        scores  data set to its score on dev rows, higher is better
        norms   data set to the norm of its gradient in this step
        """
        here = position.epoch, position.draw > 0
        return mixture.learn(self.spec, self.names, memory, *here, scores or {}, norms or {})

    def asked(self, epoch: int, memory: Mapping[str, Any] | None = None, retired: Collection[str] = ()) -> dict[str, float]:
        """Data set to the share of an epoch's draws that the mixture asks for, among those that have not retired."""
        key = epoch, tuple(retired), mixture.shares_at(memory or {}, epoch)
        if key != self._asked[0]:  # every step asks
            found = self._course(epoch, memory).asked()
            shares = {name: 0.0 if name in retired else share for name, share in found.items()}
            total = sum(shares.values()) or 1.0
            self._asked = key, {name: share / total for name, share in shares.items()}
        return self._asked[1]

    def batches(self, name: str, epoch: int) -> int:
        """Batches of pass `epoch` over a data set."""
        if (name, epoch) not in self._sizes:
            self._sizes[name, epoch] = len(self._pass(name, epoch))
        return self._sizes[name, epoch]

    def _course(self, epoch: int, memory: Mapping[str, Any] | None) -> mixture.Course:
        """An epoch, to be drawn."""
        learned = mixture.shares_at(memory or {}, epoch)
        return mixture.course(self.spec, self.names, self._epoch_sizes(epoch), self.seed, epoch, learned)

    def _epoch_sizes(self, epoch: int) -> list[int]:
        """Where an epoch is one pass over the data its sizes are those of that very pass; else those of the first one.

        The passes of one data set differ by a batch or two when batches are filled by a budget of pieces.
        """
        number = epoch if mixture.by_passes(self.spec, self.names) else 0
        return [self.batches(name, number) for name in self.names]

    def _draw(self, name: str, cursors: dict[str, tuple[int, int]]) -> Draw:
        epoch, index = cursors[name]
        batches = self._pass(name, epoch)
        cursors[name] = (epoch, index + 1) if index + 1 < len(batches) else (epoch + 1, 0)
        return Draw(name, epoch, index, batches[index])

    def _pass(self, name: str, epoch: int) -> list[np.ndarray]:
        """The batches of a pass; the two that were planned last are kept."""
        known = self._passes[name]
        if epoch not in known:
            for old in list(known)[:-1]:
                del known[old]
            if name in self.ordered:
                known[epoch] = in_turn(len(self.lengths[name]), self.ordered[name])
            else:
                known[epoch] = plan_pass(self.lengths[name], self.batch[name], self.seed, name, epoch)
        return known[epoch]

    def _check(self, position: Position, retired: Collection[str]) -> None:
        strange = [name for name in retired if name not in self.names]
        if strange:
            raise RecipeError(*(Problem("no data set has this name", value=n, nearest=nearest(n, self.names)) for n in strange))
        if set(position.cursors) != set(self.names):
            rule = f"the position is in the data sets {listed(position.cursors)}, and the run has {listed(self.names)}"
            raise ArtefactError(Problem(rule))
        for name, (epoch, index) in position.cursors.items():
            if index and index >= self.batches(name, epoch):
                rule = (
                    f"pass {epoch} over {name!r} has {self.batches(name, epoch)} batches, and the position is at batch {index}"
                )
                raise ArtefactError(Problem(rule, remedy="resume with the data and settings that the run began with"))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
