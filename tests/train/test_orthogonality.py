"""The penalty on subspaces of recurrent modules, beside sums written out and finite differences."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from manyheads.config.spec.sharing import OrthogonalitySpec
from manyheads.graph import Step
from manyheads.model import Model
from manyheads.nn.pool import Pool
from manyheads.nn.recurrent import Recurrent
from manyheads.task.base import Task
from manyheads.task.regression import Regression
from manyheads.train.orthogonality import Orthogonality


def model(cell: str = "lstm", **options: Any) -> Model:
    torch.manual_seed(3)
    made = Recurrent(6, 4, cell=cell, **options)
    width = made.ports.gives.width
    assert width is not None
    head = nn.Sequential(nn.Linear(width, 1), nn.Flatten(0))
    path = [Step("layer"), Step("mean"), Step("head")]
    return Model({"layer": made, "mean": Pool("mean"), "head": head}, [Task("far", path, Regression())])


def penalty(held: Model, **options: Any) -> Orthogonality:
    settings = {"modules": ["layer"], "strength": 1.0, **options}
    return Orthogonality(OrthogonalitySpec.model_validate(settings), held)


def cells(held: Model) -> nn.LSTM | nn.GRU:
    found = held.pool["layer"].cells
    assert isinstance(found, nn.LSTM | nn.GRU)
    return found


def by_hand(weights: list[Tensor], gates: int, subspaces: int) -> float:
    """The squares of the products of any two rows of units of different subspaces, one by one."""
    units = [[w[g * (len(w) // gates) + u] for g in range(gates)] for w in weights for u in range(len(w) // gates)]
    size, total = len(units) // subspaces, 0.0
    for one, other in itertools.combinations(range(len(units)), 2):
        if one // size != other // size:
            total += sum(float(a @ b) ** 2 for a in units[one] for b in units[other])
    return total


@pytest.mark.parametrize("matrix", ["input", "state"])
@pytest.mark.parametrize("subspaces", [2, 4])
@pytest.mark.parametrize(
    ("cell", "options"), [("lstm", {}), ("gru", {}), ("lstm", {"bidirectional": False}), ("gru", {"layers": 2})]
)
def test_it_is_the_sum_of_squares_written_out(cell: str, options: dict[str, Any], subspaces: int, matrix: str) -> None:
    held = model(cell, **options)
    last = options.get("layers", 1) - 1
    name = f"weight_{'ih' if matrix == 'input' else 'hh'}_l{last}"
    weights = [w.detach() for n, w in cells(held).named_parameters() if n in (name, f"{name}_reverse")]
    assert len(weights) == (1 if options.get("bidirectional") is False else 2)
    found = penalty(held, subspaces=subspaces, matrices=[matrix], strength=0.5).penalty()
    assert_close(found.item(), 0.5 * by_hand(weights, 4 if cell == "lstm" else 3, subspaces), rtol=1e-4, atol=1e-6)
    assert found > 0


def test_orthogonal_rows_cost_nothing() -> None:
    held = model(bidirectional=False)
    with torch.no_grad():
        weight = cells(held).weight_ih_l0.zero_()  # four gates of four units, over six numbers
        for gate in range(4):
            weight[4 * gate : 4 * gate + 2, :3] = torch.randn(2, 3)  # the first subspace reads half of the input
            weight[4 * gate + 2 : 4 * gate + 4, 3:] = torch.randn(2, 3)
    assert penalty(held).penalty() == 0
    assert penalty(held, subspaces=4).penalty() > 0
    with torch.no_grad():
        weight[0, 4] = 1
    assert penalty(held).penalty() > 0


def test_its_gradient_is_that_of_finite_differences_and_joins_what_is_there() -> None:
    held = model().double()
    found = penalty(held, strength=0.3, matrices=["input", "state"])
    for parameter in held.parameters():
        parameter.grad = torch.full_like(parameter, 2)
    found.add()
    for name, parameter in held.named_parameters():
        assert parameter.grad is not None
        if "weight_" not in name:
            assert torch.equal(parameter.grad, torch.full_like(parameter, 2))
            continue
        numbers = parameter.data.view(-1)
        for i in (0, len(numbers) // 2, len(numbers) - 1):
            at, around = numbers[i].item(), []
            for moved in (at + 1e-5, at - 1e-5):
                numbers[i] = moved
                around.append(found.penalty().item())
            numbers[i] = at
            slope = (around[0] - around[1]) / 2e-5
            assert parameter.grad.view(-1)[i].item() - 2 == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_what_learns_nothing_in_a_step_is_left_alone() -> None:
    held = model()
    found = penalty(held)
    assert found.add() is None
    assert all(parameter.grad is None for parameter in held.parameters())
    weight = cells(held).weight_ih_l0
    weight.grad = torch.zeros_like(weight)
    with torch.no_grad():
        assert found.add() == found.penalty().item()
    assert weight.grad.abs().sum() > 0
    assert [n for n, p in held.named_parameters() if p.grad is not None] == ["pool.layer.cells.weight_ih_l0"]
