from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import MGDAWeighting

from manyheads.balance.aggregation.mgda import MGDA

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]


@given(seed=st.integers(0, 10**6))
def test_two_tasks_in_closed_form(seed: int, step: Step, draw: Draw) -> None:
    """Sener and Koltun, algorithm 1: the share of the first is (g2 - g1)'g2 / |g1 - g2|^2, kept between 0 and 1."""
    one, two = rows = draw(seed, 2, 4)
    share = float(((two - one) @ two / (one - two).square().sum()).clamp(0, 1))
    torch.testing.assert_close(step(MGDA(), rows), share * one + (1 - share) * two, atol=1e-7, rtol=1e-6)


@given(seed=st.integers(0, 10**6), count=st.integers(2, 6))
def test_no_mean_is_shorter(seed: int, count: int, step: Step, draw: Draw) -> None:
    """Where d is the shortest mean, no task's gradient reaches less far along d than d itself; torchjd's steps come near it."""
    rows = draw(seed, count, 8)
    ours = step(MGDA(), rows)
    assert (rows @ ours >= ours @ ours - 1e-6).all()
    theirs = (MGDAWeighting(epsilon=1e-9, max_iters=300)(rows @ rows.T) @ rows).norm()
    assert ours.norm() <= theirs + 1e-9


def test_a_task_that_is_done_stops_all(step: Step) -> None:
    assert (step(MGDA(), torch.tensor([[1.0, 2.0], [0.0, 0.0]])) == 0).all()
