from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.testing import assert_close
from transformers import (
    BertConfig,
    BertModel,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from manyheads.config.spec.training import OptimizerSpec, ScheduleSpec
from manyheads.errors import RecipeError
from manyheads.nn.trunk import Trunk
from manyheads.train.optim import factor, make_optimizer, set_rate


def model(freeze: bool = False) -> nn.ModuleDict:
    """A trunk of one layer and a head with a norm."""
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, max_position_embeddings=8
    )
    head = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 2))
    return nn.ModuleDict({"trunk": Trunk(BertModel(config), freeze=freeze), "head": head})


def curve(name: str, warmup: float, steps: int, floor: float = 0.0) -> list[float]:
    spec = ScheduleSpec(name=name, warmup=warmup, floor=floor)  # type: ignore[arg-type]
    return [factor(spec, step, steps) for step in range(steps)]


# groups -----------------------------------------------------------------------------------------------------------------


def test_groups_by_rate_and_decay() -> None:
    found = model()
    optimizer = make_optimizer(found, OptimizerSpec(lr=1e-4, head_lr=1e-2, weight_decay=0.1))
    settings = {id(p): (g["peak"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert len(optimizer.param_groups) == 4
    assert len(settings) == len(list(found.parameters()))
    for name, parameter in found.named_parameters():
        peak = 1e-4 if name.startswith("trunk") else 1e-2
        vector = name.endswith("bias") or "LayerNorm" in name or name.startswith("head.0")
        assert settings[id(parameter)] == (peak, 0.0 if vector else 0.1), name


def test_without_a_rate_of_their_own_heads_have_the_same() -> None:
    optimizer = make_optimizer(model(), OptimizerSpec(lr=1e-4))
    assert {(g["lr"], g["peak"], g["weight_decay"]) for g in optimizer.param_groups} == {(1e-4, 1e-4, 0.01), (1e-4, 1e-4, 0.0)}


def test_frozen_parameters_are_in_no_group() -> None:
    found = model(freeze=True)
    optimizer = make_optimizer(found, OptimizerSpec())
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(found["head"].parameters()))


def test_a_parameter_that_two_modules_hold_is_in_one_group() -> None:
    found = nn.ModuleDict({"one": nn.Linear(2, 2), "two": nn.Linear(2, 2)})
    found["two"].weight = found["one"].weight
    optimizer = make_optimizer(found, OptimizerSpec())
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 3


def test_nothing_to_train_is_an_error_before_the_first_step() -> None:
    found = model(freeze=True)
    found.requires_grad_(False)
    with pytest.raises(RecipeError, match="every parameter is frozen"):
        make_optimizer(found, OptimizerSpec())


@pytest.mark.parametrize(("name", "kind"), [("adamw", AdamW), ("adam", Adam), ("sgd", SGD)])
def test_the_rule_of_a_recipe_equals_torchs(name: str, kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    ours, plain = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    plain.load_state_dict(ours.state_dict())
    spec = OptimizerSpec(name=name, lr=0.1, weight_decay=0.2, betas=(0.8, 0.9), eps=1e-6, momentum=0.5)  # type: ignore[arg-type]
    options = {"momentum": 0.5} if name == "sgd" else {"betas": (0.8, 0.9), "eps": 1e-6}
    optimizers = [make_optimizer(ours, spec), kind(plain.parameters(), lr=0.1, weight_decay=0.2, **options)]
    assert type(optimizers[0]) is kind
    for _ in range(5):
        x = torch.randn(4, 3)
        for linear, optimizer in zip((ours, plain), optimizers, strict=True):
            optimizer.zero_grad()
            linear(x).square().sum().backward()
            optimizer.step()
    assert_close(ours.weight, plain.weight, atol=1e-6, rtol=1e-6)


def test_a_parameter_without_a_gradient_does_not_move() -> None:
    found = nn.ModuleDict({"busy": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
    before = found["idle"].weight.clone()
    optimizer = make_optimizer(found, OptimizerSpec(lr=0.1, weight_decay=0.5))
    found["busy"](torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert torch.equal(found["idle"].weight, before)


# learning rates ---------------------------------------------------------------------------------------------------------


def test_hand_computed_curves() -> None:
    assert curve("linear", 2, 6) == pytest.approx([1 / 3, 2 / 3, 1, 3 / 4, 2 / 4, 1 / 4])
    assert curve("linear", 0, 4, floor=0.2) == pytest.approx([1, 0.8, 0.6, 0.4])
    assert curve("constant", 3, 6) == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 1, 1])
    assert curve("cosine", 0, 4) == pytest.approx([1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)])
    assert curve("inverse_sqrt", 4, 17)[3:] == pytest.approx([4 / 5, *(math.sqrt(4 / s) for s in range(4, 17))])
    assert curve("inverse_sqrt", 4, 17, floor=0.6)[-1] == 0.6


def test_a_warm_up_below_one_is_a_share_of_the_run() -> None:
    assert curve("linear", 0.25, 8) == curve("linear", 2, 8)
    assert curve("linear", 0.06, 10)[:2] == pytest.approx([1 / 1.6, 1 - 0.4 / 9.4])


@pytest.mark.parametrize(
    ("name", "build"), [("linear", get_linear_schedule_with_warmup), ("cosine", get_cosine_schedule_with_warmup)]
)
@pytest.mark.parametrize("warmup", [0, 3, 10])
def test_after_the_warm_up_rates_are_those_of_transformers(name: str, build: object, warmup: int) -> None:
    steps = 20
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build(optimizer, warmup, steps)  # type: ignore[operator]
    theirs = []
    for _ in range(steps):
        theirs.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    ours = curve(name, warmup, steps)
    assert ours[warmup:] == pytest.approx(theirs[warmup:])
    assert ours[:warmup] == pytest.approx([(k + 1) / (warmup + 1) for k in range(warmup)])
    assert theirs[:warmup] == pytest.approx([k / warmup for k in range(warmup)])


@given(
    st.sampled_from(["linear", "cosine", "constant", "inverse_sqrt"]),
    st.floats(0, 0.9) | st.integers(1, 50).map(float),
    st.integers(1, 60),
    st.floats(0, 1),
)
def test_rates_rise_to_the_peak_and_then_fall_but_never_below_the_floor(
    name: str, warmup: float, steps: int, floor: float
) -> None:
    rates = curve(name, warmup, steps, floor)
    warm = min(math.ceil(warmup * steps if warmup < 1 else warmup), steps)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warm] == sorted(rates[:warm])
    assert rates[warm:] == sorted(rates[warm:], reverse=True)
    assert all(rate >= floor - 1e-12 for rate in rates[warm:])


def test_a_step_past_the_end_has_the_floor() -> None:
    assert factor(ScheduleSpec(warmup=0, floor=0.1), 30, 20) == pytest.approx(0.1)


def test_set_rate_gives_each_group_its_share_and_tells_the_highest() -> None:
    optimizer = make_optimizer(model(), OptimizerSpec(lr=1e-4, head_lr=1e-2))
    assert set_rate(optimizer, 0.5) == pytest.approx(5e-3)
    assert {round(g["lr"] / g["peak"], 9) for g in optimizer.param_groups} == {0.5}
    assert set_rate(optimizer, 1.0) == pytest.approx(1e-2)


def test_the_peak_survives_a_checkpoint() -> None:
    optimizer = make_optimizer(model(), OptimizerSpec(lr=1e-4, head_lr=1e-2))
    set_rate(optimizer, 0.1)
    again = make_optimizer(model(), OptimizerSpec(lr=1e-4, head_lr=1e-2))
    again.load_state_dict(optimizer.state_dict())
    assert set_rate(again, 1.0) == pytest.approx(1e-2)
