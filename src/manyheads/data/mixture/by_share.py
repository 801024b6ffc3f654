"""Samplings that are a share for each data set, drawn in random order."""

from __future__ import annotations

import numpy as np

from manyheads.data.mixture.contract import SAMPLINGS, Epoch, Sampling
from manyheads.errors import Problem, RecipeError, listed


def given(shares: dict[str, float], names: tuple[str, ...]) -> np.ndarray:
    """(N,) shares by name, the largest 1, so that their sum is finite."""
    raw: np.ndarray = np.array([shares.get(name, 0.0) for name in names])
    raw /= raw.max(initial=np.finfo(float).tiny)
    return raw


def power(epoch: Epoch, exponent: float) -> np.ndarray:
    """Sizes to a power, the largest 1. RecipeError where that leaves a data set nothing."""
    size = epoch.sizes
    filled = size > 0
    raw = np.exp(np.log(size / size.max(initial=1.0), where=filled, out=np.zeros_like(size)) * exponent)
    starved = np.flatnonzero(filled & (raw == 0)).tolist()
    if starved:
        rule = f"so low a temperature leaves nothing to {listed(epoch.names[i] for i in starved)}"
        raise RecipeError(Problem(rule, f"{epoch.place}.temperature", str(epoch.spec.temperature)))
    return np.where(filled, raw, 0.0)


def proportional(epoch: Epoch) -> np.ndarray:
    """To batches, so that an epoch takes each once."""
    return epoch.sizes


def uniform(epoch: Epoch) -> np.ndarray:
    """All alike."""
    return (epoch.sizes > 0).astype(np.float64)


def tempered(epoch: Epoch) -> np.ndarray:
    """Sizes to the power of 1 / T, as in T5 (Raffel et al. 2020, JMLR). T = 2 is square root sampling."""
    return power(epoch, 1 / epoch.spec.temperature)


def annealed(epoch: Epoch) -> np.ndarray:
    """Sizes to the power of alpha, which goes in equal steps from 1 to 1 / T over so many epochs and then stays.

    alpha = 1 - (1 - 1 / T) * epochs done / E, with T = 5 that of DeepPavlov. Stickland and Murray 2019 (ICML, BERT and
    PALs), who thought of it, reach 0.2 in the last epoch already, since they count e - 1 of E - 1.
    """
    done = min(1.0, epoch.number / (epoch.spec.over or 1))
    return power(epoch, 1 - (1 - 1 / epoch.spec.temperature) * done)


def fixed(epoch: Epoch) -> np.ndarray:
    """As the recipe says."""
    return np.where(epoch.sizes > 0, given(epoch.spec.shares, epoch.names), 0.0)


def unimax(epoch: Epoch) -> np.ndarray:
    """As uniform as it can be with no data set repeated more than so often (Chung et al. 2023, ICLR, algorithm 1).

    From the smallest on: each gets an equal part of the draws that are left, or all its repeats where these are fewer. A
    budget beyond the repeats of all data sets cannot be kept; the shares are then proportional.
    """
    spec, total = epoch.spec, float(epoch.sizes.sum())
    left = (epoch.passes * total if epoch.fixed is None else epoch.fixed) * (spec.over or 1)
    shares = np.zeros_like(epoch.sizes)
    order = [i for i in np.argsort(epoch.sizes, kind="stable").tolist() if epoch.sizes[i]]
    for place, i in enumerate(order):
        shares[i] = min(left / (len(order) - place), float(epoch.sizes[i]) * (spec.repeats or 1.0))
        left -= shares[i]
    return shares


SAMPLINGS.register("proportional")(Sampling(proportional, whole=True))
SAMPLINGS.register("uniform")(Sampling(uniform))
SAMPLINGS.register("temperature")(Sampling(tempered))
SAMPLINGS.register("annealed")(Sampling(annealed))
SAMPLINGS.register("shares")(Sampling(fixed))
SAMPLINGS.register("unimax")(Sampling(unimax))
