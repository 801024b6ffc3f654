from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import IMTLGWeighting

from manyheads.balance.aggregation.imtl_g import IMTLG
from manyheads.balance.weighting import Moment

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]


@given(seed=st.integers(0, 10**6), count=st.integers(2, 6))
def test_the_step_is_as_long_along_each_gradient(seed: int, count: int, step: Step, draw: Draw) -> None:
    rows = draw(seed, count, count + 3)
    along = torch.nn.functional.normalize(rows, dim=1) @ step(IMTLG(), rows)
    torch.testing.assert_close(along, along[:1].expand(count), rtol=1e-5, atol=1e-7 * float(along.abs().max()))


@given(seed=st.integers(0, 10**6), count=st.integers(2, 6))
def test_torchjd_says_the_same_of_independent_gradients(seed: int, count: int, draw: Draw) -> None:
    rows = draw(seed, count, count + 6)
    gramian = rows @ rows.T
    ours = IMTLG().weights(gramian, Moment(1, 0, 0, tuple("abcdef"[:count])))
    torch.testing.assert_close(ours, IMTLGWeighting()(gramian), rtol=1e-6, atol=1e-6 * float(ours.abs().max()))
    torch.testing.assert_close(ours.sum(), torch.ones((), dtype=torch.float64))


def test_two_tasks_weigh_by_the_other_ones_length(step: Step) -> None:
    rows = torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(step(IMTLG(), rows), torch.tensor([0.75, 0.75], dtype=torch.float64))


def test_copies_share_and_lengths_may_differ_by_far(step: Step) -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1e-6]], dtype=torch.float64)
    found = step(IMTLG(), rows)
    torch.testing.assert_close(found[0], found[1])
    assert found[0] > 0


def test_a_gradient_of_zeros_has_no_say(step: Step) -> None:
    rows = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(step(IMTLG(), rows), step(IMTLG(), rows[:2]))
