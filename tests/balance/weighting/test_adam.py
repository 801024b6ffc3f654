from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyheads.balance.weighting.adam import Adam

gradients = st.lists(st.floats(-1e6, 1e6), max_size=20)


@given(gradients)
def test_it_is_the_adam_of_torch(gradients: list[float]) -> None:
    number, adam = 0.0, Adam(0.1)
    twin = torch.zeros((), dtype=torch.float64, requires_grad=True)
    rule = torch.optim.Adam([twin], lr=0.1)
    for gradient in gradients:
        number -= adam.step("a", gradient)
        twin.grad = torch.tensor(gradient, dtype=torch.float64)
        rule.step()
        assert number == pytest.approx(twin.item(), rel=1e-9, abs=1e-12)


@given(gradients, gradients)
def test_tasks_do_not_meet(first: list[float], second: list[float]) -> None:
    together, alone = Adam(0.1), Adam(0.1)
    for gradient in second:
        together.step("b", gradient)
    assert [together.step("a", g) for g in first] == [alone.step("a", g) for g in first]


@given(gradients, gradients)
def test_it_goes_on_from_what_it_wrote(before: list[float], after: list[float]) -> None:
    one, two = Adam(0.1), Adam(0.1)
    for gradient in before:
        one.step("a", gradient)
    two.restore(json.loads(json.dumps(one.to_json())))
    assert [two.step("a", g) for g in after] == [one.step("a", g) for g in after]


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e30])
def test_a_first_step_is_as_long_as_the_rate_whatever_the_gradient(size: float) -> None:
    assert Adam(0.1).step("a", size) == pytest.approx(0.1, rel=0.02)
    assert Adam(0.1).step("a", -size) == pytest.approx(-0.1, rel=0.02)
    assert Adam(0.0).step("a", size) == 0.0
