"""Averages of the weights against their definitions, and that nothing of a model is lost by judging the average."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from manyheads.config.spec.selection import AverageSpec
from manyheads.train.average import Average

KINDS: list[dict[str, Any]] = [
    {"type": "ema", "decay": 0.9},
    {"type": "ema", "decay": 0.5, "every": 2},
    {"type": "swa", "start": 0.5},
    {"type": "swa", "start": 0.25, "every": 3},
    {"type": "swa", "start": 0.0},
]


def build() -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[1].num_batches_tracked.fill_(7)
    return model


def walk(model: nn.Module, average: Average, first: int, last: int) -> list[dict[str, torch.Tensor]]:
    """Weights that move by a function of the step alone."""
    seen = []
    for step in range(first, last + 1):
        with torch.no_grad():
            for i, p in enumerate(model.parameters()):
                p.copy_(torch.sin(torch.arange(p.numel(), dtype=p.dtype).view_as(p) + step * (i + 1)))
        average.take(step)
        seen.append({n: p.detach().clone() for n, p in model.named_parameters()})
    return seen


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in model.state_dict().items()}


def test_swa_is_the_mean_of_the_steps_that_count() -> None:
    model = build()
    average = Average(AverageSpec(type="swa", start=0.5, every=2), model, 10)
    seen = walk(model, average, 1, 10)
    for name, mean in average.mean.items():
        if name in seen[0]:
            torch.testing.assert_close(mean, torch.stack([seen[i][name] for i in (5, 7, 9)]).mean(0))
    assert average.count == 3


def test_ema_forgets() -> None:
    model = build()
    average = Average(AverageSpec(type="ema", decay=0.8), model, 10)
    seen = walk(model, average, 1, 6)
    wanted = seen[0]["0.weight"]
    for step in seen[1:]:
        wanted = 0.8 * wanted + 0.2 * step["0.weight"]
    torch.testing.assert_close(average.mean["0.weight"], wanted)


def test_ema_equals_torch() -> None:
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = build()
    average = Average(AverageSpec(type="ema", decay=0.9), model, 10)
    peer = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))  # type: ignore[no-untyped-call]
    for step in range(1, 8):
        walk(model, average, step, step)
        peer.update_parameters(model)
    for name, p in peer.module.named_parameters():
        torch.testing.assert_close(average.mean[name], p.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_come_back_to_the_bit(kind: dict[str, Any]) -> None:
    model = build()
    average = Average(AverageSpec(**kind), model, 12)
    walk(model, average, 1, 12)
    before = state(model)
    with average.applied():
        for name, mean in average.mean.items():
            assert torch.equal(dict(model.named_parameters()).get(name, mean), mean)
        assert not torch.equal(model[0].weight, before["0.weight"])
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_the_weights_come_back_after_an_error() -> None:
    model = build()
    average = Average(AverageSpec(type="ema"), model, 4)
    walk(model, average, 1, 4)
    before = state(model)
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_before_the_first_step_that_counts_nothing_changes() -> None:
    model = build()
    average = Average(AverageSpec(type="swa", start=0.9), model, 20)
    walk(model, average, 1, 18)
    before = state(model)
    with average.applied():
        assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert average.tensors() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_average_goes_on_to_the_bit(kind: dict[str, Any]) -> None:
    whole_model, model = build(), build()
    whole, first = Average(AverageSpec(**kind), whole_model, 12), Average(AverageSpec(**kind), model, 12)
    walk(whole_model, whole, 1, 12)
    walk(model, first, 1, 7)
    second = Average(AverageSpec(**kind), model, 12)
    second.restore({n: t.clone() for n, t in first.tensors().items()}, first.count)
    walk(model, second, 8, 12)
    assert second.count == whole.count
    assert whole.tensors().keys() == second.tensors().keys()
    assert all(torch.equal(t, whole.mean[n]) for n, t in second.mean.items())


def test_shared_and_whole_numbers_are_averaged_once_or_not_at_all() -> None:
    model = build()
    model.add_module("again", model[0])
    average = Average(AverageSpec(type="ema"), model, 4)
    walk(model, average, 1, 1)
    assert "1.num_batches_tracked" not in average.mean
    assert [n for n in average.mean if n.startswith("again")] == []
    assert "1.running_mean" in average.mean
