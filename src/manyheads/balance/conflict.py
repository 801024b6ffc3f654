"""Cosines between the tasks' gradients, and which pairs of tasks pull against each other for long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, TypeAlias

from torch import Tensor

from manyheads.balance.backward import Gramians

Pair: TypeAlias = tuple[str, str]

WHOLE = "*"  # all shared parameters, beside the blocks
_KEPT = 0.8  # share of the running mean that stays at each look
_LOOKS = 5  # looks before a mean says anything
_CONFLICT = -0.1  # mean cosine below which two tasks are in lasting conflict


def cosines(gramians: Gramians) -> Iterator[tuple[Pair, str, float]]:
    """Pair of tasks, block (`*` for the whole) and cosine; NaN where a gradient is zero."""
    for block, gramian in {WHOLE: gramians.whole, **gramians.blocks}.items():
        lengths = gramian.diagonal().clamp(min=0).sqrt()
        for i, j in combinations(range(len(gramians.tasks)), 2):
            yield (gramians.tasks[i], gramians.tasks[j]), block, _cosine(gramian, lengths, i, j)


def _cosine(gramian: Tensor, lengths: Tensor, i: int, j: int) -> float:
    product = float(lengths[i] * lengths[j])
    return float(gramian[i, j]) / product if product else float("nan")


class Conflicts:
    """Running means of the cosines of the whole gradients. The state is plain values, known again to the bit."""

    def __init__(self) -> None:
        self.means: dict[Pair, tuple[float, int]] = {}
        self.told: set[Pair] = set()

    def see(self, gramians: Gramians) -> list[tuple[Pair, float]]:
        """Take in a look; pairs whose mean has now been below -0.1 long enough to be told, once each, with that mean."""
        found = []
        for pair, block, cosine in cosines(gramians):
            if block != WHOLE or cosine != cosine:
                continue
            mean, looks = self.means.get(pair, (cosine, 0))
            mean = _KEPT * mean + (1 - _KEPT) * cosine
            self.means[pair] = (mean, looks + 1)
            if looks + 1 >= _LOOKS and mean < _CONFLICT and pair not in self.told:
                self.told.add(pair)
                found.append((pair, mean))
        return found

    def to_json(self) -> dict[str, Any]:
        rows = [[*pair, *value, pair in self.told] for pair, value in self.means.items()]
        return {"pairs": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.means = {(a, b): (mean, looks) for a, b, mean, looks, _ in state["pairs"]}
        self.told = {(a, b) for a, b, _, _, told in state["pairs"] if told}
