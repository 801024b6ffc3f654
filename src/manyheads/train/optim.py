"""The optimizer of a run: torch's rules, with a learning rate for each module, layer and task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn, optim
from torch.optim import Optimizer

from manyheads.config.spec.module import ModuleBase
from manyheads.config.spec.modules import OverEncoder, PretrainedModule
from manyheads.config.spec.tasks import TaskBase
from manyheads.config.spec.training import OPTIMIZER_KEYS, OptimizerSpec
from manyheads.errors import Problem, RecipeError
from manyheads.model import Model
from manyheads.train.groups import Group, groups_of

_RULES: Mapping[str, Any] = {
    "adamw": optim.AdamW,
    "adam": optim.Adam,
    "adamax": optim.Adamax,
    "radam": optim.RAdam,
    "nadam": optim.NAdam,
    "sgd": optim.SGD,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
}
_FUSED = ("adamw", "adam")


def make_optimizer(
    model: Model,
    spec: OptimizerSpec,
    modules: Mapping[str, ModuleBase] | None = None,
    tasks: Mapping[str, TaskBase] | None = None,
) -> Optimizer:
    """One group for all that has one rate and one decay (none for biases, norms and other vectors): fewer and larger updates.

    `modules` and `tasks` are those of a recipe and may have rates of their own. Each group keeps its peak under `peak`.
    Checkpoints know moments by the parameters' names, so other rates and groups continue from them. Raises RecipeError
    when nothing can be trained, and for a weight that two modules hold with different rates.
    """
    found = groups_of(model)
    if not found:
        raise RecipeError(Problem("nothing can be trained: every parameter is frozen", "modules"))
    alike: dict[tuple[float, float], list[nn.Parameter]] = {}
    for group, parameters in found.items():
        peak = _peak(group, spec, modules or {}, tasks or {})
        alike.setdefault((peak, spec.weight_decay if group.decays else 0.0), []).extend(parameters)
    named = [{"params": those, "lr": peak, "peak": peak, "weight_decay": decay} for (peak, decay), those in alike.items()]
    options = {key: getattr(spec, key) for key in OPTIMIZER_KEYS[spec.name]}
    if options.get("eps", 0) is None:
        del options["eps"]  # torch has its own for each rule
    if spec.name in _FUSED:
        options["fused"] = _all_float(model.parameters())
    made: Optimizer = _RULES[spec.name](named, **options)
    return made


def set_rate(optimizer: Optimizer, share: float) -> float:
    """Set every group to `share` of its peak; returns the highest rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    return float(max(group["lr"] for group in optimizer.param_groups))


def rates_of(optimizer: Optimizer) -> dict[Tensor, float]:
    """The learning rate that each parameter has now."""
    return {parameter: float(group["lr"]) for group in optimizer.param_groups for parameter in group["params"]}


def _peak(group: Group, spec: OptimizerSpec, modules: Mapping[str, ModuleBase], tasks: Mapping[str, TaskBase]) -> float:
    """The module's own rate; else, of what one task alone trains, the task's; else that of its kind. Less for deep layers.

    A layer's rate is a fixed share of that of the layer above (Howard and Ruder, ACL 2018; Clark et al., ICLR 2020).
    """
    known = {name: modules[name] for name in group.modules if name in modules}
    own = {name: module.lr for name, module in known.items() if module.lr is not None}
    if len(set(own.values())) > 1:
        (one, rate), (two, other) = list(own.items())[:2]
        rule = f"the modules {one!r} and {two!r} hold one weight, and their rates are {rate:g} and {other:g}"
        raise RecipeError(Problem(rule, f"modules.{two}.lr", remedy="give both the same rate, or one of them none"))
    decay = next((m.layer_decay for m in known.values() if isinstance(m, PretrainedModule | OverEncoder)), 1.0) ** group.depth
    if own:
        return float(next(iter(own.values())) * decay)
    if group.pretrained:
        return float(spec.lr * decay)
    task = tasks[group.tasks[0]].lr if len(group.tasks) == 1 and group.tasks[0] in tasks else None
    return next(rate for rate in (task, spec.head_lr, spec.lr) if rate is not None)


def _all_float(parameters: Iterable[nn.Parameter]) -> bool:
    """Fused Adam wants floating point parameters on a device that has the kernel."""
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in parameters)
