"""Samplings whose shares follow from what the run sees: scores on dev rows, or norms of gradients.

What they know is a small mapping of plain values, which a checkpoint keeps: `shares`, a list of [first epoch, shares], and
what a method needs beside. New shares hold from the next epoch on whose draws have not begun, so that the draws of an
epoch stay a pure function of seed, epoch and what is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from manyheads.config.spec.mixture import MixtureSpec
from manyheads.data.mixture.contract import SAMPLINGS, Epoch, Sampling

_LEAST = 0.1  # of an equal share, which everyone keeps: a share of 0 could never be seen to be wrong


def shares(epoch: Epoch) -> np.ndarray:
    """Equal shares until something has been learned."""
    known = epoch.learned or dict.fromkeys(epoch.names, 1.0)
    return np.where(epoch.sizes > 0, [known[name] for name in epoch.names], 0.0)


def shares_at(memory: Mapping[str, Any], epoch: int) -> Mapping[str, float] | None:
    """The shares of an epoch; None where none were learned before it."""
    return next((found for first, found in reversed(memory.get("shares", [])) if first <= epoch), None)


def bandit(
    spec: MixtureSpec, names: Sequence[str], memory: Mapping[str, Any], scores: Mapping[str, float]
) -> tuple[dict[str, Any], dict[str, float]]:
    """What is known after an evaluation, and the shares: a softmax of each data set's mean gap to its best score.

    The rule of adaptive active sampling (A5C; Sharma et al. 2018, ICLR): share ~ exp(m / T), m the gap relative to the
    target averaged over the last scores. Here the target is the best score so far and the average a running one,
    m <- (1 - rate) m + rate * gap, as for the arms of a bandit with Boltzmann exploration.
    scores  data set to its score, higher is better; NaN, an undefined score, teaches nothing
    """
    best, gaps = dict(memory.get("best", {})), dict(memory.get("gaps", {}))
    rate = min(spec.rate or 1.0, 1.0)
    for name, score in scores.items():
        if math.isfinite(score):
            best[name] = max(best.get(name, score), score)
            scale = max(abs(best[name]), abs(score))
            gap = min(1.0, (best[name] - score) / scale) if scale else 0.0
            gaps[name] = (1 - rate) * gaps.get(name, 0.0) + rate * gap
    return {"best": best, "gaps": gaps}, _softmax({name: gaps.get(name, 0.0) / spec.temperature for name in names})


def pike(
    spec: MixtureSpec, names: Sequence[str], memory: Mapping[str, Any], norms: Mapping[str, float]
) -> tuple[dict[str, Any], dict[str, float]]:
    """What is known after an epoch, and the shares: each is multiplied by exp(rate * squared norm of its gradient).

    After PiKE (Li et al. 2025, NeurIPS): while gradients do not conflict, the data set with the largest gradient lowers
    the loss most. Unlike there, squared norms are divided by their mean over the data sets, so that `rate` has no unit,
    and the term for the noise of a gradient is left out, since a norm alone does not tell it.
    norms  data set to the mean square of its gradient's norm in the epoch; one without keeps its place
    """
    logs = dict(memory.get("logs", {}))
    middle = sum(norms.values()) / len(norms) if norms else 0.0
    for name, square in norms.items():
        if middle:
            logs[name] = logs.get(name, 0.0) + (spec.rate or 0.0) * (square / middle - 1)
    return {"logs": logs}, _softmax({name: logs.get(name, 0.0) for name in names})


def learn(
    spec: MixtureSpec,
    names: Sequence[str],
    memory: Mapping[str, Any],
    epoch: int,
    begun: bool,
    scores: Mapping[str, float],
    norms: Mapping[str, float],
) -> dict[str, Any]:
    """What is known after these scores of an evaluation or norms of a step; `memory` itself for a sampling that learns nothing.

    epoch, begun  where the run stands: the epoch of the next round, and whether it has had rounds before
    """
    if spec.sampling == "bandit" and scores:
        known, found = bandit(spec, names, memory, scores)
        return {**known, "shares": _from(memory, epoch, epoch + begun, found)}
    if spec.sampling != "pike":
        return dict(memory)
    kept = {**memory, "squares": _add(memory.get("squares", {}), norms)}
    if epoch <= memory.get("epoch", 0):
        return kept
    known, found = pike(spec, names, memory, {name: total / count for name, (total, count) in kept["squares"].items()})
    return {**known, "squares": {}, "epoch": epoch, "shares": _from(memory, epoch, epoch + begun, found)}


def _add(squares: Mapping[str, Sequence[float]], norms: Mapping[str, float]) -> dict[str, list[float]]:
    """Sums and counts of squared norms, with those of one step."""
    found = {name: list(pair) for name, pair in squares.items()}
    for name, norm in norms.items():
        total, count = found.get(name, [0.0, 0])
        found[name] = [total + norm * norm, count + 1]
    return found


def _from(memory: Mapping[str, Any], epoch: int, first: int, shares: dict[str, float]) -> list[Any]:
    """The shares that still matter: those of the epoch that runs, and the new ones."""
    running = shares_at(memory, epoch)
    before = [[epoch, dict(running)]] if running is not None and epoch < first else []
    return [*before, [first, shares]]


def _softmax(values: Mapping[str, float]) -> dict[str, float]:
    """Shares that sum to 1, none below a tenth of an equal one."""
    top = max(values.values())
    weights = {name: math.exp(value - top) for name, value in values.items()}
    total, least = sum(weights.values()), _LEAST / len(weights)
    return {name: least + (1 - _LEAST) * weight / total for name, weight in weights.items()}


SAMPLINGS.register("bandit")(Sampling(shares))
SAMPLINGS.register("pike")(Sampling(shares))
