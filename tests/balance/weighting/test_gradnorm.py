from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manyheads.balance.weighting import Moment
from manyheads.balance.weighting.gradnorm import GradNorm

TASKS = ("a", "b", "c")
pairs = st.tuples(st.floats(0.05, 20), st.floats(0.01, 50))
steps = st.lists(st.fixed_dictionaries(dict.fromkeys(TASKS, pairs)), min_size=1, max_size=12)
Step = dict[str, tuple[float, float]]


def learn(weighting: GradNorm, number: int, step: Step) -> None:
    losses, norms = ({task: pair[i] for task, pair in step.items()} for i in (0, 1))
    weighting.learn(Moment(0, number, 0, tuple(step)), losses, norms)


def weights(weighting: GradNorm) -> dict[str, float]:
    return weighting.weights(Moment(0, 0, 0, TASKS), {})


@given(steps)
def test_it_follows_what_autograd_finds_in_the_loss_of_the_paper(steps: list[Step]) -> None:
    """sum |G - mean G (r / mean r)^alpha|, the right side detached; Adam; scaled to add up to K."""
    weighting = GradNorm(TASKS, alpha=1.5, lr=0.025)
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    rule = torch.optim.Adam([w], lr=0.025)
    first = torch.tensor([steps[0][task][0] for task in TASKS], dtype=torch.float64)
    for number, step in enumerate(steps):
        losses, norms = (torch.tensor([step[task][i] for task in TASKS], dtype=torch.float64) for i in (0, 1))
        lengths = w * norms
        left = losses / first
        target = (lengths.mean() * (left / left.mean()) ** 1.5).detach()
        if (lengths - target).abs().min() < 1e-6 * lengths.mean():
            return  # the derivative jumps here
        rule.zero_grad()
        (lengths - target).abs().sum().backward()
        rule.step()
        with torch.no_grad():
            w.mul_(3 / w.sum())
        learn(weighting, number, step)
        assert list(weights(weighting).values()) == pytest.approx(w.tolist(), rel=1e-7)


def test_gradients_become_of_one_length() -> None:
    """alpha 0, lengths 1 : 2 : 4: weights 4 : 2 : 1."""
    weighting = GradNorm(TASKS, alpha=0.0, lr=0.01)
    for number in range(600):
        learn(weighting, number, {"a": (1.0, 1.0), "b": (1.0, 2.0), "c": (1.0, 4.0)})
    assert weights(weighting) == pytest.approx({"a": 12 / 7, "b": 6 / 7, "c": 3 / 7}, abs=0.05)


def test_a_task_that_learns_slowly_is_helped() -> None:
    weighting = GradNorm(TASKS, alpha=1.5, lr=0.01)
    for number in range(200):
        learn(weighting, number, {"a": (1 / (number + 1), 1.0), "b": (0.99**number, 1.0), "c": (1.0, 1.0)})
    found = weights(weighting)
    assert found["a"] < found["b"] < found["c"]


def test_a_task_that_is_away_moves_only_with_the_common_scale() -> None:
    weighting = GradNorm(TASKS, alpha=1.5, lr=0.1)
    for number in range(5):
        learn(weighting, number, {"a": (1.0, 1.0), "b": (1.0, 3.0), "c": (2.0, 0.5)})
    before = weights(weighting)
    learn(weighting, 5, {"a": (9.0, 0.1)})
    after = weights(weighting)
    assert after["b"] / after["c"] == pytest.approx(before["b"] / before["c"], rel=1e-12)
    assert after["a"] / after["b"] != pytest.approx(before["a"] / before["b"], rel=1e-3)


def test_alternating_tasks_come_to_the_same_balance() -> None:
    together, apart = GradNorm(TASKS, alpha=0.0, lr=0.01), GradNorm(TASKS, alpha=0.0, lr=0.01)
    step = {"a": (1.0, 1.0), "b": (1.0, 2.0), "c": (1.0, 4.0)}
    for number in range(600):
        learn(together, number, step)
        for task in TASKS:
            learn(apart, number, {task: step[task]})
    assert weights(apart) == pytest.approx(weights(together), abs=0.05)


def test_a_task_never_seen_counts_one() -> None:
    weighting = GradNorm(TASKS, alpha=1.5, lr=0.1)
    for number in range(5):
        learn(weighting, number, {"a": (1.0, 1.0), "b": (1.0, 5.0)})
    found = weights(weighting)
    assert found["c"] == 1.0
    assert found["a"] + found["b"] == pytest.approx(2)
    assert found["a"] > 1.2


def test_weights_stay_above_zero() -> None:
    weighting = GradNorm(TASKS, alpha=0.0, lr=1.0)
    for number in range(30):
        learn(weighting, number, {"a": (1.0, 1e6), "b": (1.0, 1.0), "c": (1.0, 1.0)})
        assert min(weights(weighting).values()) > 0


@pytest.mark.parametrize("norm", [float("inf"), float("nan")])
def test_a_norm_that_is_no_number_is_not_learned_from(norm: float) -> None:
    weighting = GradNorm(TASKS, alpha=1.5, lr=0.1)
    learn(weighting, 0, dict.fromkeys(TASKS, (1.0, 1.0)))
    before = weighting.to_json()["visits"]
    learn(weighting, 1, {"a": (1.0, norm)})
    assert weighting.to_json()["visits"] == before


def test_gradients_of_length_zero_change_nothing() -> None:
    weighting = GradNorm(TASKS, alpha=1.5, lr=0.1)
    for number in range(3):
        learn(weighting, number, dict.fromkeys(TASKS, (1.0, 0.0)))
    assert weights(weighting) == dict.fromkeys(TASKS, 1.0)
