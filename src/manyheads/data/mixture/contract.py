"""What a sampling is: shares of the data sets, the number of draws that an epoch has, and the order in which they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from manyheads.config.spec.mixture import PhaseSpec, SamplingSpec
from manyheads.data.mixture.apportion import apportion
from manyheads.errors import Problem, RecipeError
from manyheads.registry import Registry
from manyheads.seeds import generator


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch, or a phase of one, that is to be drawn; all that its draws follow from.

    sizes    (N,) float64, batches of a pass over each data set of `names`; 0 for what is empty or left out
    number   of the epoch, from 0
    width    draws in a round
    fixed    number of draws, where it is given; else `passes` over all that take part, or over the data set `of`
    learned  data set to share, for samplings that learn them; None: nothing has been learned yet
    part     the phase, so that phases do not draw alike
    since    draws of the run before these, in this phase and in phases like it; None: `number` epochs of this length
    place    dotted key of the settings, for messages
    """

    spec: SamplingSpec
    names: tuple[str, ...]
    sizes: np.ndarray
    seed: int
    number: int
    width: int = 1
    fixed: int | None = None
    passes: float = 1.0
    of: str | None = None
    learned: Mapping[str, float] | None = None
    part: tuple[int, ...] = ()
    since: int | None = None
    place: str = "mixture"


def steps(epoch: Epoch, length: int) -> np.ndarray:
    """(L,) the numbers of these draws in the run, for an order that goes on where it stopped."""
    return (epoch.number * length if epoch.since is None else epoch.since) + np.arange(length)


def draws(epoch: Epoch, shares: np.ndarray) -> float:
    """How many draws an epoch has, before it is rounded up."""
    if epoch.fixed is not None:
        return epoch.fixed
    if epoch.of is None:
        return epoch.passes * float(epoch.sizes[shares > 0].sum())
    chosen = epoch.names.index(epoch.of)
    if not shares[chosen]:
        own = isinstance(epoch.spec, PhaseSpec) and epoch.spec.of is not None
        place = f"{epoch.place}.of" if own else "mixture.epoch"
        raise RecipeError(Problem("an epoch cannot be a pass over a data set without a share", place, epoch.of))
    return epoch.passes * float(epoch.sizes[chosen]) * (float(shares.sum()) / float(shares[chosen]))


def shuffled(epoch: Epoch, shares: np.ndarray, length: int) -> np.ndarray:
    """Each data set as often as its share says, in random order."""
    counts = apportion(shares, length, epoch.seed, epoch.number, *epoch.part)
    return generator(epoch.seed, "mixture", epoch.number, *epoch.part).permutation(np.repeat(np.arange(len(shares)), counts))


@dataclass(frozen=True, slots=True)
class Sampling:
    """One way to choose data sets.

    shares   (N,) not normalised, 0 for a data set without batches
    arrange  (L,) numbers of data sets, from the epoch, its shares and L
    draws    L before it is rounded up, from the epoch and its shares
    whole    True when an epoch of one natural pass takes each batch (of the main data set) exactly once

    What a recipe may say of it is in `manyheads.config.spec.mixture`.
    """

    shares: Callable[[Epoch], np.ndarray]
    arrange: Callable[[Epoch, np.ndarray, int], np.ndarray] = shuffled
    draws: Callable[[Epoch, np.ndarray], float] = draws
    whole: bool = False


SAMPLINGS: Registry[Sampling] = Registry("sampling")
