"""The balance of a step as the loop sees it: which way it goes, what its weights do to the update, what it remembers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from manyheads.balance.aggregation import AGGREGATIONS
from manyheads.balance.backward import OnePass, Part, Rows, Trunk
from manyheads.balance.balancer import Balancer
from manyheads.balance.weighting import Moment
from manyheads.balance.weighting.gradnorm import GradNorm
from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.stream import Draw, Position, Stream
from manyheads.data.tensors import TensorDataset
from manyheads.errors import RecipeError
from manyheads.model import Model
from manyheads.task.base import Task
from manyheads.task.classification import Classification
from manyheads.train.engine import Engine
from manyheads.train.freeze import Freezing
from manyheads.train.layout import layout_of
from manyheads.train.loop import train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import Progress, State
from manyheads.train.update import Update

TASKS = ("a", "b", "c")


def build(weights: Mapping[str, float] | None = None, tasks: tuple[str, ...] = TASKS) -> Model:
    """A trunk for all; `middle` for a and b; a head each."""
    torch.manual_seed(4)
    trunk = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.LayerNorm(6))
    heads = {f"{t}_head": nn.Linear(6, 3) for t in tasks}
    paths = {"a": ["trunk", "middle"], "b": ["trunk", "middle"], "c": ["trunk"]}
    made = [
        Task(t, [*paths[t], f"{t}_head"], Classification(labels=["x", "y", "z"]), (weights or {}).get(t, 1.0)) for t in tasks
    ]
    return Model({"trunk": trunk, "middle": nn.Linear(6, 6), **heads}, made)


def data_of(kind: str, tasks: tuple[str, ...] = TASKS) -> dict[str, TensorDataset]:
    """A data set a task, of unequal sizes; or one for all, with labels on some rows each."""
    torch.manual_seed(3)
    if kind == "apart":
        sizes = dict(zip(TASKS, (24, 12, 18), strict=True))
        return {t: TensorDataset({"x": torch.randn(sizes[t], 4)}, {t: torch.randint(3, (sizes[t],))}, t) for t in tasks}
    labels = {t: [i % 3 if (i + k) % 3 else None for i in range(24)] for k, t in enumerate(tasks)}
    return {"all": TensorDataset({"x": torch.randn(24, 4)}, labels, "all")}


def walk(model: Model, data: dict[str, TensorDataset], balance: dict[str, Any], **training: Any) -> list[Progress]:
    """A few steps of the loop; the size of a step follows the size of its gradient."""
    optimizer = {"name": "sgd", "lr": 0.1, "weight_decay": 0}
    settings = {"steps": 4, "batch": {"rows": 6}, "optimizer": optimizer, "clip": None, "device": "cpu"}
    spec = TrainingSpec.model_validate({**settings, **training})
    stream = Stream({n: d.lengths for n, d in data.items()}, MixtureSpec(tasks_per_step="all"), spec.batch, 9)
    state = State(Position.start(list(data)))
    made = make_optimizer(model, spec.optimizer)
    chosen = BalanceSpec.model_validate(balance)
    return list(train(model, data, stream, made, spec, state=state, engine=Engine(spec), seed=9, balance=chosen))


def same(one: Model, other: Model, tolerance: float = 1e-6) -> None:
    for name, value in one.state_dict().items():
        torch.testing.assert_close(
            other.state_dict()[name], value, atol=tolerance, rtol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def balancer_of(balance: dict[str, Any], weights: Mapping[str, float] | None = None) -> Balancer:
    model = build()
    return Balancer(
        BalanceSpec.model_validate(balance), {t: (weights or {}).get(t, 1.0) for t in TASKS}, layout_of(model, TASKS)
    )


class PlainRows:
    """The sum, said as a method that needs rows."""

    def __init__(self, **_: Any) -> None: ...

    def combine(self, rows: Tensor, moment: Moment) -> Tensor:
        return rows.sum(0)

    def to_json(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...


class PlainGramian:
    """The sum, said as weights."""

    def __init__(self, **_: Any) -> None: ...

    def weights(self, gramian: Tensor, moment: Moment) -> Tensor:
        return torch.ones(len(gramian), dtype=gramian.dtype)

    def to_json(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...


@pytest.fixture(params=["rows", "trunk", "vectors"])
def summed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An aggregation that is a sum, by each of the ways that keep tasks apart."""
    kept = PlainRows if request.param == "vectors" else PlainGramian
    monkeypatch.setattr(AGGREGATIONS, "_known", {**AGGREGATIONS._known, "mean": kept})
    return {"type": "mean", "level": "trunk" if request.param == "trunk" else "rows"}


# the sum by each way, through the loop ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["apart", "together"])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("weights", [{}, {"a": 0.0}, {"b": 3.0}, {"a": 0.0, "c": 3.0}], ids=str)
def test_a_sum_by_each_way_trains_as_one_pass_does(
    kind: str, accumulate: int, weights: dict[str, float], summed: dict[str, Any]
) -> None:
    one, other = build(weights), build(weights)
    plain = walk(one, data_of(kind), {}, accumulate=accumulate)
    found = walk(other, data_of(kind), {"aggregation": summed}, accumulate=accumulate)
    same(one, other)
    assert [p.losses for p in found] == [pytest.approx(p.losses, abs=1e-6) for p in plain]
    assert [p.norm for p in found] == pytest.approx([p.norm for p in plain], rel=1e-5)


@pytest.mark.parametrize("kind", ["apart", "together"])
def test_a_sum_by_each_way_under_bf16(kind: str, summed: dict[str, Any]) -> None:
    one, other = build(), build()
    walk(one, data_of(kind), {}, precision="bf16")
    walk(other, data_of(kind), {"aggregation": summed}, precision="bf16")
    same(one, other, 3e-2)


@pytest.mark.parametrize("weighting", ["uncertainty", "geometric", "gradnorm"])
def test_a_sum_by_each_way_with_weights_from_past_losses_from_these_and_from_norms(
    weighting: str, summed: dict[str, Any]
) -> None:
    one, other = build({"b": 2.0}), build({"b": 2.0})
    data = data_of("apart")
    walk(one, data, {"weighting": {"type": weighting}}, accumulate=2)
    walk(other, data, {"weighting": {"type": weighting}, "aggregation": summed}, accumulate=2)
    if weighting == "gradnorm" and summed["level"] == "rows":
        return  # norms of whole gradients are other norms than those at the trunk
    same(one, other, 1e-5)


def test_a_task_of_weight_0_moves_nothing_of_its_own() -> None:
    model = build({"c": 0.0})
    before = model.pool["c_head"].weight.detach().clone()  # type: ignore[union-attr]
    walk(model, data_of("apart"), {"aggregation": {"type": "upgrad"}})
    assert torch.equal(model.pool["c_head"].weight, before)  # type: ignore[arg-type]


@pytest.mark.parametrize("aggregation", [{"type": "upgrad"}, {"type": "mgda", "level": "trunk"}, {"type": "graddrop"}], ids=str)
def test_private_parameters_are_trained_as_if_there_were_no_aggregation(aggregation: dict[str, Any]) -> None:
    one, other = build(), build()
    walk(one, data_of("apart"), {}, steps=1)
    walk(other, data_of("apart"), {"aggregation": aggregation}, steps=1)
    private = ["a_head", "b_head", "c_head"]
    for name, value in one.state_dict().items():
        moved_alike = torch.allclose(other.state_dict()[name], value, atol=1e-6)
        assert moved_alike or not any(p in name for p in private), name
    assert not torch.allclose(one.state_dict()["pool.trunk.0.weight"], other.state_dict()["pool.trunk.0.weight"], atol=1e-6)


# looks --------------------------------------------------------------------------------------------------------------------


LOOKED_AT = [{"type": "sum"}, {"type": "upgrad"}, {"type": "pcgrad"}, {"type": "mgda", "level": "trunk"}]


@pytest.mark.parametrize("aggregation", LOOKED_AT, ids=str)
def test_recording_cosines_changes_nothing(aggregation: dict[str, Any]) -> None:
    one, other = build(), build()
    plain = walk(one, data_of("apart"), {"aggregation": aggregation})
    looks = walk(other, data_of("apart"), {"aggregation": aggregation, "cosines_every": 2})
    same(one, other)
    assert [p.gramians is not None for p in looks] == [True, False, True, False]
    assert all(p.gramians is None for p in plain)


@pytest.mark.parametrize("balance", [{}, {"weighting": {"type": "gradnorm"}}, {"aggregation": {"type": "upgrad"}}], ids=str)
def test_a_look_holds_each_block(balance: dict[str, Any]) -> None:
    [progress] = walk(build(), data_of("apart"), {**balance, "cosines_every": 1}, steps=1)
    assert progress.gramians is not None
    assert progress.gramians.tasks == TASKS
    assert set(progress.gramians.blocks) == {"trunk.0", "trunk.2", "trunk.3", "middle.weight", "middle.bias"}


@pytest.mark.parametrize("kind", ["apart", "together"])
def test_gradnorm_learns_from_a_look_as_from_any_step(kind: str) -> None:
    gradnorm, one, other = {"weighting": {"type": "gradnorm", "lr": 0.3}}, build({"b": 2.0}), build({"b": 2.0})
    plain = walk(one, data_of(kind), gradnorm, accumulate=2)
    looks = walk(other, data_of(kind), {**gradnorm, "cosines_every": 1}, accumulate=2)
    same(one, other)
    assert plain[-1].weights != pytest.approx({"a": 1.0, "b": 2.0, "c": 1.0}, abs=1e-2)
    assert [p.weights for p in looks] == [pytest.approx(p.weights, abs=1e-5) for p in plain]


@pytest.mark.parametrize("rounds", [["aab"], ["ab", "b"], ["aab", "b", "b"]], ids=str)
@pytest.mark.parametrize("aggregation", [{"type": "sum"}, {"type": "upgrad"}], ids=str)
def test_the_norms_that_gradnorm_sees_do_not_say_how_often_a_task_was_drawn(
    rounds: list[str], aggregation: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, float]] = []
    monkeypatch.setattr(GradNorm, "learn", lambda self, moment, losses, norms: seen.append(dict(norms)))
    balance = BalanceSpec.model_validate({"weighting": {"type": "gradnorm"}, "aggregation": aggregation})
    spec = TrainingSpec.model_validate({"steps": 1, "batch": {"rows": 6}, "device": "cpu"})
    for names in (["ab"], rounds):
        model, state, engine = build({"b": 2.0}), State(Position.start(list(TASKS))), Engine(spec)
        made, still = make_optimizer(model, spec.optimizer), Freezing(model, {})
        update = Update(model, data_of("apart"), made, spec, engine=engine, seed=9, steps=1, freezing=still, anchor=None)
        update.balance(balance, state)
        update([[Draw(name, 0, 0, np.arange(6)) for name in drawn] for drawn in names], state.position, state)
    assert seen[1] == pytest.approx(seen[0], rel=1e-4)


# which way ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance", "way"),
    [
        ({}, OnePass),
        ({"weighting": {"type": "dwa"}}, OnePass),
        ({"weighting": {"type": "gradnorm"}}, Trunk),
        ({"aggregation": {"type": "upgrad"}}, Rows),
        ({"aggregation": {"type": "upgrad", "level": "trunk"}}, Trunk),
        ({"weighting": {"type": "gradnorm"}, "aggregation": {"type": "upgrad"}}, Rows),
        ({"aggregation": {"type": "graddrop"}}, Rows),
    ],
    ids=str,
)
def test_the_way_follows_from_what_is_asked(balance: dict[str, Any], way: type) -> None:
    assert type(balancer_of(balance).way) is way


@pytest.mark.parametrize("weights", [{"a": 0.0, "b": 0.0}, {"a": 0.0, "b": 0.0, "c": 0.0}], ids=str)
def test_an_aggregation_of_one_task_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=r"balance.aggregation.type: an aggregation needs two tasks.*'upgrad'"):
        balancer_of({"aggregation": {"type": "upgrad"}}, weights)
    balancer_of({}, weights)


def test_a_method_that_needs_rows_is_refused_at_the_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AGGREGATIONS, "_known", {**AGGREGATIONS._known, "mean": PlainRows})
    with pytest.raises(RecipeError, match=r"balance.aggregation.level: .*whole gradients.*'trunk'"):
        balancer_of({"aggregation": {"type": "mean", "level": "trunk"}})


# memory -------------------------------------------------------------------------------------------------------------------


def test_the_state_is_plain_json_and_goes_on_to_the_same_bits() -> None:
    balance = {"weighting": {"type": "dwa"}, "aggregation": {"type": "gradvac"}, "cosines_every": 1}
    torch.manual_seed(1)
    whole, part = balancer_of(balance), balancer_of(balance)
    rows = torch.randn(6, 3, sum(p.numel() for p in whole.layout.shared))

    def step(balancer: Balancer, number: int) -> list[Tensor]:
        balancer.start(Moment(1, number, number // 2, TASKS))
        joined = torch.cat([p.reshape(-1) for p in balancer.layout.shared])
        balancer.add(Part({t: joined @ row for t, row in zip(TASKS, rows[number], strict=True)}))
        balancer.finish(dict.fromkeys(TASKS, 1.0 + number), Alone())
        balancer.learn(dict.fromkeys(TASKS, 1.0 + number))
        found = [p.grad.clone() for p in balancer.layout.shared if p.grad is not None]
        for parameter in balancer.layout.shared:
            parameter.grad = None
        return found

    for number in range(3):
        step(whole, number)
    part.restore(json.loads(json.dumps(whole.to_json(), allow_nan=False)))
    for number in range(3, 6):
        assert all(torch.equal(a, b) for a, b in zip(step(whole, number), step(part, number), strict=True))
    assert part.to_json() == whole.to_json()


class Alone:
    """One process."""

    main = True

    def sum(self, values: Tensor) -> Tensor:
        return values
