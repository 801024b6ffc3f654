"""Which data set gives the next batch: the draws of each epoch, a pure function of settings, sizes, seed and epoch.

Samplings by share give each data set its exact number of draws of the epoch, in a shuffled order, and not a number that
only comes out right on average. A share too small for one draw an epoch gets one in some epochs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from manyheads.config.recipe import MixtureSpec
from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.seeds import generator


def order(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int], seed: int, epoch: int) -> np.ndarray:
    """Numbers of the data sets, one a draw, of one epoch; `sizes` are the batches of a pass over each.

    Consecutive `tasks_per_step` draws are a round. Raises RecipeError for names and shares that cannot be used.
    """
    check(spec, names)
    shares = _shares(spec, names, sizes)
    width = _width(spec, shares)
    if spec.tasks_per_step == "all":
        rounds = _rounds_of_all(spec, names, sizes, shares)
        return np.tile(np.flatnonzero(shares > 0), rounds)
    length = math.ceil(_length(spec, names, sizes, shares, width) / width) * width
    if spec.sampling == "sequential":
        counts = np.asarray(sizes) if spec.epoch == "pass" else _apportion(shares, length, seed, epoch)
        return _fill(np.repeat(np.arange(len(names)), counts), length)
    if spec.sampling == "round_robin":
        return np.arange(length) % len(names)
    counts = _apportion(shares, length, seed, epoch)
    return generator(seed, "mixture", epoch).permutation(np.repeat(np.arange(len(names)), counts))


def rounds(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int]) -> int:
    """Rounds of an epoch, without drawing it."""
    shares = _shares(spec, names, sizes)
    width = _width(spec, shares)
    if spec.tasks_per_step == "all":
        return _rounds_of_all(spec, names, sizes, shares)
    return math.ceil(_length(spec, names, sizes, shares, width) / width)


def check(spec: MixtureSpec, names: Sequence[str]) -> None:
    """RecipeError for a data set that is not there, shares that sum to zero, and rounds wider than there are data sets."""
    problems = []
    wanted = [*(("mixture.shares", n) for n in spec.shares)]
    if isinstance(spec.epoch, str) and spec.epoch != "pass":
        wanted.append(("mixture.epoch", spec.epoch))
    for place, name in wanted:
        if name not in names:
            rule = f"no data set has this name (there are: {listed(names)})"
            problems.append(Problem(rule, place, name, nearest(name, names)))
    if spec.sampling == "shares" and not sum(spec.shares.get(n, 0.0) for n in names):
        problems.append(Problem("the shares sum to zero", "mixture.shares", remedy="give at least one data set a share above 0"))
    if isinstance(spec.tasks_per_step, int) and spec.tasks_per_step > max(len(names), 1):
        rule = f"a round cannot hold more batches than there are data sets ({len(names)})"
        problems.append(Problem(rule, "mixture.tasks_per_step", str(spec.tasks_per_step)))
    if isinstance(spec.epoch, int) and spec.epoch < 1:
        problems.append(Problem("an epoch has at least one round", "mixture.epoch", str(spec.epoch)))
    if problems:
        raise RecipeError(*problems)


def _shares(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int]) -> np.ndarray:
    """(N,) shares that sum to 1. Raffel et al. 2020 (T5) for the temperature: size ** (1 / T), normalised."""
    size = np.asarray(sizes, dtype=np.float64)
    if spec.sampling == "shares":
        raw = np.array([spec.shares.get(n, 0.0) for n in names])
    elif spec.sampling in ("uniform", "round_robin"):
        raw = np.ones(len(names))
    elif spec.sampling == "temperature":
        raw = np.exp((np.log(size) - np.log(size).max()) / spec.temperature)
    else:
        raw = size
    return np.asarray(raw / raw.sum())


def _width(spec: MixtureSpec, shares: np.ndarray) -> int:
    return int((shares > 0).sum()) if spec.tasks_per_step == "all" else int(spec.tasks_per_step)


def _rounds_of_all(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int], shares: np.ndarray) -> int:
    if isinstance(spec.epoch, int):
        return spec.epoch
    if spec.epoch != "pass":
        return int(sizes[list(names).index(spec.epoch)])
    return max(int(n) for n, s in zip(sizes, shares, strict=True) if s > 0)


def _length(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int], shares: np.ndarray, width: int) -> int:
    """Draws of an epoch."""
    if isinstance(spec.epoch, int):
        return spec.epoch * width
    if spec.epoch == "pass":
        return int(sum(sizes))
    i = list(names).index(spec.epoch)
    if not shares[i]:
        rule = "an epoch cannot be one pass over a data set whose share is 0"
        raise RecipeError(Problem(rule, "mixture.epoch", spec.epoch))
    return math.ceil(sizes[i] / shares[i] - 1e-9)


def _apportion(shares: np.ndarray, length: int, seed: int, epoch: int) -> np.ndarray:
    """Whole draws by share; what the fractions leave over is drawn by them, without putting back."""
    exact = shares * length
    counts = np.floor(exact + 1e-9).astype(np.int64)
    fractions = np.clip(exact - counts, 0, None)
    left = length - int(counts.sum())
    if left > 0:
        chance = fractions / fractions.sum()
        extra = generator(seed, "remainder", epoch).choice(len(shares), left, replace=False, p=chance)
        counts[extra] += 1
    return counts


def _fill(draws: np.ndarray, length: int) -> np.ndarray:
    """As many draws as full rounds need: the last data set goes on."""
    return np.concatenate([draws, np.repeat(draws[-1:], length - len(draws))]) if len(draws) < length else draws[:length]
