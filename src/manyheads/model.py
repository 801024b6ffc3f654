"""The pool of modules and the tasks that pass through it: a round in, an output a task out, shared steps once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from manyheads.errors import ManyheadsError, Problem, RecipeError, WiringError, listed, nearest
from manyheads.graph import Graph, Ref, wire
from manyheads.ports import Ports
from manyheads.task.base import Task
from manyheads.types import Batch, Output, Round, cat_rows, part_rows

Asked: TypeAlias = tuple[tuple[str, ...], ...]  # for each batch of a round, the tasks to answer


@dataclass(frozen=True, slots=True)
class _Call:
    """A node that runs once, over the rows of these batches of the round."""

    node: int
    module: nn.Module
    inputs: tuple[Ref, ...]
    batches: tuple[int, ...]


class Model(nn.Module):
    """Modules by name, and tasks whose paths name them.

    modules  any `nn.Module`; one with an attribute `ports` is checked against its neighbours before anything runs
    tasks    names must differ; every module of a path must be in the pool

    Two models share nothing but modules that the caller put into both. Raises RecipeError, WiringError.
    """

    def __init__(self, modules: Mapping[str, nn.Module], tasks: Sequence[Task]) -> None:
        super().__init__()
        self.pool = nn.ModuleDict()
        self.tasks: dict[str, Task] = {}
        self.graph = Graph((), {})
        self._programs: dict[Asked, list[_Call]] = {}
        self._add(tasks, modules)

    def add_task(self, task: Task, modules: Mapping[str, nn.Module] | None = None) -> None:
        """One more task; what is there already keeps its weights, and old tasks their outputs, bit for bit."""
        self._add([task], modules or {})

    def _add(self, tasks: Sequence[Task], modules: Mapping[str, nn.Module]) -> None:
        """Check everything first, so that a refused task leaves the model as it was."""
        grown = dict(self.tasks)
        for task in tasks:
            if not isinstance(task, Task):
                raise RecipeError(f"a task must be a manyheads.Task, found {type(task).__name__}")
            if task.name in grown:
                raise RecipeError(Problem("two tasks have the same name", f"tasks.{task.name}", task.name))
            grown[task.name] = task
        for name, module in modules.items():
            if name in self.pool and self.pool[name] is not module:
                rule = f"two modules want the name {name!r}: {self.pool[name]} and {module}"
                raise RecipeError(Problem(rule, f"modules.{name}"))
        pool = {**dict(self.pool.items()), **modules}
        graph = wire({t.name: t.steps for t in grown.values()}, {n: ports_of(m) for n, m in pool.items()})
        for name, module in modules.items():
            self._put(name, module)
        self.tasks, self.graph = grown, graph
        self._programs.clear()

    def _put(self, name: str, module: nn.Module) -> None:
        try:
            self.pool[name] = module
        except (KeyError, TypeError) as error:
            raise RecipeError(Problem(f"a module cannot have this name: {error.args[0]}", f"modules.{name}", name)) from error

    def forward(self, batches: Round, asked: Sequence[Collection[str]] | None = None) -> list[dict[str, Output]]:
        """For each batch of the round, the outputs of its tasks.

        `asked` names the tasks of each batch; default: those the batch has targets for. A step that several tasks or
        batches share runs once over all their rows.
        """
        wanted: Asked = tuple(tuple(a) for a in asked) if asked is not None else tuple(tuple(b.targets) for b in batches)
        program = self._programs.get(wanted) or self._compile(wanted)
        values: dict[int, tuple[Any, tuple[int, ...]]] = {}
        for call in program:
            arguments = [self._input(ref, call.batches, batches, values) for ref in call.inputs]
            values[call.node] = (self._run(call, arguments), call.batches)
        ends = self.graph.ends
        return [
            {task: Output(task, self._rows(values[ends[task]], (i,), batches)) for task in tasks}
            for i, tasks in enumerate(wanted)
        ]

    def answer(self, batch: Batch, tasks: Collection[str] | None = None) -> dict[str, Output]:
        """Outputs of one batch; default: of all tasks of the model."""
        return self([batch], [tuple(self.tasks if tasks is None else tasks)])[0]

    def losses(self, batches: Round) -> dict[str, Tensor]:
        """For each task of the round the sum of its item losses, a scalar with its graph; unweighted."""
        sums: dict[str, Tensor] = {}
        asked = [[t for t in batch.targets if t in self.tasks] for batch in batches]
        for batch, outputs in zip(batches, self(batches, asked), strict=True):
            for name, output in outputs.items():
                loss = self.tasks[name].loss_sum(output.scores, batch.targets[name])
                sums[name] = sums[name] + loss if name in sums else loss
        return sums

    def _compile(self, asked: Asked) -> list[_Call]:
        for name in {n for tasks in asked for n in tasks}:
            if name not in self.tasks:
                rule = f"the model has no such task (there are: {listed(self.tasks)})"
                raise RecipeError(Problem(rule, value=name, nearest=nearest(name, self.tasks)))
        users: dict[int, list[int]] = {}
        for i, tasks in enumerate(asked):
            for node in self.graph.needed(tasks):
                users.setdefault(node, []).append(i)
        program = [
            _Call(number, self.pool[self.graph.nodes[number].module], self.graph.nodes[number].inputs, tuple(users[number]))
            for number in sorted(users)
        ]
        self._programs[asked] = program
        return program

    def _input(
        self, ref: Ref, wanted: tuple[int, ...], batches: Round, values: Mapping[int, tuple[Any, tuple[int, ...]]]
    ) -> Any:
        if isinstance(ref.source, int):
            value = self._rows(values[ref.source], wanted, batches)
        elif len(wanted) == 1:
            value = _field(batches[wanted[0]], ref.source)
        else:
            value = cat_rows([_field(batches[i], ref.source) for i in wanted])
        if ref.attribute is None:
            return value
        return value[ref.attribute] if isinstance(value, Mapping) else getattr(value, ref.attribute)

    def _rows(self, value: tuple[Any, tuple[int, ...]], wanted: tuple[int, ...], batches: Round) -> Any:
        """The rows of `wanted` batches out of a result that holds those of more."""
        result, held = value
        if held == wanted:
            return result
        parts, start = [], 0
        for i in held:
            stop = start + len(batches[i])
            if i in wanted:
                parts.append(part_rows(result, start, stop))
            start = stop
        return cat_rows(parts)

    def _run(self, call: _Call, arguments: list[Any]) -> Any:
        try:
            return call.module(*arguments)
        except (ManyheadsError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            node = self.graph.nodes[call.node]
            rule = f"step {node.module!r} of {listed(node.tasks)} failed: {type(error).__name__}: {error}"
            raise WiringError(Problem(rule, f"modules.{node.module}")) from error


def ports_of(module: nn.Module) -> Ports:
    """What a module says that it takes and gives; anything, when it says nothing."""
    ports = getattr(module, "ports", None)
    return ports if isinstance(ports, Ports) else Ports()


def _field(batch: Batch, name: str | None) -> Any:
    if name is None:
        if len(batch.fields) == 1:
            return next(iter(batch.fields.values()))
        rule = f"the batch of {batch.dataset!r} has several fields ({listed(batch.fields)}); the first step must name its input"
        raise WiringError(Problem(rule, remedy="for example Step('trunk', inputs=('batch.x',))"))
    if name not in batch.fields:
        rule = f"the batch of {batch.dataset!r} has no such field (there are: {listed(batch.fields)})"
        raise WiringError(Problem(rule, value=name, nearest=nearest(name, batch.fields)))
    return batch.fields[name]
