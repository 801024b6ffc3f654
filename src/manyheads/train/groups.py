"""Which parameters have one learning rate, whatever the rates are: those of one layer, module and kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch.nn import Parameter

from manyheads.model import Model
from manyheads.nn.adapters import multipliers
from manyheads.nn.elmo import Elmo
from manyheads.nn.trunk import Trunk

_NUMBER = re.compile(r"(?:^|\.)(\d+)\.")


@dataclass(frozen=True, slots=True)
class Group:
    """What is the same for some parameters.

    modules     names of the modules that hold them; more than one for weights that are tied
    tasks       the tasks that train them
    pretrained  whether they are a trunk's or an ELMo's
    depth       layers of the trunk above them
    decays      False for biases, norms and other vectors
    """

    modules: tuple[str, ...]
    tasks: tuple[str, ...]
    pretrained: bool
    depth: int
    decays: bool


def groups_of(model: Model) -> dict[Group, list[Parameter]]:
    """Every parameter with a gradient, once. Two models of one recipe have the same groups in the same order."""
    users: dict[str, set[str]] = {name: set() for name in model.pool}
    for node in model.graph.nodes:
        users[node.module].update(node.tasks)
    holders: dict[Parameter, list[str]] = {}
    for name, module in model.pool.items():
        for parameter in module.parameters():
            holders.setdefault(parameter, []).append(name)
    depth = {p: d for module in model.modules() if isinstance(module, Trunk) for p, d in _depths(module).items()}
    depth |= {p: 0 for module in model.modules() if isinstance(module, Elmo) for p in module.parameters()}
    neutral_at_1 = {p for module in model.modules() if isinstance(module, Trunk) for p in multipliers(module.encoder)}
    found: dict[Group, list[Parameter]] = {}
    for parameter, modules in holders.items():
        if parameter.requires_grad:
            tasks = sorted(set().union(*(users[name] for name in modules)))
            decays = parameter.dim() > 1 and parameter not in neutral_at_1
            group = Group(tuple(modules), tuple(tasks), parameter in depth, depth.get(parameter, 0), decays)
            found.setdefault(group, []).append(parameter)
    return found


def depths(names: Iterable[str]) -> dict[str, int]:
    """How many layers of an encoder stand above each of its parameters, whose names come in the order of registration.

    The first number in a name is its layer. Names without one are embeddings where they say so or come before all layers,
    and stand below all of them; others, such as a last norm, stand at the top.

    >>> depths(["embeddings.word.weight", "encoder.layer.0.bias", "encoder.layer.1.bias", "pooler.bias"])
    {'embeddings.word.weight': 2, 'encoder.layer.0.bias': 1, 'encoder.layer.1.bias': 0, 'pooler.bias': 0}
    """
    layers = {name: int(match[1]) if (match := _NUMBER.search(name)) else None for name in names}
    count = 1 + max((layer for layer in layers.values() if layer is not None), default=-1)
    found: dict[str, int] = {}
    begun = False
    for name, layer in layers.items():
        begun = begun or layer is not None
        below = not begun or "embed" in name
        found[name] = count - 1 - layer if layer is not None else count if below else 0
    return found


def _depths(trunk: Trunk) -> Mapping[Parameter, int]:
    parameters = dict(trunk.encoder.named_parameters())
    return {parameters[name]: depth for name, depth in depths(parameters).items()}
