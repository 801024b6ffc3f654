"""How the gradients of a step come about: one pass over the sum of the losses, or a gradient a task that an aggregation joins.

OnePass  the plain sum
Rows     each task's whole gradient in what tasks share is kept: K times those parameters, exact
Trunk    each task's gradient at the trunk's output, summed over rows and positions, stands for the whole one: no more
         memory and one pass through the trunk, but an approximation. That sum is the exact gradient of a shift of the
         output, such as the bias of a last layer norm. (Sener and Koltun 2018 use the output's gradient itself, which
         says nothing where tasks do not share rows.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from manyheads.balance.aggregation import Aggregation, GramianAggregation, RowsAggregation, weigh
from manyheads.balance.weighting import Moment

_COLUMNS = 2**20  # numbers that are held in double precision at a time


@dataclass(frozen=True, slots=True)
class Layout:
    """Whose parameters are whose; frozen ones are left out.

    shared  those that more than one task trains
    own     task to those that it alone trains
    beyond  task to those that come after the trunk, its own and those that it shares with some
    blocks  name to the span (from, to) of a block of layers in the shared parameters laid end to end
    """

    shared: tuple[Parameter, ...]
    own: Mapping[str, tuple[Parameter, ...]]
    beyond: Mapping[str, tuple[Parameter, ...]]
    blocks: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Part:
    """Losses of batches that ran together.

    losses  task to its weighted share of the step's loss, a scalar with its graph
    trunk   what the trunk gave for them, (B, ..., D) each, none made from another; empty unless the way is tapped
    """

    losses: Mapping[str, Tensor]
    trunk: tuple[Tensor, ...] = ()


class Exchange(Protocol):
    """What processes say to each other."""

    @property
    def main(self) -> bool: ...

    def sum(self, values: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Gramians:
    """Inner products (K, K), float64, of the tasks' weighted gradients; for each block too, where rows were kept.

    shifts  those of the gradients at the trunk's output, where these were seen beside the whole ones
    """

    tasks: tuple[str, ...]
    whole: Tensor
    blocks: Mapping[str, Tensor]
    shifts: Tensor | None = None


class OnePass:
    """Backward of the sum, part by part; nothing is kept."""

    apart = tapped = False

    def start(self, moment: Moment) -> None: ...

    def add(self, part: Part) -> None:
        losses = list(part.losses.values())
        if losses:
            total = losses[0]
            for loss in losses[1:]:
                total = total + loss
            if total.requires_grad:
                total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def finish(self, exchange: Exchange) -> None: ...


class Rows:
    """A row a task: its gradient in the shared parameters. Batches run apart: no pass goes through another's rows.

    tapped  the gradients at the trunk's output are to be seen too, from the same passes
    """

    apart = True

    def __init__(self, aggregation: Aggregation, layout: Layout, *, tapped: bool = False) -> None:
        self.aggregation, self.layout, self.tapped = aggregation, layout, tapped
        self.sizes = [p.numel() for p in layout.shared]
        self.device = _device(layout)
        self.rows = torch.empty(0, 0)
        self.touched = torch.zeros(len(layout.shared), device=self.device)

    def start(self, moment: Moment) -> None:
        self.moment = moment
        shape = (len(moment.tasks), sum(self.sizes))
        if self.rows.shape == shape:
            self.rows.zero_()
        else:
            self.rows = torch.zeros(shape, device=self.device)
        self.touched.zero_()
        self.shifts = _Shifts()

    def add(self, part: Part) -> None:
        for task, loss, last in _in_turn(part.losses):
            own = self.layout.own[task]
            wanted = (*self.layout.shared, *own, *part.trunk)
            found = torch.autograd.grad(loss, wanted, retain_graph=not last, allow_unused=True)
            row, start = self.rows[self.moment.tasks.index(task)], 0
            for i, size in enumerate(self.sizes):
                gradient = found[i]
                if gradient is not None:
                    row[start : start + size].add_(gradient.reshape(-1))
                    self.touched[i] = 1
                start += size
            behind = len(self.sizes) + len(own)
            _accumulate(own, found[len(self.sizes) : behind])
            if self.tapped:
                self.shifts.add(task, loss, part.trunk, found[behind:])

    def finish(self, exchange: Exchange) -> Gramians:
        """Set the gradients of the shared parameters, on the main process for all, and tell the inner products."""
        exchange.sum(self.rows)
        exchange.sum(self.touched)
        blocks = {name: _gramian(self.rows[:, start:stop]) for name, (start, stop) in self.layout.blocks.items()}
        shifts = _gramian(self.shifts.rows(self.moment.tasks, exchange, self.device)) if self.tapped else None
        found = Gramians(self.moment.tasks, sum(blocks.values(), _gramian(self.rows[:, :0])), blocks, shifts)
        if isinstance(self.aggregation, RowsAggregation):
            vector = self.aggregation.combine(self.rows, self.moment)
        else:
            weights = weigh(self.aggregation, found.whole, self.moment)
            vector = weights.to(self.rows) @ self.rows
        if exchange.main:
            start = 0
            for parameter, size, touched in zip(self.layout.shared, self.sizes, self.touched.tolist(), strict=True):
                if touched:
                    parameter.grad = vector[start : start + size].view_as(parameter)
                start += size
        return found


class Trunk:
    """A row a task: its gradient at the trunk's output, summed. The trunk's own pass waits until the weights are known."""

    apart, tapped = False, True

    def __init__(self, aggregation: GramianAggregation, layout: Layout) -> None:
        self.aggregation, self.layout = aggregation, layout

    def start(self, moment: Moment) -> None:
        self.moment = moment
        self.shifts = _Shifts()
        self.held: list[tuple[tuple[Tensor, ...], dict[str, tuple[Tensor | None, ...]]]] = []

    def add(self, part: Part) -> None:
        at_trunk: dict[str, tuple[Tensor | None, ...]] = {}
        for task, loss, _ in _in_turn(part.losses):
            beyond = self.layout.beyond[task]
            found = torch.autograd.grad(loss, (*part.trunk, *beyond), retain_graph=True, allow_unused=True)
            at_trunk[task] = found[: len(part.trunk)]
            self.shifts.add(task, loss, part.trunk, at_trunk[task])
            _accumulate(beyond, found[len(part.trunk) :])
        self.held.append((part.trunk, at_trunk))

    def finish(self, exchange: Exchange) -> Gramians:
        """Set the gradients of the trunk's parameters, and tell the inner products."""
        whole = _gramian(self.shifts.rows(self.moment.tasks, exchange, _device(self.layout)))
        weights = dict(zip(self.moment.tasks, weigh(self.aggregation, whole, self.moment).tolist(), strict=True))
        for trunk, at_trunk in self.held:
            gradients = [_weighted([(weights[n], found[i]) for n, found in at_trunk.items()]) for i in range(len(trunk))]
            reached = [(t, g) for t, g in zip(trunk, gradients, strict=True) if g is not None]
            if reached:
                torch.autograd.backward([t for t, _ in reached], [g for _, g in reached])
        self.held = []
        return Gramians(self.moment.tasks, whole, {})


class _Shifts:
    """Each task's gradient at the trunk's output, summed over rows and positions."""

    def __init__(self) -> None:
        self.known: dict[str, Tensor] = {}

    def add(self, task: str, loss: Tensor, trunk: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
        nothing = torch.zeros(0, device=loss.device)  # a frozen trunk has no output with a graph
        row = torch.cat([nothing, *(_shift(t, g) for t, g in zip(trunk, gradients, strict=True))])
        self.known[task] = self.known[task] + row if task in self.known else row

    def rows(self, tasks: Sequence[str], exchange: Exchange, device: torch.device) -> Tensor:
        """(K, D) over all processes."""
        width = max((float(len(row)) for row in self.known.values()), default=0.0)
        widths = exchange.sum(torch.tensor([width, float(width > 0)], device=device))
        nothing = torch.zeros(int(widths[0] / widths[1].clamp(min=1)), device=device)  # this process may have had no rows
        return exchange.sum(torch.stack([self.known.get(task, nothing) for task in tasks]))


def _in_turn(losses: Mapping[str, Tensor]) -> Iterable[tuple[str, Tensor, bool]]:
    """Tasks with losses that have a graph, and whether each is the last."""
    live = [(task, loss) for task, loss in losses.items() if loss.requires_grad]
    return [(task, loss, i + 1 == len(live)) for i, (task, loss) in enumerate(live)]


def _accumulate(parameters: Sequence[Parameter], gradients: Sequence[Tensor | None]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _device(layout: Layout) -> torch.device:
    parameters = chain(layout.shared, *layout.own.values())
    return next((p.device for p in parameters), torch.device("cpu"))


def _gramian(rows: Tensor) -> Tensor:
    """(K, K) of (K, P), float64 on the CPU. Summed in double precision: of ten million products single keeps three digits."""
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for columns in torch.split(rows, max(1, _COLUMNS // max(len(rows), 1)), 1):
        wide = columns.double()
        total += wide @ wide.T
    return total.cpu()


def _shift(trunk: Tensor, gradient: Tensor | None) -> Tensor:
    """(D,) gradient of a shift of the output; zeros for a task that does not reach it."""
    if gradient is None:
        return torch.zeros(trunk.shape[-1], device=trunk.device)
    return gradient.reshape(-1, gradient.shape[-1]).sum(0, dtype=torch.float32)


def _weighted(terms: Sequence[tuple[float, Tensor | None]]) -> Tensor | None:
    """The weighted sum of the gradients of one output; None where no task reaches it, so that what only it reaches rests."""
    total = None
    for weight, gradient in terms:
        if gradient is not None:
            total = gradient * weight if total is None else total.add_(gradient, alpha=weight)
    return total
