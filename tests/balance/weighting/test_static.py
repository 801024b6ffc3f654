"""Static weights, and what the balancer makes of a weighting's weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from manyheads.balance.backward import Layout, Part
from manyheads.balance.balancer import Balancer
from manyheads.balance.weighting import Moment
from manyheads.config.spec.balance import BalanceSpec

TASKS = ("a", "b", "c")


class Alone:
    """One process."""

    main = True

    def sum(self, values: Tensor) -> Tensor:
        return values


def balanced(static: dict[str, float], losses: dict[str, Tensor]) -> None:
    """One step through a balancer: gradients are in the leaves of `losses` afterwards."""
    balancer = Balancer(BalanceSpec(), static, Layout((), {}, {}, {}))
    means = {task: loss.item() for task, loss in losses.items()}
    balancer.start(Moment(0, 0, 0, tuple(losses)))
    balancer.add(Part(losses))
    balancer.finish(means, Alone())
    balancer.learn(means)


@given(st.dictionaries(st.sampled_from(TASKS), st.floats(0, 9), min_size=1))
def test_gradients_are_those_of_the_weighted_sum(weights: dict[str, float]) -> None:
    leaves = {task: Parameter(torch.tensor(2.0, dtype=torch.float64)) for task in weights}
    balanced(weights, {task: leaf * 3 for task, leaf in leaves.items()})
    for task, leaf in leaves.items():
        if weights[task]:
            assert leaf.grad is not None
            assert float(leaf.grad) == pytest.approx(3 * weights[task])
        else:
            assert leaf.grad is None


def test_a_task_of_weight_zero_cannot_spoil_the_sum() -> None:
    good, bad = Parameter(torch.ones(())), Parameter(torch.ones(()))
    shared = Parameter(torch.ones(()))
    balanced({"good": 1.0, "bad": 0.0}, {"good": good * shared, "bad": bad * shared * math.nan})
    assert bad.grad is None
    assert shared.grad == 1


def test_a_weight_of_one_leaves_the_loss_as_it_is() -> None:
    balancer = Balancer(BalanceSpec(), {"a": 1.0}, Layout((), {}, {}, {}))
    balancer.start(Moment(0, 0, 0, ("a",)))
    loss = torch.tensor(0.1, requires_grad=True)
    seen: list[Part] = []
    balancer.way.add = seen.append  # type: ignore[method-assign]
    balancer.add(Part({"a": loss}))
    assert seen[0].losses["a"] is loss


def test_nothing_gives_nothing() -> None:
    balanced({"a": 1.0}, {})
