"""Samplings whose order is no chance: by turns, one after the other, and tables that alternate."""

from __future__ import annotations

import numpy as np

from manyheads.data.mixture.apportion import apportion
from manyheads.data.mixture.by_share import given, proportional
from manyheads.data.mixture.contract import SAMPLINGS, Epoch, Sampling, steps
from manyheads.errors import Problem, RecipeError
from manyheads.seeds import generator


def turns(epoch: Epoch) -> np.ndarray:
    """As many as a data set has batches in its turn."""
    return np.array([epoch.spec.turns.get(name, 1) for name in epoch.names], dtype=np.float64) * (epoch.sizes > 0)


def round_robin(epoch: Epoch, shares: np.ndarray, length: int) -> np.ndarray:
    """Turn after turn in the order of the data sets; an epoch, or a phase like one before, goes on where that ended."""
    cycle: np.ndarray = np.repeat(np.arange(len(shares)), shares.astype(np.int64))
    return np.take(cycle, steps(epoch, length), mode="wrap")


def sequential(epoch: Epoch, shares: np.ndarray, length: int) -> np.ndarray:
    """One data set after the other."""
    counts = apportion(shares, length, epoch.seed, epoch.number, *epoch.part)
    return np.repeat(np.arange(len(shares)), counts)


def _tables(epoch: Epoch) -> list[np.ndarray]:
    """Each table normalised, over data sets that have batches."""
    found = []
    for i, table in enumerate(epoch.spec.tables):
        shares = np.where(epoch.sizes > 0, given(table, epoch.names), 0.0)
        if not shares.any():
            raise RecipeError(Problem("no data set that this table draws has rows", f"{epoch.place}.tables.{i}"))
        found.append(shares / shares.sum())
    return found


def mean_of_tables(epoch: Epoch) -> np.ndarray:
    """What both tables give together."""
    return np.asarray(np.mean(_tables(epoch), axis=0))


def alternating(epoch: Epoch, shares: np.ndarray, length: int) -> np.ndarray:
    """Draws 1, 3, 5, ... of the run by the first of two tables, the others by the second; each table exactly, shuffled."""
    tables = _tables(epoch)
    whose = steps(epoch, length) % len(tables)
    order = np.empty(length, dtype=np.int64)
    for i, table in enumerate(tables):
        mine = whose == i
        counts = apportion(table, int(mine.sum()), epoch.seed, epoch.number, *epoch.part, i)
        random = generator(epoch.seed, "mixture", epoch.number, *epoch.part, "table", i)
        order[mine] = random.permutation(np.repeat(np.arange(len(table)), counts))
    return order


SAMPLINGS.register("round_robin")(Sampling(turns, round_robin))
SAMPLINGS.register("sequential")(Sampling(proportional, sequential, whole=True))
SAMPLINGS.register("alternating")(Sampling(mean_of_tables, alternating))
