"""Which data set gives the next batch: the draws of each epoch, a pure function of settings, sizes, seed and epoch.

Samplings by share give each data set its exact number of draws of the epoch, in a shuffled order, and not a number that
only comes out right on average. A share too small for one draw an epoch gets one in some epochs, as often as it is due.
A data set without batches, or with share 0, takes no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from manyheads.config.spec.mixture import MixtureSpec
from manyheads.errors import Problem, RecipeError, listed, nearest
from manyheads.seeds import generator

_MOST = 10**8  # draws of one epoch
_ROUNDING = 1e-14  # what floats lose in a quotient or two, relative
_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio, odd: its multiples spread evenly over 32 bits (Weyl 1916; Knuth, TAOCP 6.4)


def order(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int], seed: int, epoch: int) -> np.ndarray:
    """Numbers of the data sets, one a draw, of one epoch; `sizes` are the batches of a pass over each.

    Each `round_width` draws are a round; the last round of an epoch holds what is left. Raises RecipeError for settings
    that cannot be used with these data sets.
    """
    check(spec, names)
    shares = _shares(spec, names, sizes)
    length = _length(spec, names, sizes, shares)
    part = np.flatnonzero(shares)
    if spec.tasks_per_step == "all":
        return np.tile(part, length // len(part))
    if spec.sampling == "round_robin":
        return part[(epoch * length + np.arange(length)) % len(part)]  # an epoch goes on where the one before ended
    draws = np.repeat(np.arange(len(names)), _apportion(shares, length, seed, epoch))
    if spec.sampling == "sequential":
        return draws
    return generator(seed, "mixture", epoch).permutation(draws)


def taking_part(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """The data sets that are drawn at all."""
    return [names[i] for i in np.flatnonzero(_shares(spec, names, sizes)).tolist()]


def round_width(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int]) -> int:
    """Draws in a round, K."""
    return len(taking_part(spec, names, sizes)) if spec.tasks_per_step == "all" else spec.tasks_per_step


def rounds_per_epoch(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int]) -> int:
    """Rounds of an epoch, without drawing it."""
    length = _length(spec, names, sizes, _shares(spec, names, sizes))
    return math.ceil(length / round_width(spec, names, sizes))


def check(spec: MixtureSpec, names: Sequence[str]) -> None:
    """RecipeError with everything that is wrong for data sets of these names."""
    problems = [*_unknown(spec, names), *_unused(spec)]
    if spec.sampling == "shares" and not any(spec.shares.get(n) for n in names):
        problems.append(Problem("all shares are 0", "mixture.shares", remedy="give at least one data set a share above 0"))
    if isinstance(spec.tasks_per_step, int) and spec.tasks_per_step > len(names):
        rule = f"a round cannot hold more batches than there are data sets ({len(names)})"
        problems.append(Problem(rule, "mixture.tasks_per_step", str(spec.tasks_per_step)))
    if spec.tasks_per_step == "all" and spec.sampling == "sequential":
        rule = "a round of all data sets and one data set after the other exclude each other"
        problems.append(Problem(rule, "mixture.sampling", spec.sampling, remedy="tasks_per_step: 1"))
    if isinstance(spec.epoch, int) and spec.epoch < 1:
        problems.append(Problem("an epoch has at least one round", "mixture.epoch", str(spec.epoch)))
    if problems:
        raise RecipeError(*problems)


def _unknown(spec: MixtureSpec, names: Sequence[str]) -> Iterator[Problem]:
    wanted = [(f"mixture.shares.{name}", name) for name in spec.shares]
    if isinstance(spec.epoch, str) and spec.epoch != "pass":
        wanted.append(("mixture.epoch", spec.epoch))
    for place, name in wanted:
        if name not in names:
            yield Problem(f"no data set has this name (there are: {listed(names)})", place, name, nearest(name, names))


def _unused(spec: MixtureSpec) -> Iterator[Problem]:
    """Settings that would change nothing, which their writer cannot have meant."""
    rule = "has no effect with `sampling: {}`"
    if spec.shares and spec.sampling != "shares":
        yield Problem(rule.format(spec.sampling), "mixture.shares", remedy="write `sampling: shares`, or take it out")
    if spec.temperature != 1 and spec.sampling != "temperature":
        remedy = "write `sampling: temperature`, or take it out"
        yield Problem(rule.format(spec.sampling), "mixture.temperature", str(spec.temperature), remedy=remedy)


def _shares(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int]) -> np.ndarray:
    """(N,) shares, not normalised. The temperature is that of Raffel et al. 2020 (T5): size ** (1 / T)."""
    size = np.asarray(sizes, dtype=np.float64)
    filled = size > 0
    if spec.sampling == "shares":
        raw = np.array([spec.shares.get(n, 0.0) for n in names])
        raw /= raw.max(initial=np.finfo(float).tiny)  # so that their sum is finite
    elif spec.sampling in ("uniform", "round_robin"):
        raw = np.ones(len(names))
    elif spec.sampling == "temperature":
        raw = np.exp(np.log(size / size.max(initial=1.0), where=filled, out=np.zeros_like(size)) / spec.temperature)
        _check_temperature(spec, names, filled & (raw == 0))
    else:
        raw = size
    shares = np.where(filled, raw, 0.0)
    if not shares.any():
        raise RecipeError(Problem("no data set that takes part has rows", "mixture"))
    return shares


def _check_temperature(spec: MixtureSpec, names: Sequence[str], starved: np.ndarray) -> None:
    if starved.any():
        rule = f"so low a temperature leaves nothing to {listed(names[i] for i in np.flatnonzero(starved).tolist())}"
        raise RecipeError(Problem(rule, "mixture.temperature", str(spec.temperature)))


def _length(spec: MixtureSpec, names: Sequence[str], sizes: Sequence[int], shares: np.ndarray) -> int:
    """Draws of an epoch."""
    part = np.flatnonzero(shares).tolist()
    together = spec.tasks_per_step == "all"
    width = len(part) if together else int(spec.tasks_per_step)
    if isinstance(spec.epoch, int):
        length = float(spec.epoch * width)
    elif spec.epoch == "pass":
        length = float(max(sizes[i] for i in part) * width if together else sum(sizes[i] for i in part))
    else:
        chosen = list(names).index(spec.epoch)
        if not shares[chosen]:
            raise RecipeError(Problem("an epoch cannot be a pass over a data set without a share", "mixture.epoch", spec.epoch))
        length = sizes[chosen] * (width if together else float(shares.sum()) / float(shares[chosen]))
    if length > _MOST:
        rule = f"an epoch would have {length:.3g} draws, and may have {_MOST:,}"
        raise RecipeError(Problem(rule, "mixture.epoch", str(spec.epoch), remedy="give it as a number of rounds"))
    return math.ceil(length * (1 - _ROUNDING))


def _apportion(shares: np.ndarray, length: int, seed: int, epoch: int) -> np.ndarray:
    """(N,) whole draws by share, `length` in all; what the fractions leave over goes round from epoch to epoch.

    Systematic sampling: the fractions lie end to end on a line, and points one apart choose who gets one more. The points
    shift by the golden ratio each epoch, so that each data set gets over the epochs what its fraction promises.
    """
    exact = shares * length / shares.sum()
    whole: np.ndarray = np.floor(exact + length * _ROUNDING).astype(np.int64)
    fractions = np.where(exact - whole > length * _ROUNDING, exact - whole, 0.0)
    left = length - int(whole.sum())
    if left:
        ends = np.cumsum(fractions)
        first = (int(generator(seed, "remainder").integers(2**32)) + epoch * _GOLDEN) % 2**32 / 2**32  # exact
        whole[np.searchsorted(ends / ends[-1] * left, first + np.arange(left), side="right")] += 1
    return whole
