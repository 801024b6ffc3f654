from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import UPGradWeighting
from torchjd.linalg import DualConeProjector
from torchjd.linalg import PSDMatrix as Gramian

from manyheads.balance.aggregation.upgrad import UPGrad
from manyheads.balance.weighting import Moment

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]


class Sweeps(DualConeProjector):
    """The weights of the projection by coordinate descent: slow, and right in the end."""

    def __call__(self, U: Tensor, G: Gramian) -> Tensor:  # torchjd's names
        gramian, bound = G.numpy(), U.numpy()
        v = bound.copy()
        for _ in range(3000):
            for i in range(len(gramian)):
                rest = v @ gramian[i] - v[:, i] * gramian[i, i]
                v[:, i] = np.maximum(bound[:, i], -rest / gramian[i, i])
        return torch.from_numpy(v)


def test_two_that_oppose_each_other_by_hand(step: Step) -> None:
    """(1, 0) becomes (1/2, 1/2), and (-1, 1) becomes (0, 1): their mean is (1/4, 3/4)."""
    rows = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    torch.testing.assert_close(step(UPGrad(), rows), torch.tensor([0.25, 0.75], dtype=torch.float64))


@given(seed=st.integers(0, 10**6), count=st.integers(2, 5))
def test_torchjd_with_another_projection_says_the_same(seed: int, count: int, draw: Draw) -> None:
    rows = draw(seed, count, 12)
    theirs = UPGradWeighting(projector=Sweeps())(rows @ rows.T)
    ours = UPGrad().weights(rows @ rows.T, Moment(1, 0, 0, tuple("abcde"[:count])))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_a_small_loss_is_not_drowned_by_a_large_one(step: Step) -> None:
    rows = torch.tensor([[100.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    assert rows.mean(0) @ rows[1] < 0
    assert step(UPGrad(), rows) @ rows[1] > 0
