from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from manyheads.balance.aggregation.aligned_mtl import AlignedMTL

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]


@given(seed=st.integers(0, 10**6), count=st.integers(2, 6))
def test_the_mean_of_gradients_made_orthogonal_and_equally_long(seed: int, count: int, step: Step, draw: Draw) -> None:
    """U S V' becomes s U V', s the least of S."""
    rows = draw(seed, count, count + 6)
    u, s, v = torch.linalg.svd(rows, full_matrices=False)
    wanted = s[-1] * (u @ v).mean(0)
    torch.testing.assert_close(step(AlignedMTL("min"), rows), wanted, rtol=2e-3, atol=2e-3 * float(wanted.norm()))


@pytest.mark.parametrize(("scale", "length"), [("min", 1.0), ("median", 2.0), ("rmse", 13.5**0.5)])
def test_orthogonal_gradients_get_one_length(scale: str, length: float, step: Step, make: Callable[..., object]) -> None:
    rows = torch.diag(torch.tensor([1.0, 2.0, 6.0]))  # squares 1, 4, 36
    rows[2, 2] = 35.5**0.5
    found = step(make("aligned_mtl", scale=scale), rows)
    torch.testing.assert_close(found, torch.full((3,), length / 3, dtype=torch.float64), rtol=1e-5, atol=0)


def test_copies_are_one_component_and_not_a_least_one_of_rounding(step: Step) -> None:
    rows = torch.tensor([[1.0, 0.3, 0.7], [1.0, 0.3, 0.7], [0.0, 1.0, 0.0]]) * torch.tensor([[1.0], [1 / 3], [1.0]])
    assert step(AlignedMTL("min"), rows).norm() > 0.3
