from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchjd.aggregation import ConFIG as OnTheMatrix

from manyheads.balance.aggregation.config import ConFIG

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]


@given(seed=st.integers(0, 10**6), count=st.integers(2, 6), width=st.integers(2, 12))
def test_the_weights_from_the_gramian_are_those_from_the_gradients(
    seed: int, count: int, width: int, step: Step, draw: Draw
) -> None:
    rows = draw(seed, count, width)
    theirs = OnTheMatrix()(rows)
    torch.testing.assert_close(step(ConFIG(), rows), theirs, rtol=1e-4, atol=1e-4 * float(theirs.norm()))


@given(seed=st.integers(0, 10**6), count=st.integers(2, 6))
def test_the_angle_to_all_gradients_is_the_same(seed: int, count: int, step: Step, draw: Draw) -> None:
    rows = draw(seed, count, count + 3)
    found = step(ConFIG(), rows)
    along = torch.nn.functional.normalize(rows, dim=1) @ found
    torch.testing.assert_close(along, along[:1].expand(count), rtol=1e-5, atol=0)
    unit = found / found.norm()
    torch.testing.assert_close(found.norm(), (rows @ unit).sum())


def test_a_gradient_of_zeros_has_no_say(step: Step, draw: Draw) -> None:
    rows = draw(1, 4, 7)
    rows[2] = 0
    torch.testing.assert_close(step(ConFIG(), rows), OnTheMatrix()(rows))
    torch.testing.assert_close(step(ConFIG(), rows), step(ConFIG(), rows[[0, 1, 3]]))
