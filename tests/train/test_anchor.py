"""Anchors: what is shared stays near where an earlier task left it; only it, only then, and the same after a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

import manyheads as mh
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.selection import AnchorSpec
from manyheads.config.spec.tasks import ClassificationTask
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.stream import Position, Stream
from manyheads.train.anchor import Anchor
from manyheads.train.engine import Engine
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import Progress, State

SPEC = TrainingSpec.model_validate(
    {
        "epochs": 2,
        "batch": {"rows": 8},
        "optimizer": {"lr": 0.05},
        "schedule": {"name": "constant", "warmup": 0.0},
        "device": "cpu",
    }
)
KINDS = ["successive", "ewc"]


def build() -> mh.Model:
    torch.manual_seed(3)
    trunk = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    heads = {"one": nn.Linear(6, 2), "two": nn.Linear(6, 2)}
    return mh.Model({"trunk": trunk, **heads}, [mh.Task(t, ["trunk", t], mh.Classification()) for t in heads])


def data() -> dict[str, mh.TensorDataset]:
    made = torch.Generator().manual_seed(4)
    found = {}
    for task in ("one", "two"):
        x = torch.randn(32, 4, generator=made)
        found[task] = mh.TensorDataset({"x": x}, {task: (x[:, 0] > 0).long()}, name=task)
    return found


def walking(
    model: mh.Model,
    anchor: Anchor | None,
    state: State | None = None,
    optimizer: Optimizer | None = None,
    count: int = 99,
    spec: TrainingSpec = SPEC,
) -> Iterator[Progress]:
    sets = data()
    stream = Stream({n: d.lengths for n, d in sets.items()}, MixtureSpec(sampling="sequential"), spec.batch, 5)
    state = state or State(Position.start(stream.names))
    optimizer = optimizer or make_optimizer(model, spec.optimizer)
    return islice(train(model, sets, stream, optimizer, spec, state=state, engine=Engine(spec), seed=5, anchor=anchor), count)


def steps(
    model: mh.Model, anchor: Anchor | None, state: State | None = None, optimizer: Optimizer | None = None, count: int = 99
) -> None:
    for _ in walking(model, anchor, state, optimizer, count):
        pass


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def anchored(model: mh.Model, kind: str, strength: float) -> Anchor:
    return Anchor(AnchorSpec.model_validate({"type": kind, "strength": strength}), model)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_pass_is_free(kind: str) -> None:
    plain, held = build(), build()
    steps(plain, None, count=4)
    anchor = anchored(held, kind, 100.0)
    steps(held, anchor, count=4)
    assert all(torch.equal(p, weights(plain)[n]) for n, p in weights(held).items())
    assert anchor.penalty() == 0


def test_the_penalty_begins_at_zero_and_grows_with_distance() -> None:
    model = build()
    anchor = anchored(model, "successive", 1e-3)
    penalties = [anchor.penalty() for _ in walking(model, anchor, count=8)]
    assert penalties[:4] == [0] * 4  # the first data set's pass
    assert 0 < penalties[4] < penalties[5] < penalties[7]


@pytest.mark.parametrize("kind", KINDS)
def test_a_huge_coefficient_holds_what_is_shared_and_nothing_else(kind: str) -> None:
    start, model = build(), build()
    steps(start, anchored(start, kind, 1e12), count=4)
    steps(model, anchored(model, kind, 1e12), count=8)
    before, after = weights(start), weights(model)
    torch.testing.assert_close(after["pool.trunk.0.weight"], before["pool.trunk.0.weight"], rtol=0, atol=1e-4)
    assert not torch.allclose(after["pool.two.weight"], before["pool.two.weight"], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stronger_anchor_lets_less_move(kind: str) -> None:
    moved = []
    for strength in (1e-6, 1.0, 1e3):
        start, model = build(), build()
        steps(start, anchored(start, kind, strength), count=4)
        steps(model, anchored(model, kind, strength), count=8)
        moved.append(float((weights(model)["pool.trunk.0.weight"] - weights(start)["pool.trunk.0.weight"]).norm()))
    assert moved[0] > moved[1] > moved[2]


def test_ewc_weighs_each_parameter_by_its_squared_gradients() -> None:
    model = build()
    anchor = anchored(model, "ewc", 1.0)
    grads = []
    for step in range(3):
        for p in model.pool["trunk"].parameters():
            p.grad = torch.full_like(p, float(step + 1))
        grads.append(step + 1)
        anchor.see({"one": 8})
    anchor.see({"two": 8})
    mean = sum(g * g for g in grads) / 3
    assert torch.allclose(anchor.fisher["trunk.0.weight"], torch.full((6, 4), mean))
    with torch.no_grad():
        model.pool["trunk"][0].weight.add_(1.0)
    assert anchor.penalty() == pytest.approx(24 * mean / 2)
    anchor.pull(dict.fromkeys(model.parameters(), 0.1))
    moved = model.pool["trunk"][0].weight.detach() - anchor.at["trunk.0.weight"]
    torch.testing.assert_close(moved, torch.full((6, 4), 1 / (1 + 0.1 * mean)))


def test_each_parameter_is_pulled_with_its_own_rate() -> None:
    """The rate of a head, which may be a thousand times higher, is no matter of what is shared."""
    moved = []
    for strength in (1e-12, 30.0):
        model = build()
        heads = {"two": ClassificationTask.model_validate({"type": "classification", "path": ["trunk", "two"], "lr": 5.0})}
        optimizer = make_optimizer(model, SPEC.optimizer, tasks=heads)
        assert sorted({group["lr"] for group in optimizer.param_groups}) == [0.05, 5.0]
        anchor = anchored(model, "successive", strength)
        steps(model, anchor, optimizer=optimizer, count=5)  # the first of the second pass begins at the anchor
        moved.append(weights(model)["pool.trunk.0.weight"] - anchor.at["trunk.0.weight"])
    torch.testing.assert_close(moved[1], moved[0] / (1 + 0.05 * 2 * 30.0), rtol=1e-3, atol=1e-6)


def test_the_fisher_information_is_that_of_gradients_before_a_clip() -> None:
    found = []
    for limits in ({"clip": 1e-3}, {"clip": None, "clip_value": 1e-3}, {"clip": None}):
        model = build()
        anchor = anchored(model, "ewc", 1.0)
        list(walking(model, anchor, count=1, spec=SPEC.model_copy(update=limits)))
        found.append(anchor.squares)
    assert all(torch.equal(found[i][n], square) and square.any() for i in (0, 1) for n, square in found[2].items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [2, 4, 5, 11])
def test_a_restart_gives_the_same_bits(kind: str, stop: int) -> None:
    whole = build()
    steps(whole, anchored(whole, kind, 0.5))
    model = build()
    anchor, optimizer = anchored(model, kind, 0.5), make_optimizer(model, SPEC.optimizer)
    state = State(Position.start(["one", "two"]))
    steps(model, anchor, state, optimizer, stop)
    again = anchored(model, kind, 0.5)
    kept = {owner: {n: t.clone() for n, t in tensors.items()} for owner, tensors in anchor.tensors().items()}
    again.restore(kept, json.loads(json.dumps(anchor.to_json())))
    steps(model, again, State.from_json(json.loads(json.dumps(state.to_json()))), optimizer)
    assert all(torch.equal(p, weights(whole)[n]) for n, p in weights(model).items())
