from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from manyheads.balance.aggregation.dualproj import DualProj

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]


def test_two_that_oppose_each_other_by_hand(step: Step) -> None:
    """The mean (3/2, 1/2) of (4, 0) and (-1, 1) has the product -1 with the second; without its part along it: (1, 1)."""
    rows = torch.tensor([[4.0, 0.0], [-1.0, 1.0]])
    torch.testing.assert_close(step(DualProj(), rows), torch.tensor([1.0, 1.0], dtype=torch.float64))


@given(seed=st.integers(0, 10**6), count=st.integers(2, 6))
def test_no_step_without_conflict_is_nearer_to_the_mean(seed: int, count: int, step: Step, draw: Draw) -> None:
    rows = draw(seed, count, count + 1)
    found = step(DualProj(), rows)
    for other in draw(seed + 1, 200, count + 1):
        if (rows @ other).min() >= 0:
            assert (other - rows.mean(0)).norm() >= (found - rows.mean(0)).norm() - 1e-7


@given(seed=st.integers(0, 10**6))
def test_the_mean_stays_where_it_conflicts_with_none(seed: int, step: Step, draw: Draw) -> None:
    rows = draw(seed, 3, 40) + 1
    assert (rows @ rows.mean(0)).min() >= 0
    torch.testing.assert_close(step(DualProj(), rows), rows.mean(0))
