from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from manyheads.balance.aggregation.cagrad import CAGrad

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]
within = st.floats(0.05, 1.5)


def dual(rows: Tensor, weights: Tensor, c: float) -> Tensor:
    """The paper's F(w) = <g_w, g0> + c |g0| |g_w|, whose least value over the simplex is the best gain of the worst-off."""
    mean, mixed = rows.mean(0), weights @ rows
    return mixed @ mean + c * mean.norm() * mixed.norm(dim=-1)


@given(seed=st.integers(0, 10**6), count=st.integers(2, 6), c=within)
def test_the_step_is_within_reach_and_no_weights_prove_it_could_gain_more(
    seed: int, count: int, c: float, step: Step, draw: Draw
) -> None:
    rows = draw(seed, count, 7)
    found = step(CAGrad(c), rows)
    worst = (rows @ found).min()
    assert (found - rows.mean(0)).norm() <= c * rows.mean(0).norm() * (1 + 1e-6)
    shares = draw(seed + 1, 3000, count).abs() ** 3
    shares /= shares.sum(1, keepdim=True)
    values = dual(rows, torch.cat([shares, torch.eye(count, dtype=shares.dtype)]), c)
    assert values.min() >= worst - 1e-6  # weak duality, for any weights
    assert values.min() - worst <= 0.3 * (1 + abs(float(worst)))  # some of them come near


@given(seed=st.integers(0, 10**6), c=within)
def test_two_tasks_against_a_fine_grid(seed: int, c: float, step: Step, draw: Draw) -> None:
    rows = draw(seed, 2, 5)
    share = torch.linspace(0, 1, 20001, dtype=torch.float64)
    best = dual(rows, torch.stack([share, 1 - share], 1), c).min()
    assert (rows @ step(CAGrad(c), rows)).min() == pytest.approx(float(best), abs=1e-5)


@given(seed=st.integers(0, 10**6), c=within)
def test_the_worst_off_gains_more_than_by_the_mean(seed: int, c: float, step: Step, draw: Draw) -> None:
    rows = draw(seed, 4, 9)
    assert (rows @ step(CAGrad(c), rows)).min() >= (rows @ rows.mean(0)).min() - 1e-9


def test_without_reach_it_is_the_mean(step: Step, draw: Draw) -> None:
    rows = draw(1, 4, 9)
    torch.testing.assert_close(step(CAGrad(0.0), rows), rows.mean(0))


def test_two_opposites_cannot_both_gain(step: Step) -> None:
    rows = torch.tensor([[2.0, 0.0], [-1.0, 0.0]])
    found = step(CAGrad(0.5), rows)  # from the mean (0.5, 0) as far back as it may
    torch.testing.assert_close(found, torch.tensor([0.25, 0.0], dtype=torch.float64), atol=1e-6, rtol=0)
