from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyheads.balance.weighting import Moment
from manyheads.balance.weighting.db_mtl import DbMtl

BOTH = ("a", "b")


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_weights_are_the_gradient_of_the_logs(one: float, other: float) -> None:
    values = torch.tensor([one, other], dtype=torch.float64, requires_grad=True)
    torch.log(values + 1e-8).sum().backward()
    assert values.grad is not None
    found = DbMtl(BOTH).weights(Moment(0, 0, 0, BOTH), {"a": one, "b": other})
    assert list(found.values()) == pytest.approx(values.grad.tolist(), rel=1e-9)


def test_a_loss_of_zero_has_a_greatest_weight() -> None:
    assert DbMtl(BOTH).weights(Moment(0, 0, 0, ("a",)), {"a": 0.0})["a"] == pytest.approx(1e8)


def test_other_tasks_do_not_matter() -> None:
    weighting = DbMtl(BOTH)
    alone = weighting.weights(Moment(0, 0, 0, ("a",)), {"a": 0.3})
    weighting.learn(Moment(0, 0, 0, ("b",)), {"b": 1e9}, {})
    assert weighting.weights(Moment(0, 1, 0, BOTH), {"a": 0.3, "b": 1e9})["a"] == alone["a"]
