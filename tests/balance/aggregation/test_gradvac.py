from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torchjd.aggregation import GradVacWeighting

from manyheads.balance.aggregation.gradvac import GradVac
from manyheads.balance.aggregation.pcgrad import PCGrad
from manyheads.balance.weighting import Moment

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]


@given(seed=st.integers(0, 10**6), beta=st.floats(0.01, 0.9))
def test_two_tasks_over_some_steps_as_torchjd_has_them(seed: int, beta: float, draw: Draw) -> None:
    ours, theirs = GradVac(beta), GradVacWeighting(beta=beta, eps=0.0)
    for number in range(6):
        rows = draw(seed + number, 2, 3)
        found = ours.weights(rows @ rows.T, Moment(1, number, 0, ("a", "b")))
        torch.testing.assert_close(found, theirs(rows @ rows.T), rtol=1e-6, atol=1e-8)


def test_a_gradient_is_turned_until_it_is_as_alike_as_on_average(step: Step) -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    method = GradVac(0.0)
    method.means = {"a": {"b": 0.6}}
    turned = step(method, rows) - rows[1]  # b stays: its mean with a is 0
    assert cosine_similarity(turned, rows[1], dim=0) == pytest.approx(0.6)
    torch.testing.assert_close(turned[0], rows[0, 0])


def test_the_running_mean_of_the_cosine_begins_at_0(step: Step) -> None:
    method = GradVac(0.1)
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    step(method, rows, 0, "ab")
    assert method.means["a"]["b"] == pytest.approx(0.06)
    step(method, rows, 1, "ab")
    assert method.means["a"]["b"] == pytest.approx(0.114)


def test_means_go_by_name(step: Step, draw: Draw) -> None:
    method = GradVac(0.5)
    step(method, draw(1, 3, 5), 0, "abc")
    before = method.means["a"]["b"]
    step(method, draw(2, 2, 5), 1, "ca")
    assert method.means["a"]["b"] == before
    assert set(method.means) == {"a", "b", "c"}


@given(seed=st.integers(0, 10**6))
def test_without_means_two_tasks_are_pcgrad(seed: int, step: Step, draw: Draw) -> None:
    rows = draw(seed, 2, 6)
    torch.testing.assert_close(step(GradVac(0.0), rows), step(PCGrad(), rows))


def test_a_gradient_of_zeros_leaves_no_mean(step: Step) -> None:
    method = GradVac(0.5)
    step(method, torch.tensor([[1.0, 0.0], [0.0, 0.0]]), 0, "ab")
    assert method.means == {"a": {}, "b": {}}
