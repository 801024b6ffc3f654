from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchjd.aggregation import FairGradWeighting

from manyheads.balance.aggregation.fairgrad import FairGrad
from manyheads.balance.weighting import Moment

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]
MOMENT = Moment(1, 0, 0, tuple("abcd"))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("seed", range(5))
def test_torchjd_says_the_same(alpha: float, seed: int, draw: Draw) -> None:
    rows = draw(seed, 4, 9)
    gramian = rows @ rows.T
    ours = FairGrad(alpha).weights(gramian, MOMENT)
    torch.testing.assert_close(ours, FairGradWeighting(alpha=alpha)(gramian), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(gramian @ ours, ours ** (-1 / alpha), rtol=1e-5, atol=0)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
def test_how_the_step_grows_with_the_gradients(alpha: float, step: Step, draw: Draw) -> None:
    """Gw = w^(-1/alpha) makes it s^((1 - alpha) / (1 + alpha)) times as long for gradients s times as long."""
    rows = draw(2, 4, 9)
    one, other = step(FairGrad(alpha), rows), step(FairGrad(alpha), 100 * rows)
    torch.testing.assert_close(other, 100 ** ((1 - alpha) / (1 + alpha)) * one, rtol=1e-5, atol=1e-8)


def test_more_alpha_helps_the_worst_off_more(step: Step, draw: Draw) -> None:
    rows = draw(7, 4, 9)
    directions = [torch.nn.functional.normalize(step(FairGrad(alpha), rows), dim=0) for alpha in (0.5, 1, 2, 10)]
    worst = [float((rows @ d).min()) for d in directions]
    assert worst == sorted(worst)
