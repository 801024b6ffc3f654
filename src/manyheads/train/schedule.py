"""The learning rate of each step, as a share of the peak: a function of the step and of nothing else."""

from __future__ import annotations

import math

from manyheads.config.spec.training import ScheduleSpec


def factor(spec: ScheduleSpec, step: int, steps: int) -> float:
    """Share of the peak at `step` (from 0) of `steps`: linear warm-up, then the named shape, never below `floor`.

    The first step already trains: step k of a warm-up over w steps has (k + 1) / (w + 1), where transformers has k / w. After
    the warm-up both are the same. `one_cycle` (Smith and Topin 2019) and `cyclic` (Smith, WACV 2017) rise in their own way.
    """
    if spec.name == "one_cycle":
        return _one_cycle(spec, step, steps)
    if spec.name == "cyclic":
        return _cyclic(spec, step, steps)
    warmup = _warmup(spec, steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return max(spec.floor, _shape(spec, step, steps, warmup))


def length(value: float, steps: int) -> int:
    """A number of steps, at least one, from a number or, below 1, a share of the run."""
    return max(1, round(value * steps if value < 1 else value))


def _warmup(spec: ScheduleSpec, steps: int) -> float:
    return spec.warmup * steps if spec.warmup < 1 else spec.warmup


def _shape(spec: ScheduleSpec, step: int, steps: int, warmup: float) -> float:
    """What the rate falls to once it has risen; drops are counted from the end of the warm-up, milestones from the start."""
    if spec.name == "constant":
        return 1.0
    if spec.name == "inverse_sqrt":  # Vaswani et al., NeurIPS 2017
        return math.sqrt(max(warmup, 1) / max(step, 1))
    if spec.name == "exponential":
        return float(spec.gamma ** ((step - warmup) / length(spec.every or 1, steps)))
    if spec.name == "step":
        return float(spec.gamma ** ((step - warmup) // length(spec.every or 1, steps)))
    if spec.name == "multi_step":
        return float(spec.gamma ** sum(length(at, steps) <= step for at in spec.milestones))
    done = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return _between(1.0, spec.floor, done) if spec.name == "linear" else _cosine(1.0, spec.floor, done)


def _one_cycle(spec: ScheduleSpec, step: int, steps: int) -> float:
    """From `start` up to the peak, and in the last step down at `floor`, both along a cosine: as torch's OneCycleLR."""
    rise = max(_warmup(spec, steps) - 1, 0)
    if step < rise:
        return _cosine(spec.start, 1.0, step / rise)
    return _cosine(1.0, spec.floor, min((step - rise) / max(steps - 1 - rise, 1), 1.0))


def _cyclic(spec: ScheduleSpec, step: int, steps: int) -> float:
    """From `start` up to the peak and back in `every` steps, again and again: as torch's CyclicLR, `triangular`."""
    period = length(spec.every or 1, steps)
    return max(spec.floor, _between(spec.start, 1.0, 1 - abs(2 * (step % period) / period - 1)))


def _between(first: float, last: float, done: float) -> float:
    return first + (last - first) * done


def _cosine(first: float, last: float, done: float) -> float:
    return _between(first, last, 0.5 * (1 - math.cos(math.pi * done)))
