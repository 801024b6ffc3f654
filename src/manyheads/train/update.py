"""One optimizer step: the rounds it is made of, their losses, a gradient, and the update."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from manyheads.balance.backward import Part
from manyheads.balance.weighting import Moment
from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.batching import join
from manyheads.data.dataset import Dataset, TextDataset
from manyheads.data.stream import Draw, Position
from manyheads.errors import NumericsError, Problem, ResourceError
from manyheads.model import Model
from manyheads.train.anchor import Anchor
from manyheads.train.engine import Engine
from manyheads.train.freeze import Freezing
from manyheads.train.layout import balancer_of, trunk_of
from manyheads.train.optim import rates_of, set_rate
from manyheads.train.orthogonality import Orthogonality
from manyheads.train.schedule import factor
from manyheads.train.state import Progress, State
from manyheads.train.taught import Taught
from manyheads.types import Batch

_SHOWN = 16  # rows that a message names
_SKIPS = 10  # steps in a row whose gradient may overflow before the run stops
_LOWER = "lower `training.optimizer.lr` or `training.clip` and run the same command again"


@dataclass(slots=True)
class Load:
    """What a step is made of, known to every rank before anything runs."""

    rounds: Sequence[Sequence[Draw]]
    items: dict[str, float] = field(default_factory=dict)
    draws: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)

    def share(self, task: str) -> float:
        """Batches of the task a round: what its mean loss is multiplied by, so that the loss follows the mixture."""
        return self.draws[task] / len(self.rounds)

    @property
    def learning(self) -> tuple[str, ...]:
        """Tasks with anything to learn in it."""
        return tuple(task for task, items in self.items.items() if items)


class Update:
    """Makes the steps of a run; `balance` comes first, and again whenever other parameters are trained.

    steps     of the whole run, which rates follow
    freezing  what stands still now, kept so when a step puts the model back into training mode
    """

    def __init__(
        self,
        model: Model,
        datasets: Mapping[str, Dataset],
        optimizer: Optimizer,
        spec: TrainingSpec,
        *,
        engine: Engine,
        seed: int,
        steps: int,
        freezing: Freezing,
        anchor: Anchor | None,
    ) -> None:
        self.model, self.datasets, self.optimizer, self.spec = model, datasets, optimizer, spec
        self.engine, self.seed, self.steps = engine, seed, steps
        self.freezing, self.anchor = freezing, anchor
        self.orthogonality = Orthogonality(spec.orthogonality, model) if spec.orthogonality else None
        self.learned = [t for data in datasets.values() for t in data.tasks if t in model.tasks]
        self.trunk = trunk_of(model.graph, self.learned)
        self.bad = 0
        model.train()  # every module: a loaded encoder comes in evaluation mode inside a model that is not

    def balance(self, spec: BalanceSpec, state: State) -> None:
        """Balance the parameters that have a gradient now, from where `state` stands."""
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.balancer = balancer_of(spec, self.model, self.learned)
        if state.balance:
            self.balancer.restore(state.balance)

    def __call__(self, rounds: Sequence[Sequence[Draw]], position: Position, state: State) -> Progress:
        """Take a step over these rounds, behind which the run stands at `position`; `state` moves there."""
        rate = self._begin(state)
        load = self._count(rounds)
        with self._memory(load, state.step + 1):
            losses = self._backward(load, state)
        self.engine.sum_gradients(self.parameters)
        apart = self.orthogonality.add() if self.orthogonality is not None else None
        norm = norm_of(self.parameters)
        skipped = not math.isfinite(norm)
        look = None if skipped else self.balancer.look
        conflicts = self.balancer.conflicts.see(look) if look is not None else []
        if not skipped:
            self._take(load, losses, norm)
            state.balance = self.balancer.to_json()
        self.optimizer.zero_grad(set_to_none=True)
        epoch, state.position = state.position.epoch, position
        state.step += 1
        state.skipped += skipped
        self._count_bad(skipped, state.step)
        last = state.is_through(self.spec, self.steps)
        return Progress(
            step=state.step,
            steps=self.steps,
            epoch=epoch,
            losses=losses,
            items=load.items,
            rows=dict(load.rows),
            batches=dict(load.batches),
            tokens=dict(load.tokens),
            rate=rate,
            norm=float(norm),
            epoch_end=position.epoch > epoch or last,
            last=last,
            skipped=skipped,
            gramians=look,
            conflicts=conflicts,
            weights=self.balancer.weights,
            orthogonality=apart,
        )

    def _begin(self, state: State) -> float:
        """Noise, rate and mode of the step; the rate."""
        self.engine.seed(self.seed, state.step)
        if not self.model.training:
            self.model.train()
            self.freezing.settle()
        return set_rate(self.optimizer, state.scale * factor(self.spec.schedule, state.step, self.steps))

    def _count(self, rounds: Sequence[Sequence[Draw]]) -> Load:
        """Items and draws of each task over the whole step, the same on every rank."""
        load = Load(rounds)
        for draw in (d for draws in rounds for d in draws):
            data = self.datasets[draw.dataset]
            load.rows[draw.dataset] += len(draw.rows)
            load.batches[draw.dataset] += 1
            load.tokens[draw.dataset] += int(data.lengths[draw.rows].sum())
            for task in data.tasks:
                if task in self.model.tasks:
                    load.items[task] = load.items.get(task, 0) + data.items(task)[draw.rows].sum().item()
                    load.draws[task] += 1
        return load

    def _backward(self, load: Load, state: State) -> dict[str, float]:
        """The gradient of this process's rows; each task's mean loss over those of all."""
        self.balancer.start(Moment(self.seed, state.step, state.position.epoch, load.learning))
        losses = self._means(load, self.engine.sum(self._forward(load)), state.step + 1)
        self.balancer.finish(losses, self.engine)
        return losses

    def _forward(self, load: Load) -> Tensor:
        """Losses of every round to the balancer; the sum of each task's item losses, in the order of `load.items`."""
        sums: dict[str, Tensor] = {}
        for draws in load.rounds:
            shares = [(self.datasets[d.dataset], self.engine.share(d.rows)) for d in draws]
            batches = [data.batch(rows).to(self.engine.device) for data, rows in shares if len(rows)]
            for together in [[batch] for batch in batches] if self.balancer.apart else join(batches):
                with self.engine.autocast():
                    losses, trunk = self._losses(together)
                parts = {}
                for task, loss in losses.items():
                    sums[task] = sums[task] + loss.detach() if task in sums else loss.detach()
                    if load.items[task]:
                        parts[task] = loss * (load.share(task) / load.items[task])
                self.balancer.add(Part(parts, trunk))
        nothing = torch.zeros((), device=self.engine.device)
        return torch.stack([sums.get(task, nothing).float() for task in load.items]) if load.items else nothing.reshape(1)[:0]

    def _losses(self, batches: Sequence[Batch]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        if self.balancer.tapped and self.trunk is not None:
            return self.model.losses_behind(self.trunk, batches)
        return self.model.losses(batches), ()

    def _means(self, load: Load, sums: Tensor, number: int) -> dict[str, float]:
        """Mean loss of each task that had items. NumericsError for one that is not finite, with the rows that gave it."""
        means = {}
        for (task, items), total in zip(load.items.items(), sums.tolist(), strict=True):
            if not items:
                continue
            means[task] = total / items
            if not math.isfinite(total):
                draws = [d for draws in load.rounds for d in draws if task in self.datasets[d.dataset].tasks]
                rows = "; ".join(_told(self.datasets[d.dataset], d.rows.tolist()[:_SHOWN]) for d in draws)
                rule = f"the loss of task {task!r} is {total} in step {number}, on {rows}"
                raise NumericsError(Problem(rule, remedy=f"the step was not taken; {_LOWER}"))
        return means

    def _take(self, load: Load, losses: Mapping[str, float], norm: Tensor) -> None:
        """The step itself, and what is learned from it."""
        if self.anchor is not None:
            self.anchor.see(load.rows)
        clip(self.parameters, norm, self.spec.clip, self.spec.clip_value)
        self.optimizer.step()
        if self.anchor is not None:
            self.anchor.pull(rates_of(self.optimizer))
        self.balancer.learn(losses, {task: load.share(task) for task in load.learning})

    def _count_bad(self, skipped: bool, number: int) -> None:
        self.bad = self.bad + 1 if skipped else 0
        if self.bad == _SKIPS:
            rule = f"the gradient was not finite in {_SKIPS} steps in a row, the last of them step {number}"
            raise NumericsError(Problem(rule, remedy=f"{_LOWER}, or train in fp32"))

    @contextmanager
    def _memory(self, load: Load, number: int) -> Iterator[None]:
        """ResourceError where memory runs out inside, with what there was to hold."""
        try:
            yield
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            rule = f"memory ran out in step {number}, on {dict(load.rows)} rows"
            remedy = "lower `training.batch` and raise `training.accumulate` by as much: the updates stay the same"
            raise ResourceError(Problem(rule, remedy=remedy)) from error


def norm_of(parameters: Sequence[Parameter]) -> Tensor:
    """The norm of the whole gradient."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())


def clip(parameters: Sequence[Parameter], norm: Tensor, limit: float | None, value: float | None) -> None:
    """Cut a gradient of this finite norm to `value`, element by element, and scale it down to `limit`."""
    if value is not None:
        torch.nn.utils.clip_grad_value_(parameters, value)
        norm = norm_of(parameters)
    if limit is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)


def _told(data: Dataset, rows: Sequence[int]) -> str:
    """Where rows stand: file and line, or their numbers in the data set."""
    if isinstance(data, Taught):
        return _told(data.data, rows)
    if isinstance(data, TextDataset):
        return ", ".join(str(data.place(row)) for row in rows)
    return f"{data.name} rows {list(rows)}"


def _is_out_of_memory(error: Exception) -> bool:
    """True for any of the ways in which Python and torch say it, on a CPU too."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
