from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyheads.balance.weighting import Moment
from manyheads.balance.weighting.geometric import Geometric

TASKS = ("a", "b", "c")
losses = st.fixed_dictionaries({task: st.floats(0.01, 100) for task in TASKS})


@given(losses)
def test_weights_are_the_gradient_of_three_times_the_geometric_mean(losses: dict[str, float]) -> None:
    values = torch.tensor([losses[t] for t in TASKS], dtype=torch.float64, requires_grad=True)
    (3 * values.prod() ** (1 / 3)).backward()
    assert values.grad is not None
    found = Geometric(TASKS).weights(Moment(0, 0, 0, TASKS), losses)
    assert [found[t] for t in TASKS] == pytest.approx(values.grad.tolist(), rel=1e-5)


@given(losses, st.sampled_from(TASKS), st.floats(0.1, 10))
def test_the_scale_of_a_loss_does_not_matter(losses: dict[str, float], task: str, factor: float) -> None:
    """What a task adds, weight times loss, is the same for all; a scale changes it for all alike."""
    moment = Moment(0, 0, 0, TASKS)
    for now in (losses, losses | {task: factor * losses[task]}):
        weights = Geometric(TASKS).weights(moment, now)
        parts = [weights[t] * now[t] for t in TASKS]
        assert parts == pytest.approx([parts[0]] * 3, rel=1e-5)


def test_a_task_alone_is_weighed_against_the_last_losses_of_the_others() -> None:
    weighting = Geometric(TASKS)
    weighting.learn(Moment(0, 0, 0, ("a",)), {"a": 8.0}, {})
    assert weighting.weights(Moment(0, 1, 0, ("b",)), {"b": 2.0})["b"] == pytest.approx(4 / 2)
    weighting.learn(Moment(0, 1, 0, ("b",)), {"b": 2.0}, {})
    weighting.learn(Moment(0, 2, 0, ("a",)), {"a": 0.5}, {})
    assert weighting.weights(Moment(0, 3, 0, ("b",)), {"b": 2.0})["b"] == pytest.approx(1 / 2)
