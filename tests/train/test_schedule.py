"""Rates against torch's and transformers' own schedulers, and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, lr_scheduler
from transformers import (
    get_cosine_schedule_with_warmup,
    get_inverse_sqrt_schedule,
    get_linear_schedule_with_warmup,
)

from manyheads.config.spec.training import ScheduleSpec
from manyheads.train.schedule import factor, length

NAMES = get_args(ScheduleSpec.model_fields["name"].annotation)
STEPS = 40


def curve(name: str, warmup: float, steps: int, **values: Any) -> list[float]:
    spec = ScheduleSpec(name=name, warmup=warmup, **values)  # type: ignore[arg-type]
    return [factor(spec, step, steps) for step in range(steps)]


def theirs(build: Callable[[SGD], Any], steps: int = STEPS) -> list[float]:
    """The rates of a scheduler over an optimizer whose own rate is 1."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build(optimizer)
    found = []
    for _ in range(steps):
        found.append(float(schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("settings", "build"),
    [
        ({"name": "linear"}, lambda o: lr_scheduler.LinearLR(o, 1.0, 1e-12, STEPS)),
        ({"name": "linear", "floor": 0.2}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, STEPS)),
        ({"name": "cosine"}, lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS)),
        ({"name": "cosine", "floor": 0.1}, lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1)),
        ({"name": "constant"}, lambda o: lr_scheduler.ConstantLR(o, 1.0)),
        ({"name": "exponential"}, lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
        ({"name": "exponential", "gamma": 0.99}, lambda o: lr_scheduler.ExponentialLR(o, 0.99)),
        ({"name": "step", "every": 5}, lambda o: lr_scheduler.StepLR(o, 5, 0.9)),
        ({"name": "step", "every": 0.25, "gamma": 0.5}, lambda o: lr_scheduler.StepLR(o, 10, 0.5)),
        ({"name": "multi_step", "milestones": [3, 10, 11]}, lambda o: lr_scheduler.MultiStepLR(o, [3, 10, 11], 0.9)),
        ({"name": "multi_step", "milestones": [0.5, 0.75], "gamma": 0.1}, lambda o: lr_scheduler.MultiStepLR(o, [20, 30], 0.1)),
        (
            {"name": "one_cycle", "warmup": 0.3, "floor": 4e-6},
            lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=STEPS + 1),  # torch refuses the step after the last
        ),
        (
            {"name": "cyclic", "every": 8, "start": 0.2},
            lambda o: lr_scheduler.CyclicLR(o, 0.2, 1.0, 4, cycle_momentum=False),
        ),
    ],
)
def test_without_a_warm_up_rates_are_those_of_torch(settings: dict[str, Any], build: Callable[[SGD], Any]) -> None:
    spec = ScheduleSpec(**{"warmup": 0, **settings})
    steps = STEPS + (settings["name"] == "one_cycle")
    assert [factor(spec, k, steps) for k in range(STEPS)] == pytest.approx(theirs(build), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("linear", get_linear_schedule_with_warmup),
        ("cosine", get_cosine_schedule_with_warmup),
        ("inverse_sqrt", lambda o, w, _: get_inverse_sqrt_schedule(o, w, timescale=max(w, 1))),
    ],
)
@pytest.mark.parametrize("warmup", [1, 3, 10])
def test_after_the_warm_up_rates_are_those_of_transformers(name: str, build: Callable[..., Any], warmup: int) -> None:
    found, ours = theirs(lambda o: build(o, warmup, 20), 20), curve(name, warmup, 20)
    assert ours[warmup:] == pytest.approx(found[warmup:])
    assert ours[:warmup] == pytest.approx([(k + 1) / (warmup + 1) for k in range(warmup)])
    assert found[:warmup] == pytest.approx([k / warmup for k in range(warmup)])


def test_hand_computed_curves() -> None:
    assert curve("linear", 2, 6) == pytest.approx([1 / 3, 2 / 3, 1, 3 / 4, 2 / 4, 1 / 4])
    assert curve("linear", 0, 4, floor=0.2) == pytest.approx([1, 0.8, 0.6, 0.4])
    assert curve("constant", 3, 6) == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 1, 1])
    assert curve("cosine", 0, 4) == pytest.approx([1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)])
    assert curve("inverse_sqrt", 4, 17)[3:] == pytest.approx([4 / 5, *(math.sqrt(4 / s) for s in range(4, 17))])
    assert curve("inverse_sqrt", 4, 17, floor=0.6)[-1] == 0.6
    assert curve("cyclic", 0, 9, every=4, start=0.5) == pytest.approx([0.5, 0.75, 1, 0.75, 0.5, 0.75, 1, 0.75, 0.5])


def test_drops_are_counted_from_the_end_of_the_warm_up_and_milestones_from_the_start() -> None:
    assert curve("step", 2, 8, every=3, gamma=0.5)[2:] == [1, 1, 1, 0.5, 0.5, 0.5]
    assert curve("exponential", 2, 6, gamma=0.25, every=2)[2:] == pytest.approx([1, 0.5, 0.25, 0.125])
    assert curve("multi_step", 2, 8, milestones=[4, 6], gamma=0.5)[2:] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert curve("step", 0, 6, every=2, gamma=0.1, floor=0.05) == pytest.approx([1, 1, 0.1, 0.1, 0.05, 0.05])


def test_the_transformer_schedule() -> None:
    """Vaswani et al. 2017: min(s^-0.5, s * w^-1.5), here as a share of its peak w^-0.5, with 800 steps of warm-up."""
    wanted = [min(s**-0.5, s * 800**-1.5) * 800**0.5 for s in (800, 801, 1600, 3200)]
    spec = ScheduleSpec(name="inverse_sqrt", warmup=800)
    assert [factor(spec, s, 4000) for s in (800, 801, 1600, 3200)] == pytest.approx(wanted)


def test_a_share_of_the_run_is_a_number_of_steps() -> None:
    assert curve("linear", 0.25, 8) == curve("linear", 2, 8)
    assert curve("linear", 0.06, 10)[:2] == pytest.approx([1 / 1.6, 1 - 0.4 / 9.4])
    assert [length(value, 30) for value in (0.1, 0.001, 0.5, 1, 7)] == [3, 1, 15, 1, 7]


@given(
    st.sampled_from(NAMES),
    st.floats(0, 0.9) | st.integers(1, 50).map(float),
    st.integers(1, 60),
    st.floats(0, 1),
    st.floats(0.01, 0.9) | st.integers(1, 50).map(float),
)
def test_every_rate_is_above_zero_and_at_most_the_peak(
    name: str, warmup: float, steps: int, floor: float, every: float
) -> None:
    rates = curve(name, warmup, steps, floor=floor, every=every, milestones=[every])
    assert all(0 < rate <= 1 + 1e-12 for rate in rates[:-1])
    assert 0 <= rates[-1] <= 1 + 1e-12
    assert curve(name, warmup, steps, floor=floor, every=every, milestones=[every]) == rates


@given(
    st.sampled_from([n for n in NAMES if n not in ("one_cycle", "cyclic")]),
    st.floats(0, 0.9) | st.integers(1, 50).map(float),
    st.integers(1, 60),
    st.floats(0, 1),
)
def test_rates_rise_to_the_peak_and_then_fall_but_never_below_the_floor(
    name: str, warmup: float, steps: int, floor: float
) -> None:
    rates = curve(name, warmup, steps, floor=floor, every=5, milestones=[7])
    warm = min(math.ceil(warmup * steps if warmup < 1 else warmup), steps)
    assert rates[:warm] == sorted(rates[:warm])
    assert rates[warm:] == sorted(rates[warm:], reverse=True)
    assert all(rate >= floor - 1e-12 for rate in rates[warm:])


@pytest.mark.parametrize("name", ["linear", "cosine", "one_cycle"])
def test_a_step_past_the_end_has_the_floor(name: str) -> None:
    assert factor(ScheduleSpec(name=name, warmup=0, floor=0.1), 30, 20) == pytest.approx(0.1)  # type: ignore[arg-type]
