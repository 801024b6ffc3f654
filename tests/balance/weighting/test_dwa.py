from __future__ import annotations

import math

import pytest

from manyheads.balance.weighting import Weights
from manyheads.balance.weighting.contract import Moment
from manyheads.balance.weighting.dwa import Dwa

BOTH = ("a", "b")


def pass_epoch(weighting: Dwa, epoch: int, *steps: dict[str, float]) -> Weights:
    """The weights at the first step of an epoch of these losses; they are the same at all of them."""
    found = [weighting.weights(Moment(0, 10 * epoch, epoch, BOTH), {})]
    for number, losses in enumerate(steps):
        weighting.learn(Moment(0, 10 * epoch + number, epoch, tuple(losses)), losses, {})
        found.append(weighting.weights(Moment(0, 10 * epoch + number + 1, epoch, BOTH), {}))
    assert all(weights == found[0] for weights in found)
    return found[0]


def test_the_formula_of_the_paper() -> None:
    weighting = Dwa(BOTH, temperature=2.0)
    assert pass_epoch(weighting, 0, {"a": 3.0, "b": 1.0}, {"a": 5.0, "b": 1.0}) == {"a": 1.0, "b": 1.0}
    assert pass_epoch(weighting, 1, {"a": 1.0, "b": 0.5}, {"a": 3.0, "b": 1.1}) == {"a": 1.0, "b": 1.0}
    # means 4 and 1, then 2 and 0.8: rates 0.5 and 0.8
    one, other = math.exp(0.5 / 2), math.exp(0.8 / 2)
    wanted = {"a": 2 * one / (one + other), "b": 2 * other / (one + other)}
    assert pass_epoch(weighting, 2, {"a": 1.0, "b": 0.8}) == pytest.approx(wanted, rel=1e-7)
    # rates 1 / 2 and 0.8 / 0.8
    one, other = math.exp(0.5 / 2), math.exp(1 / 2)
    wanted = {"a": 2 * one / (one + other), "b": 2 * other / (one + other)}
    assert pass_epoch(weighting, 3) == pytest.approx(wanted, rel=1e-7)


def test_a_task_that_misses_an_epoch_keeps_its_rate() -> None:
    weighting = Dwa(BOTH, temperature=1.0)
    for epoch, losses in enumerate([{"a": 4.0, "b": 1.0}, {"a": 1.0, "b": 1.0}]):
        pass_epoch(weighting, epoch, losses)
    before = pass_epoch(weighting, 2, {"b": 1.0})
    assert before["a"] < before["b"]
    assert pass_epoch(weighting, 3, {"b": 1.0}) == before
    assert pass_epoch(weighting, 4) == before


def test_a_task_that_comes_late_counts_as_one_that_stands_still() -> None:
    weighting = Dwa(BOTH, temperature=1.0)
    for epoch in range(4):
        pass_epoch(weighting, epoch, {"a": 2.0})
    assert pass_epoch(weighting, 4, {"a": 2.0, "b": 7.0}) == {"a": 1.0, "b": 1.0}
    assert pass_epoch(weighting, 5, {"a": 2.0, "b": 3.5}) == {"a": 1.0, "b": 1.0}
    assert pass_epoch(weighting, 6)["b"] < 1


def test_the_higher_the_temperature_the_more_alike() -> None:
    spreads = []
    for temperature in (0.5, 2.0, 10.0, 1e6):
        weighting = Dwa(BOTH, temperature)
        for epoch, losses in enumerate([{"a": 4.0, "b": 1.0}, {"a": 1.0, "b": 1.0}]):
            pass_epoch(weighting, epoch, losses)
        found = pass_epoch(weighting, 2)
        spreads.append(found["b"] - found["a"])
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] == pytest.approx(0, abs=1e-5)


def test_losses_of_zero_are_a_rate_of_one() -> None:
    weighting = Dwa(BOTH, temperature=2.0)
    for epoch in range(3):
        pass_epoch(weighting, epoch, {"a": 0.0, "b": 1.0})
    assert pass_epoch(weighting, 3) == {"a": 1.0, "b": 1.0}
