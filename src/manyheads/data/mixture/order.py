"""Which data set gives the next batch: the draws of each epoch, a pure function of settings, sizes, seed and epoch.

Samplings by share give each data set its exact number of draws of the epoch, in a shuffled order, and not a number that
only comes out right on average. A share too small for one draw an epoch gets one in some epochs, as often as it is due.
A data set without batches, or with share 0, takes no part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.config.check_mixture import check_mixture
from manyheads.config.node import refuse
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.data.mixture.apportion import ROUNDING
from manyheads.data.mixture.contract import SAMPLINGS, Epoch, Sampling
from manyheads.errors import Problem, RecipeError

_MOST = 10**8  # draws of one epoch


@dataclass(frozen=True, slots=True)
class Course:
    """One epoch of a mixture.

    shares  (N,) not normalised; `part` the numbers of the data sets that are drawn at all
    width   draws in a round, K
    """

    epoch: Epoch
    sampling: Sampling
    shares: np.ndarray
    part: np.ndarray
    width: int
    together: bool

    @property
    def names(self) -> list[str]:
        """The data sets that are drawn at all."""
        return [self.epoch.names[i] for i in self.part.tolist()]

    @property
    def draws(self) -> int:
        """Draws of the epoch, without drawing it. RecipeError for an epoch too long to draw."""
        length = float(self._rounds() * self.width) if self.together else self.sampling.draws(self.epoch, self.shares)
        if length > _MOST:
            rule = f"an epoch would have {length:.3g} draws, and may have {_MOST:,}"
            remedy = "give it as a number of rounds"
            raise RecipeError(Problem(rule, "mixture.epoch", self.epoch.of, remedy=remedy))
        return math.ceil(length * (1 - ROUNDING))

    def _rounds(self) -> int:
        """Rounds of all data sets: as many as the largest has batches, or as the one named has, or as were asked for."""
        if self.epoch.fixed is not None:
            return self.epoch.fixed // self.epoch.width
        chosen = self.part if self.epoch.of is None else [self.epoch.names.index(self.epoch.of)]
        return int(max(self.epoch.sizes[i] for i in chosen))

    def order(self) -> np.ndarray:
        """(L,) numbers of the data sets, one a draw."""
        if self.together:
            return np.tile(self.part, self.draws // self.width)
        return self.sampling.arrange(self.epoch, self.shares, self.draws)

    def asked(self) -> dict[str, float]:
        """Data set to its share of the epoch's draws; they sum to 1."""
        shares = (self.shares > 0).astype(np.float64) if self.together else self.shares
        return dict(zip(self.epoch.names, (shares / shares.sum()).tolist(), strict=True))


def course(
    spec: MixtureSpec,
    names: Sequence[str],
    sizes: Sequence[int],
    seed: int = 0,
    epoch: int = 0,
    learned: Mapping[str, float] | None = None,
) -> Course:
    """Epoch `epoch`, to be drawn; `sizes` are the batches of a pass over each data set.

    `learned` are the shares that a sampling which learns has found. Raises RecipeError for settings that cannot be used
    with these data sets.
    """
    sampling, together = SAMPLINGS[spec.sampling], spec.tasks_per_step == "all"
    width = 1 if spec.tasks_per_step == "all" else spec.tasks_per_step
    fixed = spec.epoch * width if isinstance(spec.epoch, int) else None
    of = spec.epoch if isinstance(spec.epoch, str) and spec.epoch != "pass" else None
    asked = Epoch(spec, tuple(names), np.asarray(sizes, dtype=np.float64), seed, epoch, width, fixed, of=of, learned=learned)
    shares = sampling.shares(asked)
    if not shares.any():
        raise RecipeError(Problem("no data set that takes part has rows", "mixture"))
    if of is not None and not shares[asked.names.index(of)]:
        raise RecipeError(Problem("an epoch cannot be a pass over a data set without a share", "mixture.epoch", of))
    part = np.flatnonzero(shares)
    return Course(asked, sampling, shares, part, len(part) if together else width, together)


def order(
    spec: MixtureSpec,
    names: Sequence[str],
    sizes: Sequence[int],
    seed: int,
    epoch: int,
    learned: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Numbers of the data sets, one a draw, of one epoch; as `course`, with all settings checked.

    Each `round_width` draws are a round; the last round of an epoch holds what is left.
    """
    refuse(check_mixture(spec, names))
    return course(spec, names, sizes, seed, epoch, learned).order()


def taking_part(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int], epoch: int = 0) -> list[str]:
    """The data sets that are drawn at all, from this epoch on."""
    return course(spec, names, sizes, epoch=epoch).names


def round_width(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int]) -> int:
    """Draws in a round, K."""
    return course(spec, names, sizes).width


def rounds_per_epoch(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int], epoch: int = 0) -> int:
    """Rounds of an epoch, without drawing it."""
    found = course(spec, names, sizes, epoch=epoch)
    return math.ceil(found.draws / found.width)


def by_passes(spec: MixtureSpec, names: Sequence[str]) -> bool:
    """An epoch takes each batch once: of every data set, or of the one whose pass it is."""
    if spec.sampling == "phases":
        return all(abs(_passes(spec, name) - 1) < ROUNDING for name in names)
    whole = SAMPLINGS[spec.sampling].whole or spec.tasks_per_step == "all" or len(names) == 1
    return whole and spec.epoch == "pass"


def _passes(spec: MixtureSpec, name: str) -> float:
    """Passes over a data set in all phases; 0 where they are not counted by it alone or in whole."""
    found = 0.0
    for phase in spec.phases:
        if not phase.datasets or name in phase.datasets:
            alone = phase.datasets == [name] or phase.passes == 1
            if phase.passes is None or phase.of is not None or not SAMPLINGS[phase.sampling].whole or not alone:
                return 0.0
            found += phase.passes
    return found
