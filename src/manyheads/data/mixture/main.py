"""A main data set and r times as many batches of the others (MT-DNN's `--ratio`; Liu et al. 2019, ACL)."""

from __future__ import annotations

import math

import numpy as np

from manyheads.data.mixture.apportion import ROUNDING, apportion
from manyheads.data.mixture.contract import SAMPLINGS, Epoch, Sampling, draws
from manyheads.seeds import generator


def shares(epoch: Epoch) -> np.ndarray:
    """1 for the main data set, r for the others together, these by their sizes."""
    found = _others(epoch) * (epoch.spec.ratio or 0.0)
    main = _main(epoch)
    found[main] = float(epoch.sizes[main] > 0)
    return found


def length(epoch: Epoch, shares: np.ndarray) -> float:
    """A natural pass is one over the main data set; a broken rest of the others comes in a later epoch."""
    if not _natural(epoch):
        return draws(epoch, shares)
    size = float(epoch.sizes[_main(epoch)])
    return size + (_due(epoch, size, epoch.number + 1) - _due(epoch, size, epoch.number) if _others(epoch).any() else 0)


def arrange(epoch: Epoch, shares: np.ndarray, length: int) -> np.ndarray:
    """Shuffled together, or the others first and the main one last."""
    main = _main(epoch)
    if _natural(epoch):
        size = int(epoch.sizes[main])
        counts = np.zeros(len(shares), dtype=np.int64)
        if length > size:
            counts = apportion(_others(epoch), length - size, epoch.seed, epoch.number, *epoch.part)
        counts[main] = size
    else:
        counts = apportion(shares, length, epoch.seed, epoch.number, *epoch.part)
    last = int(counts[main]) if epoch.spec.main_last else 0
    counts[main] -= last
    order = np.repeat(np.arange(len(shares)), counts)
    return np.append(generator(epoch.seed, "mixture", epoch.number, *epoch.part).permutation(order), np.full(last, main))


def _natural(epoch: Epoch) -> bool:
    return epoch.fixed is None and epoch.of is None and epoch.passes == 1 and bool(epoch.sizes[_main(epoch)])


def _main(epoch: Epoch) -> int:
    return epoch.names.index(epoch.spec.main or "")


def _others(epoch: Epoch) -> np.ndarray:
    """(N,) shares of all but the main data set; they sum to 1, or to 0 where there are none."""
    found: np.ndarray = epoch.sizes.copy()
    found[_main(epoch)] = 0.0
    found /= max(float(found.sum()), 1.0)
    return found


def _due(epoch: Epoch, size: float, epochs: int) -> int:
    """Batches of the others in so many epochs."""
    return math.floor((epoch.spec.ratio or 0.0) * size * epochs * (1 + ROUNDING))


SAMPLINGS.register("main")(Sampling(shares, arrange, length, whole=True))
