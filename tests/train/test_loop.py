"""The loop against plain PyTorch written out, and what it does with numbers that are none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.config.spec.mixture import MixtureSpec
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.stream import Position, Stream
from manyheads.data.tensors import TensorDataset
from manyheads.errors import NumericsError, RecipeError, ResourceError
from manyheads.model import Model
from manyheads.task.base import Task
from manyheads.task.classification import Classification
from manyheads.task.regression import Regression
from manyheads.train.engine import Engine
from manyheads.train.loop import rounds_in, steps_in, train
from manyheads.train.optim import make_optimizer
from manyheads.train.state import Progress, State

Datasets = dict[str, TensorDataset]


def model_of(*names: str, trunk: nn.Module | None = None, weight: float = 1.0) -> Model:
    """A trunk of two layers, and a head of three classes a task."""
    torch.manual_seed(11)
    shared = trunk or nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU())
    heads = {f"{name}_head": nn.Linear(8, 3) for name in names}
    tasks = [Task(name, ["trunk", f"{name}_head"], Classification(labels=["x", "y", "z"]), weight) for name in names]
    return Model({"trunk": shared, **heads}, tasks)


def data_of(*names: str, rows: int = 20, shared: bool = False) -> Datasets:
    torch.manual_seed(3)
    if shared:
        x = torch.randn(rows, 4)
        return {"all": TensorDataset({"x": x}, {n: torch.randint(3, (rows,)) for n in names}, "all")}
    return {n: TensorDataset({"x": torch.randn(rows, 4)}, {n: torch.randint(3, (rows,))}, n) for n in names}


def spec_of(**values: Any) -> TrainingSpec:
    settings = {"epochs": 2, "batch": {"rows": 5}, "optimizer": {"lr": 0.02}, "device": "cpu"}
    return TrainingSpec.model_validate({**settings, **values})


def walk(model: Model, data: Datasets, spec: TrainingSpec, mixture: MixtureSpec | None = None) -> list[Progress]:
    stream = Stream({n: d.lengths for n, d in data.items()}, mixture or MixtureSpec(), spec.batch, 9)
    state, optimizer = State(Position.start(list(data))), make_optimizer(model, spec.optimizer)
    return list(train(model, data, stream, optimizer, spec, state=state, engine=Engine(spec), seed=9))


def copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


# the same updates -------------------------------------------------------------------------------------------------------


def test_a_model_of_one_task_makes_the_updates_of_a_plain_loop() -> None:
    spec = spec_of(epochs=3, clip=0.5, schedule={"name": "linear", "warmup": 0.25})
    model, data = model_of("a"), data_of("a")
    seen = walk(model, data, spec)

    plain = model_of("a")
    network = nn.Sequential(plain.pool["trunk"], plain.pool["a_head"])
    decayed = [p for p in network.parameters() if p.dim() > 1]
    free = [p for p in network.parameters() if p.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.02)
    rates = [*((i + 1) / 4 for i in range(3)), *(1 - i / 9 for i in range(9))]  # 12 steps, a quarter of them warm-up
    stream = Stream({"a": data["a"].lengths}, MixtureSpec(), spec.batch, 9)
    draws = [d for _, (draws, _) in zip(range(12), stream.rounds(Position.start(["a"])), strict=False) for d in draws]
    for draw, rate, progress in zip(draws, rates, seen, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * rate
        batch = data["a"].batch(draw.rows)
        loss = F.cross_entropy(network(batch.fields["x"]), batch.targets["a"])
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        assert progress.losses["a"] == pytest.approx(loss.item(), abs=1e-6)
        assert progress.norm == pytest.approx(norm.item(), abs=1e-6)
        assert progress.rate == pytest.approx(0.02 * rate, abs=1e-9)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "rule"), [("sgd", torch.optim.SGD), ("adagrad", torch.optim.Adagrad), ("rmsprop", torch.optim.RMSprop)]
)
def test_the_rule_of_that_name_takes_the_clipped_gradient(name: str, rule: type[torch.optim.Optimizer]) -> None:
    spec = spec_of(clip=0.1, optimizer={"name": name, "lr": 0.02, "weight_decay": 0})
    model, data = model_of("a"), data_of("a")
    seen = walk(model, data, spec)
    assert all(progress.norm > 0.1 for progress in seen), "so that clipping makes a difference"

    plain = model_of("a")
    network = nn.Sequential(plain.pool["trunk"], plain.pool["a_head"])
    optimizer = rule(network.parameters(), lr=0.02)  # type: ignore[call-arg]  # every rule has it
    stream = Stream({"a": data["a"].lengths}, MixtureSpec(), spec.batch, 9)
    for progress, ([draw], _) in zip(seen, stream.rounds(Position.start(["a"])), strict=False):
        optimizer.param_groups[0]["lr"] = progress.rate
        batch = data["a"].batch(draw.rows)
        optimizer.zero_grad()
        F.cross_entropy(network(batch.fields["x"]), batch.targets["a"]).backward()
        scale = 0.1 / torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).norm()
        for parameter in network.parameters():
            parameter.grad = None if parameter.grad is None else parameter.grad * scale
        optimizer.step()
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, atol=1e-5, rtol=0)


def test_elements_are_cut_before_the_norm_is() -> None:
    spec = spec_of(steps=1, clip=0.1, clip_value=0.03, optimizer={"name": "sgd", "lr": 0.5, "weight_decay": 0})
    model, plain, data = model_of("a"), model_of("a"), data_of("a")
    [progress] = walk(model, data, spec)
    [draw], _ = next(Stream({"a": data["a"].lengths}, MixtureSpec(), spec.batch, 9).rounds(Position.start(["a"])))
    batch = data["a"].batch(draw.rows)
    F.cross_entropy(plain.pool["a_head"](plain.pool["trunk"](batch.fields["x"])), batch.targets["a"]).backward()
    gradients = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    whole = torch.cat([g.flatten() for g in gradients.values()])
    cut = {name: g.clamp(-0.03, 0.03) for name, g in gradients.items()}
    norm = torch.cat([g.flatten() for g in cut.values()]).norm()
    assert progress.norm == pytest.approx(whole.norm().item(), abs=1e-6), "what is told is the gradient as it was"
    assert 0.1 < norm < whole.norm(), "so that both make a difference"
    for name, parameter in plain.named_parameters():
        moved = parameter.detach() - progress.rate * cut[name] * 0.1 / norm
        torch.testing.assert_close(model.state_dict()[name], moved, atol=1e-6, rtol=0)


def test_steps_tell_what_each_loss_was_multiplied_by() -> None:
    seen = walk(model_of("a", "b", weight=0.5), data_of("a", "b"), spec_of(epochs=1))
    assert all(p.weights == dict.fromkeys(p.losses, 0.5) for p in seen)
    assert {task for p in seen for task in p.weights} == {"a", "b"}


@pytest.mark.parametrize("rule", ["adamw", "adam", "sgd"])
def test_accumulated_rounds_equal_one_big_batch(rule: str) -> None:
    optimizer = {"name": rule, "lr": 0.01}
    small, big = model_of("a"), model_of("a")
    data = data_of("a", rows=24)
    batch = {"group_by_length": False}
    walk(small, data, spec_of(batch={**batch, "rows": 4}, accumulate=3, optimizer=optimizer))
    walk(big, data, spec_of(batch={**batch, "rows": 12}, optimizer=optimizer))
    for name, value in big.state_dict().items():
        torch.testing.assert_close(small.state_dict()[name], value, atol=1e-6, rtol=0)


def test_the_gradient_of_accumulated_rounds_is_clipped_once() -> None:
    small, big = model_of("a"), model_of("a")
    data = data_of("a", rows=24)
    shared = {"optimizer": {"name": "sgd", "lr": 0.5}, "clip": 0.05, "epochs": 1}
    walk(small, data, spec_of(batch={"rows": 4, "group_by_length": False}, accumulate=6, **shared))
    [seen] = walk(big, data, spec_of(batch={"rows": 24, "group_by_length": False}, **shared))
    assert seen.norm > 0.05
    for name, value in big.state_dict().items():
        torch.testing.assert_close(small.state_dict()[name], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize("accumulate", [2, 3, 4])
def test_every_task_trains_in_every_epoch_however_many_rounds_a_step_has(accumulate: int) -> None:
    seen = walk(model_of("a", "b", "c"), data_of("a", "b", "c", rows=20), spec_of(accumulate=accumulate, epochs=4))
    per_epoch = 12 // accumulate
    epochs = [seen[start : start + per_epoch] for start in range(0, len(seen), per_epoch)]
    assert [{task for step in epoch for task in step.losses} for epoch in epochs] == [{"a", "b", "c"}] * 4


def test_accumulation_counts_items_and_not_batches() -> None:
    """Batches of unequal numbers of labels: every label weighs the same."""
    torch.manual_seed(2)
    labels: list[int | None] = [i % 3 if i % 4 == 0 or i > 11 else None for i in range(24)]
    data = {"a": TensorDataset({"x": torch.randn(24, 4)}, {"a": labels}, "a")}
    small, big = model_of("a"), model_of("a")
    batch = {"group_by_length": False}
    walk(small, data, spec_of(batch={**batch, "rows": 4}, accumulate=6, optimizer={"name": "sgd", "lr": 0.1}))
    walk(big, data, spec_of(batch={**batch, "rows": 24}, optimizer={"name": "sgd", "lr": 0.1}))
    for name, value in big.state_dict().items():
        torch.testing.assert_close(small.state_dict()[name], value, atol=1e-6, rtol=0)


def test_the_loss_of_a_round_is_the_sum_over_its_tasks() -> None:
    model, plain, data = model_of("a", "b"), model_of("a", "b"), data_of("a", "b")
    spec = spec_of(epochs=1, steps=1, clip=None, batch={"rows": 20}, optimizer={"name": "sgd", "lr": 0.1, "weight_decay": 0})
    [progress] = walk(model, data, spec, MixtureSpec(tasks_per_step="all"))
    trunk = plain.pool["trunk"]
    total = torch.zeros(())
    for name in ("a", "b"):
        batch = data[name].batch(range(20))
        loss = F.cross_entropy(plain.pool[f"{name}_head"](trunk(batch.fields["x"])), batch.targets[name])
        assert progress.losses[name] == pytest.approx(loss.item(), abs=1e-6)
        total = total + loss
    total.backward()
    for name, parameter in plain.named_parameters():
        assert parameter.grad is not None
        moved = parameter.detach() - progress.rate * parameter.grad
        torch.testing.assert_close(model.state_dict()[name], moved, atol=1e-6, rtol=0)


def test_static_weights_scale_the_gradient_and_not_the_report() -> None:
    data = data_of("a")
    spec = spec_of(steps=1, clip=None, optimizer={"name": "sgd", "lr": 0.1, "weight_decay": 0})
    light, heavy = model_of("a"), model_of("a", weight=3.0)
    before = copies(light)
    [one], [three] = walk(light, data, spec), walk(heavy, data, spec)
    assert one.losses == three.losses
    assert three.norm == pytest.approx(3 * one.norm, rel=1e-5)
    moved = light.state_dict()["pool.a_head.weight"] - before["pool.a_head.weight"]
    thrice = heavy.state_dict()["pool.a_head.weight"] - before["pool.a_head.weight"]
    torch.testing.assert_close(thrice, 3 * moved, atol=1e-6, rtol=1e-4)


def test_bf16_trains_and_keeps_weights_in_full_precision() -> None:
    model, data = model_of("a"), data_of("a")
    seen = walk(model, data, spec_of(precision="bf16", epochs=8))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert seen[-1].losses["a"] < seen[0].losses["a"]
    exact = walk(model_of("a"), data, spec_of(epochs=8))
    assert seen[0].losses["a"] == pytest.approx(exact[0].losses["a"], rel=0.02)
    assert seen[0].losses != exact[0].losses


# what must not move -----------------------------------------------------------------------------------------------------


def test_an_idle_head_does_not_move() -> None:
    """Neither by momentum nor by weight decay: its gradient is None."""
    model, data = model_of("a", "b"), data_of("a", "b")
    walk(model, data, spec_of(epochs=1))  # both heads have moments now
    before = copies(model)
    spec = spec_of(epochs=2, optimizer={"lr": 0.1, "weight_decay": 0.5})
    seen = walk(model, {"a": data["a"]}, spec)
    assert {"a"} == {name for p in seen for name in p.losses}
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("pool.b_head")


def test_an_idle_head_does_not_move_between_steps_of_its_own() -> None:
    model, data = model_of("a", "b"), data_of("a", "b")
    spec = spec_of(epochs=1)
    stream = Stream({n: d.lengths for n, d in data.items()}, MixtureSpec(), spec.batch, 9)
    state, optimizer = State(Position.start(list(data))), make_optimizer(model, spec.optimizer)
    before = copies(model)
    for progress in train(model, data, stream, optimizer, spec, state=state, engine=Engine(spec), seed=9):
        after = copies(model)
        moved = {name.split(".")[1] for name, value in after.items() if not torch.equal(value, before[name])}
        assert moved == {"trunk", *(f"{name}_head" for name in progress.rows)}
        before = after


def test_a_batch_without_labels_adds_nothing() -> None:
    data = {"a": TensorDataset({"x": torch.randn(5, 4)}, {"a": [None] * 5}, "a")}
    model = model_of("a")
    before = copies(model)
    seen = walk(model, data, spec_of(epochs=1))
    assert [(p.losses, p.items, p.norm) for p in seen] == [({}, {"a": 0}, 0.0)]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_task_without_labels_in_a_round_leaves_the_others_as_they_are() -> None:
    model, alone = model_of("a", "b"), model_of("a", "b")
    data = data_of("a", rows=5)
    silent = TensorDataset({"x": torch.randn(5, 4)}, {"b": [None] * 5}, "b")
    spec = spec_of(steps=3)
    seen = walk(model, {**data, "b": silent}, spec, MixtureSpec(tasks_per_step="all"))
    assert all("b" not in p.losses for p in seen)
    walk(alone, data, spec)
    assert torch.equal(model.pool["a_head"].weight, alone.pool["a_head"].weight)


def test_two_label_sets_of_one_data_set_share_a_pass() -> None:
    model, data = model_of("a", "b"), data_of("a", "b", shared=True)
    passes: list[int] = []
    model.pool["trunk"].register_forward_hook(lambda _m, inputs, _o: passes.append(len(inputs[0])))
    seen = walk(model, data, spec_of(epochs=1))
    assert passes == [5, 5, 5, 5]
    assert all(set(p.losses) == {"a", "b"} for p in seen)


# training mode ----------------------------------------------------------------------------------------------------------


def test_every_module_trains_from_the_first_step() -> None:
    """Pretrained encoders are loaded in evaluation mode, inside a model that says it is training."""
    trunk = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))
    trunk.eval()
    modes: list[bool] = []
    trunk[1].register_forward_hook(lambda module, _i, _o: modes.append(module.training))
    walk(model_of("a", trunk=trunk), data_of("a"), spec_of(epochs=1))
    assert modes == [True] * 4


def test_noise_depends_on_seed_and_step_alone() -> None:
    def losses() -> list[dict[str, float]]:
        trunk = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))
        torch.manual_seed(1)
        trunk[0].reset_parameters()
        return [dict(p.losses) for p in walk(model_of("a", trunk=trunk), data_of("a"), spec_of())]

    first = losses()
    torch.rand(17)
    assert losses() == first


# numbers that are none --------------------------------------------------------------------------------------------------


class _Spoil(torch.autograd.Function):
    """Gives its input; its gradient is infinite."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * math.inf


class Broken(nn.Module):
    """A trunk that does what it is told at the calls in `at`, counted from 1: nan in the loss, or inf in the gradient."""

    def __init__(self, what: str, at: Sequence[int]) -> None:
        super().__init__()
        self.linear, self.what, self.at, self.calls = nn.Linear(4, 8), what, at, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        value: Tensor = self.linear(x)
        if self.calls not in self.at:
            return value
        return value * math.nan if self.what == "nan" else _Spoil.apply(value)


def test_a_loss_that_is_no_number_stops_the_run_before_it_touches_the_weights() -> None:
    model, data = model_of("a", trunk=Broken("nan", [4])), data_of("a")
    spec = spec_of()
    stream = Stream({"a": data["a"].lengths}, MixtureSpec(), spec.batch, 9)
    state, optimizer = State(Position.start(["a"])), make_optimizer(model, spec.optimizer)
    walking = train(model, data, stream, optimizer, spec, state=state, engine=Engine(spec), seed=9)
    for _ in range(3):
        next(walking)
    before, held = copies(model), state.to_json()
    with pytest.raises(NumericsError, match="the loss of task 'a' is nan in step 4") as caught:
        next(walking)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert state.to_json() == held
    rows = stream.rounds(Position.start(["a"]))
    draws = [next(rows)[0][0] for _ in range(4)]
    assert str(draws[3].rows.tolist()) in str(caught.value)


@pytest.mark.parametrize("clip_value", [None, 0.5])
def test_a_step_with_an_infinite_gradient_is_skipped_and_counted(clip_value: float | None) -> None:
    model, data = model_of("a", trunk=Broken("inf", [2, 4])), data_of("a")
    spec = spec_of(clip_value=clip_value)
    stream = Stream({"a": data["a"].lengths}, MixtureSpec(), spec.batch, 9)
    state, optimizer = State(Position.start(["a"])), make_optimizer(model, spec.optimizer)
    before = copies(model)
    for progress in train(model, data, stream, optimizer, spec, state=state, engine=Engine(spec), seed=9):
        after = copies(model)
        assert progress.skipped == (progress.step in (2, 4)) == all(torch.equal(after[n], before[n]) for n in after)
        assert math.isfinite(progress.losses["a"])
        before = after
    assert (state.step, state.skipped) == (8, 2)


def test_ten_skipped_steps_in_a_row_stop_the_run() -> None:
    model, data = model_of("a", trunk=Broken("inf", [1, 2, *range(4, 99)])), data_of("a")
    with pytest.raises(NumericsError, match="10 steps in a row, the last of them step 13"):
        walk(model, data, spec_of(epochs=9))


# counting ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rounds", "accumulate", "steps"), [(8, 1, 8), (8, 3, 3), (8, 8, 1), (8, 9, 1)])
def test_the_last_step_may_hold_fewer_rounds(rounds: int, accumulate: int, steps: int) -> None:
    spec = spec_of(accumulate=accumulate)
    stream = Stream({"a": data_of("a")["a"].lengths}, MixtureSpec(), spec.batch, 9)
    assert (rounds_in(stream, spec), steps_in(stream, spec)) == (rounds, steps)
    seen = walk(model_of("a"), data_of("a"), spec)
    assert [p.step for p in seen] == list(range(1, steps + 1))
    assert sum(p.rows["a"] for p in seen) == 40


def test_steps_instead_of_epochs() -> None:
    seen = walk(model_of("a"), data_of("a"), spec_of(steps=6, accumulate=2))
    assert [p.step for p in seen] == [1, 2, 3, 4, 5, 6]
    assert [p.epoch for p in seen] == [0, 0, 1, 1, 2, 2]
    assert [p.epoch_end for p in seen] == [False, True] * 3


def test_gradients_of_accumulated_steps_teach_a_mixture_nothing() -> None:
    with pytest.raises(RecipeError, match=r"training.accumulate: .* found '2'"):
        walk(model_of("a", "b"), data_of("a", "b"), spec_of(accumulate=2), MixtureSpec(sampling="pike", rate=0.5))


def test_a_state_survives_json() -> None:
    state = State(Position(2, 3, {"a": (1, 4)}), 7, 1, ("b",))
    assert State.from_json(state.to_json()) == state


def test_a_loop_that_was_left_goes_on_where_it_stood() -> None:
    data, spec = data_of("a", "b"), spec_of()
    whole, parts = model_of("a", "b"), model_of("a", "b")
    walk(whole, data, spec)
    stream = Stream({n: d.lengths for n, d in data.items()}, MixtureSpec(), spec.batch, 9)
    state, optimizer = State(Position.start(list(data))), make_optimizer(parts, spec.optimizer)
    while state.step < 16:
        walking = train(parts, data, stream, optimizer, spec, state=state, engine=Engine(spec), seed=9)
        for _ in range(3):
            next(walking, None)
        walking.close()
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in parts.state_dict().items())


def test_a_data_set_that_retires_gives_no_more_batches() -> None:
    data, spec = data_of("a", "b"), spec_of(epochs=4)
    stream = Stream({n: d.lengths for n, d in data.items()}, MixtureSpec(), spec.batch, 9)
    model = model_of("a", "b")
    state, optimizer = State(Position.start(list(data))), make_optimizer(model, spec.optimizer)
    seen = []
    for progress in train(model, data, stream, optimizer, spec, state=state, engine=Engine(spec), seed=9):
        seen.append(set(progress.rows))
        state.retired = ("a",) if progress.step >= 5 else ()
        if progress.step >= 12:
            state.retired = ("a", "b")
    assert len(seen) == 12
    assert {"a"} in seen[:5]
    assert seen[5:] == [{"b"}] * 7


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("more", [{}, {"steps": 30}])
def test_a_run_of_epochs_ends_with_them_also_when_a_data_set_has_left(accumulate: int, more: dict[str, int]) -> None:
    data, spec = data_of("a", "b"), spec_of(epochs=3, accumulate=accumulate, **more)
    stream = Stream({n: d.lengths for n, d in data.items()}, MixtureSpec(), spec.batch, 9)
    model = model_of("a", "b")
    state, optimizer = State(Position.start(list(data))), make_optimizer(model, spec.optimizer)
    rows, last = 0, []
    for progress in train(model, data, stream, optimizer, spec, state=state, engine=Engine(spec), seed=9):
        rows += progress.rows.get("b", 0)
        last.append(progress.last)
        state.retired = ("a",)
    assert last == [False] * (len(last) - 1) + [True]
    assert (len(last) if more else rows) == (30 if more else 3 * len(data["b"]))
    assert next(train(model, data, stream, optimizer, spec, state=state, engine=Engine(spec), seed=9), None) is None


def test_a_number_a_row_and_frozen_parts() -> None:
    torch.manual_seed(0)
    trunk = nn.Linear(4, 8).requires_grad_(False)
    model = Model({"trunk": trunk, "head": nn.Linear(8, 1)}, [Task("r", ["trunk", "head"], Regression())])
    before = trunk.weight.clone()
    data = {"r": TensorDataset({"x": torch.randn(10, 4)}, {"r": [0.5, None] * 5}, "r")}
    seen = walk(model, data, spec_of(epochs=5))
    assert torch.equal(trunk.weight, before)
    assert seen[-1].losses["r"] < seen[0].losses["r"]
    assert all(p.items["r"] <= 5 for p in seen)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_memory_that_runs_out_is_told_with_a_way_out(error: Exception) -> None:
    class Greedy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise error

    with pytest.raises(ResourceError, match=r"memory ran out in step 1, on \{'a': 5\} rows") as caught:
        walk(model_of("a", trunk=Greedy(4, 8)), data_of("a"), spec_of())
    assert "training.accumulate" in caught.value.problems[0].remedy


def test_a_model_that_somebody_put_into_evaluation_mode_trains_on() -> None:
    trunk = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))
    modes: list[bool] = []
    trunk[1].register_forward_hook(lambda module, _i, _o: modes.append(module.training))
    model, data, spec = model_of("a", trunk=trunk), data_of("a"), spec_of(epochs=1)
    stream = Stream({"a": data["a"].lengths}, MixtureSpec(), spec.batch, 9)
    state, optimizer = State(Position.start(["a"])), make_optimizer(model, spec.optimizer)
    for _ in train(model, data, stream, optimizer, spec, state=state, engine=Engine(spec), seed=9):
        model.eval()
    assert modes == [True] * 4
