"""Every weighting in the loop itself: killed at step 9 of 20 and rebuilt from JSON, it gives the same weights to the bit."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.optim import Optimizer

from manyheads.balance.weighting import WEIGHTINGS
from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.training import BatchSpec, TrainingSpec
from manyheads.data.stream import Position, Stream
from manyheads.data.tensors import TensorDataset
from manyheads.model import Model
from manyheads.task.base import Task
from manyheads.task.classification import Classification
from manyheads.task.regression import Regression
from manyheads.train.engine import Engine
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import Progress, State

SPEC = TrainingSpec.model_validate(
    {"steps": 20, "batch": {"rows": 4}, "optimizer": {"lr": 0.02}, "schedule": {"name": "constant"}, "device": "cpu"}
)
FAST = {"uncertainty": {"lr": 0.1}, "imtl_l": {"lr": 0.1}, "gradnorm": {"lr": 0.1}, "dwa": {"temperature": 0.1}}
EACH = pytest.mark.parametrize("name", sorted(WEIGHTINGS))
STEPS = pytest.mark.parametrize("tasks_per_step", [1, "all"])


def model_of() -> Model:
    """One task of classes and one of numbers a hundred times as large, with some dropout between."""
    torch.manual_seed(5)
    trunk = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.1), nn.LayerNorm(6))
    pool = {"trunk": trunk, "kind_head": nn.Linear(6, 3), "size_head": nn.Linear(6, 1)}
    kind = Task("kind", ["trunk", "kind_head"], Classification(labels=["x", "y", "z"]))
    return Model(pool, [kind, Task("size", ["trunk", "size_head"], Regression())])


def data_of() -> dict[str, TensorDataset]:
    random = torch.Generator().manual_seed(2)
    x = torch.randn(20, 4, generator=random)
    kinds = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return {
        "kind": TensorDataset({"x": x[:12]}, {"kind": kinds[:12]}, "kind"),
        "size": TensorDataset({"x": x[4:]}, {"size": (10 * x[4:, 2]).tolist()}, "size"),
    }


class Run:
    """A model, its optimizer and where they stand."""

    def __init__(self, name: str, tasks_per_step: Any) -> None:
        weighting = {"type": name, **FAST.get(name, {})}
        self.balance = TypeAdapter(BalanceSpec).validate_python({"weighting": weighting})
        self.data, self.mixture = data_of(), MixtureSpec(tasks_per_step=tasks_per_step)
        self.model = model_of()
        self.optimizer: Optimizer = make_optimizer(self.model, SPEC.optimizer)
        self.state = State(Position.start(list(self.data)))

    def walk(self, until: int = 20) -> list[Progress]:
        stream = Stream({n: d.lengths for n, d in self.data.items()}, self.mixture, SPEC.batch, 9)
        seen = []
        for progress in train(
            self.model,
            self.data,
            stream,
            self.optimizer,
            SPEC,
            state=self.state,
            engine=Engine(SPEC),
            seed=9,
            balance=self.balance,
        ):
            seen.append(progress)
            if progress.step == until:
                break
        return seen

    def weights(self) -> dict[str, Tensor]:
        return self.model.state_dict()


@EACH
@STEPS
def test_a_run_that_was_killed_goes_on_to_the_same_bits(name: str, tasks_per_step: Any) -> None:
    whole, killed, again = (Run(name, tasks_per_step) for _ in range(3))
    wanted = whole.walk()
    seen = killed.walk(9)
    again.model.load_state_dict(killed.weights())
    again.optimizer.load_state_dict(copy.deepcopy(killed.optimizer.state_dict()))
    again.state = State.from_json(json.loads(json.dumps(killed.state.to_json(), allow_nan=False)))
    seen += again.walk()
    assert [p.step for p in seen] == list(range(1, 21))
    assert [(p.losses, p.norm) for p in seen] == [(p.losses, p.norm) for p in wanted]
    assert all(torch.equal(value, again.weights()[key]) for key, value in whole.weights().items())
    assert again.state.to_json() == whole.state.to_json()


@EACH
@STEPS
def test_a_weighting_changes_the_updates_and_not_the_losses_that_are_told(name: str, tasks_per_step: Any) -> None:
    plain, run = Run("static", tasks_per_step), Run(name, tasks_per_step)
    usual, seen = plain.walk(), run.walk()
    assert seen[0].losses == usual[0].losses
    moved = any(not torch.equal(value, plain.weights()[key]) for key, value in run.weights().items())
    assert moved == (name != "static")
    assert all(math.isfinite(p.norm) and not p.skipped for p in seen)


@EACH
def test_the_run_has_the_state_of_its_weighting(name: str) -> None:
    run = Run(name, "all")
    run.walk(12)
    stateless = {"static", "rlw", "db_mtl"}
    assert bool(run.state.balance["weighting"]) == (name not in stateless)


def test_gradnorm_learns_from_unweighted_norms_at_the_output_of_the_trunk() -> None:
    run = Run("gradnorm", "all")
    run.model.pool["trunk"][2].p = 0.0
    run.model.tasks["size"] = replace(run.model.tasks["size"], weight=3.0)
    spec = SPEC.model_copy(update={"batch": BatchSpec(rows=20), "steps": 4})
    stream = Stream({n: d.lengths for n, d in run.data.items()}, run.mixture, spec.batch, 9)
    walking = train(
        run.model, run.data, stream, run.optimizer, spec, state=run.state, engine=Engine(spec), seed=9, balance=run.balance
    )
    learned = []
    for _ in range(4):
        wanted = {task: _norm(run.model, data, task) for task, data in run.data.items()}
        next(walking)
        state = run.state.balance["weighting"]
        assert {task: norm for task, (_, _, norm) in state["visits"].items()} == pytest.approx(wanted, rel=1e-4)
        learned.append(state["learned"]["kind"])
    assert learned == sorted(learned)
    assert learned[-1] > 1.2  # the gradient of the numbers is longer


def _norm(model: Model, data: TensorDataset, task: str) -> float:
    """Length of the gradient of a task's mean loss in a shift of the trunk's output."""
    shift = torch.zeros(6, requires_grad=True)
    held = model.pool["trunk"].register_forward_hook(lambda _m, _i, output: output + shift)
    (model.losses([data.batch(range(len(data.lengths)))])[task] / len(data.lengths)).backward()
    held.remove()
    model.zero_grad()
    assert shift.grad is not None
    return float(shift.grad.norm())


def test_a_task_that_leaves_takes_no_part_any_more() -> None:
    """Its numbers stay where they were; the rest goes on."""
    for name in sorted(WEIGHTINGS):
        run = Run(name, 1)
        run.walk(9)
        before = json.dumps(run.state.balance["weighting"])
        run.state.retired = ("size",)
        seen = run.walk()
        assert {task for p in seen for task in p.losses} == {"kind"}
        for key, numbers in json.loads(before).items():
            if (name, key) != ("gradnorm", "learned"):  # scaled together with the others
                assert run.state.balance["weighting"][key].get("size") == numbers.get("size")
