from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import PCGradWeighting

from manyheads.balance.aggregation.pcgrad import PCGrad
from manyheads.balance.weighting import Moment
from manyheads.seeds import generator

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]


def test_two_that_oppose_each_other_by_hand(step: Step) -> None:
    """(1, 0) becomes (1/2, 1/2), and (-1, 1) becomes (0, 1)."""
    rows = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    torch.testing.assert_close(step(PCGrad(), rows), torch.tensor([0.5, 1.5], dtype=torch.float64))


@given(seed=st.integers(0, 10**6))
def test_two_tasks_as_torchjd_has_them(seed: int, draw: Draw) -> None:
    rows = draw(seed, 2, 3)
    gramian = rows @ rows.T
    torch.testing.assert_close(PCGrad().weights(gramian, Moment(1, 0, 0, ("a", "b"))), PCGradWeighting()(gramian))


@given(seed=st.integers(0, 10**6), number=st.integers(0, 99))
def test_the_algorithm_on_the_gradients_themselves(seed: int, number: int, step: Step, draw: Draw) -> None:
    names, rows = ["d", "b", "a", "c"], draw(seed, 4, 6)
    total = torch.zeros(6, dtype=torch.float64)
    for i, name in enumerate(names):
        own, others = rows[i].clone(), sorted({*names} - {name})
        for j in generator(5, "pcgrad", number, name).permutation(3):
            other = rows[names.index(others[j])]
            if own @ other < 0:
                own -= own @ other / (other @ other) * other
        total += own
    torch.testing.assert_close(step(PCGrad(), rows, number, names), total)
