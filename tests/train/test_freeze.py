"""Modules that stand still: what moves at which step, and that a run goes on across the change as if it had not stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.module import ModuleBase
from manyheads.config.spec.modules import FeedForwardModule
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.stream import Position, Stream
from manyheads.data.tensors import TensorDataset
from manyheads.model import Model
from manyheads.task.base import Task
from manyheads.task.classification import Classification
from manyheads.train.checkpoint import Checkpoints
from manyheads.train.engine import Engine
from manyheads.train.freeze import Freezing, is_frozen
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import Progress, State

Watch = Callable[[Progress], None]


def settings(**keys: Any) -> ModuleBase:
    return FeedForwardModule(type="feedforward", width=8, **keys)


def model_of() -> Model:
    """A trunk with dropout, a layer that task `a` alone has, and two heads."""
    torch.manual_seed(11)
    trunk = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
    modules = {"trunk": trunk, "top": nn.Linear(8, 8), "a_head": nn.Linear(8, 3), "b_head": nn.Linear(8, 3)}
    kind = Classification(labels=["x", "y", "z"])
    return Model(modules, [Task("a", ["trunk", "top", "a_head"], kind), Task("b", ["trunk", "b_head"], kind)])


class Run:
    """Eight steps over two tasks, which may be left and continued from a checkpoint."""

    def __init__(self, modules: Mapping[str, ModuleBase], *, rule: str = "adamw", balance: BalanceSpec | None = None) -> None:
        torch.manual_seed(3)
        self.data = {n: TensorDataset({"x": torch.randn(10, 4)}, {n: torch.randint(3, (10,))}, n) for n in ("a", "b")}
        self.spec = TrainingSpec.model_validate(
            {
                "steps": 8,
                "batch": {"rows": 5},
                "optimizer": {"name": rule, "lr": 0.05, "weight_decay": 0.5},
                "schedule": {"name": "constant", "warmup": 0},
                "device": "cpu",
            }
        )
        self.modules, self.balance, self.model = modules, balance, model_of()
        self.optimizer = make_optimizer(self.model, self.spec.optimizer, modules)
        self.state = State(Position.start(["a", "b"]))

    def steps(self) -> Iterator[Progress]:
        lengths = {name: data.lengths for name, data in self.data.items()}
        stream = Stream(lengths, MixtureSpec(tasks_per_step="all"), self.spec.batch, 9)
        return train(
            self.model,
            self.data,
            stream,
            self.optimizer,
            self.spec,
            state=self.state,
            engine=Engine(self.spec),
            seed=9,
            balance=self.balance,
            modules=self.modules,
        )

    def moved(self) -> list[set[str]]:
        """The modules whose state changed, step by step: weights, or a norm's running means."""
        found, before = [], copies(self.model)
        for _ in self.steps():
            after = copies(self.model)
            found.append({name.split(".")[1] for name, value in after.items() if not torch.equal(value, before[name])})
            before = after
        return found


def copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


ALL = {"trunk", "top", "a_head", "b_head"}


@pytest.mark.parametrize(
    ("keys", "still"),
    [
        ({"freeze": True}, range(8)),
        ({"unfreeze_at": 3}, range(3)),
        ({"freeze_at": 5}, range(5, 8)),
        ({"unfreeze_at": 2, "freeze_at": 6}, [0, 1, 6, 7]),
        ({}, []),
    ],
)
@pytest.mark.parametrize("module", ["trunk", "top", "b_head"])
def test_what_is_frozen_does_not_move_and_the_rest_does(module: str, keys: dict[str, Any], still: list[int]) -> None:
    """Step k + 1 is the first with k done; a layer in the middle lets gradients through to the trunk."""
    moved = Run({module: settings(**keys), "absent": settings(freeze=True)}).moved()
    assert moved == [ALL - {module} if step in still else ALL for step in range(8)]


@pytest.mark.parametrize("rule", ["adam", "sgd", "adagrad", "rmsprop"])
def test_no_rule_moves_or_decays_what_is_frozen(rule: str) -> None:
    moved = Run({"trunk": settings(unfreeze_at=2, freeze_at=6)}, rule=rule).moved()
    assert moved == [ALL - {"trunk"} if step in (0, 1, 6, 7) else ALL for step in range(8)]


@given(st.integers(0, 30), st.none() | st.integers(1, 20), st.none() | st.integers(1, 20))
def test_what_is_frozen_follows_from_the_number_of_steps(done: int, first: int | None, last: int | None) -> None:
    trains = (first is None or done >= first) and (last is None or done < last)
    assert is_frozen(settings(unfreeze_at=first, freeze_at=last), done) is not trains
    assert is_frozen(settings(freeze=True), done)


def test_a_frozen_module_draws_no_dropout_and_keeps_its_norms() -> None:
    run = Run({"trunk": settings(unfreeze_at=4)})
    modes = []
    for _ in run.steps():
        trunk = run.model.pool["trunk"]
        modes.append((trunk.training, trunk[3].training, run.model.pool["top"].training))
        run.model.eval()  # as an evaluation between two steps does
    assert modes == [(False, False, True)] * 4 + [(True, True, True)] * 4


def test_moments_begin_with_the_first_gradient() -> None:
    run = Run({"trunk": settings(unfreeze_at=3)})
    weight, steps = run.model.pool["trunk"][0].weight, []
    for _ in run.steps():
        steps.append(int(run.optimizer.state[weight]["step"]) if weight in run.optimizer.state else None)
    assert steps == [None, None, None, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("stop", [1, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("rule", ["adamw", "adagrad"])
def test_a_run_goes_on_across_the_change_bit_for_bit(tmp_path: Path, stop: int, rule: str) -> None:
    modules = {"trunk": settings(unfreeze_at=4), "top": settings(freeze_at=6), "b_head": settings(unfreeze_at=2, freeze_at=5)}
    whole, first, second = Run(modules, rule=rule), Run(modules, rule=rule), Run(modules, rule=rule)
    list(whole.steps())
    for progress in first.steps():
        if progress.step == stop:
            break
    runs = Checkpoints(tmp_path, keep=1)
    state = json.loads(json.dumps(first.state.to_json()))
    path = runs.save(stop, first.model.state_dict(), first.optimizer, first.model, state)
    runs.restore(runs.load(path), second.model, second.optimizer)
    second.state = State.from_json(state)
    list(second.steps())
    assert second.state.step == 8
    assert all(torch.equal(value, whole.model.state_dict()[name]) for name, value in second.model.state_dict().items())


def test_a_loop_that_is_left_gives_all_gradients_back() -> None:
    """So that the same model can go on, and what is frozen thaws at its step."""
    modules = {"trunk": settings(unfreeze_at=4), "top": settings(freeze_at=6)}
    whole, parts = Run(modules), Run(modules)
    list(whole.steps())
    while parts.state.step < 8:
        walking = parts.steps()
        for _ in range(3):
            next(walking, None)
        walking.close()  # type: ignore[attr-defined]  # it is a generator
        assert all(p.requires_grad for p in parts.model.parameters())
    assert all(torch.equal(value, whole.model.state_dict()[name]) for name, value in parts.model.state_dict().items())


def test_a_weight_that_two_modules_hold_stands_still_with_either() -> None:
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    two.weight = one.weight
    kind = Classification(labels=["x", "y"])
    model = Model({"one": one, "two": two}, [Task("a", ["one"], kind), Task("b", ["two"], kind)])
    two.bias.requires_grad_(False)
    freezing = Freezing(model, {"one": settings(freeze_at=1), "two": settings(unfreeze_at=3)})
    seen = []
    for done in range(4):
        freezing.apply(done)
        seen.append((one.bias.requires_grad, one.weight.requires_grad, two.bias.requires_grad))
    assert seen == [(True, False, False), (False, False, False), (False, False, False), (False, False, False)]
    freezing.release()
    assert (one.weight.requires_grad, one.bias.requires_grad, two.bias.requires_grad) == (True, True, False)


def test_the_change_is_told_once() -> None:
    freezing = Freezing(model_of(), {"top": settings(unfreeze_at=2)})
    assert [freezing.apply(done) for done in range(4)] == [True, False, True, False]


@pytest.mark.parametrize(
    "balance",
    [
        {"aggregation": {"type": "mean"}},
        {"aggregation": {"type": "mean", "level": "trunk"}},
        {"weighting": {"type": "gradnorm"}},
        {"cosines_every": 1},
    ],
)
def test_gradients_are_balanced_over_what_trains(balance: dict[str, Any]) -> None:
    """With a layout of all parameters a method would ask for gradients that are not there."""
    modules = {"trunk": settings(freeze_at=5), "top": settings(unfreeze_at=2)}
    moved = Run(modules, balance=BalanceSpec.model_validate(balance)).moved()
    assert moved == [ALL - {"top"}] * 2 + [ALL] * 3 + [ALL - {"trunk"}] * 3
