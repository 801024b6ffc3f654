"""The training loop: a generator that yields after every optimizer step. Whoever reads it evaluates, saves and stops.

for progress in train(model, datasets, stream, optimizer, spec, state=state, ...):
    ...                                # leave the loop to stop; `state` holds all that a later call needs
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from torch.optim import Optimizer

from manyheads.config.check_mixture import check_learning
from manyheads.config.node import refuse
from manyheads.config.spec.balance import BalanceSpec
from manyheads.config.spec.module import ModuleBase
from manyheads.config.spec.training import TrainingSpec
from manyheads.data.dataset import Dataset
from manyheads.data.stream import Draw, Position, Stream
from manyheads.failpoints import reach
from manyheads.model import Model
from manyheads.train.anchor import Anchor
from manyheads.train.engine import Engine
from manyheads.train.evaluate import require_alone
from manyheads.train.freeze import Freezing
from manyheads.train.state import Progress, State
from manyheads.train.update import Update


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
    steps = math.ceil(total / spec.accumulate)
    update = Update(
        model, datasets, optimizer, spec, engine=engine, seed=seed, steps=steps, freezing=freezing, anchor=anchor
    )  # fmt: skip
    refuse(check_learning(stream.spec, spec))
    for name in stream.ordered:
        require_alone(engine, name)
    rounds, followed = _rounds(stream, state)
    try:
        freezing.apply(state.step)
        update.balance(balance or BalanceSpec(), state)
        while not state.is_through(spec, update.steps):
            drawn = _drawn(rounds, min(spec.accumulate, total - state.step * spec.accumulate), spec)
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
                state.position = stream.past(state.position, state.retired, state.mixture)
                rounds, followed = _rounds(stream, state)
    finally:
        freezing.release()


def _drawn(rounds: Iterator[tuple[list[Draw], Position]], count: int, spec: TrainingSpec) -> list[tuple[list[Draw], Position]]:
    """The next rounds, at most `count` and none beyond the last epoch."""
    drawn = []
    for draws, position in islice(rounds, count):
        drawn.append((draws, position))
        if spec.steps is None and position.epoch >= spec.epochs:
            break
    return drawn


def _rounds(stream: Stream, state: State) -> tuple[Iterator[tuple[list[Draw], Position]], tuple[Any, Any]]:
    """What is left of the run, and what it hangs on beside the position."""
    rounds = stream.rounds(state.position, state.retired, state.mixture)
    return rounds, (state.retired, state.mixture.get("shares"))
