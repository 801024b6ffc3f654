"""The optimizer and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from manyheads.config.spec.training import OptimizerSpec, ScheduleSpec
from manyheads.errors import RecipeError
from manyheads.nn.trunk import Trunk


def make_optimizer(model: nn.Module, spec: OptimizerSpec) -> Optimizer:
    """Groups by what is pretrained and what decays (no biases, norms and other vectors), the same whatever the rates are.

    Each group keeps its peak under `peak`. Raises RecipeError when nothing can be trained.
    """
    pretrained = {id(p) for m in model.modules() if isinstance(m, Trunk) for p in m.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in pretrained, parameter.dim() > 1), []).append(parameter)
    if not groups:
        raise RecipeError("nothing can be trained: every parameter is frozen")
    head = spec.lr if spec.head_lr is None else spec.head_lr
    named = []
    for (loaded, decays), members in groups.items():
        peak = spec.lr if loaded else head
        named.append({"params": members, "lr": peak, "peak": peak, "weight_decay": spec.weight_decay if decays else 0.0})
    if spec.name == "sgd":
        return torch.optim.SGD(named, momentum=spec.momentum)
    rule = torch.optim.AdamW if spec.name == "adamw" else torch.optim.Adam
    return rule(named, betas=spec.betas, eps=spec.eps, fused=_all_float(model.parameters()))


def factor(spec: ScheduleSpec, step: int, steps: int) -> float:
    """Share of the peak at `step` (from 0) of `steps`: linear warm-up, then the named shape down to `floor`.

    The first step already trains: step k of a warm-up over w steps has (k + 1) / (w + 1), where transformers has k / w. After
    the warm-up both are the same.
    """
    warmup = spec.warmup * steps if spec.warmup < 1 else spec.warmup
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if spec.name == "constant":
        return 1.0
    if spec.name == "inverse_sqrt":
        return max(spec.floor, math.sqrt(max(warmup, 1) / max(step, 1)))
    done = min((step - warmup) / max(steps - warmup, 1), 1.0)
    shape = 1 - done if spec.name == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return spec.floor + (1 - spec.floor) * shape


def set_rate(optimizer: Optimizer, share: float) -> float:
    """Set every group to `share` of its peak; returns the highest rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    return float(max(group["lr"] for group in optimizer.param_groups))


def _all_float(parameters: Iterable[nn.Parameter]) -> bool:
    """Fused Adam wants floating point parameters on a device that has the kernel."""
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in parameters)
