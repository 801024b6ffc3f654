"""Which parameters tasks share, and where the trunk ends: what gradient methods must know of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch.nn import Parameter

from manyheads.balance.backward import Layout
from manyheads.graph import Graph
from manyheads.model import Model

_LAYER = re.compile(r"^(.*?\.\d+)\.")  # up to the number of a layer: encoder.layer.3


def layout_of(model: Model, tasks: Iterable[str]) -> Layout:
    """The layout for these tasks. A parameter that two modules hold belongs to the tasks of both."""
    tasks = list(tasks)
    users: dict[Parameter, set[str]] = {}
    names: dict[Parameter, str] = {}
    for module, using in _users(model.graph).items():
        for name, parameter in model.pool[module].named_parameters():
            if parameter.requires_grad:
                users.setdefault(parameter, set()).update(using.intersection(tasks))
                names.setdefault(parameter, f"{module}.{name}")
    shared = [p for p, using in users.items() if len(using) > 1]
    inside = {id(p) for module in trunk_modules(model.graph, tasks) for p in model.pool[module].parameters()}
    return Layout(
        tuple(shared),
        {t: tuple(p for p, using in users.items() if using == {t}) for t in tasks},
        {t: tuple(p for p, using in users.items() if t in using and id(p) not in inside) for t in tasks},
        _blocks([(names[p], p.numel()) for p in shared]),
    )


def trunk_of(graph: Graph, tasks: Iterable[str]) -> int | None:
    """The last node that all of these tasks pass through."""
    wanted = set(tasks)
    return max((i for i, node in enumerate(graph.nodes) if wanted.issubset(node.tasks)), default=None)


def trunk_modules(graph: Graph, tasks: Iterable[str]) -> set[str]:
    """The modules of that node and of all before it."""
    end = trunk_of(graph, tasks)
    waiting, found = [] if end is None else [end], set()
    while waiting:
        node = graph.nodes[waiting.pop()]
        found.add(node.module)
        waiting += [ref.source for ref in node.inputs if isinstance(ref.source, int)]
    return found


def _users(graph: Graph) -> dict[str, set[str]]:
    users: dict[str, set[str]] = {}
    for node in graph.nodes:
        users.setdefault(node.module, set()).update(node.tasks)
    return users


def _blocks(sizes: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """Neighbours of one layer as one block; what is in no numbered layer goes by its module and first part."""
    blocks: dict[str, tuple[int, int]] = {}
    start = 0
    for name, size in sizes:
        layer = _LAYER.match(name)
        block = layer[1] if layer else ".".join(name.split(".")[:2])
        first, end = blocks.get(block, (start, start))
        if end != start:
            block, first = name, start  # not beside the rest of its layer
        blocks[block] = (first, start + size)
        start += size
    return blocks
