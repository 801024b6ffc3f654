"""Whole draws by share: exact in each epoch up to one draw, and over the epochs altogether."""

from __future__ import annotations

import numpy as np

from manyheads.seeds import generator

ROUNDING = 1e-14  # what floats lose in a quotient or two, relative
_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio, odd: its multiples spread evenly over 32 bits (Weyl 1916; Knuth, TAOCP 6.4)


def apportion(shares: np.ndarray, length: int, seed: int, epoch: int, *part: int) -> np.ndarray:
    """(N,) whole draws by share, `length` in all; what the fractions leave over goes round from epoch to epoch.

    Systematic sampling: the fractions lie end to end on a line, and points one apart choose who gets one more. The points
    shift by the golden ratio each epoch, so that each data set gets over the epochs what its fraction promises.
    """
    exact = shares * length / shares.sum()
    whole: np.ndarray = np.floor(exact + length * ROUNDING).astype(np.int64)
    fractions = np.where(exact - whole > length * ROUNDING, exact - whole, 0.0)
    left = length - int(whole.sum())
    if left:
        ends = np.cumsum(fractions)
        first = (int(generator(seed, "remainder", *part).integers(2**32)) + epoch * _GOLDEN) % 2**32 / 2**32  # exact
        whole[np.searchsorted(ends / ends[-1] * left, first + np.arange(left), side="right")] += 1
    return whole
