"""What Nash-MTL and FairGrad solve: weights under which each task gets its fair share of the step."""

from __future__ import annotations

import numpy as np

from manyheads.balance.dual_cone import Array, cosines

_RIDGE = 1e-10  # keeps the weights of gradients that cancel each other finite
_STEPS = 200


def bargain(gramian: Array, power: float) -> Array:
    """(K,) weights w > 0 with Gw = w^-power, each; 0 for a gradient of zeros, which nothing can be done for.

    It is the minimum of w'Gw / 2 + sum phi(w) with phi' = -w^-power, convex, so damped steps of Newton find it from anywhere.
    With b = w |g| and C the cosines: Cb = share * b^-power, share = |g|^(power - 1).
    """
    mean = float(gramian.diagonal().mean())
    if mean <= 0:
        return np.zeros(len(gramian))
    unit, inverse = cosines(gramian / mean)
    live = (inverse > 0).nonzero()[0]
    unit = unit[np.ix_(live, live)] + _RIDGE * np.eye(len(live))
    found = np.zeros(len(gramian))
    found[live] = _minimum(unit, inverse[live] ** (1 - power), power) * inverse[live] * mean ** (-1 / (1 + power))
    return found


def _minimum(unit: Array, share: Array, power: float) -> Array:
    """Newton's method from the answer for orthogonal gradients, until a step gains nothing in double precision."""
    b = share ** (1 / (1 + power))
    value = _value(unit, share, power, b)
    for _ in range(_STEPS):
        pull = share * b**-power
        slope = unit @ b - pull
        step = -np.linalg.solve(unit + np.diag(power * pull / b), slope)
        length = min(1.0, 0.95 / max(float(np.max(-step / b)), 1e-300))  # stay above zero
        nothing = 1e-14 * (1 + abs(value))
        after = _value(unit, share, power, b + length * step)
        while after > value + 1e-4 * length * float(slope @ step) + nothing and length > 1e-9:
            length /= 2
            after = _value(unit, share, power, b + length * step)
        gain = value - after
        b, value = b + length * step, after
        if gain <= nothing:
            break
    return b


def _value(unit: Array, share: Array, power: float, b: Array) -> float:
    barrier = -np.log(b) if power == 1 else b ** (1 - power) / (power - 1)
    return float(b @ unit @ b / 2 + share @ barrier)
