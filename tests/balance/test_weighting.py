from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyheads.balance.weighting import StaticWeights

NAMES = st.sampled_from(["a", "b", "c", "d"])


@given(st.dictionaries(NAMES, st.floats(-9, 9), min_size=1), st.dictionaries(NAMES, st.floats(0, 9)))
def test_the_total_is_the_weighted_sum_and_a_weight_that_is_not_named_is_one(
    losses: dict[str, float], weights: dict[str, float]
) -> None:
    total = StaticWeights(weights)({n: torch.tensor(v, dtype=torch.float64) for n, v in losses.items()})
    wanted = sum(v * weights.get(n, 1.0) for n, v in losses.items())
    if all(weights.get(n, 1.0) == 0 for n in losses):
        assert total is None
    else:
        assert total is not None
        assert float(total) == pytest.approx(wanted, abs=1e-9)


def test_gradients_are_scaled_and_a_task_of_weight_zero_has_none() -> None:
    one, two, three = (torch.ones((), requires_grad=True) for _ in range(3))
    total = StaticWeights({"two": 3.0, "three": 0.0})({"one": one * 2, "two": two * 2, "three": three * 2})
    assert total is not None
    total.backward()
    assert one.grad == 2
    assert two.grad == 6
    assert three.grad is None


def test_a_task_of_weight_zero_cannot_spoil_the_sum() -> None:
    total = StaticWeights({"bad": 0.0})({"good": torch.tensor(1.0), "bad": torch.tensor(float("nan"))})
    assert total == 1


def test_a_weight_of_one_leaves_the_loss_as_it_is() -> None:
    loss = torch.tensor(0.1)
    assert StaticWeights()({"a": loss}) is loss


def test_nothing_gives_nothing() -> None:
    assert StaticWeights()({}) is None
