from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyheads.balance.weighting import Moment
from manyheads.balance.weighting.uncertainty import Uncertainty

BOTH = ("a", "b")
losses = st.lists(st.tuples(st.floats(0.01, 20), st.floats(0.01, 20)), min_size=1, max_size=15)


@given(losses)
def test_it_follows_what_autograd_finds_in_the_loss_of_the_paper(losses: list[tuple[float, float]]) -> None:
    """exp(-s) L + s / 2: the s that a model's optimizer would learn."""
    weighting = Uncertainty(BOTH, lr=0.05)
    s = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    rule = torch.optim.Adam([s], lr=0.05)
    for step, pair in enumerate(losses):
        moment = Moment(0, step, 0, BOTH)
        found = weighting.weights(moment, {})
        assert list(found.values()) == pytest.approx(torch.exp(-s).tolist(), rel=1e-8)
        total = (torch.exp(-s) * torch.tensor(pair, dtype=torch.float64) + s / 2).sum()
        rule.zero_grad()
        total.backward()
        rule.step()
        weighting.learn(moment, dict(zip(BOTH, pair, strict=True)), {})


@pytest.mark.parametrize("loss", [0.1, 2.0])
def test_a_loss_that_stays_comes_to_the_weight_that_the_formula_gives(loss: float) -> None:
    weighting = Uncertainty(["a"], lr=0.02)
    for step in range(1500):
        weighting.learn(Moment(0, step, 0, ("a",)), {"a": loss}, {})
    assert weighting.weights(Moment(0, 0, 0, ("a",)), {})["a"] == pytest.approx(1 / (2 * loss), rel=0.01)


@pytest.mark.parametrize(("loss", "least", "most"), [(0.0, math.exp(10), math.exp(10)), (1e30, math.exp(-10), 1e-3)])
def test_weights_have_limits(loss: float, least: float, most: float) -> None:
    weighting = Uncertainty(["a"], lr=1.0)
    for step in range(60):
        weighting.learn(Moment(0, step, 0, ("a",)), {"a": loss}, {})
    assert least <= weighting.weights(Moment(0, 0, 0, ("a",)), {})["a"] <= most
