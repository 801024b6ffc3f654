from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchjd.aggregation import GradDrop as Theirs

from manyheads.balance.aggregation.graddrop import GradDrop
from manyheads.seeds import generator

Step, Draw = Callable[..., Tensor], Callable[..., Tensor]


@pytest.mark.parametrize("leak", [0.0, 0.3, 1.0])
def test_torchjd_says_the_same_for_the_same_draws(leak: float, step: Step, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = draw(1, 4, 300).float()

    def drawn(shape: Any, **_: Any) -> Tensor:
        return torch.from_numpy(generator(5, "graddrop", 7).random(shape[0], dtype="float32"))

    ours = step(GradDrop(leak), rows, 7)
    monkeypatch.setattr(torch, "rand", drawn)
    torch.testing.assert_close(ours, Theirs(leak=torch.full((4,), leak))(rows))


def test_a_coordinate_keeps_one_sign(step: Step, draw: Draw) -> None:
    rows = draw(2, 5, 500)
    found = step(GradDrop(0.0), rows)
    positive, negative = rows.clamp(min=0).sum(0), rows.clamp(max=0).sum(0)
    assert (torch.isclose(found, positive) | torch.isclose(found, negative)).all()


def test_the_share_of_positive_coordinates_is_the_purity(step: Step) -> None:
    rows = torch.tensor([[3.0], [-1.0]]).expand(2, 20_000)
    kept = step(GradDrop(0.0), rows)
    assert set(kept.tolist()) == {3.0, -1.0}
    assert (kept > 0).float().mean() == pytest.approx(0.75, abs=0.02)


def test_what_agrees_stays_and_nothing_stays_nothing(step: Step) -> None:
    rows = torch.tensor([[1.0, -1.0, 0.0, 0.0], [2.0, -3.0, 0.0, 5.0]])
    for number in range(20):
        assert step(GradDrop(0.0), rows, number).tolist() == [3.0, -4.0, 0.0, 5.0]
