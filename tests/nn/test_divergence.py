"""Divergences: what all of them hold, and each against its definition or another library."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from manyheads.nn.divergence import DIVERGENCES, Divergence, mean_of, of_flags, of_labels

ALL = pytest.mark.parametrize("name", list(DIVERGENCES))
ORDINARY = st.lists(st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=3), min_size=2, max_size=2)
HUGE = st.lists(st.sampled_from([-3e38, -1e30, -1e4, -1.0, 0.0, 2.5, 1e4, 1e30, 3e38]), min_size=6, max_size=6)


def random(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@ALL
@given(rows=ORDINARY)
def test_equal_answers_are_0_apart_and_others_more(name: str, rows: list[list[float]]) -> None:
    first, second = (of_labels(torch.tensor(row, dtype=torch.float64)) for row in rows)
    assert float(DIVERGENCES[name](first, first)) == pytest.approx(0, abs=1e-12)
    apart = float(DIVERGENCES[name](first, second))
    assert apart >= -1e-12
    if (first.exp() - second.exp()).abs().max() > 1e-3:
        assert apart > 1e-9


@ALL
@pytest.mark.parametrize("logs", [of_labels, of_flags])
@given(values=HUGE)
def test_huge_scores_give_a_finite_value_and_gradient(name: str, logs: Divergence, values: list[float]) -> None:
    first, second = torch.tensor(values).reshape(2, 3).requires_grad_(True).unbind()
    first.retain_grad(), second.retain_grad()
    value = DIVERGENCES[name](logs(first), logs(second)).sum()  # type: ignore[call-arg]  # both take scores alone
    value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert value.isfinite()
    assert first.grad is not None
    assert second.grad is not None
    assert first.grad.isfinite().all()
    assert second.grad.isfinite().all()


@ALL
def test_gradients_are_those_of_small_differences(name: str) -> None:
    first, second = random(2, 4).requires_grad_(True), random(2, 4, seed=1).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda a, b: DIVERGENCES[name](of_labels(a), of_labels(b, 2.0)), (first, second))


@ALL
def test_a_row_by_itself_is_as_far_apart_as_among_others(name: str) -> None:
    first, second = of_labels(random(5, 2, 3)), of_labels(random(5, 2, 3, seed=1))
    found = DIVERGENCES[name](first, second)
    assert found.shape == (5, 2)
    assert_close(found[3, 1], DIVERGENCES[name](first[3, 1], second[3, 1]))


@pytest.mark.parametrize("name", ["symmetric_kl", "js", "hellinger", "mse"])
def test_these_have_no_direction(name: str) -> None:
    first, second = of_labels(random(6, 4)), of_labels(random(6, 4, seed=1))
    assert_close(DIVERGENCES[name](first, second), DIVERGENCES[name](second, first))


@ALL
def test_a_temperature_takes_its_square(name: str) -> None:
    """Of a small difference, at temperatures that are high beside the scores: T² times it hardly moves."""
    first, second = random(4, 5) / 10, random(4, 5, seed=1) / 10
    at = [t**2 * DIVERGENCES[name](of_labels(first, t), of_labels(second, t)) for t in (20.0, 80.0)]
    assert_close(at[0], at[1], rtol=0.02, atol=0)


def test_against_torch_and_scipy() -> None:
    first, second = random(7, 4), random(7, 4, seed=1)
    p, q = of_labels(first), of_labels(second)
    torchs = F.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    assert_close(DIVERGENCES["kl"](p, q), torchs)
    back = F.kl_div(p, q, log_target=True, reduction="none").sum(-1)
    assert_close(DIVERGENCES["symmetric_kl"](p, q), torchs + back)
    scipys = torch.tensor([jensenshannon(a, b) ** 2 for a, b in zip(p.exp().numpy(), q.exp().numpy(), strict=True)])
    assert_close(DIVERGENCES["js"](p, q), scipys)
    overlap = (p.exp() * q.exp()).sqrt().sum(-1)
    assert_close(DIVERGENCES["hellinger"](p, q), 1 - overlap)
    centred = [x - x.mean(-1, keepdim=True) for x in (first, second)]
    assert_close(DIVERGENCES["mse"](p, q), F.mse_loss(*centred, reduction="none").mean(-1))


def test_bounds_are_reached_by_opposite_certainties() -> None:
    p, q = of_labels(torch.tensor([1e4, 0.0])), of_labels(torch.tensor([0.0, 1e4]))
    assert float(DIVERGENCES["js"](p, q)) == pytest.approx(math.log(2))
    assert float(DIVERGENCES["hellinger"](p, q)) == pytest.approx(1)
    assert float(DIVERGENCES["kl"](p, q)) == pytest.approx(1e4)


def test_a_flag_is_a_choice_of_two_labels() -> None:
    x = random(3, 4)
    assert_close(of_flags(x, 1.5), of_labels(torch.stack([x, torch.zeros_like(x)], -1), 1.5))


def test_the_mean_of_answers_is_one_of_probabilities() -> None:
    logs = of_labels(random(3, 5, 4))
    assert_close(mean_of(logs).exp(), logs.exp().mean(0))
    assert_close(mean_of(logs[:1]), logs[0])


@ALL
def test_half_precision_is_computed_in_single(name: str) -> None:
    x, y = random(4, 3).half(), random(4, 3, seed=1).half()
    found = DIVERGENCES[name](of_labels(x), of_labels(y))
    assert found.dtype == torch.float32
    assert_close(found, DIVERGENCES[name](of_labels(x.float()), of_labels(y.float())))
