"""The pool of modules and the tasks that pass through it: a round in, an output a task out, shared steps once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from manyheads.errors import ManyheadsError, Problem, RecipeError, WiringError, listed, nearest
from manyheads.graph import Graph, Node, Ref, wire
from manyheads.nn.perturb import Noise, embeds
from manyheads.ports import Ports
from manyheads.task.base import Task
from manyheads.task.teaching import Comparable, Perturbation, Teachable, disagreement
from manyheads.types import Batch, Output, Round, by_row, cat_rows, part_rows, tensors_in

Asked: TypeAlias = tuple[tuple[str, ...], ...]  # for each batch of a round, the tasks to answer
_OURS = (ManyheadsError, MemoryError, torch.OutOfMemoryError)  # say all that is needed as they are
_Answers: TypeAlias = dict[tuple[int, str], Any]  # scores by the batch's number in its round, and the task
_Value: TypeAlias = tuple[Any, tuple[int, ...]]  # what a node gave, and the batches whose rows it holds


@dataclass(frozen=True, slots=True)
class _Call:
    """A node, by its number, that runs once over the rows of these batches of the round."""

    number: int
    node: Node
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
        pool = self._grown_pool(modules)
        graph = wire({t.name: t.steps for t in grown.values()}, {n: ports_of(m) for n, m in pool.items()})
        for task in tasks:
            _require_vectors(task, pool)
        self.pool, self.tasks, self.graph = pool, grown, graph
        self._programs.clear()

    def _grown_pool(self, modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
        pool = nn.ModuleDict(dict(self.pool.items()))
        for name, module in modules.items():
            place = f"modules.{name}"
            if not isinstance(module, nn.Module):
                raise RecipeError(Problem(f"a module must be a torch.nn.Module, found {type(module).__name__}", place))
            if name in pool and pool[name] is not module:
                raise RecipeError(Problem(f"two modules want one name: {_brief(pool[name])} and {_brief(module)}", place, name))
            try:
                pool[name] = module
            except KeyError as error:
                raise RecipeError(Problem(f"a module cannot have this name: {error.args[0]}", place, name)) from error
        return pool

    def forward(self, batches: Round, asked: Sequence[Collection[str]] | None = None) -> list[dict[str, Output]]:
        """For each batch of the round, the outputs of its tasks.

        `asked` names the tasks of each batch; default: those the batch has targets for, label sets without a task left
        out. A step that several tasks or batches share runs once over all their rows.
        """
        wanted = self._learned(batches) if asked is None else tuple(tuple(tasks) for tasks in asked)
        return self._ends(batches, wanted, self._values(batches, wanted))

    def answer(self, batch: Batch, tasks: Collection[str] | None = None) -> dict[str, Output]:
        """Outputs of one batch; default: of all tasks of the model."""
        outputs: list[dict[str, Output]] = self([batch], [tuple(self.tasks if tasks is None else tasks)])
        return outputs[0]

    def losses(self, batches: Round) -> dict[str, Tensor]:
        """For each task of the round the sum of its item losses, a scalar with its graph; only rows are weighted.

        In training the rows of tasks with `consistency` go through twice, side by side in one pass; those of tasks with a
        `perturbation` in passes of their own.
        """
        return self._losses(batches, None)[0]

    def losses_behind(self, node: int, batches: Round) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """The losses, and the tensors with a graph that node `node` of the path gave for all of them on the way."""
        return self._losses(batches, node)

    def _losses(self, batches: Round, node: int | None) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        twins = self._twins(batches, None)
        found, given = self._pass([*batches, *twins.values()], node)
        first, again = _numbered(range(len(batches)), found), _numbered(twins, found[len(batches) :])
        for perturbation in self._perturbations(batches):
            others, more = self._perturbed(self._twins(batches, perturbation), first, perturbation, node)
            again |= others
            given += more
        return self._sums(batches, first, again), given

    def _perturbations(self, batches: Round) -> list[Perturbation]:
        """Those of the tasks that learn from these batches, each once."""
        learned = {task for tasks in self._learned(batches) for task in tasks} if self.training else ()
        found = [task.perturbation for name, task in self.tasks.items() if name in learned and task.perturbation is not None]
        return list(dict.fromkeys(found))

    def _twins(self, batches: Round, perturbation: Perturbation | None) -> dict[int, Batch]:
        """By its number each batch once more, for the tasks with `consistency` and this perturbation, if it has any."""
        twins: dict[int, Batch] = {}
        for i, batch in enumerate(batches if self.training else ()):
            tasks = [self.tasks[name] for name in batch.targets if name in self.tasks]
            asked = [task.name for task in tasks if task.consistency and task.perturbation == perturbation]
            if asked:
                twins[i] = replace(batch, targets={name: batch.targets[name] for name in asked})
        return twins

    def _perturbed(
        self, twins: Mapping[int, Batch], first: _Answers, perturbation: Perturbation, node: int | None
    ) -> tuple[_Answers, tuple[Tensor, ...]]:
        """The second answers, to rows with noise on their embeddings, and what `node` gave for them."""
        batches = list(twins.values())
        still = {key: scores.detach() if isinstance(scores, Tensor) else scores for key, scores in first.items()}

        def apart() -> Tensor:
            again = _numbered(twins, self._pass(batches, None)[0])
            return torch.stack([self._apart(name, still[i, name], again[i, name], twins[i]) for i, name in again]).sum()

        with Noise(self.pool.values(), perturbation.noise) as noise:
            for _ in range(perturbation.ascents):
                noise.climb(apart, perturbation.step)
            found, given = self._pass(batches, node)
        return _numbered(twins, found), given

    def _learned(self, batches: Round) -> Asked:
        return tuple(tuple(t for t in batch.targets if t in self.tasks) for batch in batches)

    def _pass(self, batches: Round, node: int | None) -> tuple[list[dict[str, Output]], tuple[Tensor, ...]]:
        """The outputs of what the batches have targets for, and the tensors with a graph that `node` gave on the way."""
        wanted = self._learned(batches)
        values = self._values(batches, wanted)
        given = tensors_in(values[node][0]) if node in values else []
        return self._ends(batches, wanted, values), tuple(t for t in given if t.requires_grad)

    def _values(self, batches: Round, wanted: Asked) -> dict[int, _Value]:
        values: dict[int, _Value] = {}
        for call in self._programs.get(wanted) or self._compile(wanted):
            values[call.number] = (self._run(call, batches, values), call.batches)
        return values

    def _ends(self, batches: Round, wanted: Asked, values: Mapping[int, _Value]) -> list[dict[str, Output]]:
        return [{task: self._end(task, i, batches, values) for task in tasks} for i, tasks in enumerate(wanted)]

    def _sums(self, batches: Round, first: _Answers, again: _Answers) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        for (i, name), scores in first.items():
            loss = self._loss(name, scores, batches[i])
            if (i, name) in again:
                loss = self._agreed(name, loss, scores, again[i, name], batches[i])
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
        program = [_Call(number, self.graph.nodes[number], tuple(users[number])) for number in sorted(users)]
        self._programs[asked] = program
        return program

    def _run(self, call: _Call, batches: Round, values: Mapping[int, _Value]) -> Any:
        name = call.node.module
        try:
            return self.pool[name](*[_input(ref, call.batches, batches, values) for ref in call.node.inputs])
        except _OURS:
            raise
        except Exception as error:
            raise _failed(error, f"step {name!r} of {listed(call.node.tasks)}", f"modules.{name}") from error

    def _end(self, task: str, batch: int, batches: Round, values: Mapping[int, _Value]) -> Output:
        parts = batches[batch].parts
        try:
            scores = _rows(values[self.graph.ends[task]], None, (batch,), batches)
            return Output(task, scores if parts is None else by_row(scores, parts))
        except (TypeError, ValueError) as error:
            raise _failed(error, f"parting the scores of task {task!r}", f"tasks.{task}") from error

    def _loss(self, name: str, scores: Any, batch: Batch) -> Tensor:
        task, weights, soft = self.tasks[name], batch.weights.get(name), batch.soft.get(name)
        try:
            loss = task.loss_sum(scores, batch.targets[name], weights)
            if task.teaching is None or soft is None or not isinstance(task.type, Teachable):
                return loss
            return task.teaching.mixed(loss, task.type, scores, soft, weights)
        except _OURS:
            raise
        except Exception as error:
            raise _failed(error, f"the loss of task {name!r}", f"tasks.{name}") from error

    def _agreed(self, name: str, loss: Tensor, first: Any, second: Any, batch: Batch) -> Tensor:
        """What two answers to the same rows lose, and what they cost for being apart.

        The mean of both losses; of an answer to noise none, since it is to be like the first and no better.
        """
        task = self.tasks[name]
        lost = (loss + self._loss(name, second, batch)) / 2 if task.perturbation is None else loss
        return lost + task.consistency * self._apart(name, first, second, batch)

    def _apart(self, name: str, first: Any, second: Any, batch: Batch) -> Tensor:
        task = self.tasks[name]
        soft = batch.soft.get(name) if task.teaching is not None else None
        try:
            return disagreement(cast(Comparable, task.type), first, second, batch.targets[name], soft, batch.weights.get(name))
        except _OURS:
            raise
        except Exception as error:
            raise _failed(error, f"the consistency of task {name!r}", f"tasks.{name}") from error


def ports_of(module: nn.Module) -> Ports:
    """What a module says that it takes and gives; anything, when it says nothing."""
    ports = getattr(module, "ports", None)
    return ports if isinstance(ports, Ports) else Ports()


def _require_vectors(task: Task, pool: nn.ModuleDict) -> None:
    """RecipeError for noise that no module of the path would feel."""
    if task.perturbation is None or any(embeds(pool[step.module]) is not None for step in task.steps):
        return
    rule = "no module of the path makes vectors of pieces, so there is nothing to put noise on"
    remedy = "give the module of your own that does an attribute `embeds`: the part of it that gives the vectors"
    raise RecipeError(Problem(rule, f"tasks.{task.name}.perturbation", remedy=remedy))


def _numbered(batches: Iterable[int], found: Sequence[Mapping[str, Output]]) -> _Answers:
    return {(i, name): out.scores for i, outputs in zip(batches, found, strict=False) for name, out in outputs.items()}


def _input(ref: Ref, wanted: tuple[int, ...], batches: Round, values: Mapping[int, _Value]) -> Any:
    """What a step reads, for the rows of `wanted` batches."""
    if isinstance(ref.source, int):
        return _rows(values[ref.source], ref.attribute, wanted, batches)
    return _attribute(cat_rows([_field(batches[i], ref.source) for i in wanted]), ref.attribute)


def _rows(value: _Value, attribute: str | None, wanted: tuple[int, ...], batches: Round) -> Any:
    """The rows of `wanted` batches out of a result that holds those of more."""
    result, held = _attribute(value[0], attribute), value[1]
    if held == wanted:
        return result
    starts = list(accumulate((batches[i].sequences for i in held), initial=0))
    spans: list[tuple[int, int]] = []
    for i, (start, stop) in zip(held, pairwise(starts), strict=True):
        if i in wanted and spans and spans[-1][1] == start:  # neighbours are one view
            spans[-1] = (spans[-1][0], stop)
        elif i in wanted:
            spans.append((start, stop))
    return cat_rows([part_rows(result, start, stop, starts[-1]) for start, stop in spans])


def _attribute(value: Any, name: str | None) -> Any:
    if name is None:
        return value
    return value[name] if isinstance(value, Mapping) else getattr(value, name)


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


def _failed(error: Exception, what: str, place: str) -> Exception:
    """What to raise where a module or a loss failed: an error that names it; of a CPU without memory, a MemoryError."""
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return MemoryError(f"{what}: {error}")
    return WiringError(Problem(f"{what} failed: {type(error).__name__}: {error}", place))


def _brief(module: nn.Module) -> str:
    """A module in one line: as it prints, or its class and size when it has parts."""
    text, size = repr(module), sum(p.numel() for p in module.parameters())
    return f"{type(module).__name__} of {size:,} parameters" if "\n" in text else text
