from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim
from torch.testing import assert_close
from transformers import BertConfig, BertModel

from manyheads.config.load import recipe_from
from manyheads.config.spec.module import ModuleBase
from manyheads.config.spec.modules import FeedForwardModule, PoolModule, PretrainedModule
from manyheads.config.spec.tasks import RegressionTask
from manyheads.config.spec.training import OPTIMIZER_KEYS, OptimizerSpec
from manyheads.errors import RecipeError
from manyheads.model import Model
from manyheads.nn.pool import Pool
from manyheads.nn.trunk import Trunk
from manyheads.task.base import Task
from manyheads.task.regression import Regression
from manyheads.train.checkpoint import Checkpoints
from manyheads.train.optim import make_optimizer, set_rate

NAMES = get_args(OptimizerSpec.model_fields["name"].annotation)
RULES: dict[str, tuple[Any, dict[str, Any]]] = {
    "adamw": (optim.AdamW, {"betas": (0.8, 0.9), "eps": 1e-6, "amsgrad": True}),
    "adam": (optim.Adam, {"betas": (0.8, 0.9), "eps": 1e-6, "amsgrad": True}),
    "adamax": (optim.Adamax, {"betas": (0.8, 0.9), "eps": 1e-6}),
    "radam": (optim.RAdam, {"betas": (0.8, 0.9), "eps": 1e-6}),
    "nadam": (optim.NAdam, {"betas": (0.8, 0.9), "eps": 1e-6}),
    "sgd": (optim.SGD, {"momentum": 0.5, "nesterov": True}),
    "rmsprop": (optim.RMSprop, {"momentum": 0.5, "alpha": 0.9, "eps": 1e-6}),
    "adagrad": (optim.Adagrad, {"eps": 1e-6}),
    "adadelta": (optim.Adadelta, {"rho": 0.8, "eps": 1e-5}),
}


def trunk(freeze: bool = False) -> Trunk:
    """An encoder of two layers."""
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=1, intermediate_size=8, max_position_embeddings=8
    )
    return Trunk(BertModel(config, add_pooling_layer=False), freeze=freeze)


def model(freeze: bool = False) -> Model:
    """Two tasks over one trunk: `a` with a layer and a norm of its own, and a head each."""
    modules = {"trunk": trunk(freeze), "pool": Pool(), "top": nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8))}
    heads = {"a_head": nn.Linear(8, 1), "b_head": nn.Linear(8, 1)}
    tasks = [Task("a", ["trunk", "pool", "top", "a_head"], Regression()), Task("b", ["trunk", "pool", "b_head"], Regression())]
    return Model({**modules, **heads}, tasks)


def line(width: int = 2) -> Model:
    torch.manual_seed(0)
    return Model({"line": nn.Linear(3, width)}, [Task("t", ["line"], Regression())])


def peaks(found: Model, spec: OptimizerSpec, modules: dict[str, ModuleBase] | None = None, **tasks: float) -> dict[str, float]:
    """The peak of each parameter, by its name without `pool.`."""
    own = {name: RegressionTask(type="regression", lr=lr) for name, lr in tasks.items()}
    optimizer = make_optimizer(found, spec, modules, own)
    rates = {id(p): g["peak"] for g in optimizer.param_groups for p in g["params"]}
    return {name.removeprefix("pool."): rates[id(p)] for name, p in found.named_parameters()}


# rules ------------------------------------------------------------------------------------------------------------------


def test_every_rule_is_known_and_tested() -> None:
    assert set(NAMES) == set(RULES) == set(OPTIMIZER_KEYS)
    assert {name: set(options) for name, (_, options) in RULES.items()} == {n: set(k) for n, k in OPTIMIZER_KEYS.items()}


@pytest.mark.parametrize("defaults", [True, False], ids=["defaults", "options"])
@pytest.mark.parametrize("name", NAMES)
def test_the_rule_of_a_recipe_equals_torchs(name: str, defaults: bool) -> None:
    kind, options = RULES[name][0], {} if defaults else RULES[name][1]
    ours, plain = line(), nn.Linear(3, 2)
    plain.load_state_dict(ours.pool["line"].state_dict())
    spec = OptimizerSpec(name=name, lr=0.1, weight_decay=0.2, **options)  # type: ignore[arg-type]
    groups = [{"params": [plain.weight], "weight_decay": 0.2}, {"params": [plain.bias], "weight_decay": 0.0}]
    optimizers = [make_optimizer(ours, spec), kind(groups, lr=0.1, **options)]
    assert type(optimizers[0]) is kind
    for _ in range(5):
        x = torch.randn(4, 3)
        for linear, optimizer in zip((ours.pool["line"], plain), optimizers, strict=True):
            optimizer.zero_grad()
            linear(x).square().sum().backward()
            optimizer.step()
    assert_close(ours.pool["line"].weight, plain.weight, atol=1e-6, rtol=1e-6)
    assert_close(ours.pool["line"].bias, plain.bias, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("defaults", [True, False], ids=["defaults", "options"])
@pytest.mark.parametrize("name", NAMES)
def test_three_steps_saved_and_three_more_are_six(tmp_path: Path, name: str, defaults: bool) -> None:
    """To the bit, also for a head that has no moments yet when they are saved."""
    spec = OptimizerSpec(name=name, lr=0.1, **({} if defaults else RULES[name][1]))  # type: ignore[arg-type]
    whole, first, second = model(), model(), model()
    for other in (first, second):
        other.load_state_dict(whole.state_dict())
    learn(whole, optimizer := make_optimizer(whole, spec), range(6))
    learn(first, its := make_optimizer(first, spec), range(3))
    runs = Checkpoints(tmp_path, keep=1)
    path = runs.save(3, first.state_dict(), its, first, {})
    learn(second, its := make_optimizer(second, spec), range(1))  # moments that must go
    runs.restore(runs.load(path), second, its)
    learn(second, its, range(3, 6))
    assert all(torch.equal(second.state_dict()[name], value) for name, value in whole.state_dict().items())
    assert len(its.state) == len(optimizer.state)


def learn(found: Model, optimizer: optim.Optimizer, steps: range) -> None:
    """Steps of task `b` from the fourth on, of task `a` before."""
    for step in steps:
        x = torch.sin(torch.arange(32.0) + step).view(4, 8)
        found.pool["a_head" if step < 3 else "b_head"](found.pool["top"](x)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize(
    ("written", "close"), [("adamW", "adamw"), ("admax", "adamax"), ("rms", "rmsprop"), ("lbfgs", None), ("adagrd", "adagrad")]
)
def test_an_unknown_rule_is_told_with_the_nearest(written: str, close: str | None) -> None:
    recipe = {
        "tasks": {"a": {"type": "mine", "data": {"train": "x"}}},
        "training": {"optimizer": {"name": written}},
    }
    with pytest.raises(RecipeError) as caught:
        recipe_from(recipe, {"task": {"mine"}})
    [problem] = caught.value.problems
    assert (problem.place, problem.value, problem.nearest) == ("training.optimizer.name", written, close)


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_a_gradient_does_not_move(name: str) -> None:
    found = model()
    before = {n: p.clone() for n, p in found.named_parameters()}
    optimizer = make_optimizer(found, OptimizerSpec(name=name, lr=0.1, weight_decay=0.5))  # type: ignore[arg-type]
    found.pool["top"](torch.ones(1, 8)).sum().backward()
    optimizer.step()
    assert {n.split(".")[1] for n, p in found.named_parameters() if not torch.equal(p, before[n])} == {"top"}


# groups and rates -------------------------------------------------------------------------------------------------------


def test_biases_norms_and_other_vectors_do_not_decay() -> None:
    found = model()
    optimizer = make_optimizer(found, OptimizerSpec(weight_decay=0.1))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decay) == len(list(found.parameters()))
    for name, parameter in found.named_parameters():
        vector = name.endswith("bias") or "LayerNorm" in name or name.startswith("pool.top.0")
        assert decay[id(parameter)] == (0.0 if vector else 0.1), name


def test_what_is_not_pretrained_has_the_rate_of_heads() -> None:
    found = peaks(model(), OptimizerSpec(lr=1e-4, head_lr=1e-2))
    assert all(rate == (1e-4 if name.startswith("trunk") else 1e-2) for name, rate in found.items())
    assert set(peaks(model(), OptimizerSpec(lr=1e-4)).values()) == {1e-4}


def test_a_module_has_the_rate_that_it_names() -> None:
    modules: dict[str, ModuleBase] = {
        "trunk": PretrainedModule(type="pretrained", name="x", lr=1e-5),
        "top": FeedForwardModule(type="feedforward", width=8, lr=0.5),
        "pool": PoolModule(type="pool", lr=1.0),
        "absent": PoolModule(type="pool", lr=1.0),
    }
    found = peaks(model(), OptimizerSpec(lr=1e-4, head_lr=1e-2), modules, a=0.25)
    wanted = {"trunk": 1e-5, "top": 0.5, "a_head": 0.25, "b_head": 1e-2}
    assert all(rate == wanted[name.split(".")[0]] for name, rate in found.items())


def test_a_task_has_a_rate_for_what_it_alone_trains() -> None:
    found = peaks(model(), OptimizerSpec(lr=1e-4), a=0.3, b=0.2)
    wanted = {"trunk": 1e-4, "top": 0.3, "a_head": 0.3, "b_head": 0.2}
    assert all(rate == wanted[name.split(".")[0]] for name, rate in found.items())


def test_a_pretrained_encoder_of_one_task_keeps_its_rate() -> None:
    found = Model(
        {"trunk": trunk(), "pool": Pool(), "head": nn.Linear(8, 1)}, [Task("a", ["trunk", "pool", "head"], Regression())]
    )
    rates = peaks(found, OptimizerSpec(lr=1e-4, head_lr=1e-2), a=0.3)
    assert all(rate == (1e-4 if name.startswith("trunk") else 0.3) for name, rate in rates.items())


def test_each_layer_has_a_share_of_the_rate_of_the_one_above() -> None:
    modules: dict[str, ModuleBase] = {"trunk": PretrainedModule(type="pretrained", name="x", layer_decay=0.5)}
    for own in (None, 0.8):
        modules["trunk"] = modules["trunk"].model_copy(update={"lr": own})
        found = peaks(model(), OptimizerSpec(lr=0.1, head_lr=1.0), modules)
        for name, rate in found.items():
            layer = 1.0 if "layer.1." in name else 0.5 if "layer.0." in name else 0.25
            assert rate == pytest.approx((own or 0.1) * layer if name.startswith("trunk") else 1.0), name


@given(st.none() | st.floats(1e-6, 1), st.none() | st.floats(1e-6, 1), st.floats(0.1, 1), st.none() | st.floats(1e-6, 1))
@settings(max_examples=20)
def test_what_has_one_rate_and_one_decay_is_one_group(
    module: float | None, task: float | None, decay: float, head: float | None
) -> None:
    modules: dict[str, ModuleBase] = {
        "trunk": PretrainedModule(type="pretrained", name="x", lr=module, layer_decay=decay),
        "top": FeedForwardModule(type="feedforward", width=8, lr=module),
    }
    found = model()
    tasks = {"a": RegressionTask(type="regression", lr=task)}
    plain, own = make_optimizer(found, OptimizerSpec()), make_optimizer(found, OptimizerSpec(head_lr=head), modules, tasks)
    assert len(plain.param_groups) == 2
    settings = [(g["peak"], g["weight_decay"]) for g in own.param_groups]
    assert len(settings) == len(set(settings))
    every = [{id(p) for g in optimizer.param_groups for p in g["params"]} for optimizer in (plain, own)]
    assert every[0] == every[1] == {id(p) for p in found.parameters() if p.requires_grad}


def test_one_weight_with_two_rates_is_an_error_that_names_both() -> None:
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    two.weight = one.weight
    found = Model({"one": one, "two": two}, [Task("a", ["one"], Regression()), Task("b", ["two"], Regression())])

    def rates(first: float | None, second: float | None) -> dict[str, ModuleBase]:
        return {
            "one": FeedForwardModule(type="feedforward", width=2, lr=first),
            "two": FeedForwardModule(type="feedforward", width=2, lr=second),
        }

    with pytest.raises(RecipeError) as caught:
        make_optimizer(found, OptimizerSpec(), rates(0.1, 0.2))
    [problem] = caught.value.problems
    assert problem.place == "modules.two.lr"
    assert problem.rule == "the modules 'one' and 'two' hold one weight, and their rates are 0.1 and 0.2"
    assert peaks(found, OptimizerSpec(lr=1.0), rates(None, 0.2), a=0.7, b=0.7) == {
        "one.weight": 0.2,
        "one.bias": 0.7,
        "two.bias": 0.2,
    }
    assert sum(len(g["params"]) for g in make_optimizer(found, OptimizerSpec(), rates(0.1, 0.1)).param_groups) == 3


def test_frozen_parameters_are_in_no_group() -> None:
    found = model(freeze=True)
    optimizer = make_optimizer(found, OptimizerSpec())
    trained = {id(p) for g in optimizer.param_groups for p in g["params"]}
    assert trained == {id(p) for n, p in found.named_parameters() if not n.startswith("pool.trunk")}


def test_nothing_to_train_is_an_error_before_the_first_step() -> None:
    with pytest.raises(RecipeError, match="every parameter is frozen"):
        make_optimizer(model().requires_grad_(False), OptimizerSpec())


# the rate of a step -----------------------------------------------------------------------------------------------------


def test_set_rate_gives_each_group_its_share_and_tells_the_highest() -> None:
    optimizer = make_optimizer(model(), OptimizerSpec(lr=1e-4, head_lr=1e-2))
    assert set_rate(optimizer, 0.5) == pytest.approx(5e-3)
    assert {round(g["lr"] / g["peak"], 9) for g in optimizer.param_groups} == {0.5}
    assert set_rate(optimizer, 1.0) == pytest.approx(1e-2)


def test_peaks_are_those_of_the_recipe_after_a_checkpoint(tmp_path: Path) -> None:
    """A run that continues may have new rates: they are not stored."""
    found, runs = model(), Checkpoints(tmp_path, keep=1)
    optimizer = make_optimizer(found, OptimizerSpec(lr=1e-4, head_lr=1e-2))
    learn(found, optimizer, range(2))
    set_rate(optimizer, 0.1)
    path = runs.save(2, found.state_dict(), optimizer, found, {})
    again = make_optimizer(found, OptimizerSpec(lr=1e-4), tasks={"a": RegressionTask(type="regression", lr=0.5)})
    runs.restore(runs.load(path), found, again)
    assert set_rate(again, 1.0) == 0.5
    assert len(again.state) == len(optimizer.state)
