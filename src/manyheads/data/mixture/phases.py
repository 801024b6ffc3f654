"""Phases: parts of an epoch, each with a sampling of its own; or an opening of the run, and then the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from manyheads.config.spec.mixture import MixtureSpec, PhaseSpec
from manyheads.data.mixture.apportion import ROUNDING
from manyheads.data.mixture.contract import SAMPLINGS, Epoch, Sampling
from manyheads.errors import Problem, RecipeError

Part: TypeAlias = tuple[Epoch, np.ndarray, int]


def shares(epoch: Epoch) -> np.ndarray:
    """The draws that each data set is due over all phases."""
    return np.asarray(sum(found * (length / found.sum()) for _, found, length in _parts(epoch)))


def draws(epoch: Epoch, shares: np.ndarray) -> float:
    """Those of all phases."""
    return sum(length for _, _, length in _parts(epoch))


def arrange(epoch: Epoch, shares: np.ndarray, length: int) -> np.ndarray:
    """Phase after phase."""
    return np.concatenate([SAMPLINGS[part.spec.sampling].arrange(part, found, n) for part, found, n in _parts(epoch)])


def _parts(epoch: Epoch) -> Iterator[Part]:
    """Phases of this epoch with their shares and draws; those that are alike but for their length go on from each other."""
    spec = _spec(epoch)
    parts = list(_lengths(epoch))
    alike = [p.model_dump_json(exclude={"rounds", "passes", "of"}) for p in spec.phases]
    before, again = dict.fromkeys(alike, 0), dict.fromkeys(alike, 0)
    for (_, _, length), phase, key in zip(parts, spec.phases, alike, strict=True):
        again[key] += length * (phase.lasts or not spec.phases[-1].lasts)
    for (part, found, length), phase, key in zip(parts, spec.phases, alike, strict=True):
        if not (epoch.number and spec.phases[-1].lasts and not phase.lasts):  # otherwise the opening is over
            yield replace(part, since=epoch.number * again[key] + before[key]), found, length
        before[key] += length


def _lengths(epoch: Epoch) -> Iterator[Part]:
    """All phases with their shares and draws, those of an opening in every epoch.

    Fractions of a pass over the same data sets are rounded up together, so that two halves are a whole.
    """
    taken: dict[str, float] = {}
    for i, phase in enumerate(_spec(epoch).phases):
        part = _part(epoch, i, phase)
        sampling = SAMPLINGS[phase.sampling]
        found = sampling.shares(part)
        if not found.any():
            raise RecipeError(Problem("no data set that takes part in this phase has rows", part.place))
        length = sampling.draws(part, found)
        if phase.passes is None:
            yield part, found, _up(length)
        else:
            key = phase.model_dump_json(exclude={"passes"})
            before = taken.get(key, 0.0)
            taken[key] = before + length
            whole = _up(taken[key]) - _up(before)
            yield replace(part, fixed=whole), found, whole


def _part(epoch: Epoch, i: int, phase: PhaseSpec) -> Epoch:
    there = [not phase.datasets or name in phase.datasets for name in epoch.names]
    part = replace(epoch, spec=phase, sizes=np.where(there, epoch.sizes, 0.0), part=(i,), place=f"{epoch.place}.phases.{i}")
    if phase.lasts:
        return part
    if phase.rounds is not None:
        return replace(part, fixed=phase.rounds * epoch.width, of=None)
    return replace(part, fixed=None, passes=phase.passes or 1.0, of=phase.of)


def _up(length: float) -> int:
    return math.ceil(length * (1 - ROUNDING))


def _spec(epoch: Epoch) -> MixtureSpec:
    """The mixture: only it can have phases."""
    if not isinstance(epoch.spec, MixtureSpec):
        raise TypeError("a phase has no phases")
    return epoch.spec


SAMPLINGS.register("phases")(Sampling(shares, arrange, draws))
