"""A row of weight w against its slow twin: the same row w times over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from manyheads.balance.weighting import WEIGHTINGS
from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.stream import Position, Stream
from manyheads.data.tensors import TensorDataset
from manyheads.model import Model
from manyheads.task.base import Task, TaskType
from manyheads.task.classification import Classification
from manyheads.task.multilabel import Multilabel
from manyheads.task.regression import Regression
from manyheads.task.tagging import Tagging
from manyheads.train.engine import Engine
from manyheads.train.evaluate import as_dict, evaluate
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import Progress, State
from manyheads.types import IGNORE

ROWS, WORDS = 6, 3
NAN = float("nan")
TYPES: dict[str, tuple[TaskType, Tensor]] = {
    "classification": (Classification(["x", "y", "z"], [1.0, 2.0, 0.5], 0.1), torch.tensor([0, 1, IGNORE, 2, 2, 0])),
    "probabilities": (Classification(["x", "y"]), torch.tensor([[0.3, 0.7], [1, 0], [NAN, NAN], [0.5, 0.5], [0, 1], [1, 0]])),
    "multilabel": (Multilabel(["x", "y"]), torch.tensor([[1.0, 0], [0, 0], [NAN, NAN], [1, 1], [NAN, 1], [0, 1]])),
    "regression": (Regression(), torch.tensor([1.5, -2, NAN, 0, 3, 0.5])),
    "tagging": (
        Tagging(["O", "B-x"]),
        torch.tensor([[0, 1, 0], [1, IGNORE, IGNORE], [IGNORE] * 3, [0, 0, IGNORE], [1, 0, 1], [0, IGNORE, 1]]),
    ),
}


def model_of(kind: TaskType, *more: Task) -> Model:
    torch.manual_seed(5)
    modules = {"trunk": nn.Sequential(nn.Linear(4, 8), nn.Tanh()), "head": nn.Linear(8, kind.outputs), "other": nn.Linear(8, 2)}
    return Model(modules, [Task("a", ["trunk", "head"], kind), *more])


def data_of(name: str, times: Sequence[int] | None = None, weights: Sequence[float] | None = None) -> TensorDataset:
    """Rows of one type, each so many times, or with these weights."""
    shape = (ROWS, WORDS, 4) if name == "tagging" else (ROWS, 4)
    x, target = torch.randn(*shape, generator=torch.Generator().manual_seed(1)), TYPES[name][1]
    taken = torch.arange(ROWS).repeat_interleave(torch.tensor(times or [1] * ROWS))
    given_ = None if weights is None else {"a": torch.tensor(weights)}
    return TensorDataset({"x": x[taken]}, {"a": target[taken]}, "d", weights=given_)


def walk(model: Model, data: TensorDataset, balance: dict[str, Any] | None = None, **values: Any) -> list[Progress]:
    usual = {"epochs": 1, "batch": {"rows": 100}, "optimizer": {"name": "sgd", "lr": 1.0, "weight_decay": 0}, "clip": None}
    spec = TrainingSpec.model_validate({**usual, "device": "cpu", "schedule": {"name": "constant"}, **values})
    stream = Stream({"d": data.lengths}, MixtureSpec(), spec.batch, 9)
    state, optimizer = State(Position.start(["d"])), make_optimizer(model, spec.optimizer)
    settings = BalanceSpec.model_validate(balance or {})
    more: dict[str, Any] = {"state": state, "engine": Engine(spec), "seed": 9, "balance": settings}
    return list(train(model, {"d": data}, stream, optimizer, spec, **more))


def same(one: Model, two: Model, within: float = 1e-6) -> None:
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, atol=within, rtol=0)


TIMES = [1, 3, 2, 0, 2, 1]


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("name", list(TYPES))
def test_a_weight_is_a_number_of_rows(name: str, accumulate: int) -> None:
    """Loss, gradient and count of one step; of several rounds too, whose rows weigh unequally."""
    weighted, repeated = model_of(TYPES[name][0]), model_of(TYPES[name][0])
    [step] = walk(weighted, data_of(name, weights=TIMES), batch={"rows": ROWS // accumulate}, accumulate=accumulate)
    [twin] = walk(repeated, data_of(name, TIMES))
    assert step.items == twin.items
    assert step.losses["a"] == pytest.approx(twin.losses["a"], abs=1e-6)
    assert step.norm == pytest.approx(twin.norm, abs=1e-6)
    same(weighted, repeated)


@given(st.lists(st.integers(0, 4), min_size=ROWS, max_size=ROWS).filter(lambda times: times[0] > 0))
def test_any_numbers_of_rows(times: list[int]) -> None:
    weighted, repeated = model_of(TYPES["classification"][0]), model_of(TYPES["classification"][0])
    [step], [twin] = walk(weighted, data_of("classification", weights=times)), walk(repeated, data_of("classification", times))
    assert step.losses["a"] == pytest.approx(twin.losses["a"], abs=1e-6)
    same(weighted, repeated)


@pytest.mark.parametrize("name", list(TYPES))
def test_the_weight_1_everywhere_changes_no_bit(name: str) -> None:
    plain, weighted = model_of(TYPES[name][0]), model_of(TYPES[name][0])
    steps = {"epochs": 3, "batch": {"rows": 2}, "optimizer": {"lr": 0.1}}
    assert walk(plain, data_of(name), **steps) == walk(weighted, data_of(name, weights=[1.0] * ROWS), **steps)
    same(plain, weighted, within=0)


@pytest.mark.parametrize("name", list(TYPES))
def test_only_proportions_matter(name: str) -> None:
    one, two = model_of(TYPES[name][0]), model_of(TYPES[name][0])
    walk(one, data_of(name, weights=[0.1, 0.3, 1, 0, 0.2, 0.1]))
    walk(two, data_of(name, weights=[5, 15, 1, 0, 10, 5]))
    same(one, two)


def test_a_row_of_weight_0_has_no_loss_even_where_that_is_infinite() -> None:
    model, twin = model_of(Regression()), model_of(Regression())
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    walk(model, TensorDataset({"x": x}, {"a": [1.0, 3e38, 0.5]}, "d", weights={"a": [1, 0, 1]}))
    walk(twin, TensorDataset({"x": x[[0, 2]]}, {"a": [1.0, 0.5]}, "d"))
    same(model, twin)


def test_a_step_whose_rows_all_weigh_0_moves_nothing() -> None:
    model = model_of(Regression())
    data = TensorDataset({"x": torch.ones(2, 4)}, {"a": [1.0, 2.0]}, "d", weights={"a": [0, 1]})
    steps = walk(model, data, batch={"rows": 1})
    assert sorted((p.items["a"], len(p.losses), p.norm > 0) for p in steps) == [(0, 0, False), (1, 1, True)]


def test_each_task_of_a_data_set_has_weights_of_its_own() -> None:
    """One weighted, one not, with labels that lie on some rows only."""
    classes = Task("b", ["trunk", "other"], Classification(["x", "y"]))
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    targets = {"a": [1.0, None, 2.0, 0.5], "b": [0, 1, None, 1]}
    both, twin = model_of(Regression(), classes), model_of(Regression(), classes)
    [step] = walk(both, TensorDataset({"x": x}, targets, "d", weights={"a": [2, 7, 1, 1]}))
    repeated = {"a": [1.0, 1.0, None, 2.0, 0.5], "b": [0, None, 1, None, 1]}
    [slow] = walk(twin, TensorDataset({"x": x[[0, 0, 1, 2, 3]]}, repeated, "d"))
    assert step.items == slow.items == {"a": 4, "b": 3}
    assert step.losses == pytest.approx(slow.losses, abs=1e-6)
    same(both, twin)


@pytest.mark.parametrize("weighting", sorted(WEIGHTINGS))
def test_balances_see_the_weighted_losses(weighting: str) -> None:
    classes = Task("b", ["trunk", "other"], Classification(["x", "y"]))
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    one, two = model_of(Regression(), classes), model_of(Regression(), classes)
    settings: dict[str, Any] = {"balance": {"weighting": {"type": weighting}}, "epochs": 3}
    settings["optimizer"] = {"name": "sgd", "lr": 0.1, "weight_decay": 0}
    weights = {"a": [2, 1, 1], "b": [2, 1, 1]}
    walk(one, TensorDataset({"x": x}, {"a": [1.0, 2, 0.5], "b": [0, 1, 1]}, "d", weights=weights), **settings)
    walk(two, TensorDataset({"x": x[[0, 0, 1, 2]]}, {"a": [1.0, 1, 2, 0.5], "b": [0, 0, 1, 1]}, "d"), **settings)
    same(one, two, within=1e-5)


@pytest.mark.parametrize("world", [2, 3])
def test_shares_of_several_processes_add_up(world: int) -> None:
    """What each process sums over its rows, and the count that all know, give the gradient of one."""
    name = "tagging"
    data, model, whole = data_of(name, weights=TIMES), model_of(TYPES[name][0]), model_of(TYPES[name][0])
    [step] = walk(whole, data)
    items = data.items("a").sum()
    for rank in range(world):
        loss = model.losses([data.batch(np.arange(ROWS)[rank::world])])["a"]
        (loss / items).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0 if parameter.grad is None else step.rate * parameter.grad
    same(model, whole)


def test_scores_and_their_loss_are_without_weights() -> None:
    model, name = model_of(TYPES["classification"][0]), "classification"
    plain, weighted = (as_dict(evaluate(model, [data])) for data in (data_of(name), data_of(name, weights=TIMES[::-1])))
    assert plain == weighted
