"""Paths become one graph: which step runs on what, once, for any set of tasks. Names and ports only, no tensors.

A path is a list of steps. A step names a module and its inputs; two tasks' steps that name one module and the same inputs
are one node, so what tasks share runs once. Everything that can be wrong with the wiring is found here, before training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from manyheads.errors import Problem, WiringError, listed, nearest
from manyheads.ports import ANY, SEEN, Port, Ports, sight

BATCH = "batch"  # `batch.<field>` names what the data give
_BROKEN = -1  # number of a step that cannot be wired, so that steps after it are not blamed for it


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path. `inputs` are earlier steps, `batch.<field>`, or either with an attribute (`encoder.mask`).

    Without inputs a step reads the step before it, and the first one the only field of the batch.
    """

    module: str
    inputs: tuple[str, ...] = ()
    name: str = ""

    @property
    def result(self) -> str:
        return self.name or self.module


@dataclass(frozen=True, slots=True)
class Ref:
    """Where an input comes from: a field of the batch or the node with this number; then, if named, an attribute of it.

    `source` None is the only field of the batch, whatever its name.
    """

    source: int | str | None
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A step of one or more tasks."""

    module: str
    inputs: tuple[Ref, ...]
    tasks: tuple[str, ...]
    gives: Port


Paths: TypeAlias = Mapping[str, Sequence[Step]]


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in an order in which they can run, and the node in which each task ends."""

    nodes: tuple[Node, ...]
    ends: Mapping[str, int]

    def needed(self, tasks: Iterable[str]) -> tuple[int, ...]:
        """The nodes that these tasks pass through, in running order."""
        wanted = set(tasks)
        return tuple(i for i, node in enumerate(self.nodes) if wanted.intersection(node.tasks))

    def shared(self) -> tuple[str, ...]:
        """Modules that more than one task uses, in order of first use."""
        users: dict[str, set[str]] = {}
        for node in self.nodes:
            users.setdefault(node.module, set()).update(node.tasks)
        return tuple(module for module, tasks in users.items() if len(tasks) > 1)


@dataclass(slots=True)
class _Wiring:
    """The graph while it grows."""

    modules: Mapping[str, Ports]
    fields: Mapping[str, Port] | None
    nodes: list[Node] = field(default_factory=list)
    known: dict[tuple[str, tuple[Ref, ...]], int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def wire(paths: Paths, modules: Mapping[str, Ports], fields: Mapping[str, Port] | None = None) -> Graph:
    """The graph of all paths.

    `fields` are the ports of the batch's fields where they are known already; None leaves them to the first batch.
    Raises WiringError with every problem: task, step, what it wanted and what is available.
    """
    wiring = _Wiring(modules, fields)
    ends = {task: _follow(wiring, task, path) for task, path in paths.items()}
    if wiring.problems:
        raise WiringError(*wiring.problems)
    return Graph(tuple(wiring.nodes), ends)


def _follow(wiring: _Wiring, task: str, path: Sequence[Step]) -> int:
    """Add one task's steps; the number of its last node. A step that cannot be wired is reported and left out."""
    if not path:
        wiring.problems.append(Problem("a path needs at least one step", f"tasks.{task}.path"))
    results: dict[str, int] = {}
    for position, step in enumerate(path):
        place = f"tasks.{task}.path[{position}]"
        if step.result in results or step.result == BATCH:
            rule = "two steps of one path have the same name; give one of them a `name` of its own"
            if step.result == BATCH:
                rule = f"{BATCH!r} is the name of what the data give; give the step another `name`"
            wiring.problems.append(Problem(rule, place, step.result))
        results.setdefault(step.result, _add(wiring, task, place, step, results))
    return list(results.values())[-1] if path else _BROKEN


def _add(wiring: _Wiring, task: str, place: str, step: Step, results: Mapping[str, int]) -> int:
    """The node of a step; `_BROKEN` where it, or a step that it reads, cannot be wired."""
    known = step.module in wiring.modules
    if not known:
        rule = f"step {step.result!r} names a module that is not in the pool (there are: {listed(wiring.modules)})"
        wiring.problems.append(Problem(rule, place, step.module, nearest(step.module, wiring.modules)))
    refs = _resolve(wiring, place, step, results)
    inputs = [(name, ref) for name, ref in refs if ref is not None and ref.source != _BROKEN]
    if not known or len(inputs) < len(refs) or not _fits(wiring, place, step, inputs):
        return _BROKEN
    return _node(wiring, task, step, tuple(ref for _, ref in inputs))


def _resolve(wiring: _Wiring, place: str, step: Step, results: Mapping[str, int]) -> list[tuple[str, Ref | None]]:
    """Where each input of a step comes from; None, and a problem, for one that is nowhere."""
    if not step.inputs and results:
        last = list(results)[-1]
        return [(last, Ref(results[last]))]
    refs = [(name, _lookup(name, results, wiring)) for name in step.inputs or (BATCH,)]
    available = [*_names(results, wiring), *(f"{BATCH}.{f}" for f in wiring.fields or ())]
    for name, ref in refs:
        if ref is None:
            rule = f"step {step.result!r} wants an input that is not there (available: {listed(available)})"
            wiring.problems.append(Problem(rule, place, name, nearest(name, available)))
    return refs


def _names(results: Mapping[str, int], wiring: _Wiring) -> Iterator[str]:
    """The results of earlier steps; of one that has several, each."""
    for name, number in results.items():
        parts = () if number == _BROKEN else wiring.nodes[number].gives.parts
        yield from (f"{name}.{part}" for part, _ in parts) if parts else (name,)


def _lookup(name: str, results: Mapping[str, int], wiring: _Wiring) -> Ref | None:
    if name in results:
        return Ref(results[name])
    head, _, attribute = name.partition(".")
    if head != BATCH:
        found = results.get(head)
        if found is None or not attribute or (found != _BROKEN and wiring.nodes[found].gives.part(attribute) is None):
            return None
        return Ref(found, attribute)
    fields = wiring.fields
    source, _, attribute = attribute.partition(".")
    if fields is None:
        return Ref(source or None, attribute or None)
    if not source:
        return Ref(next(iter(fields))) if len(fields) == 1 else None
    return Ref(source, attribute or None) if source in fields else None


def _fits(wiring: _Wiring, place: str, step: Step, refs: Sequence[tuple[str, Ref]]) -> bool:
    takes = wiring.modules[step.module].takes
    if takes is None:
        return True
    if len(takes) != len(refs):
        rule = f"step {step.result!r} feeds {len(refs)} inputs to module {step.module!r}, which takes {len(takes)}"
        wiring.problems.append(Problem(rule, place))
        return False
    wrong = [
        Problem(_misfit(step.result, name, given, wanted), place)
        for (name, ref), wanted in zip(refs, takes, strict=True)
        if not (given := _given(wiring, ref)).fits(wanted)
    ]
    wiring.problems.extend(wrong)
    return not wrong


def _misfit(step: str, name: str, given: Port, wanted: Port) -> str:
    if replace(given, sight="word").fits(wanted):
        rule = f"step {step!r} wants {wanted} that have seen {SEEN[wanted.sight]}"
        return f"{rule}; those of its input {name!r} have seen {SEEN[given.sight]}"
    return f"step {step!r} wants {wanted}, but its input {name!r} gives {given}"


def _given(wiring: _Wiring, ref: Ref) -> Port:
    if isinstance(ref.source, int):
        gives = wiring.nodes[ref.source].gives
        return gives if ref.attribute is None else gives.part(ref.attribute) or ANY
    if ref.attribute is not None:
        return ANY
    return replace((wiring.fields or {}).get(ref.source or "", ANY), sight="word")


def _node(wiring: _Wiring, task: str, step: Step, refs: tuple[Ref, ...]) -> int:
    key = (step.module, refs)
    if key in wiring.known:
        number = wiring.known[key]
        old = wiring.nodes[number]
        if task not in old.tasks:
            wiring.nodes[number] = replace(old, tasks=(*old.tasks, task))
        return number
    ports = wiring.modules[step.module]
    inputs = [_given(wiring, ref) for ref in refs]
    width = inputs[0].width if ports.same_width else ports.gives.width
    gives = replace(ports.gives, width=width, sight=sight(ports.looks, [given.sight for given in inputs]))
    wiring.known[key] = len(wiring.nodes)
    wiring.nodes.append(Node(step.module, refs, (task,), gives))
    return len(wiring.nodes) - 1
