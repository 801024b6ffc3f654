from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyheads.balance.weighting import Moment
from manyheads.balance.weighting.stch import Stch

TASKS = ("a", "b", "c")
losses = st.fixed_dictionaries({task: st.floats(0, 5) for task in TASKS})


@given(losses, st.floats(0.1, 10))
def test_weights_are_the_gradient_of_the_scalarization(losses: dict[str, float], mu: float) -> None:
    """K times the paper's mu' log sum exp(L / K / mu') at mu' = mu / K, whose gradient is that of mu log sum exp(L / mu)."""
    values = torch.tensor([losses[t] for t in TASKS], dtype=torch.float64, requires_grad=True)
    small = mu / 3
    (3 * 3 * small * torch.logsumexp(values / 3 / small, 0)).backward()
    assert values.grad is not None
    found = Stch(TASKS, mu).weights(Moment(0, 0, 0, TASKS), losses)
    assert [found[t] for t in TASKS] == pytest.approx(values.grad.tolist(), rel=1e-9)


def test_the_lower_mu_the_more_the_greatest_loss_counts() -> None:
    losses = {"a": 1.0, "b": 2.0, "c": 0.5}
    found = [Stch(TASKS, mu).weights(Moment(0, 0, 0, TASKS), losses)["b"] for mu in (100.0, 1.0, 0.1, 0.001)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(1, abs=0.02)
    assert found[-1] == 3.0


def test_a_task_alone_is_weighed_against_the_last_losses_of_the_others() -> None:
    weighting = Stch(TASKS, mu=1.0)
    weighting.learn(Moment(0, 0, 0, ("a",)), {"a": 3.0}, {})
    assert weighting.weights(Moment(0, 1, 0, ("b",)), {"b": 3.0}) == {"b": 1.0}
    assert weighting.weights(Moment(0, 1, 0, ("b",)), {"b": 1.0})["b"] < 1
    weighting.learn(Moment(0, 1, 0, ("a",)), {"a": 0.1}, {})
    assert weighting.weights(Moment(0, 2, 0, ("b",)), {"b": 1.0})["b"] > 1
