"""The training loop: a generator that yields after every optimizer step. Whoever reads it evaluates, saves and stops.

for progress in train(model, datasets, stream, optimizer, spec, state=state, ...):
    ...                                # leave the loop to stop; `state` holds all that a later call needs
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from manyheads.balance.backward import Gramians, Part
from manyheads.balance.conflict import Pair
from manyheads.balance.weighting import Moment
from manyheads.config.check_mixture import check_learning
from manyheads.config.node import refuse
from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.modules import ModuleBase
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.batching import join
from manyheads.data.dataset import Dataset, TextDataset
from manyheads.data.stream import Draw, Position, Stream
from manyheads.errors import NumericsError, Problem, ResourceError
from manyheads.failpoints import reach
from manyheads.model import Model
from manyheads.train.anchor import Anchor
from manyheads.train.engine import Engine
from manyheads.train.freeze import Freezing
from manyheads.train.layout import balancer_of, trunk_of
from manyheads.train.optim import set_rate
from manyheads.train.schedule import factor
from manyheads.types import Batch

_SHOWN = 16  # rows that a message names
_SKIPS = 10  # steps in a row whose gradient may overflow before the run stops
_LOWER = "lower `training.optimizer.lr` or `training.clip` and run the same command again"


@dataclass(slots=True)
class State:
    """All that a run must remember beside weights and moments: a few numbers and names."""

    position: Position
    step: int = 0
    skipped: int = 0
    retired: tuple[str, ...] = ()
    balance: dict[str, Any] = field(default_factory=dict)
    mixture: dict[str, Any] = field(default_factory=dict)
    scale: float = 1.0

    def to_json(self) -> dict[str, Any]:
        return {
            "position": self.position.to_json(),
            "step": self.step,
            "skipped": self.skipped,
            "retired": list(self.retired),
            "balance": self.balance,
            "mixture": self.mixture,
            "scale": self.scale,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> State:
        position, retired = Position.from_json(data["position"]), tuple(data["retired"])
        return cls(position, data["step"], data["skipped"], retired, data["balance"], data["mixture"], data["scale"])


@dataclass(frozen=True, slots=True)
class Progress:
    """One optimizer step, done.

    losses     task to its mean loss over the step's items, without the task's weight
    items      task to how many items that was; where rows have weights, the sum of them over the items
    rows       data set to rows, over all processes; `batches` and `tokens` (pieces without padding) likewise
    norm       norm of the whole gradient before clipping
    epoch_end  True when the next step belongs to another epoch
    skipped    True when the gradient was not finite and the weights were left alone
    gramians   inner products of the tasks' gradients, in steps whose cosines are recorded
    conflicts  pairs of tasks whose gradients have been in conflict for long, told once, with their mean cosine
    weights    task to what its loss was multiplied by: the weighting's factor times its own weight
    """

    step: int
    steps: int
    epoch: int
    losses: Mapping[str, float]
    items: Mapping[str, float]
    rows: Mapping[str, int]
    batches: Mapping[str, int]
    tokens: Mapping[str, int]
    rate: float
    norm: float
    epoch_end: bool
    skipped: bool
    gramians: Gramians | None = None
    conflicts: Sequence[tuple[Pair, float]] = ()
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Step:
    """What one optimizer step is made of, known to every rank before anything runs."""

    rounds: list[list[Draw]]
    items: dict[str, float] = field(default_factory=dict)
    draws: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)


def rounds_in(stream: Stream, spec: TrainingSpec) -> int:
    """Rounds of the whole run."""
    if spec.steps is not None:
        return spec.steps * spec.accumulate
    return sum(stream.rounds_in(epoch) for epoch in range(spec.epochs))


def steps_in(stream: Stream, spec: TrainingSpec) -> int:
    """Optimizer steps of the whole run; the last one may hold fewer rounds than `accumulate`."""
    return math.ceil(rounds_in(stream, spec) / spec.accumulate)


def train(
    model: Model,
    datasets: Mapping[str, Dataset],
    stream: Stream,
    optimizer: Optimizer,
    spec: TrainingSpec,
    *,
    state: State,
    engine: Engine,
    seed: int,
    balance: BalanceSpec | None = None,
    modules: Mapping[str, ModuleBase] | None = None,
    anchor: Anchor | None = None,
) -> Iterator[Progress]:
    """Train from where `state` stands, a step an iteration; `state` moves along and is true at every yield.

    The loss of a step is the sum over tasks of weight x mean over that task's items in the whole step, over all rounds
    and processes, a row of weight w counted as w rows; `balance` may say otherwise. With `accumulate` M a task counts by its
    share of the M rounds, so that an accumulated step of one task equals the step of one big batch. `modules` says what is
    frozen and when. Raises NumericsError before a loss that is not finite touches the weights.
    """
    total, freezing = rounds_in(stream, spec), Freezing(model, modules or {})
    update = _Update(model, datasets, optimizer, spec, engine, seed, math.ceil(total / spec.accumulate), freezing, anchor)
    refuse(check_learning(stream.spec, spec))
    rounds, followed = _rounds(stream, state)
    try:
        freezing.apply(state.step)
        update.balance(balance or BalanceSpec(), state)
        while state.step < update.steps:
            drawn = list(islice(rounds, min(spec.accumulate, total - state.step * spec.accumulate)))
            if not drawn:
                return  # every task has left
            reach("train.step")
            if freezing.apply(state.step):  # other parameters are trained from here on
                update.balance(balance or BalanceSpec(), state)
            progress = update([draws for draws, _ in drawn], drawn[-1][1], state)
            alone = {} if progress.skipped or len(progress.rows) != 1 else dict.fromkeys(progress.rows, progress.norm)
            state.mixture = stream.learn(state.mixture, state.position, norms=alone)
            yield progress
            if (state.retired, state.mixture.get("shares")) != followed:  # the reader took a task out, or the mixture learned
                rounds, followed = _rounds(stream, state)
    finally:
        freezing.release()


def _rounds(stream: Stream, state: State) -> tuple[Iterator[tuple[list[Draw], Position]], tuple[Any, Any]]:
    """What is left of the run, and what it hangs on beside the position."""
    rounds = stream.rounds(state.position, state.retired, state.mixture)
    return rounds, (state.retired, state.mixture.get("shares"))


class _Update:
    """One optimizer step."""

    def __init__(
        self,
        model: Model,
        datasets: Mapping[str, Dataset],
        optimizer: Optimizer,
        spec: TrainingSpec,
        engine: Engine,
        seed: int,
        steps: int,
        freezing: Freezing,
        anchor: Anchor | None,
    ) -> None:
        self.model, self.datasets, self.optimizer = model, datasets, optimizer
        self.spec, self.engine, self.seed, self.steps = spec, engine, seed, steps
        self.freezing, self.anchor = freezing, anchor
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

    def __call__(self, rounds: list[list[Draw]], position: Position, state: State) -> Progress:
        self.engine.seed(self.seed, state.step)
        rate = set_rate(self.optimizer, state.scale * factor(self.spec.schedule, state.step, self.steps))
        if not self.model.training:
            self.model.train()
            self.freezing.settle()
        step = self._count(rounds)
        tasks = tuple(task for task, items in step.items.items() if items)
        self.balancer.start(Moment(self.seed, state.step, state.position.epoch, tasks))
        try:
            sums = self._forward(step)
            losses = self._means(step, self.engine.sum(sums), state.step + 1)
            self.balancer.finish(losses, self.engine)
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            rule = f"memory ran out in step {state.step + 1}, on {dict(step.rows)} rows"
            remedy = "lower `training.batch` and raise `training.accumulate` by as much: the updates stay the same"
            raise ResourceError(Problem(rule, remedy=remedy)) from error
        self.engine.sum_gradients(self.parameters)
        norm = _clip(self.parameters, self.spec.clip, self.spec.clip_value)
        skipped = not math.isfinite(norm)
        look = None if skipped else self.balancer.look
        conflicts = self.balancer.conflicts.see(look) if look is not None else []
        if not skipped:
            if self.anchor is not None:
                self.anchor.see(step.rows)
            self.optimizer.step()
            if self.anchor is not None:
                self.anchor.pull(rate)
            self.balancer.learn(losses)
            state.balance = self.balancer.to_json()
        self.optimizer.zero_grad(set_to_none=True)
        epoch, state.position = state.position.epoch, position
        state.step += 1
        state.skipped += skipped
        self._count_bad(skipped, state.step)
        ended = position.epoch > epoch or state.step == self.steps
        counts = dict(step.items), dict(step.rows), dict(step.batches), dict(step.tokens)
        return Progress(
            state.step, self.steps, epoch, losses, *counts, rate, norm, ended, skipped, look, conflicts, self.balancer.weights
        )

    def _count(self, rounds: list[list[Draw]]) -> _Step:
        """Items and draws of each task over the whole step, the same on every rank."""
        step = _Step(rounds)
        for draw in (d for draws in rounds for d in draws):
            data = self.datasets[draw.dataset]
            step.rows[draw.dataset] += len(draw.rows)
            step.batches[draw.dataset] += 1
            step.tokens[draw.dataset] += int(data.lengths[draw.rows].sum())
            for task in data.tasks:
                if task in self.model.tasks:
                    step.items[task] = step.items.get(task, 0) + data.items(task)[draw.rows].sum().item()
                    step.draws[task] += 1
        return step

    def _forward(self, step: _Step) -> Tensor:
        """Losses of every round to the balancer; the sum of each task's item losses, in the order of `step.items`."""
        sums: dict[str, Tensor] = {}
        for draws in step.rounds:
            shares = [(self.datasets[d.dataset], self.engine.share(d.rows)) for d in draws]
            batches = [data.batch(rows).to(self.engine.device) for data, rows in shares if len(rows)]
            for together in [[batch] for batch in batches] if self.balancer.apart else join(batches):
                with self.engine.autocast():
                    losses, trunk = self._losses(together)
                parts = {}
                for task, loss in losses.items():
                    sums[task] = sums[task] + loss.detach() if task in sums else loss.detach()
                    if step.items[task]:
                        parts[task] = loss * (step.draws[task] / len(step.rounds) / step.items[task])
                self.balancer.add(Part(parts, trunk))
        nothing = torch.zeros((), device=self.engine.device)
        return torch.stack([sums.get(task, nothing).float() for task in step.items]) if step.items else nothing.reshape(1)[:0]

    def _losses(self, batches: list[Batch]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        if self.balancer.tapped and self.trunk is not None:
            return self.model.losses_behind(self.trunk, batches)
        return self.model.losses(batches), ()

    def _means(self, step: _Step, sums: Tensor, number: int) -> dict[str, float]:
        """Mean loss of each task that had items. NumericsError for one that is not finite, with the rows that gave it."""
        means = {}
        for (task, items), total in zip(step.items.items(), sums.tolist(), strict=True):
            if not items:
                continue
            means[task] = total / items
            if not math.isfinite(total):
                draws = [d for draws in step.rounds for d in draws if task in self.datasets[d.dataset].tasks]
                rows = "; ".join(_told(self.datasets[d.dataset], d.rows.tolist()[:_SHOWN]) for d in draws)
                rule = f"the loss of task {task!r} is {total} in step {number}, on {rows}"
                raise NumericsError(Problem(rule, remedy=f"the step was not taken; {_LOWER}"))
        return means

    def _count_bad(self, skipped: bool, number: int) -> None:
        self.bad = self.bad + 1 if skipped else 0
        if self.bad == _SKIPS:
            rule = f"the gradient was not finite in {_SKIPS} steps in a row, the last of them step {number}"
            raise NumericsError(Problem(rule, remedy=f"{_LOWER}, or train in fp32"))


def _told(data: Dataset, rows: Sequence[int]) -> str:
    """Where rows stand: file and line, or their numbers in the data set."""
    if isinstance(data, TextDataset):
        return ", ".join(str(data.place(row)) for row in rows)
    return f"{data.name} rows {list(rows)}"


def _is_out_of_memory(error: Exception) -> bool:
    """True for any of the ways in which Python and torch say it, on a CPU too."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _clip(parameters: Sequence[torch.nn.Parameter], limit: float | None, value: float | None) -> float:
    """The norm of the whole gradient, whose elements are then cut to `value` and which is scaled down to `limit`."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return 0.0
    norm = whole = torch.nn.utils.get_total_norm(gradients)
    if value is not None and math.isfinite(whole):  # a cut would hide what is not finite
        torch.nn.utils.clip_grad_value_(parameters, value)
        norm = torch.nn.utils.get_total_norm(gradients)
    if limit is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return float(whole)
