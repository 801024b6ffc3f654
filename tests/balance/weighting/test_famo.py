from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from manyheads.balance.weighting import Moment, Weights
from manyheads.balance.weighting.famo import Famo

BOTH = ("a", "b")
losses = st.lists(st.tuples(st.floats(0.01, 20), st.floats(0.01, 20)), min_size=2, max_size=12)


def visit(weighting: Famo, number: int, **losses: float) -> Weights:
    moment = Moment(0, number, 0, tuple(losses))
    found = weighting.weights(moment, losses)
    weighting.learn(moment, losses, {})
    return found


def gradient(logits: Tensor, losses: Tensor) -> Tensor:
    """What autograd gives each loss in c sum z log L, with c held."""
    losses = losses.clone().requires_grad_()
    z = torch.softmax(logits.detach(), 0)
    c = 1 / (z / (losses + 1e-8)).sum().detach()
    (c * (z * torch.log(losses + 1e-8)).sum()).backward()
    assert losses.grad is not None
    return losses.grad


@given(losses)
def test_it_follows_what_autograd_finds_in_the_algorithm_of_the_paper(losses: list[tuple[float, float]]) -> None:
    """The losses after an update are those of the next visit, and w follows a visit later; weights are twice the paper's."""
    weighting = Famo(BOTH, lr=0.05, decay=0.01)
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    rule = torch.optim.Adam([w], lr=0.05, weight_decay=0.01)
    before: Tensor | None = None
    for number, pair in enumerate(losses):
        now = torch.tensor(pair, dtype=torch.float64)
        found = visit(weighting, number, a=pair[0], b=pair[1])
        assert list(found.values()) == pytest.approx((2 * gradient(w, now)).tolist(), rel=1e-7)
        if before is not None:
            fall = torch.log(before + 1e-8) - torch.log(now + 1e-8)
            [w.grad] = torch.autograd.grad(torch.softmax(w, 0), w, fall)
            rule.step()
        before = now


def test_the_task_that_falls_behind_gains() -> None:
    weighting = Famo(BOTH, lr=0.025, decay=0.0)
    for number in range(50):
        visit(weighting, number, a=0.9**number, b=1.0)
    assert weighting.logits["b"] > 0 > weighting.logits["a"]


def test_falls_are_those_between_visits_of_a_task() -> None:
    """Tasks that alternate: what others do between two visits makes no difference to the fall."""
    together, apart = Famo(BOTH, lr=0.05, decay=0.0), Famo(BOTH, lr=0.05, decay=0.0)
    for number in range(20):
        a, b = 2.0 * 0.9**number, 3.0 * 0.98**number
        visit(together, number, a=a, b=b)
        visit(apart, 2 * number, a=a)
        visit(apart, 2 * number + 1, b=b)
    assert apart.falls == together.falls
    assert apart.logits["b"] > 0 > apart.logits["a"]
    assert apart.logits == pytest.approx(together.logits, abs=0.15)


def test_decay_holds_the_logits() -> None:
    free, held = Famo(BOTH, lr=0.05, decay=0.0), Famo(BOTH, lr=0.05, decay=1.0)
    for number in range(50):
        for weighting in (free, held):
            visit(weighting, number, a=0.9**number, b=1.0)
    assert abs(held.logits["a"]) < abs(free.logits["a"])


def test_weighted_losses_are_equal_at_the_start() -> None:
    found = visit(Famo(BOTH, lr=0.025, decay=0.0), 0, a=0.5, b=4.0)
    assert found["a"] * 0.5 == pytest.approx(found["b"] * 4.0, rel=1e-6)
