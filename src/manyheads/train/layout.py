"""Which parameters tasks share, and where the trunk ends: what gradient methods must know of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch.nn import Parameter

from manyheads.balance.backward import Layout, Trunk
from manyheads.balance.balancer import Balancer
from manyheads.config.spec.balance import BalanceSpec
from manyheads.errors import Problem, RecipeError
from manyheads.graph import Graph, Node
from manyheads.model import Model
from manyheads.nn.language import LanguageHead
from manyheads.nn.masked import MaskedHead

_LAYER = re.compile(r"^(.*?\.\d+)\.")  # up to the number of a layer: encoder.layer.3


def balancer_of(spec: BalanceSpec, model: Model, tasks: Iterable[str]) -> Balancer:
    """The balance of these tasks of the model. RecipeError where a method cannot have them, or finds no trunk."""
    tasks = list(tasks)
    made = Balancer(spec, {t.name: t.weight for t in model.tasks.values()}, layout_of(model, tasks))
    _require_untied(made, model, tasks)
    if made.usual.tapped and trunk_of(model.graph, tasks) is None:
        rule = "nothing stands on the paths of all tasks, so there is no trunk at whose output gradients could be compared"
        if spec.aggregation.type != "sum":
            raise RecipeError(Problem(rule, "balance.aggregation.level", "trunk", remedy="level: rows"))
        remedy = "take another weighting, or an aggregation with `level: rows`"
        raise RecipeError(Problem(rule, "balance.weighting.type", spec.weighting.type, remedy=remedy))
    return made


def _require_untied(made: Balancer, model: Model, tasks: Iterable[str]) -> None:
    """RecipeError where a head also has weights of the trunk, whose gradient would have to go around the trunk's output."""
    inside = trunk_modules(model.graph, tasks)
    for task in tasks:
        head = model.pool[model.tasks[task].steps[-1].module]
        if isinstance(made.usual, Trunk) and inside and isinstance(head, LanguageHead | MaskedHead) and head.tied:
            rule = f"the output of task {task!r} is tied to the trunk's embedding, whose gradient is not all seen at its output"
            remedy, free = "give the aggregation `level: rows`", isinstance(head, LanguageHead)
            remedy = f"take `tied` out, or {remedy}" if free else remedy
            raise RecipeError(Problem(rule, f"tasks.{task}.{'tied' if free else 'type'}", remedy=remedy))


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
    """The last node that all of these tasks pass through, and that no step goes around to read what lies before it."""
    wanted = set(tasks)
    needed = graph.needed(wanted)
    for end in reversed(needed):
        inside = _upto(graph, end)
        read = {source for i in needed if i not in inside for source in _sources(graph.nodes[i])}
        if wanted.issubset(graph.nodes[end].tasks) and not read.intersection(inside - {end}):
            return end
    return None


def trunk_modules(graph: Graph, tasks: Iterable[str]) -> set[str]:
    """The modules of that node and of all before it."""
    end = trunk_of(graph, tasks)
    return set() if end is None else {graph.nodes[i].module for i in _upto(graph, end)}


def _upto(graph: Graph, end: int) -> set[int]:
    """A node and all that it is made from."""
    waiting, found = [end], set[int]()
    while waiting:
        number = waiting.pop()
        found.add(number)
        waiting += _sources(graph.nodes[number])
    return found


def _sources(node: Node) -> list[int]:
    return [ref.source for ref in node.inputs if isinstance(ref.source, int)]


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
