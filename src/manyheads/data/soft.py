"""Soft labels: how likely each label of a row is, as a map from label to probability or as a list in a declared order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from manyheads.data.labels import kind_of
from manyheads.types import Value

TOLERANCE = 1e-3  # how far from 1 the sum may be, since files round


def is_soft(value: Value) -> bool:
    """Whether a label is a map or a list."""
    return isinstance(value, Mapping | Sequence) and not isinstance(value, str)


def probabilities(value: Value, order: Sequence[str]) -> dict[str, float]:
    """Label to probability; they sum to 1, what a file's rounding left out being shared out. null in a map is 0.

    `order` has the labels that the entries of a list belong to. ValueError with the rule that the value breaks.

    >>> probabilities([0.5, 0.5], ["yes", "no"])
    {'yes': 0.5, 'no': 0.5}
    """
    if isinstance(value, Mapping):
        given = {name: 0.0 if share is None else _share(share) for name, share in value.items()}
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != len(order):
            rule = "probabilities in a list are those of the declared `labels` in their order, "
            raise ValueError(rule + (f"of which there are {len(order)}" if order else "and none are declared"))
        given = {name: _share(share) for name, share in zip(order, value, strict=True)}
    else:
        raise ValueError("a soft label is a map from label to probability, or a list of probabilities")
    total = math.fsum(given.values())
    if not abs(total - 1) <= TOLERANCE:
        raise ValueError(f"probabilities sum to 1, and these to {total:g}")
    return {name: share / total for name, share in given.items()}


def _share(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a probability is a number, not {kind_of(value)}")
    if not 0 <= value <= 1 + TOLERANCE:
        raise ValueError("a probability is a number from 0 to 1")
    return float(value)
